//! The extension's service does its work in a container like the one that Talos makes of it.
//!
//! The container is what Talos 1.13.9 and 1.14.1 ask of containerd (`getOCIOptions` in
//! internal/app/machined/pkg/system/services/extension.go, on containerd's default specification): processes, mounts and
//! host name of its own, the node's network and IPC objects, a read-only root, all capabilities but two. runc is
//! Debian's.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use extension::talos::service::{self, Mount, Service};
use extension::talos::{CONTAINERS, SERVICES, build};
use extension::{Cache, Recipe, image, layer};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Disk};

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  select: {transport: [ubd], size: {min: 64Mi}}
  exclude: {paths: [/dev/disk/by-label/journal]}
  limits: {settle: 1s}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast, activation: Watcher}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";
const CONFIG: &str = "/etc/disk-watcher/config.yaml";
const SOON: Duration = Duration::from_secs(120);
/// The extension, as the node sees it.
const ROOT: &str = "/run/extension/rootfs";

/// A blank disk becomes a pool, the pool is active again after a reboot; with a lock directory or processes of its own
/// it changes nothing.
pub(super) fn works(context: &Context) -> anyhow::Result<()> {
    let dir = context.empty_artifacts()?;
    pack(context, &dir)?;
    let spec = context
        .spec(Backend::Uml, "service")
        .memory_mib(1024)
        .share_read_only(&dir)
        .disk(Disk::new(64 << 20))
        .disk(Disk::new(256 << 20));
    let guest = Guest::boot(spec)?;
    guest.shell("mkfs.ext4 -q -L journal /dev/ubdb && udevadm settle")?;
    let service = unpack(&guest, &dir)?;
    let blank = guest.shell("sha256sum </dev/ubdc")?;
    for hidden in ["/run/lock/lvm", "/proc"] {
        let running = start(&guest, &dir, &service, Some(hidden))?;
        until(&guest, &running, "it refuses", || {
            Ok(status(&guest)?.contains("\"HostNotReady\""))
        })
        .with_context(|| format!("without the node's {hidden}"))?;
        stop(&guest, &running)?;
        ensure!(
            guest.shell("sha256sum </dev/ubdc")? == blank,
            "without the node's {hidden} the disk has changed"
        );
        context.result(format!(
            "without the node's {hidden}: HostNotReady, the disk's sha256 unchanged"
        ));
    }
    let running = start(&guest, &dir, &service, None)?;
    until(&guest, &running, "the pool is ready", || {
        Ok(status(&guest)?.contains("\"Ready\""))
    })?;
    guest.shell("lvm lvcreate -qq -y -V 16M -T fast/pool0 -n data && echo kept | dd of=/dev/fast/data conv=fsync,notrunc status=none")?;
    stop(&guest, &running)?;

    let guest = guest.reboot()?;
    let service = unpack(&guest, &dir)?;
    guest.shell("! dmsetup info fast-pool0-tpool 2>/dev/null")?;
    let running = start(&guest, &dir, &service, None)?;
    let active = "dmsetup status --noflush fast-pool0-tpool 2>/dev/null || true";
    until(&guest, &running, "the pool is active", || {
        Ok(guest.shell(active)?.contains("thin-pool"))
    })?;
    guest.shell("lvm lvchange -qq -ay fast/data && [ $(head -c 4 /dev/fast/data) = kept ]")?;
    stop(&guest, &running)?;
    context.result(
        "onboarded, and after a reboot the pool was active and the volume as it was written",
    );
    Ok(guest.shutdown()?)
}

/// Writes the extension's flat tar into `dir`; made twice, it has to be the same bytes.
fn pack(context: &Context, dir: &Path) -> anyhow::Result<()> {
    let tree = Cache::of_workspace(&context.workspace).tree(&Recipe::node())?;
    let programs = context.workspace.join("target/debug");
    let tar = || -> anyhow::Result<_> {
        let mut tar = Vec::new();
        let root = build::lvm_disk_watcher(&tree, &programs)?;
        layer::write_tar(&root, image::EPOCH, &mut tar)?;
        Ok(tar)
    };
    let packed = tar()?;
    ensure!(packed == tar()?, "two builds differ");
    Ok(std::fs::write(dir.join("x.tar"), packed)?)
}

/// Unpacks the extension in the guest, as at a boot, and reads its service.
fn unpack(guest: &Guest, dir: &Path) -> anyhow::Result<Service> {
    guest.shell(format!(
        "mkdir -p /run/extension /var/lib/disk-watcher && mount -t tmpfs -o size=400m none /run/extension && \
         tar -xf {}/x.tar -C /run/extension && mount /dev/ubdb /var/lib/disk-watcher && mkdir -p /run/lock/lvm",
        dir.display()
    ))?;
    let name = build::LVM_DISK_WATCHER;
    let file = format!("{ROOT}/{SERVICES}/{name}.yaml");
    let text = guest.shell(format!("cat {file}"))?;
    let mut findings = Vec::new();
    let service = service::read(&file, text.as_bytes(), &mut findings);
    ensure!(findings.is_empty(), "{findings:?}");
    service.context("no service")
}

/// Starts it as Talos does; without the mount at `hidden`, if any.
fn start(
    guest: &Guest,
    dir: &Path,
    service: &Service,
    hidden: Option<&str>,
) -> anyhow::Result<Process> {
    // What an ExtensionServiceConfig brings.
    guest.check(Command::shell("cat >/run/config.yaml").stdin(CLASS))?;
    let mut service = service.clone();
    service
        .mounts
        .retain(|mount| Some(mount.destination.as_str()) != hidden);
    for mount in &service.mounts {
        guest.shell(format!("[ -e {0} ] || mkdir -p -m 700 {0}", mount.source))?;
    }
    service.mounts.push(Mount {
        source: "/run/config.yaml".into(),
        destination: CONFIG.into(),
        kind: "bind".into(),
        options: vec!["ro".into(), "bind".into()],
    });
    std::fs::write(dir.join("config.json"), container(&service).to_string())?;
    guest.shell(format!(
        "rm -rf /run/bundle /run/disk-watcher/*; mkdir -p /run/bundle && cp {}/config.json /run/bundle/",
        dir.display()
    ))?;
    let runc = Command::new("runc").args(["run", "--bundle", "/run/bundle", "ext"]);
    Ok(guest.spawn(runc.timeout(Duration::from_mins(9)))?)
}

fn stop(guest: &Guest, running: &Process) -> anyhow::Result<()> {
    running.signal(Signal::SIGTERM)?;
    // Talos kills a service that takes longer.
    let ended = running.wait(Duration::from_secs(10));
    ended.context("it did not end in time")?;
    guest.shell("! runc state ext 2>/dev/null || runc delete ext")?;
    Ok(())
}

fn status(guest: &Guest) -> anyhow::Result<String> {
    Ok(guest.shell("cat /run/disk-watcher/status.json 2>/dev/null || true")?)
}

fn until(
    guest: &Guest,
    running: &Process,
    what: &str,
    holds: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds()? {
        if running.status().is_some() || started.elapsed() > SOON {
            let said = String::from_utf8_lossy(&running.stderr()).into_owned();
            bail!("not: {what}: {said}\n{}", status(guest)?);
        }
    }
    Ok(())
}

/// The container, for runc.
fn container(service: &Service) -> Value {
    let capabilities: Vec<String> = CAPABILITIES
        .split_whitespace()
        .map(|name| format!("CAP_{name}"))
        .collect();
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
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
            &["nosuid", "noexec", "nodev", "ro"],
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
        "root": {"path": format!("{ROOT}/{CONTAINERS}/{}", service.name), "readonly": !service.writeable_rootfs},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "uts"}, {"type": "mount"}],
            "resources": {"devices": [{"allow": true, "access": "rwm"}]},
            "rootfsPropagation": service.rootfs_propagation,
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// All but SYS_MODULE and SYS_BOOT.
const CAPABILITIES: &str = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE \
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_NICE SYS_PACCT \
    SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM";
