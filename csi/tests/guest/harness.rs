//! The standalone driver on real disks: what the guest tests of this crate stand on.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};

#[path = "../../../lvmd/tests/guest/harness/host.rs"]
#[allow(dead_code, reason = "the guest tests of lvmd use the rest")]
mod host;

pub use host::{disks, make_vg, output, run};

/// The classes of the tests: thin is the default, on a pool that may promise 20 times its size.
pub const THIN: &str = "device-classes:
- {name: thin, volume-group: vg, default: true, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 20.0}}
- {name: thick, volume-group: vg, spare-gb: 0, zero: none}
";

/// How many lines of its log a failed test shows.
const LOG: usize = 40;

/// A running driver; it ends with this value.
pub struct Driver {
    child: Child,
    pub dir: tempfile::TempDir,
    group: PathBuf,
}

impl Driver {
    /// Starts it with this lvmd.yaml and waits until it serves.
    pub async fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    pub async fn start_in(dir: tempfile::TempDir, config: &str) -> Self {
        let file = dir.path().join("lvmd.yaml");
        std::fs::write(&file, config).unwrap();
        let config = [Path::new("--standalone"), Path::new("--config"), &file];
        Self::start_with(dir, &config, &[]).await
    }

    /// Starts it with these arguments and variables beside what each node has.
    pub async fn start_with(dir: tempfile::TempDir, args: &[&Path], env: &[(&str, &Path)]) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .unwrap();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_hypertopolvm"))
            .args(["topolvm-node", "--nodename", "guest"])
            .args(["--metrics-bind-address", "", "--csi-socket"])
            .arg(dir.path().join("csi.sock"))
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        // A control group of its own: what the driver starts is killed with it in one go.
        let group = PathBuf::from(format!("/sys/fs/cgroup/csi-{}", child.id()));
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        let this = Self { child, dir, group };
        this.connect().await;
        this
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("csi.sock")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A connection to it.
    pub async fn connect(&self) -> Channel {
        let endpoint = Endpoint::try_from(format!("unix:{}", self.socket().display())).unwrap();
        let started = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(error) if started.elapsed() > Duration::from_secs(30) => {
                    panic!("the driver does not serve: {error}: {}", self.log())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Kills it and all it started at one moment, and gives its folder for the next start.
    pub fn kill(mut self) -> tempfile::TempDir {
        std::fs::write(self.group.join("cgroup.kill"), "1").unwrap();
        self.child.wait().unwrap();
        let started = Instant::now();
        // What writes ends when its write does.
        while std::fs::remove_dir(&self.group).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{:?}",
                self.group
            );
            std::thread::yield_now();
        }
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Asks it to end and waits.
    pub fn stop(mut self) {
        run("kill", &["-TERM", &self.child.id().to_string()]);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(LOG);
            eprintln!("--- log of the driver\n{}", lines[last..].join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir(&self.group);
    }
}
