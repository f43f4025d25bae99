//! An lvmd as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::built::built;
use crate::harness::THIN;

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Ours,
    TopoLvms,
}

/// A running lvmd; it is killed with this value.
pub struct Lvmd(Child);

impl Lvmd {
    /// Starts one that serves the classes of the tests at `lvmd.sock` in `dir`.
    pub fn start(whose: Whose, dir: &Path) -> Self {
        let file = dir.join("lvmd.yaml");
        let (program, name, more): (PathBuf, Option<&str>, &str) = match whose {
            Whose::Ours => (env!("CARGO_BIN_EXE_hypertopolvm").into(), Some("lvmd"), ""),
            // Without a prefix it would enter the namespaces of process 1.
            Whose::TopoLvms => (built("lvmd"), None, "lvm-command-prefix: [/sbin/lvm]\n"),
        };
        // A word that TopoLVM's does not know it takes no notice of.
        let config = format!("socket-name: {}\n{more}{THIN}", socket(dir).display());
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("lvmd.log"))
            .unwrap();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = Command::new(program)
            .args(name)
            .arg("--config")
            .arg(&file)
            .args(["--metrics-bind-address", ""])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Lvmd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where an lvmd of this folder serves.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("lvmd.sock")
}

/// Asks until it is so.
pub async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(30), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
