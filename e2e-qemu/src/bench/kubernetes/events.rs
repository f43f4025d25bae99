//! How many events the watches of a driver's controller and nodes are sent. The API server does not count them by watch; so
//! each of its watches that the audit log has is opened once more, with the same selectors, and what comes there is counted.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use e2e_qemu::cluster::Cluster;
use e2e_qemu::host;

use super::calls::Log;

/// The same watches as the driver's; they end when this is dropped.
pub(super) struct Mirrors<'a> {
    cluster: &'a Cluster,
    log: &'a Log,
    mirrors: BTreeMap<String, Mirror>,
}

struct Mirror {
    child: Child,
    events: Arc<AtomicU32>,
}

impl<'a> Mirrors<'a> {
    /// Of all watches that are open now.
    pub(super) fn of(cluster: &'a Cluster, log: &'a Log) -> anyhow::Result<Self> {
        let mirrors = BTreeMap::new();
        let mut this = Self {
            cluster,
            log,
            mirrors,
        };
        for (what, watches) in log.watches()? {
            println!("watched by {watches}: {what}");
            this.mirrors.insert(what.clone(), this.mirror(&what)?);
        }
        anyhow::ensure!(!this.mirrors.is_empty(), "the driver watches nothing");
        Ok(this)
    }

    fn mirror(&self, what: &str) -> anyhow::Result<Mirror> {
        let mut command = host::command(self.cluster.binaries().path("kubectl"));
        let config = self.cluster.dir().join("admin.conf");
        command
            .arg(format!("--kubeconfig={}", config.display()))
            .args(["get", "--raw", what])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = host::die_with_caller(&mut command).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let events = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                count.fetch_add(u32::from(is_event(&line)), Ordering::Relaxed);
            }
        });
        Ok(Mirror { child, events })
    }

    /// How many events came so far, by what is watched.
    pub(super) fn count(&self) -> BTreeMap<String, u32> {
        let count = |mirror: &Mirror| mirror.events.load(Ordering::Relaxed);
        let mirrors = self.mirrors.iter();
        mirrors
            .map(|(what, mirror)| (what.clone(), count(mirror)))
            .collect()
    }

    /// How many events all watches of the driver were sent since that count.
    ///
    /// # Errors
    /// One of them is watched here no more, or there is a watch that is not watched here.
    pub(super) fn sent(&mut self, before: &BTreeMap<String, u32>) -> anyhow::Result<u32> {
        let now = self.count();
        let mut sent = 0;
        for (what, watches) in self.log.watches()? {
            let mirror = self.mirrors.get_mut(&what);
            let mirror = mirror.with_context(|| format!("a watch that was not there: {what}"))?;
            let ended = mirror.child.try_wait()?;
            anyhow::ensure!(ended.is_none(), "the watch of {what} ended");
            let events = now[&what] - before.get(&what).copied().unwrap_or_default();
            println!("{events} events for each of {watches}: {what}");
            sent += events * watches;
        }
        Ok(sent)
    }
}

/// Bookmarks come with time, not with changes.
fn is_event(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with(r#"{"type":"BOOKMARK""#)
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookmarks_are_no_events() {
        assert!(is_event(r#"{"type":"MODIFIED","object":{}}"#));
        assert!(!is_event(r#"{"type":"BOOKMARK","object":{}}"#));
    }
}
