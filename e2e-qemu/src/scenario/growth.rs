//! A disk that was taken has another size after a boot: larger, its PV follows; smaller, nothing is changed any more.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{Context, onboarding};
use crate::guest::Guest;
use crate::process::Process;

const MIB: u64 = 1 << 20;
/// How long a look may take to come to an end; ten times what it does.
const PATIENCE: Duration = Duration::from_mins(1);

/// The PV follows its disk, wherever the power is cut in that; not while the new part has data; and a disk that
/// shrank freezes its group. The data of a thin volume and the disks of others stay.
pub(super) fn followed(context: &Context, cuts: u32) -> anyhow::Result<()> {
    let (mut guest, bystander) = onboarding::machine(context, "growth")?;
    let image = guest.disks()[0].image().to_owned();
    let resize = |size: u64| File::options().write(true).open(&image)?.set_len(size);

    let watcher = onboarding::start(context, &guest)?;
    onboarding::ready(&guest, &watcher)?;
    guest.shell(
        "lvm lvcreate -qq -y -V 64M -T fast/pool0 -n data && \
         dd if=/dev/urandom of=/dev/fast/data bs=1M count=64 conv=fsync status=none",
    )?;
    let data = guest.shell("sha256sum </dev/fast/data")?;
    let mut extents = count(&guest)?;
    drop(watcher);

    let mut size = 256 * MIB;
    let mut times = Vec::new();
    for cut in 0..=cuts {
        size += 64 * MIB;
        guest.cut_power()?;
        resize(size)?;
        guest = guest.reboot()?;
        if cut > 0 {
            let watcher = onboarding::start(context, &guest)?;
            // A pass to see it, and pvresize, take as long.
            let delay = times[0] * onboarding::chance();
            guest.shell(format!("sleep {delay}"))?;
            guest.cut_power()?;
            drop(watcher);
            guest = guest.reboot()?;
        }
        guest.shell("lvm vgchange -qq -ay fast")?;
        let started = Instant::now();
        let watcher = onboarding::start(context, &guest)?;
        extents += 16;
        wait(&guest, &watcher, "the PV grew", |guest| {
            Ok(recorded(guest)? == size)
        })?;
        times.push(started.elapsed().as_secs_f64());
        ensure!(
            count(&guest)? == extents,
            "{} extents, not {extents}",
            count(&guest)?
        );
        ensure!(
            guest.shell("sha256sum </dev/fast/data")? == data,
            "the volume changed"
        );
        guest.shell("lvm vgck fast")?;
        drop(watcher);
    }

    // What was there before the disk grew is somebody's.
    size += 64 * MIB;
    guest.cut_power()?;
    resize(size)?;
    guest = guest.reboot()?;
    guest.shell("printf x | dd of=/dev/ubdb bs=1M seek=447 conv=fsync status=none")?;
    let watcher = onboarding::start(context, &guest)?;
    wait(&guest, &watcher, "it is told", |guest| {
        Ok(status(guest)?.contains("is not blank behind that"))
    })?;
    ensure!(status(&guest)?.contains("DiskGrown"), "{}", status(&guest)?);
    ensure!(count(&guest)? == extents, "the PV grew over it");
    guest.shell("dd if=/dev/zero of=/dev/ubdb bs=1M seek=447 count=1 conv=fsync status=none")?;
    wait(&guest, &watcher, "the PV grew", |guest| {
        Ok(recorded(guest)? == size)
    })?;
    drop(watcher);

    guest.cut_power()?;
    resize(size - 64 * MIB)?;
    guest = guest.reboot()?;
    let watcher = onboarding::start(context, &guest)?;
    wait(&guest, &watcher, "it is frozen", |guest| {
        let status = status(guest)?;
        Ok(status.contains("DiskShrunk") && status.contains("\"Frozen\""))
    })?;
    let text = String::from_utf8_lossy(&watcher.stderr()).into_owned();
    ensure!(
        !text.contains("running command="),
        "it changed something: {text}"
    );
    ensure!(
        guest.shell("sha256sum </dev/ubdc")? == bystander,
        "a disk that is not ours changed"
    );
    context.result(format!(
        "a disk grew {} times, {cuts} of them with a power cut: the PV had followed {:.1} s after the start",
        cuts + 1,
        times[0]
    ));
    Ok(())
}

/// Waits until this holds; what the watcher said is shown where it does not.
pub(super) fn wait(
    guest: &Guest,
    watcher: &Process,
    what: &str,
    holds: impl Fn(&Guest) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds(guest)? {
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
            bail!("still not: {what}\n{}\n{log}", status(guest)?);
        }
    }
    Ok(())
}

/// What the watcher keeps as its status; empty while there is none.
pub(super) fn status(guest: &Guest) -> anyhow::Result<String> {
    Ok(guest.shell("cat /run/status/status.json 2>/dev/null || true")?)
}

/// The size of the disk as the journal has it.
fn recorded(guest: &Guest) -> anyhow::Result<u64> {
    let text =
        guest.shell("sed -n 's/.*\"size\": \\([0-9]*\\).*/\\1/p' /run/j/journal/claims/*.json")?;
    text.parse()
        .with_context(|| format!("sizes in the journal: {text:?}"))
}

/// How many extents the group has.
fn count(guest: &Guest) -> anyhow::Result<u64> {
    Ok(guest
        .shell("lvm vgs --noheadings -o vg_extent_count fast")?
        .trim()
        .parse()?)
}
