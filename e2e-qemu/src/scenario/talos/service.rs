//! An extension's service, started from its description as Talos' machined starts it.
//!
//! The container is what Talos 1.13.9 and 1.14.1 ask of containerd (`getOCIOptions` in
//! internal/app/machined/pkg/system/services/extension.go, on containerd's default specification): processes, mounts and
//! host name of its own, the node's network and IPC objects, a read-only root, all capabilities but two. Without
//! containerd's seccomp profile, cgroup and SELinux. runc is Debian's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use extension::talos::service::{self, Mount, Service};
use extension::talos::{CONTAINERS, SERVICES, build};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::node::{Node, ROOT};
use crate::command::Command;
use crate::process::Process;

/// Where the class is in the container.
const CONFIG: &str = "/etc/disk-watcher/config.yaml";
/// Where Talos has the files of an ExtensionServiceConfig, and what makes a service's root writable to containerd, which
/// makes the places that it mounts on.
const OVERLAYS: &str = "/system/overlays";
/// Of two minutes of patience, the ten seconds after which Talos kills a service that was to end.
const END: u32 = 12;

/// The service while it runs.
pub(super) struct Running<'n> {
    node: &'n Node,
    runc: Process,
    /// Where its root is, from aside.
    root: String,
    patience: Duration,
}

/// The description of the watcher's service, as the node has it.
pub(super) fn described(node: &Node) -> anyhow::Result<Service> {
    let file = format!("/{SERVICES}/{}.yaml", build::LVM_DISK_WATCHER);
    let text = node.aside(&format!("cat {ROOT}{file}"))?;
    let mut findings = Vec::new();
    let service = service::read(&file, text.as_bytes(), &mut findings);
    ensure!(findings.is_empty(), "{findings:?}");
    service.context("no service")
}

/// Starts `service` with `class` from an ExtensionServiceConfig.
pub(super) fn start<'n>(
    node: &'n Node,
    service: &Service,
    class: &str,
    patience: Duration,
) -> anyhow::Result<Running<'n>> {
    ensure!(service.configured, "it does not wait for its configuration");
    let mut service = service.clone();
    let root = format!("{ROOT}/{CONTAINERS}/{}", service.name);
    for mount in &service.mounts {
        let source = format!("{ROOT}{}", mount.source);
        node.aside(&format!("[ -e {source} ] || mkdir -p -m 700 {source}"))?;
    }
    node.aside(&format!(
        "cd {ROOT}{OVERLAYS}; rm -rf diff work; mkdir diff work; \
         mount -t overlay -o lowerdir={root},upperdir=diff,workdir=work overlay {root}"
    ))?;
    let folder = format!("{OVERLAYS}/extensions/{}", service.name);
    let config = format!("{folder}/{}", CONFIG.replace('/', "-"));
    let class = node.shared("class.yaml", class)?;
    node.aside(&format!(
        "mkdir -p {ROOT}{folder} && cp {class} {ROOT}{config}"
    ))?;
    service.mounts.push(Mount {
        source: config,
        destination: CONFIG.into(),
        kind: "bind".into(),
        options: vec!["ro".into(), "bind".into()],
    });
    let made = node.shared("config.json", &container(&service).to_string())?;
    node.aside(&format!(
        "rm -rf /run/bundle /run/disk-watcher/*; mkdir -p /run/bundle && cp {made} /run/bundle/config.json"
    ))?;
    let runc = Command::new("runc").args(["run", "--bundle", "/run/bundle", "ext"]);
    let runc = node.guest.spawn(runc.timeout(Duration::from_hours(1)))?;
    Ok(Running {
        node,
        runc,
        root,
        patience,
    })
}

impl Running<'_> {
    /// Waits until its status has this.
    pub(super) fn until_status(&self, has: &str) -> anyhow::Result<()> {
        self.until(has, || Ok(self.status()?.contains(has)))
    }

    /// Waits until this holds.
    pub(super) fn until(
        &self,
        what: &str,
        holds: impl Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !holds()? {
            if self.runc.status().is_some() || started.elapsed() > self.patience {
                bail!("not: {what}: {}\n{}", self.log(), self.status()?);
            }
            self.node.aside("sleep 0.3")?;
        }
        Ok(())
    }

    /// What it logged.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&self.runc.stderr()).into_owned()
    }

    /// Ends it as Talos does.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.runc.signal(Signal::SIGTERM)?;
        let ended = self.runc.wait(self.patience / END);
        ended.context("it did not end in time")?;
        let left = self.node.guest.run(Command::new("runc").arg("list"))?;
        ensure!(!left.text().contains("ext"), "{}", left.text());
        self.node.aside(&format!("umount {}", self.root))?;
        Ok(())
    }

    fn status(&self) -> anyhow::Result<String> {
        self.node
            .aside("cat /run/disk-watcher/status.json 2>/dev/null || true")
    }
}

/// The container, for runc.
fn container(service: &Service) -> Value {
    let security = &service.security;
    let capabilities: Vec<String> = CAPABILITIES
        .split_whitespace()
        .map(|name| format!("CAP_{name}"))
        .collect();
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let sysfs = match security.writeable_sysfs {
        true => "rw",
        false => "ro",
    };
    let paths = |given: &Option<Vec<String>>, default: &str| {
        let default = || default.split_whitespace().map(str::to_owned).collect();
        given.clone().unwrap_or_else(default)
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", sysfs],
        ),
        mount(
            "/run",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
    ];
    mounts.extend(service.mounts.iter().map(|m| {
        let options: Vec<&str> = m.options.iter().map(String::as_str).collect();
        mount(&m.destination, &m.kind, &m.source, &options)
    }));
    let args: Vec<&String> = [&service.entrypoint]
        .into_iter()
        .chain(&service.args)
        .collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": service.environment,
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": format!("/{CONTAINERS}/{}", service.name), "readonly": !security.writeable_rootfs},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "uts"}, {"type": "mount"}],
            "resources": {"devices": [{"allow": true, "access": "rwm"}]},
            "rootfsPropagation": security.rootfs_propagation,
            "maskedPaths": paths(&security.masked_paths, MASKED),
            "readonlyPaths": paths(&security.readonly_paths, READ_ONLY),
        },
    })
}

/// What containerd hides, and what it makes read-only.
const MASKED: &str = "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
    /proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi";
const READ_ONLY: &str = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger";

/// All but SYS_MODULE and SYS_BOOT.
const CAPABILITIES: &str = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE \
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_NICE SYS_PACCT \
    SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM";
