//! A partition that a class selects: what is beside it does not matter, what is around it does.

use super::*;
use crate::facts::PartEntry;

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\n\
    metadata: {name: fast}\nspec:\n  select: {partitionLabel: ['r-*', E*], size: {min: 1Gi}}\n  \
    safety: {requireZeroed: HeadAndTail}\n  volumeGroup: {name: vg}\n";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// The system disk of a node, with EPHEMERAL on sda1 and a raw volume on sda2.
fn clean() -> Case {
    let mut case = Case::clean();
    case.config = CLASS.to_owned();
    for (name, dev) in [("sda1", "8:1"), ("sda2", "8:2")] {
        case.tree.partition("sda", name, dev);
        let record = case.tree.udev.records.get_mut(name).unwrap();
        // As udev does: from the disk.
        let properties = [("ID_PART_TABLE_TYPE", "gpt"), ("ID_PART_ENTRY_NAME", "x")];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
        record.properties.extend(properties);
    }
    let record = case.tree.udev.records.get_mut("sda1").unwrap();
    let label = ("ID_PART_ENTRY_NAME".to_owned(), "EPHEMERAL".to_owned());
    record.properties.extend([label]);
    let disk = case.tree.disk("sda");
    let part = Part {
        disk,
        number: Some(2),
        range: Some(2 << 30..3 << 30),
        entry: Some(PartEntry {
            guid: "f47ac10b-58cc-4372-a567-0e02b2c3d479".into(),
            label: "r-data".into(),
            type_guid: LINUX.into(),
            attributes: 0,
        }),
        doubts: Vec::new(),
        taken: vec![1 << 30..2 << 30, 2 << 30..3 << 30],
        twins: Vec::new(),
        past: None,
    };
    case.part = Some(("sda2", part));
    case
}

/// A clean case with one change.
fn case(spoil: impl FnOnce(&mut Case)) -> Case {
    let mut case = clean();
    spoil(&mut case);
    case
}

impl Case {
    fn part(&mut self) -> &mut Part {
        &mut self.part.as_mut().unwrap().1
    }

    fn entry(&mut self) -> &mut PartEntry {
        self.part().entry.as_mut().unwrap()
    }
}

fn around(kind: &str, offset: u64) -> Content {
    let kind = kind.to_owned();
    Content::Probed(ContentReport {
        signatures: vec![SignatureSeen { kind, offset }],
        ..blank()
    })
}

#[test]
fn a_partition_is_cleared_whatever_is_beside_it() {
    for (what, case) in [
        ("nothing", clean()),
        (
            "a mount",
            case(|c| mount(c, "23 22 8:1 / /var rw - xfs /dev/sda1 rw")),
        ),
        (
            "device-mapper",
            case(|c| {
                c.tree.block("virtual/block/dm-0", "252:0");
                c.tree.set("sda", "sda1/holders/dm-0/x", "");
            }),
        ),
        (
            "swap",
            case(|c| {
                let swaps = "Filename Type\n/dev/sda1 partition 1 0 -2\n";
                c.tree.write("proc/swaps", swaps);
            }),
        ),
        ("a file system", case(|c| c.around = around("xfs", 1 << 30))),
        (
            "its table",
            case(|c| c.around = around("gpt-backup", 19 << 30)),
        ),
    ] {
        let judgement = case.judge();
        let class = "fast".to_owned();
        assert_eq!(
            judgement.verdict,
            Verdict::Cleared { class },
            "{what}: {judgement:?}"
        );
        let id = judgement.id.id().unwrap().as_str();
        assert!(
            id.ends_with(".part-f47ac10b-58cc-4372-a567-0e02b2c3d479"),
            "{id}"
        );
    }
}

/// Every way in which a partition is another's, in use, or not to be told from others.
fn table() -> Vec<(&'static str, Case)> {
    vec![
        ("SystemDisk", case(|c| c.entry().label = "EPHEMERAL".into())),
        (
            "SystemDisk",
            case(|c| c.entry().label = "r-Reserved".into()),
        ),
        (
            "SystemDisk",
            case(|c| c.entry().type_guid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".into()),
        ),
        ("SystemDisk", case(|c| c.entry().attributes = 1)),
        ("SystemDisk", case(|c| c.entry().attributes = 1 << 2)),
        ("ReadOnly", case(|c| c.entry().attributes = 1 << 60)),
        (
            "NativeOwner",
            case(|c| {
                c.replace("'r-*'", "'u-*'");
                c.entry().label = "u-photos".into();
            }),
        ),
        (
            "ProbeFailed",
            case(|c| c.part().doubts.push("the copies differ".into())),
        ),
        (
            "ProbeFailed",
            case(|c| c.around = Content::Unknown("no".into())),
        ),
        ("DuplicateId", case(|c| c.part().twins.push("sdb2".into()))),
        (
            "DuplicateId",
            // Its whole disk has a twin.
            case(|c| c.tree.sata("sdb", "8:16", "A1")),
        ),
        (
            "JunkId",
            case(|c| c.entry().guid = "00000000-0000-0000-0000-000000000000".into()),
        ),
        (
            "Signature:lvm2_pv",
            case(|c| c.around = around("lvm2_pv", 512)),
        ),
        ("Signature:md", case(|c| c.around = around("md", 19 << 30))),
        (
            "HasPartitions",
            case(|c| {
                c.content().partitions.push(PartitionSeen {
                    label: String::new(),
                    type_guid: LINUX.into(),
                });
            }),
        ),
        ("NotZeroed", case(|c| c.content().not_zeroed_at = Some(7))),
        (
            "Mounted",
            case(|c| mount(c, "23 22 8:2 / /data rw - xfs /dev/sda2 rw")),
        ),
        (
            "Mounted",
            case(|c| mount(c, "23 22 8:0 / /data rw - xfs /dev/sda rw")),
        ),
        (
            "HasHolders",
            case(|c| {
                c.tree.block("virtual/block/dm-0", "252:0");
                c.tree.set("sda", "sda2/holders/dm-0/x", "");
            }),
        ),
        (
            "MultipathMember",
            case(|c| {
                c.tree.block("virtual/block/dm-0", "252:0");
                c.tree.set("dm-0", "dm/uuid", "mpath-1");
                c.tree.set("sda", "holders/dm-0/x", "");
            }),
        ),
        (
            "MultipathMember",
            case(|c| {
                let record = c.tree.udev.records.get_mut("sda").unwrap();
                let path = ("DM_MULTIPATH_DEVICE_PATH".to_owned(), "1".to_owned());
                record.properties.extend([path]);
            }),
        ),
        (
            "BackingLoop",
            case(|c| {
                let at = "sys/kernel/config/target/core/iblock_0/x/udev_path";
                c.tree.write(at, "/dev/sda\n");
            }),
        ),
        ("ReadOnly", case(|c| c.tree.set("sda", "sda2/ro", "1"))),
        ("ReadOnly", case(|c| c.tree.set("sda", "ro", "1"))),
        (
            "Offline",
            case(|c| c.tree.set("sda", "device/state", "offline")),
        ),
        (
            "TransportNotAllowed",
            case(|c| c.tree.set("sda", "removable", "1")),
        ),
        ("NotADisk", case(|c| c.tree.set("sda", "slaves/sdb/x", ""))),
        ("TooSmall", case(|c| c.tree.set("sda", "sda2/size", "2048"))),
        (
            "NotSettled",
            case(|c| c.tree.udev.records.get_mut("sda").unwrap().initialized = false),
        ),
        (
            "ForeignPV",
            case(|c| {
                c.content().pv = Some(PvSeen {
                    uuid: "u".into(),
                    ..PvSeen::default()
                });
            }),
        ),
    ]
}

#[test]
fn a_partition_that_is_anothers_or_in_use_is_not_taken() {
    for (code, case) in table() {
        let judgement = case.judge();
        assert!(case.codes().contains(code), "{code}: {judgement:?}");
        assert!(
            !matches!(judgement.verdict, Verdict::Cleared { .. }),
            "{code}"
        );
    }
}

#[test]
fn a_class_takes_partitions_or_whole_disks() {
    let mut whole = clean();
    whole.part = None;
    assert_eq!(whole.judge().selection, Selection::Nobody);
    let of_disks = case(|c| c.replace("partitionLabel: ['r-*', E*], ", "transport: [sata], "));
    assert_eq!(of_disks.judge().selection, Selection::Nobody);
    let unknown = case(|c| c.part().entry = None);
    assert_eq!(unknown.judge().selection, Selection::Nobody);
}

#[test]
fn a_disk_whose_table_was_lost_is_not_free_while_a_partition_of_it_is_ours() {
    let mut whole = Case::clean();
    let id = whole.tree.disk("sda").identify().id().unwrap().clone();
    assert_eq!(whole.codes(), BTreeSet::new());
    let other = crate::facts::DiskId::from("naa.2".to_owned());
    for (disk, free) in [(other, true), (id, false)] {
        let part = disk.of_part("f47ac10b-58cc-4372-a567-0e02b2c3d479");
        whole.ours.disks = BTreeSet::from([part]);
        let judgement = whole.judge();
        let cleared = matches!(judgement.verdict, Verdict::Cleared { .. });
        assert_eq!(cleared, free, "{disk}: {judgement:?}");
        assert_eq!(whole.codes().contains("HasPartitions"), !free);
    }
}
