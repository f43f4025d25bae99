//! Rules about the device itself: a whole disk, attached in an allowed way, healthy.

use super::{Code, Evidence, Reasons};
use crate::config::DiskClass;
use crate::facts::{DiskFacts, Transport};

/// SCSI peripheral device types (SPC-4): direct access block device, simplified, zoned.
const SCSI_DISK: u32 = 0x00;
const SCSI_RBC: u32 = 0x0e;
const SCSI_ZONED: u32 = 0x14;

pub(super) fn is_a_whole_healthy_disk(
    evidence: &Evidence<'_>,
    class: Option<&DiskClass>,
    reasons: &mut Reasons,
) {
    let disk = evidence.facts;
    for doubt in disk.part.iter().flat_map(|part| &part.doubts) {
        reasons.add(Code::ProbeFailed, doubt.clone());
    }
    for problem in &disk.problems {
        reasons.add(Code::ProbeFailed, format!("sysfs: {problem}"));
    }
    if let Some(what) = no_disk(disk) {
        reasons.add(Code::NotADisk, what);
    }
    transport(disk, class, reasons);
    if disk.read_only == Some(true) {
        reasons.add(
            Code::ReadOnly,
            "the kernel says that it refuses writes (ro is 1)",
        );
    }
    if disk.suspended == Some(true) {
        reasons.add(Code::Suspended, "device-mapper has suspended it");
    }
    state(disk, reasons);
    if disk.size.is_some_and(|size| size.0 == 0) {
        reasons.add(Code::ZeroSize, "its size is 0");
    }
    match disk.zoned.as_deref() {
        Some("none") | None => {}
        Some(model) => reasons.add(Code::Zoned, format!("it is {model}")),
    }
    if disk.scsi_type == Some(SCSI_ZONED) {
        reasons.add(Code::Zoned, "it is a zoned SCSI device (type 20)");
    }
}

/// Whether it is something else than a disk: a loop device of others, a mapping, a drive.
pub fn is_no_disk(disk: &DiskFacts) -> bool {
    no_disk(disk).is_some()
}

/// What the device is instead of a disk. Only drivers that we know to drive disks
/// pass, and only on the bus they belong to.
fn no_disk(disk: &DiskFacts) -> Option<String> {
    if disk.hidden {
        return Some("it is one path of a multipath NVMe namespace".to_owned());
    }
    if !disk.slaves.is_empty() {
        return Some(format!("it is stacked on {}", disk.slaves.join(", ")));
    }
    if let Some(kind) = disk
        .scsi_type
        .filter(|kind| !matches!(*kind, SCSI_DISK | SCSI_RBC | SCSI_ZONED))
    {
        return Some(format!("it is a SCSI device of type {kind}"));
    }
    let Some(driver) = disk.driver.as_deref() else {
        return Some("the driver of its major number is not known".to_owned());
    };
    let known = match (driver, disk.transport) {
        ("sd", Some(transport)) => transport.is_scsi(),
        ("virtblk", Some(transport)) => transport == Transport::Virtio,
        ("mmc", Some(transport)) => transport == Transport::Mmc,
        ("ubd", Some(transport)) => transport == Transport::Ubd,
        // Only where a file that we made is behind it.
        ("loop", Some(transport)) => transport == Transport::File,
        // Shared by drivers that have no major number of their own.
        ("blkext", Some(transport)) => {
            matches!(transport, Transport::Nvme | Transport::Nvmeof) || transport.is_scsi()
        }
        _ => false,
    };
    (!known).then(|| match disk.transport {
        Some(transport) => format!("driver {driver} on {transport} drives no disk we know"),
        None => format!(
            "driver {driver} at {} drives no disk we know",
            disk.sysfs_path
        ),
    })
}

fn transport(disk: &DiskFacts, class: Option<&DiskClass>, reasons: &mut Reasons) {
    let named = |transport| class.is_some_and(|class| class.select.transport.contains(&transport));
    match disk.transport {
        None => reasons.add(
            Code::TransportNotAllowed,
            format!("it hangs on a bus we do not know: {}", disk.sysfs_path),
        ),
        Some(transport) if transport.is_allowed_by_default() || named(transport) => {}
        Some(transport) => reasons.add(
            Code::TransportNotAllowed,
            format!("{transport} is allowed only where spec.select.transport names it"),
        ),
    }
    if disk.transport == Some(Transport::Mmc)
        && disk
            .whole()
            .name
            .trim_start_matches("mmcblk")
            .contains(|c: char| !c.is_ascii_digit())
    {
        reasons.add(
            Code::TransportNotAllowed,
            "it is a boot or RPMB area of an eMMC",
        );
    }
    let allowed = class.is_some_and(|class| class.safety.allow_removable);
    if disk.removable == Some(true) && !allowed {
        reasons.add(
            Code::TransportNotAllowed,
            "it is removable and spec.safety.allowRemovable is false",
        );
    }
}

fn state(disk: &DiskFacts, reasons: &mut Reasons) {
    let wanted = match disk.transport {
        Some(Transport::Nvme | Transport::Nvmeof) => "live",
        Some(transport) if transport.is_scsi() => "running",
        // virtio, mmc and ubd have no such state.
        _ => return,
    };
    if disk.states.is_empty() {
        reasons.add(
            Code::Offline,
            format!("its state is not known; {wanted} is wanted"),
        );
    }
    for state in disk.states.iter().filter(|state| *state != wanted) {
        reasons.add(
            Code::Offline,
            format!("its state is {state}; {wanted} is wanted"),
        );
    }
}
