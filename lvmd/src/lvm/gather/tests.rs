use super::*;
use crate::lvm::label::{Area, Label};

const TEXT: &str = include_str!("../../../tests/fixtures/layouts-lvm2-2.03.31.vg");

fn group(text: &str) -> Result<Arc<Group>, Unsure> {
    Group::parse(text.as_bytes())
        .map(Arc::new)
        .map_err(Unsure::from)
}

fn device(n: usize, rank: Rank, pv_uuid: &str, crc: u32) -> Labelled {
    Labelled {
        path: format!("/dev/sd{n}").into(),
        devno: (8, u32::try_from(n).unwrap()),
        size: None,
        label: Label {
            pv_uuid: pv_uuid.into(),
            device_size: 0,
            data_start: 1 << 20,
            mdas: vec![Area {
                offset: 4096,
                size: 1 << 20,
            }],
            partitioned: false,
        },
        keys: vec![CommitKey {
            offset: 512,
            size: u64::from(crc != 0),
            crc,
            flags: 0,
        }],
        rank,
    }
}

/// The two PVs of the VG in [`TEXT`], with the same metadata, whose checksum we call 7.
fn whole() -> (Scan, Texts) {
    let pvs = group(TEXT).unwrap().pvs.clone();
    let devices = pvs
        .iter()
        .enumerate()
        .map(|(n, pv)| device(n, Rank::Disk, &pv.uuid, 7));
    let scan = Scan {
        labelled: devices.collect(),
        unreadable: vec![],
    };
    (scan, HashMap::from([((Rank::Disk, 1, 7), group(TEXT))]))
}

/// Why nothing is told, and what lvm must look at.
fn left(scan: &Scan, texts: &Texts) -> (Vec<&'static str>, Vec<usize>) {
    let gathered = vgs(scan, texts, &[]);
    assert!(gathered.vgs.is_empty(), "{:?}", gathered.unsure);
    (
        gathered
            .unsure
            .iter()
            .map(|(_, unsure)| unsure.code())
            .collect(),
        gathered.left,
    )
}

#[test]
fn a_whole_group_is_told_and_orphans_are_nobodys() {
    let (mut scan, texts) = whole();
    scan.labelled.push(device(2, Rank::Disk, "orphan", 0));
    let gathered = vgs(&scan, &texts, &[]);
    assert_eq!(
        (gathered.vgs[0].1.name.as_str(), gathered.left),
        ("vg", vec![])
    );
    assert_eq!(gathered.vgs[0].1.pvs[1].device, "/dev/sd1");
    assert!(gathered.unsure.is_empty());
    let uuid = gathered.vgs[0].1.uuid.clone();
    let gathered = vgs(&scan, &texts, &[uuid]);
    assert_eq!((gathered.vgs.len(), gathered.left), (0, vec![0, 1, 2]));
}

#[test]
fn a_label_behind_a_partition_table_is_a_question() {
    let (mut scan, texts) = whole();
    scan.labelled[1].label.partitioned = true;
    assert_eq!(left(&scan, &texts), (vec!["flag"], vec![0, 1]));
}

#[test]
fn a_pv_that_is_missing_or_there_twice_is_a_question() {
    let (mut scan, texts) = whole();
    let second = scan.labelled.pop().unwrap();
    assert_eq!(left(&scan, &texts), (vec!["pv"], vec![0]));
    scan.labelled.extend([
        second.clone(),
        Labelled {
            rank: Rank::Virtual,
            keys: vec![],
            ..second
        },
    ]);
    assert_eq!(left(&scan, &texts), (vec!["pv"], vec![0, 1, 2]));
}

#[test]
fn copies_that_differ_or_are_ignored_are_a_question() {
    let (mut scan, mut texts) = whole();
    scan.labelled[1].keys[0].crc = 8;
    texts.insert(
        (Rank::Disk, 1, 8),
        group(&TEXT.replace("seqno = ", "seqno = 1")),
    );
    assert_eq!(left(&scan, &texts), (vec!["copies"], vec![0, 1]));
    texts.insert((Rank::Disk, 1, 8), Err(Unsure::Unreadable("torn".into())));
    assert_eq!(
        left(&scan, &texts),
        (vec!["unreadable", "copies"], vec![0, 1])
    );
    scan.labelled[1].keys[0] = CommitKey {
        flags: 1,
        ..scan.labelled[0].keys[0]
    };
    assert_eq!(left(&scan, &texts), (vec!["copies"], vec![0, 1]));
    // Two areas on one disk, one of them empty.
    let (mut scan, texts) = whole();
    scan.labelled[0].keys.push(CommitKey {
        offset: 0,
        size: 0,
        crc: 0,
        flags: 0,
    });
    assert_eq!(left(&scan, &texts), (vec!["copies"], vec![0, 1]));
}

#[test]
fn a_disk_that_came_back_after_it_was_removed_is_a_question() {
    let (mut scan, texts) = whole();
    scan.labelled.push(device(2, Rank::Disk, "removed", 7));
    assert_eq!(left(&scan, &texts), (vec!["pv"], vec![0, 1, 2]));
}

#[test]
fn a_text_nobody_understands_takes_disks_without_metadata_along() {
    let (mut scan, mut texts) = whole();
    scan.labelled.push(device(2, Rank::Disk, "other", 9));
    scan.labelled.push(Labelled {
        keys: vec![],
        ..device(3, Rank::Disk, "without", 0)
    });
    texts.insert((Rank::Disk, 1, 9), group("what"));
    let gathered = vgs(&scan, &texts, &[]);
    assert_eq!((gathered.vgs.len(), &gathered.left[..]), (1, &[2, 3][..]));
    assert_eq!(gathered.unsure[0].1.code(), "not_understood");
}

#[test]
fn a_twin_on_a_virtual_device_is_another_group() {
    let (mut scan, mut texts) = whole();
    let group_of = group(TEXT).unwrap();
    let twin = TEXT.replace(&group_of.uuid, "TWINAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA");
    let pvs = &group_of.pvs;
    let twin = twin.replace(&pvs[0].uuid, "TWINPV-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA");
    let twin = twin.replace(&pvs[1].uuid, "TWINPW-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA");
    for n in 0..2 {
        let uuid = ["TWINPV", "TWINPW"][n].to_owned() + "-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA";
        scan.labelled.push(device(2 + n, Rank::Virtual, &uuid, 7));
    }
    texts.insert((Rank::Virtual, 1, 7), group(&twin));
    let gathered = vgs(&scan, &texts, &[]);
    assert_eq!((gathered.vgs.len(), gathered.left), (2, vec![]));
    assert_ne!(gathered.vgs[0].1.uuid, gathered.vgs[1].1.uuid);
}

#[test]
fn what_only_lvm_judges_is_a_question() {
    let flagged = |from: &str, to: &str| {
        let (scan, mut texts) = whole();
        assert!(TEXT.contains(from), "{from}");
        texts.insert((Rank::Disk, 1, 7), group(&TEXT.replacen(from, to, 1)));
        let (codes, left) = left(&scan, &texts);
        assert_eq!(left, [0, 1], "{to}");
        codes[0]
    };
    for (from, to, code) in [
        ("\"RESIZEABLE\"", "\"RESIZEABLE\", \"EXPORTED\"", "flag"),
        (
            "\"RESIZEABLE\", \"READ\", \"WRITE\"",
            "\"RESIZEABLE\", \"READ\"",
            "flag",
        ),
        ("max_lv = 0", "max_lv = 0\nsystem_id = \"other\"", "flag"),
        ("max_lv = 0", "max_lv = 0\nlock_type = \"sanlock\"", "flag"),
        (
            "max_lv = 0",
            "max_lv = 0\nhistorical_logical_volumes {\n}",
            "flag",
        ),
        (
            "\"ALLOCATABLE\"]\nflags = []",
            "\"ALLOCATABLE\"]\nflags = [\"MISSING\"]",
            "flag",
        ),
        (
            "\"VISIBLE\"]\nflags = []",
            "\"VISIBLE\", \"NOTSYNCED\"]\nflags = []",
            "flag",
        ),
        ("type = \"error\"", "type = \"raid1\"", "segment_type"),
        ("type = \"thin\"", "type = \"thin+NEW\"", "segment_type"),
        ("cow_store", "merging_store", "segment_type"),
        (
            "origin = \"t1\"",
            "origin = \"t1\"\nmerge = \"t1\"",
            "segment_type",
        ),
        (
            "metadata = \"pool_tmeta\"",
            "metadata = \"nobody\"",
            "segment_type",
        ),
        (
            "discards = \"passdown\"",
            "discards = \"passdown\"\nmessage1 {\ncreate = \"nobody\"\n}",
            "segment_type",
        ),
        (
            "discards = \"passdown\"",
            "discards = \"passdown\"\nmessage1 {\nreserve = 1\n}",
            "not_understood",
        ),
    ] {
        assert_eq!(flagged(from, to), code, "{to}");
    }
}
