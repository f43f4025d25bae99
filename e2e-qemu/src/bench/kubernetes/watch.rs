//! What the API server says of objects, and when: `kubectl get -w`, read as it comes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use e2e_qemu::cluster::Cluster;
use e2e_qemu::host;
use serde_json::Value;

/// Everything that one kind of objects went through; the watch ends when it is dropped.
pub(super) struct Watch {
    kind: &'static str,
    child: Child,
    seen: Arc<(Mutex<Vec<Event>>, Condvar)>,
}

/// One line of a watch.
struct Event {
    at: Instant,
    gone: bool,
    object: Value,
}

impl Watch {
    /// Watches the objects of that kind in the default namespace.
    pub(super) fn start(cluster: &Cluster, kind: &'static str) -> anyhow::Result<Self> {
        let mut command = host::command(cluster.binaries().path("kubectl"));
        let config = cluster.dir().join("admin.conf");
        command
            .arg(format!("--kubeconfig={}", config.display()))
            .args(["get", kind, "--watch", "--output-watch-events", "-o=json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = host::die_with_caller(&mut command).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let seen: Arc<(Mutex<Vec<Event>>, Condvar)> = Arc::default();
        let events = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let at = Instant::now();
                let Ok(mut event) = serde_json::from_str::<Value>(&line) else {
                    break;
                };
                let object = event["object"].take();
                let gone = event["type"] == "DELETED";
                let event = Event { at, gone, object };
                (events.0.lock().unwrap_or_else(PoisonError::into_inner)).push(event);
                events.1.notify_all();
            }
        });
        Ok(Self { kind, child, seen })
    }

    /// When the object of that name first was as `is` says.
    pub(super) fn when(
        &self,
        name: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Instant> {
        self.first(name, limit, |event| !event.gone && is(&event.object))
    }

    /// When the object of that name was gone.
    pub(super) fn gone(&self, name: &str, limit: Duration) -> anyhow::Result<Instant> {
        self.first(name, limit, |event| event.gone)
    }

    fn first(
        &self,
        name: &str,
        limit: Duration,
        is: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<Instant> {
        let end = Instant::now() + limit;
        let (events, more) = &*self.seen;
        let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked = 0;
        loop {
            let found = events[looked..]
                .iter()
                .find(|event| event.object["metadata"]["name"] == name && is(event));
            if let Some(event) = found {
                return Ok(event.at);
            }
            looked = events.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = events
                    .iter()
                    .rfind(|e| e.object["metadata"]["name"] == name);
                let last = last.map(|event| event.object["status"].to_string());
                bail!("{} {name} is not so after {limit:?}: {last:?}", self.kind);
            }
            events = (more
                .wait_timeout(events, left)
                .unwrap_or_else(PoisonError::into_inner))
            .0;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
