//! Both daemons, on the same VGs.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::transport::{Channel, Endpoint};

use crate::actor::Actor;

/// The classes; `$NONE` is what makes ours do as upstream, which overwrites nothing.
const CLASSES: &str = "device-classes:
- {name: thick, volume-group: thick, default: true, spare-gb: 0$NONE}
- {name: thin, volume-group: thin, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 10.0}}
- {name: zeroed, volume-group: zeroed, spare-gb: 0}
";

/// A running daemon; it ends with this value.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pub channel: Channel,
    _dir: tempfile::TempDir,
}

/// Ours and upstream's.
#[derive(Debug)]
pub struct Daemons {
    pub ours: Daemon,
    pub peer: Daemon,
}

/// A program that `e2e-qemu bench` built, by the variable that says where it is.
fn program(name: &str) -> PathBuf {
    let told = std::env::vars().find(|(key, _)| key == name);
    let (_, path) = told.unwrap_or_else(|| panic!("{name} is not set: use `e2e-qemu bench`"));
    PathBuf::from(path)
}

impl Daemons {
    /// Starts both; each calls `lvm`, where one is given, in place of the system's.
    pub async fn start(lvm: Option<[&Path; 2]>) -> Self {
        let [ours, peer] = lvm.map_or([None, None], |both| both.map(Some));
        let prefix = |lvm: &Path| format!("lvm-command-prefix: [{}]\n", lvm.display());
        let ours =
            ours.map_or_else(String::new, prefix) + &CLASSES.replace("$NONE", ", zero: none");
        // Without a prefix upstream's would enter the namespaces of process 1.
        let peer = prefix(peer.unwrap_or(Path::new("/sbin/lvm"))) + &CLASSES.replace("$NONE", "");
        let daemons = Self {
            ours: Daemon::start(&program("BASALT_LVMD"), "127.0.0.1:0", &ours).await,
            peer: Daemon::start(&program("BASALT_PEER"), "", &peer).await,
        };
        // Ours looks at all VGs when it starts, heals, and compares itself with lvm.
        tokio::time::sleep(Duration::from_secs(5)).await;
        daemons
    }

    /// Stops the daemons that do not have their turn.
    pub async fn only(&self, actor: Actor) {
        self.ours.set_running(actor == Actor::Ours);
        self.peer.set_running(actor == Actor::Peer);
        // For what it did not hear while it was stopped.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

impl Daemon {
    async fn start(program: &Path, metrics: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (socket, file) = (dir.path().join("lvmd.sock"), dir.path().join("lvmd.yaml"));
        std::fs::write(
            &file,
            format!("socket-name: {}\n{config}", socket.display()),
        )
        .unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = std::process::Command::new(program)
            .args(["--config", file.to_str().unwrap()])
            .args(["--metrics-bind-address", metrics])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display())).unwrap();
        let started = Instant::now();
        let channel = loop {
            match endpoint.connect().await {
                Ok(channel) => break channel,
                Err(error) if started.elapsed() > Duration::from_secs(60) => {
                    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
                    panic!("{} does not serve: {error}: {log}", program.display())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        Self {
            child,
            channel,
            _dir: dir,
        }
    }

    fn set_running(&self, runs: bool) {
        let signal = if runs {
            Signal::SIGCONT
        } else {
            Signal::SIGSTOP
        };
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
