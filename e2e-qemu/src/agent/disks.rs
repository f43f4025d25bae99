//! Waits for disks to come and go: looks, then looks again whenever /dev changes.

use std::fs;
use std::path::Path;

use super::line::Line;
use super::watch::until;
use crate::protocol::{DiskKey, Id, ToHost};

/// Answers when the disk has its node in /dev.
pub(super) fn await_disk(line: Line, id: Id, key: DiskKey) {
    std::thread::spawn(move || {
        until(|| find(&key).filter(|name| Path::new("/dev").join(name).exists()))
            .map(|name| line.send(&ToHost::Disk { id, name }, b""))
    });
}

/// Answers when the disk has neither node nor entry in /sys/block.
pub(super) fn await_no_disk(line: Line, id: Id, name: String) {
    std::thread::spawn(move || {
        let node = Path::new("/dev").join(&name);
        let entry = Path::new("/sys/block").join(&name);
        until(|| (!node.exists() && !entry.exists()).then_some(()))
            .map(|()| line.send(&ToHost::DiskGone { id }, b""))
    });
}

fn find(key: &DiskKey) -> Option<String> {
    match key {
        DiskKey::Name(name) => Path::new("/sys/block")
            .join(name)
            .exists()
            .then(|| name.clone()),
        DiskKey::Serial(serial) => fs::read_dir("/sys/block")
            .ok()?
            .flatten()
            .find(|entry| has_serial(&entry.path(), serial))
            .map(|entry| entry.file_name().to_string_lossy().into_owned()),
    }
}

/// virtio shows a serial on the disk, nvme on its controller, scsi in page 0x80 of its vital product data, usb on
/// the device that the disk hangs off.
fn has_serial(block: &Path, serial: &str) -> bool {
    let direct = ["serial", "device/serial"].iter().any(|attribute| {
        fs::read_to_string(block.join(attribute)).is_ok_and(|s| s.trim() == serial)
    });
    let page = fs::read(block.join("device/vpd_pg80")).is_ok_and(|page| {
        page.get(4..)
            .is_some_and(|s| s.trim_ascii() == serial.as_bytes())
    });
    direct || page || usb_serial(block).is_some_and(|found| found == serial)
}

fn usb_serial(block: &Path) -> Option<String> {
    let device = fs::canonicalize(block.join("device")).ok()?;
    device
        .ancestors()
        .find(|dir| dir.join("bDeviceClass").exists())
        .and_then(|dir| fs::read_to_string(dir.join("serial")).ok())
        .map(|serial| serial.trim().to_owned())
}
