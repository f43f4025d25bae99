//! Power: cut, shut down in order, limited in time, and shared by two guests.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::Context;
use crate::command::Command;
use crate::error::GuestError;
use crate::guest::Guest;
use crate::spec::{Backend, Disk};

/// After a power cut a file that was synced is there, the file system repairs itself, no process is left, and disks can be
/// plugged.
pub(super) fn cut(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "cut").disk(Disk::new(128 << 20)))?;
    let device = guest.disks()[0].path();
    guest.shell(format!(
        "mkfs.ext4 -q {device}; mkdir /run/m; mount {device} /run/m; \
         echo safe >/run/m/synced; sync /run/m/synced; echo lost >/run/m/not-synced"
    ))?;
    let writer = guest.spawn(Command::shell("while :; do date >>/run/m/busy; done"))?;
    guest.cut_power()?;
    match writer.wait(Duration::from_secs(5)) {
        Err(GuestError::Gone { .. }) => {}
        other => bail!("a command of a dead guest ended with {other:?}"),
    }
    ensure!(
        matches!(guest.shell("true"), Err(GuestError::Gone { .. })),
        "a dead guest ran a command"
    );

    let guest = guest.reboot()?;
    let device = guest.disks()[0].path();
    let safe = guest.shell(format!(
        "mkdir /run/m; mount {device} /run/m; cat /run/m/synced"
    ))?;
    ensure!(safe == "safe", "the synced file has {safe:?}");
    let recovered = guest.shell("dmesg | grep -c 'recovery complete'")?;
    ensure!(
        recovered == "1",
        "the journal was not replayed: this was no power cut"
    );
    // Its disks come and go as before.
    let late = guest.plug(Disk::new(32 << 20))?;
    guest.pull(&late)?;
    Ok(())
}

/// An orderly shutdown ends programs with SIGTERM and writes what was not synced.
pub(super) fn shutdown(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "shutdown").disk(Disk::new(128 << 20)))?;
    let device = guest.disks()[0].path();
    guest.shell(format!(
        "mkfs.ext4 -q {device}; mkdir /run/m; mount {device} /run/m; echo kept >/run/m/file"
    ))?;
    let program = guest.spawn(Command::shell(
        "trap 'echo ended >/run/m/term; exit' TERM; echo up; while :; do sleep 0.1; done",
    ))?;
    program.await_line(Duration::from_secs(10), |line| line == "up")?;
    let guest = guest.reboot()?;
    let device = guest.disks()[0].path();
    let kept = guest.shell(format!(
        "mkdir /run/m; mount {device} /run/m; cat /run/m/file /run/m/term"
    ))?;
    ensure!(
        kept == "kept\nended",
        "after the shutdown the disk has {kept:?}"
    );
    let recovered = guest.shell("dmesg | grep -c 'recovery complete' || true")?;
    ensure!(recovered == "0", "the file system was not unmounted");
    Ok(())
}

/// Two guests have their own disks, names and processes; the end of one leaves the other alone.
pub(super) fn two_guests(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let specs = ["one", "two"].map(|name| context.spec(backend, name).disk(Disk::new(32 << 20)));
    let [one, two] = std::thread::scope(|scope| {
        specs
            .map(|spec| scope.spawn(|| Guest::boot(spec)))
            .map(|thread| thread.join().expect("booting does not panic"))
    });
    let (one, two) = (one?, two?);
    for guest in [&one, &two] {
        let device = guest.disks()[0].path();
        guest.shell(format!(
            "uname -n | dd of={device} conv=fsync,notrunc status=none"
        ))?;
    }
    one.cut_power()?;
    let device = two.disks()[0].path();
    ensure!(
        two.shell(format!("head -n 1 {device}"))? == "two",
        "the disks are mixed up"
    );
    ensure!(
        std::fs::read(one.disks()[0].image())?.starts_with(b"one\n"),
        "the disks are mixed up"
    );
    ensure!(
        two.shell("uname -n")? == "two",
        "the host name is not its own"
    );
    Ok(())
}

/// A command over its limit is killed with what it started, and the guest goes on; a guest over its limit ends.
pub(super) fn time_limits(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let life = Duration::from_secs(if backend == Backend::Uml { 8 } else { 25 });
    let start = Instant::now();
    let guest = Guest::boot(context.spec(backend, "limits").limit(life))?;
    let sleeper =
        Command::shell("echo started; sleep 1000 & sleep 1001; :").timeout(Duration::from_secs(1));
    match guest.run(sleeper) {
        Err(GuestError::TimedOut {
            output: Some(output),
            ..
        }) => {
            ensure!(output.text() == "started", "what it wrote was lost");
        }
        other => bail!("a command over its limit gave {other:?}"),
    }
    let left = guest.shell("pgrep -c sleep || true")?;
    ensure!(left == "0", "{left} processes outlived the command");
    match guest.run(Command::new("sleep").arg("1000").timeout(2 * life)) {
        Err(GuestError::Gone { .. }) => {}
        other => bail!("a guest over its limit gave {other:?}"),
    }
    ensure!(
        start.elapsed() < life + Duration::from_secs(5),
        "the guest lived too long"
    );
    Ok(())
}
