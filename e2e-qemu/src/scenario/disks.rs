//! Disks come and go while the guest runs, and the guest notices as real hardware would make it.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;

use super::Context;
use crate::command::Command;
use crate::error::GuestError;
use crate::guest::Guest;
use crate::spec::{Backend, Bus, Disk};

const WWN: u64 = 0x5000_c500_1234_5678;

const SOON: Duration = Duration::from_secs(20);

/// A plugged disk announces itself to the kernel's and to udev's listeners, is writable and has the size asked
/// for; a pulled one says goodbye and leaves nothing; its place can be taken again.
pub(super) fn plug_and_pull(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "plug").disk(Disk::new(64 << 20)))?;
    let monitor = guest.spawn(Command::new("udevadm").args([
        "monitor",
        "--kernel",
        "--udev",
        "--subsystem-match=block",
    ]))?;
    monitor.await_line(SOON, |line| line.starts_with("KERNEL - "))?;
    let buses: &[Bus] = match backend {
        Backend::Uml => &[Bus::Virtio],
        Backend::Qemu => &[Bus::Virtio, Bus::Scsi, Bus::Nvme, Bus::Usb],
    };
    for bus in buses {
        on_bus(&guest, *bus).with_context(|| format!("{bus:?}"))?;
    }
    Ok(guest.shutdown()?)
}

fn on_bus(guest: &Guest, bus: Bus) -> anyhow::Result<()> {
    // Anew for each bus: two disks may get the same name one after the other.
    let monitor = guest.spawn(Command::new("udevadm").args([
        "monitor",
        "--kernel",
        "--udev",
        "--subsystem-match=block",
    ]))?;
    monitor.await_line(SOON, |line| line.starts_with("KERNEL - "))?;
    let serial = format!("BASALT-{bus:?}-1");
    let mut disk = Disk::new(96 << 20).serial(&serial).bus(bus);
    if bus == Bus::Scsi {
        disk = disk.wwn(WWN);
    }
    let disk = guest.plug(disk)?;
    for source in ["KERNEL[", "UDEV "] {
        monitor
            .await_line(SOON, |line| announces(line, source, "add", disk.name()))
            .with_context(|| format!("{source} add"))?;
    }
    let path = disk.path();
    let size = guest.check(Command::new("blockdev").args(["--getsize64", &path]))?;
    ensure!(size == disk.size().to_string(), "the disk has {size} bytes");
    if disk.serial().is_some() {
        let shown =
            guest.check(Command::new("lsblk").args(["--nodeps", "-no", "SERIAL,WWN", &path]))?;
        ensure!(
            shown.starts_with(&serial),
            "udev shows the serial {shown:?}"
        );
        ensure!(
            bus != Bus::Scsi || shown.ends_with(&format!("{WWN:#018x}")),
            "udev shows the WWN {shown:?}"
        );
    }
    guest.shell(format!(
        "echo written | dd of={path} conv=fsync,notrunc status=none"
    ))?;
    let image = std::fs::read(disk.image())?;
    ensure!(
        image.starts_with(b"written\n"),
        "the image does not have what the guest wrote"
    );

    let before = guest.disks().len();
    guest.pull(&disk)?;
    monitor.await_line(SOON, |line| announces(line, "UDEV ", "remove", disk.name()))?;
    ensure!(
        guest.disks().len() == before - 1,
        "the pulled disk is still listed"
    );
    let again = guest.plug(
        Disk::new(64 << 20)
            .serial(format!("BASALT-{bus:?}-2"))
            .bus(bus),
    )?;
    ensure!(
        again.image() == disk.image(),
        "the free place was not taken"
    );
    let blank = guest.shell(format!(
        "cmp --bytes=1048576 {} /dev/zero && echo blank",
        again.path()
    ))?;
    ensure!(blank == "blank", "a new disk has old content");
    guest.pull(&again)?;
    monitor.signal(Signal::SIGTERM)?;
    monitor.wait(SOON)?;
    Ok(())
}

/// A disk in use: real hardware goes all the same and its user gets errors; a user-mode kernel refuses.
pub(super) fn pull_in_use(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "pull"))?;
    let disk = guest.plug(Disk::new(64 << 20).serial("BASALT-INUSE").bus(Bus::Scsi))?;
    let path = disk.path();
    let user = guest.spawn(Command::shell(format!(
        "mkfs.ext4 -q {path}; mkdir /run/m; mount {path} /run/m; echo open
         while date >/run/m/file && sync /run/m/file; do :; done 2>&1; echo failed"
    )))?;
    user.await_line(SOON, |line| line == "open")?;
    match (backend, guest.pull(&disk)) {
        (Backend::Uml, Err(GuestError::Disk { .. })) => return Ok(()),
        (Backend::Qemu, Ok(())) => {}
        (_, other) => bail!("pulling a disk in use gave {other:?}"),
    }
    user.await_line(SOON, |line| line == "failed")?;
    Ok(())
}

/// Disks that the guest's kernel makes up have an identity, content of their own, and can be pulled in use.
pub(super) fn scsi_debug(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "scsi"))?;
    let disks = [guest.plug_scsi_debug(32)?, guest.plug_scsi_debug(32)?];
    let identity =
        |disk: &str| guest.check(Command::new("lsblk").args(["-dno", "SERIAL,WWN", disk]));
    let (one, two) = (identity(&disks[0])?, identity(&disks[1])?);
    ensure!(
        one.contains("0x") && one != two,
        "identities {one:?} and {two:?}"
    );
    guest.shell(format!(
        "echo mine | dd of={} conv=fsync status=none",
        disks[0]
    ))?;
    guest.shell(format!("cmp --bytes=1048576 {} /dev/zero", disks[1]))?;
    ensure!(
        guest.plug_scsi_debug(64).is_err(),
        "another size was accepted"
    );
    let [_, used] = &disks;
    guest.shell(format!(
        "mkfs.ext4 -q {used}; mkdir /run/m; mount {used} /run/m"
    ))?;
    guest.pull_scsi_debug(used)?;
    let outcome = guest.run(Command::shell("date >/run/m/file && sync /run/m/file"))?;
    ensure!(!outcome.status.success(), "a pulled disk can be written");
    Ok(())
}

/// `KERNEL[12.3] add      /devices/... (block)` with the disk at the end of its path.
fn announces(line: &str, source: &str, action: &str, name: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    line.starts_with(source)
        && words.any(|word| word == action)
        && line.contains(&format!("/{name} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_monitor() {
        let line = "UDEV  [14.630000] add      /devices/platform/uml-blkdev.1/block/ubdb (block)";
        assert!(announces(line, "UDEV ", "add", "ubdb"));
        assert!(!announces(line, "KERNEL[", "add", "ubdb"));
        assert!(!announces(line, "UDEV ", "remove", "ubdb"));
        assert!(!announces(line, "UDEV ", "add", "ubd"));
        assert!(announces(
            "KERNEL[1.2] remove   /devices/x/block/sda (block)",
            "KERNEL[",
            "remove",
            "sda"
        ));
    }
}
