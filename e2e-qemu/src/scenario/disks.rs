//! Disks come and go while the guest runs, and the guest notices as real hardware would make it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::spec::{Backend, Disk};

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

    let disk = guest.plug(Disk::new(96 << 20).serial("BASALT-PLUG-1"))?;
    for source in ["KERNEL[", "UDEV "] {
        monitor
            .await_line(SOON, |line| announces(line, source, "add", disk.name()))
            .with_context(|| format!("{source} add"))?;
    }
    let size = guest.check(Command::new("blockdev").args(["--getsize64", &disk.path()]))?;
    ensure!(
        size == (96u64 << 20).to_string(),
        "the disk has {size} bytes"
    );
    guest.shell(format!(
        "echo written | dd of={} conv=fsync,notrunc status=none",
        disk.path()
    ))?;
    let image = std::fs::read(disk.image())?;
    ensure!(
        image.starts_with(b"written\n"),
        "the image does not have what the guest wrote"
    );

    guest.pull(&disk)?;
    monitor.await_line(SOON, |line| announces(line, "UDEV ", "remove", disk.name()))?;
    ensure!(guest.disks().len() == 1, "the pulled disk is still listed");
    let again = guest.plug(Disk::new(64 << 20).serial("BASALT-PLUG-2"))?;
    ensure!(
        again.image() == disk.image(),
        "the free place was not taken"
    );
    let blank = guest.shell(format!(
        "cmp --bytes=1048576 {} /dev/zero && echo blank",
        again.path()
    ))?;
    ensure!(blank == "blank", "a new disk has old content");

    monitor.signal(Signal::SIGTERM)?;
    monitor.wait(SOON)?;
    Ok(guest.shutdown()?)
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
