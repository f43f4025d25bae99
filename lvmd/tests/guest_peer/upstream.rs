//! Upstream's lvmd as a running daemon, and the replayer.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};

use crate::built::built;
use crate::compare::{Answer, answers};
use crate::harness::output;

/// A running lvmd of upstream; it ends with this value.
pub struct Upstream {
    child: Child,
    dir: tempfile::TempDir,
}

impl Upstream {
    /// Starts it with this lvmd.yaml (without socket-name) and waits until it serves.
    pub async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("lvmd.sock");
        let file = dir.path().join("lvmd.yaml");
        // Without a prefix it would enter the namespaces of process 1.
        let lvm = "lvm-command-prefix: [/sbin/lvm]";
        std::fs::write(
            &file,
            format!("socket-name: {}\n{lvm}\n{config}", socket.display()),
        )
        .unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = std::process::Command::new(built("lvmd"))
            .args([
                "--config",
                file.to_str().unwrap(),
                "--metrics-bind-address",
                "",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let this = Self { child, dir };
        this.connect().await;
        this
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("lvmd.sock")
    }

    /// A connection of our own client.
    pub async fn connect(&self) -> Channel {
        let endpoint = Endpoint::try_from(format!("unix:{}", self.socket().display())).unwrap();
        let started = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(error) if started.elapsed() > Duration::from_secs(30) => {
                    panic!("upstream's lvmd does not serve: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log"));
            eprintln!("--- log of upstream's lvmd\n{}", log.unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays steps through upstream's client against whoever listens at `socket`.
pub fn replay(socket: &Path, steps: &[serde_json::Value]) -> Vec<Answer> {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.json");
    std::fs::write(&script, serde_json::to_vec(steps).unwrap()).unwrap();
    let args = [socket.to_str().unwrap(), script.to_str().unwrap()];
    let out = output(built("replay").to_str().unwrap(), &args);
    let lines = String::from_utf8(out.stdout).unwrap();
    let last = lines.lines().last().unwrap_or_default();
    assert!(
        out.status.success(),
        "{}: the last answer was {last}",
        String::from_utf8_lossy(&out.stderr)
    );
    answers(&lines)
}
