//! Rules about a partition as one: it is no part of an operating system, nobody else makes something of
//! it, and nothing covers the whole disk that it is on. What the partitions beside it are for does not
//! matter.

use super::super::{Code, Content, Evidence, Reasons};
use super::system_partition;
use crate::facts::{DiskId, Part};

/// Names of partitions that Talos makes a file system or swap on (UserVolumeConfig,
/// SwapVolumeConfig): for a moment they are blank. Its raw volumes begin with `r-`.
const TALOS: [&str; 2] = ["u-", "s-"];
/// Attributes of what a machine boots from: required by the platform, bootable by an old BIOS (UEFI
/// 2.10, table 5.8).
const SYSTEM_ATTRIBUTES: u64 = 0b101;
/// The attribute read-only of the partitions of several systems.
const READ_ONLY: u64 = 1 << 60;
/// The signatures that the disk of a partition has.
const TABLES: [&str; 3] = ["gpt", "gpt-backup", "pmbr"];

/// A disk of which a partition is ours is not free when its table was lost: what stands on that is
/// far from the places that are read of a disk.
pub(super) fn none_of_it_is_ours(evidence: &Evidence<'_>, reasons: &mut Reasons) {
    let id = evidence.facts.identify();
    let is_on_it = |part: &&DiskId| id.id().is_some_and(|disk| part.is_part_of(disk));
    for part in evidence.ours.disks.iter().filter(is_on_it) {
        reasons.add(Code::HasPartitions, format!("{part} is ours"));
    }
}

pub(super) fn it_is_nobodys(part: &Part, disk: Option<&Content>, reasons: &mut Reasons) {
    if let Some(entry) = &part.entry {
        system_partition(&entry.label, &entry.type_guid, reasons);
        if entry.attributes & SYSTEM_ATTRIBUTES != 0 {
            let what = format!(
                "the GPT says that it is booted from ({:#x})",
                entry.attributes
            );
            reasons.add(Code::SystemDisk, what);
        }
        if entry.attributes & READ_ONLY != 0 {
            reasons.add(Code::ReadOnly, "the GPT says that it is not written to");
        }
        if TALOS.iter().any(|prefix| entry.label.starts_with(prefix)) {
            reasons.add(
                Code::NativeOwner,
                format!(
                    "a partition named {:?} is Talos' own to format",
                    entry.label
                ),
            );
        }
    }
    let Some(Content::Probed(disk)) = disk else {
        let what = "what stands on its whole disk is not known";
        return reasons.add(Code::ProbeFailed, what);
    };
    let in_a_partition = |offset: &u64| part.taken.iter().any(|range| range.contains(offset));
    for seen in &disk.signatures {
        if !TABLES.contains(&seen.kind.as_str()) && !in_a_partition(&seen.offset) {
            reasons.add(
                Code::Signature(seen.kind.clone()),
                format!("at byte {} of its whole disk", seen.offset),
            );
        }
    }
}
