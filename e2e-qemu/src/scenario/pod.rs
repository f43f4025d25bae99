//! The watcher and lvmd work in a pod with mounts, processes and IPC objects of its own, and refuse where the lock
//! directory is not the node's.

mod client;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tonic::Code;

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Disk, Spec};
use client::Lvmd;

const POD: &str = include_str!("../../guest/pod.sh");
const SOCKET: &str = "/run/topolvm/lvmd.sock";
const SOON: Duration = Duration::from_secs(120);

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: pod}
spec:
  mode: Enforce
  select: {transport: [ubd], size: {min: 64Mi}}
  limits: {settle: 1s}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: pod}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";

const LVMD: &str = "socket-name: /run/topolvm/lvmd.sock
device-classes:
- {name: thin, volume-group: pod, default: true, spare-gb: 0, type: thin, thin-pool: {name: pool0, overprovision-ratio: 5.0}}
- {name: thick, volume-group: pod, spare-gb: 0}
";

/// Debian's and Ubuntu's layout, in which /run/lock is a file system of its own, or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunLock {
    PartOfRun,
    OwnTmpfs,
}

/// A blank disk becomes a volume group and a pool, and volumes live and die in it. `pod` is the lock directory's kind
/// in `pod.sh`; without it both run on the node itself.
pub(super) fn works(context: &Context, run_lock: RunLock, pod: Option<&str>) -> anyhow::Result<()> {
    let node = Node::boot(context, run_lock)?;
    node.guest.plug(Disk::new(256 << 20))?;
    // The watcher has to see PID 1's mounts: hostPID.
    let watcher = node.start("disk-watcher run --config /etc/pod/class.yaml", pod, true)?;
    node.until(&watcher, "the pool is ready", || {
        Ok(node.status()?.contains("\"Ready\""))
    })?;
    let daemon = node.start("lvmd --config /etc/pod/lvmd.yaml", pod, false)?;
    let lvmd = Lvmd::of(&node, &daemon)?;
    for class in ["thick", "thin"] {
        lvmd.lives_and_dies(class)
            .with_context(|| class.to_owned())?;
    }
    let proof = String::from_utf8_lossy(&daemon.stderr()).into_owned();
    let proof = proof
        .split("proof=")
        .nth(1)
        .and_then(|text| text.lines().next());
    context.result(format!(
        "{run_lock:?}, lock directory {}: worked, recognised as {}",
        pod.unwrap_or("of the node itself"),
        proof.context("lvmd did not say how it knows the lock directory")?
    ));
    // A removed thick volume is overwritten in the background.
    let left = || {
        node.guest
            .shell("lvm vgck pod; lvm lvs --noheadings -o lv_name pod")
    };
    node.until(&daemon, "only the pool is left", || Ok(left()? == "pool0"))
}

/// With a lock directory of its own neither does anything: the watcher says HostNotReady, lvmd FailedPrecondition, and
/// no byte of a disk changes.
pub(super) fn refuses(context: &Context) -> anyhow::Result<()> {
    let node = Node::boot(context, RunLock::PartOfRun)?;
    let blank = node.guest.plug(Disk::new(64 << 20))?.path();
    let used = node.guest.plug(Disk::new(256 << 20))?.path();
    node.guest.shell(format!(
        "lvm vgcreate pod {used} && lvm lvcreate -y -L 64M -T pod/pool0 && lvm lvcreate -y -V 8M -T pod/pool0 -n thin \
         && lvm lvcreate -y -L 8M -n thick pod && udevadm settle"
    ))?;
    let sums = || node.guest.shell(format!("sync; sha256sum {blank} {used}"));
    let before = sums()?;
    for pod in ["private", "private-shown"] {
        let watcher = node.start(
            "disk-watcher run --config /etc/pod/class.yaml",
            Some(pod),
            true,
        )?;
        node.until(&watcher, "HostNotReady is reported", || {
            Ok(node.status()?.contains("\"HostNotReady\""))
        })?;
        let daemon = node.start("lvmd --config /etc/pod/lvmd.yaml", Some(pod), false)?;
        let lvmd = Lvmd::of(&node, &daemon)?;
        for class in ["thick", "thin"] {
            for (what, code) in lvmd.refusals(class) {
                ensure!(
                    code == Some(Code::FailedPrecondition),
                    "{pod}: {what} of a {class} volume gave {code:?}"
                );
            }
        }
        for process in [daemon, watcher] {
            process.signal_group(nix::sys::signal::Signal::SIGTERM)?;
            process.wait(SOON)?;
        }
        ensure!(sums()? == before, "{pod}: a disk has changed");
        context.result(format!(
            "lock directory {pod}: refused, sha256 of both disks unchanged"
        ));
        node.guest
            .shell(format!("rm -f {SOCKET} /run/disk-watcher/*"))?;
    }
    // Where PID 1 is not the node's the watcher cannot tell what is mounted.
    let watcher = node.start(
        "disk-watcher run --config /etc/pod/class.yaml",
        Some("bound"),
        false,
    )?;
    node.until(&watcher, "HostNotReady is reported", || {
        Ok(node.status()?.contains("not proven to be the host's"))
    })?;
    ensure!(sums()? == before, "without hostPID a disk has changed");
    context.result("watcher without hostPID: refused, sha256 of both disks unchanged");
    Ok(())
}

/// A guest as a node.
struct Node {
    guest: Guest,
    bin: String,
    workspace: String,
}

impl Node {
    fn boot(context: &Context, run_lock: RunLock) -> anyhow::Result<Self> {
        let mut spec: Spec = context.spec(Backend::Uml, "pod").memory_mib(768);
        if run_lock == RunLock::OwnTmpfs {
            spec = spec.lock_tmpfs();
        }
        let guest = Guest::boot(spec)?;
        let workspace = context
            .workspace
            .to_str()
            .context("the workspace's path is no text")?;
        // A config map and a script stand in for what Kubernetes mounts.
        for (name, text) in [("class.yaml", CLASS), ("lvmd.yaml", LVMD), ("pod.sh", POD)] {
            let script = format!("mkdir -p /run/topolvm/etc && cat >/run/topolvm/etc/{name}");
            guest.check(Command::shell(script).stdin(text))?;
        }
        Ok(Self {
            guest,
            bin: format!("{workspace}/target/debug"),
            workspace: workspace.to_owned(),
        })
    }

    /// Starts a program of ours, in a pod if asked.
    fn start(&self, line: &str, pod: Option<&str>, host_pid: bool) -> anyhow::Result<Process> {
        let line = line.replace("/etc/pod", "/run/topolvm/etc");
        let own = [
            format!("{}/{line}", self.bin),
            "--metrics-bind-address 0".to_owned(),
        ]
        .join(" ");
        let mut words: Vec<String> = own.split(' ').map(str::to_owned).collect();
        if let Some(lock) = pod {
            let wrapper = ["sh", "/run/topolvm/etc/pod.sh", lock].map(str::to_owned);
            words = wrapper.into_iter().chain(words).collect();
        }
        let (program, args) = words.split_first().context("no program")?;
        let mut command = Command::new(program)
            .args(args)
            .env("WORKSPACE", &self.workspace);
        if host_pid {
            command = command.env("HOST_PID", "1");
        }
        Ok(self.guest.spawn(command.timeout(Duration::from_mins(9)))?)
    }

    fn status(&self) -> anyhow::Result<String> {
        let ask = format!(
            "{}/disk-watcher status -o json 2>/dev/null || true",
            self.bin
        );
        Ok(self.guest.shell(ask)?)
    }

    fn until(
        &self,
        process: &Process,
        what: &str,
        holds: impl Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let started = std::time::Instant::now();
        while !holds()? {
            if process.status().is_some() || started.elapsed() > SOON {
                bail!(
                    "not: {what}: {}\n{}",
                    String::from_utf8_lossy(&process.stderr()),
                    self.status()?
                );
            }
        }
        Ok(())
    }
}
