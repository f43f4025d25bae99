//! The disk watcher's machine loses its power in the middle of an onboarding.

use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Disk};

/// Takes the first disk, which has neither serial number nor WWN.
pub(super) const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  select: {transport: [ubd], size: {min: 64Mi}}
  limits: {settle: 1s, maxDisks: 1}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";

/// How long an onboarding may take; ten times what it does.
const PATIENCE: Duration = Duration::from_mins(2);

/// Whatever moment the power goes at, the next boot ends with a whole group and pool, and no other disk changes.
/// The journal is on a disk too, so what was not synced of it is lost as well.
pub(super) fn power_cuts(context: &Context, cuts: u32) -> anyhow::Result<()> {
    let (mut guest, bystander) = machine(context, "onboarding")?;

    let started = Instant::now();
    let watcher = start(context, &guest)?;
    ready(&guest, &watcher).context("without a cut")?;
    let takes = started.elapsed();
    whole(&guest)?;
    drop(watcher);
    for cut in 0..cuts {
        // Before the next boot, so that it begins as a fresh machine.
        guest.shell(
            "pkill -x disk-watcher; lvm vgremove -qq -y fast && \
             dd if=/dev/zero of=/dev/ubdb bs=1M count=256 conv=fsync status=none && rm -rf /run/j/* && sync",
        )?;
        let watcher = start(context, &guest)?;
        // Spread over the whole way, at a random moment of each part.
        let delay = takes.mul_f64((f64::from(cut) + chance()) / f64::from(cuts));
        guest.run(Command::new("sleep").arg(delay.as_secs_f64().to_string()))?;
        guest.cut_power()?;
        drop(watcher);
        guest = guest.reboot()?;
        let watcher = start(context, &guest)?;
        ready(&guest, &watcher).with_context(|| format!("after a cut at {delay:?}"))?;
        whole(&guest).with_context(|| format!("after a cut at {delay:?}"))?;
        ensure!(
            guest.shell("sha256sum </dev/ubdc")? == bystander,
            "a disk that is not ours changed"
        );
        println!("power cut at {delay:.1?} of {takes:.1?}: went on to Ready");
    }
    Ok(())
}

/// A guest with a blank disk of 256 MiB (ubdb), one of somebody else (ubdc), whose sum is given, and one for the journal
/// (ubdd).
pub(super) fn machine(context: &Context, name: &str) -> anyhow::Result<(Guest, String)> {
    let spec = context.spec(Backend::Uml, name).memory_mib(768);
    let spec = spec.limit(Duration::from_mins(25));
    let spec = [256, 64, 64]
        .iter()
        .fold(spec, |spec, mib| spec.disk(Disk::new(mib << 20)));
    let guest = Guest::boot(spec)?;
    guest.shell("dd if=/dev/urandom of=/dev/ubdc bs=1M count=64 conv=fsync status=none; mkfs.ext4 -q /dev/ubdd")?;
    let bystander = guest.shell("sha256sum </dev/ubdc")?;
    Ok((guest, bystander))
}

pub(super) fn start(context: &Context, guest: &Guest) -> anyhow::Result<Process> {
    start_with(context, guest, CLASS)
}

/// With another configuration. The journal's disk is mounted at /run/j, or it is ubdd.
pub(super) fn start_with(
    context: &Context,
    guest: &Guest,
    config: &str,
) -> anyhow::Result<Process> {
    guest.check(Command::shell("cat >/run/class.yaml").stdin(config))?;
    guest.shell("mkdir -p /run/j; mountpoint -q /run/j || mount /dev/ubdd /run/j")?;
    let program = context.workspace.join("target/debug/disk-watcher");
    let command = Command::new(program.display().to_string())
        .args([
            "run",
            "--config",
            "/run/class.yaml",
            "--journal",
            "/run/j/journal",
        ])
        .args(["--status-dir", "/run/status", "--metrics-bind-address", "0"])
        .args(["--node-name", "n1"]);
    Ok(guest.spawn(command)?)
}

/// Waits until the disk is taken. What an earlier watcher said does not count.
pub(super) fn ready(guest: &Guest, watcher: &Process) -> anyhow::Result<()> {
    let started = Instant::now();
    while guest
        .shell("grep -l '\"stage\": \"Ready\"' /run/j/journal/claims/*.json 2>/dev/null || true")?
        .is_empty()
    {
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            bail!("not ready: {}", String::from_utf8_lossy(&watcher.stderr()));
        }
    }
    Ok(())
}

/// The group is whole, and a volume can be made in its pool and written.
fn whole(guest: &Guest) -> anyhow::Result<()> {
    let volumes = guest.shell(
        "lvm lvs -a --noheadings -o lv_name,segtype,lv_tags fast | sed 's/ \\+/ /g; s/ basalt.threshold=70//' | sort",
    )?;
    let lines: Vec<&str> = volumes.lines().map(str::trim).collect();
    let wanted = [
        "[lvol0_pmspare] linear",
        "[pool0_tdata] linear",
        "[pool0_tmeta] linear",
        "pool0 thin-pool",
    ];
    ensure!(lines == wanted, "not whole, or not alone: {volumes}");
    guest.shell(
        "lvm vgck fast && lvm lvcreate -qq -y -V 16M -T fast/pool0 -n probe && \
         dd if=/dev/urandom of=/dev/fast/probe bs=1M count=16 conv=fsync status=none",
    )?;
    Ok(())
}

pub(super) fn chance() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
