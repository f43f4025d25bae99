//! Rules about what stands on the disk.

mod partition;

use std::collections::BTreeMap;

use super::{Code, Content, ContentReport, Evidence, PvSeen, Reasons};
use crate::config::{DiskClass, RequireZeroed};

/// Partition types that only a disk one boots from has.
const SYSTEM_TYPES: [(&str, &str); 5] = [
    (
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "EFI system partition",
    ),
    (
        "21686148-6449-6e6f-744e-656564454649",
        "BIOS boot partition",
    ),
    (
        "bc13c2ff-59e6-4262-a352-b275fd6f7172",
        "extended boot loader partition",
    ),
    (
        "e3c9e316-0b5c-4db8-817d-f92df00215ae",
        "Microsoft reserved partition",
    ),
    (
        "9e1a2d38-c612-4316-aa26-8b49521e5a8b",
        "PowerPC PReP boot partition",
    ),
];
/// Names of partitions on disks of operating systems, in lower case.
const SYSTEM_LABELS: [&str; 12] = [
    "efi",
    "bios",
    "boot",
    "meta",
    "state",
    "ephemeral",
    "boot-a",
    "boot-b",
    "imagecache",
    "root",
    "oem",
    "oem-config",
];
/// Parts of such names.
const SYSTEM_PARTS: [&str; 7] = [
    "reserved",
    "boot",
    "efi-",
    "usr-a",
    "usr-b",
    "bottlerocket",
    "bios-",
];
/// Partition tables whose own checksum or structure is proof that they are meant.
const REAL_TABLES: [&str; 3] = ["gpt", "dos", "pmbr"];

/// The signature of a PV that LVM itself would read.
const LVM_LABEL: &str = "lvm2_pv";

pub(super) fn it_is_blank(
    evidence: &Evidence<'_>,
    class: Option<&DiskClass>,
    reasons: &mut Reasons,
) {
    for partition in &evidence.facts.partitions {
        let (label, kind) = (partition.label.as_deref(), partition.type_guid.as_deref());
        system_partition(label.unwrap_or_default(), kind.unwrap_or_default(), reasons);
    }
    partition::none_of_it_is_ours(evidence, reasons);
    if let Some(part) = &evidence.facts.part {
        partition::it_is_nobodys(part, evidence.around, reasons);
    }
    match &evidence.content {
        Content::Unknown(why) => {
            reasons.add(Code::ProbeFailed, why.clone());
            kernel_partitions(evidence, true, reasons);
        }
        Content::Probed(content) => {
            for partition in &content.partitions {
                system_partition(&partition.label, &partition.type_guid, reasons);
            }
            let has_table = !content.partitions.is_empty()
                || content.signatures.iter().any(|s| is_real_table(&s.kind));
            kernel_partitions(evidence, has_table, reasons);
            if !content.partitions.is_empty() {
                reasons.add(
                    Code::HasPartitions,
                    format!(
                        "its partition table has {} entries",
                        content.partitions.len()
                    ),
                );
            }
            signatures(content, reasons);
            second_look(evidence, content, reasons);
            if let Some(pv) = &content.pv {
                foreign(pv, evidence, reasons);
            }
            zeroes(evidence, content, class, reasons);
        }
    }
}

fn is_real_table(kind: &str) -> bool {
    REAL_TABLES
        .iter()
        .any(|table| kind == *table || kind.starts_with(&format!("{table}-")))
}

/// Whether a partition of this name and type is one of an operating system.
pub(crate) fn is_system_partition(label: &str, kind: &str) -> bool {
    has_system_label(label) || system_type(kind).is_some()
}

fn has_system_label(label: &str) -> bool {
    let lower = label.trim().to_lowercase();
    SYSTEM_LABELS.contains(&lower.as_str()) || SYSTEM_PARTS.iter().any(|part| lower.contains(part))
}

fn system_type(kind: &str) -> Option<&'static str> {
    let kind = kind.trim().to_lowercase();
    let known = SYSTEM_TYPES.iter().find(|(guid, _)| *guid == kind);
    known.map(|(_, name)| *name)
}

fn system_partition(label: &str, kind: &str, reasons: &mut Reasons) {
    if has_system_label(label) {
        reasons.add(
            Code::SystemDisk,
            format!("it has a partition named {label:?}"),
        );
    }
    if let Some(name) = system_type(kind) {
        reasons.add(Code::SystemDisk, format!("it has an {name}"));
    }
}

fn kernel_partitions(evidence: &Evidence<'_>, has_table: bool, reasons: &mut Reasons) {
    let names: Vec<&str> = evidence
        .facts
        .partitions
        .iter()
        .map(|partition| partition.name.as_str())
        .collect();
    if names.is_empty() {
        return;
    }
    let names = names.join(", ");
    if has_table {
        reasons.add(Code::HasPartitions, format!("the kernel sees {names}"));
    } else {
        reasons.add(
            Code::PhantomPartitions,
            format!("the kernel sees {names}, and no GPT or DOS table is there"),
        );
    }
}

/// One reason for each type, with every place it was found.
fn signatures(content: &ContentReport, reasons: &mut Reasons) {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let labels = content
        .signatures
        .iter()
        .filter(|s| s.kind == LVM_LABEL)
        .count();
    for signature in &content.signatures {
        // The one label is judged as a PV; several are a disk with a past.
        if signature.kind == LVM_LABEL && labels == 1 && content.pv.is_some() {
            continue;
        }
        let found = places.entry(&signature.kind).or_default();
        found.push(signature.offset.to_string());
    }
    for (kind, offsets) in places {
        reasons.add(
            Code::Signature(kind.to_owned()),
            format!("at byte {}", offsets.join(", ")),
        );
    }
}

/// libblkid's own look, as udev keeps it: what either sees counts.
fn second_look(evidence: &Evidence<'_>, content: &ContentReport, reasons: &mut Reasons) {
    let udev = &evidence.facts.udev;
    for key in ["ID_FS_TYPE", "ID_PART_TABLE_TYPE"] {
        let Some(kind) = udev.property(key) else {
            continue;
        };
        // udev gives a partition the properties of its disk, which has a table.
        if key == "ID_PART_TABLE_TYPE" && evidence.facts.part.is_some() {
            continue;
        }
        // The label is judged as a PV.
        if kind == "LVM2_member" && content.pv.is_some() {
            continue;
        }
        reasons.add(
            Code::Signature(kind.to_owned()),
            format!("udev's database says so ({key})"),
        );
    }
    if udev.property("ID_FS_AMBIVALENT").is_some() {
        reasons.add(
            Code::Signature("ambivalent".to_owned()),
            "libblkid found several that contradict each other",
        );
    }
}

fn foreign(pv: &PvSeen, evidence: &Evidence<'_>, reasons: &mut Reasons) {
    if evidence.ours.owns(pv) {
        return;
    }
    let what = match (&pv.vg_name, &pv.vg_uuid) {
        (None, None) if pv.used => "of a group that is not here".to_owned(),
        (None, None) => "of no group".to_owned(),
        (name, uuid) => format!(
            "of group {} ({})",
            name.as_deref().unwrap_or("without a name"),
            uuid.as_deref().unwrap_or("no uuid")
        ),
    };
    reasons.add(
        Code::ForeignPV,
        format!(
            "PV {} {what}, which we neither assigned nor tagged",
            pv.uuid
        ),
    );
}

fn zeroes(
    evidence: &Evidence<'_>,
    content: &ContentReport,
    class: Option<&DiskClass>,
    reasons: &mut Reasons,
) {
    let size = evidence.facts.size.unwrap_or_default();
    // Without a class the careful default says what would be needed.
    let needed = match class {
        Some(class) => class.safety.zeroes_required(size),
        None => RequireZeroed::HeadAndTail,
    };
    if needed == RequireZeroed::None {
        return;
    }
    if let Some(offset) = content.not_zeroed_at {
        reasons.add(Code::NotZeroed, format!("byte {offset} is not zero"));
    } else if content.reading.is_some() {
        // How far it is stands beside the reasons: they stay the same until it has ended.
        reasons.add(Code::BeingRead, "all of it is read before it is taken");
    } else if content.zeroes_checked < needed {
        reasons.add(
            Code::NotZeroed,
            format!(
                "{needed:?} is required and {:?} was read so far",
                content.zeroes_checked
            ),
        );
    }
}
