//! Partition tables as the safety rules need them: entries, system disks, damage, both copies.

use crate::fixtures::{fixture, look};
use disk_watcher::probe::SignatureKind;
use disk_watcher::probe::gpt::Copy;
use disk_watcher::probe::image::Sparse;

#[test]
fn reads_the_entries_of_both_copies() {
    let found = look(&fixture("gpt-sgdisk"));
    let copies: Vec<_> = found
        .gpt
        .iter()
        .map(|table| (table.copy, table.block))
        .collect();
    assert_eq!(copies, [(Copy::Primary, 512), (Copy::Backup, 512)]);
    assert_eq!(found.gpt[0].partitions, found.gpt[1].partitions);
    assert_eq!(found.gpt[0].disk_guid, found.gpt[1].disk_guid);
    for table in &found.gpt {
        assert!(table.header_valid && table.entries_valid);
        let [data, lvm] = &table.partitions[..] else {
            panic!("{table:?}");
        };
        assert_eq!((data.number, data.name.as_str()), (1, "data"));
        assert_eq!(data.type_guid, "0fc63daf-8483-4772-8e79-3d69d8477de4");
        assert_eq!((data.first_lba, data.last_lba), (2048, 2048 + 16_383));
        assert_eq!(lvm.type_guid, "e6d6d379-f507-44c2-a23c-238f2a3df928");
        assert_ne!(data.guid, lvm.guid);
    }
    assert_eq!(found.system_partitions().count(), 0);
}

#[test]
fn reads_a_table_of_4096_byte_blocks() {
    let found = look(&fixture("gpt-4096"));
    assert!(
        found
            .gpt
            .iter()
            .all(|table| table.block == 4096 && table.header_valid && table.entries_valid)
    );
    assert_eq!(found.gpt.len(), 2);
    assert_eq!(found.gpt[1].partitions[0].name, "data");
}

#[test]
fn tells_the_system_disk_by_either_copy() {
    let names = |image: &Sparse| {
        let found = look(image);
        found
            .system_partitions()
            .map(|partition| partition.name.clone())
            .collect::<Vec<_>>()
    };
    let whole = fixture("gpt-talos");
    let system = ["EFI", "BIOS", "BOOT", "META", "STATE", "EPHEMERAL"];
    assert_eq!(names(&whole), [system, system].concat());
    let mut backup_only = whole.clone();
    backup_only.put(0, &[0; 64 << 10]);
    assert_eq!(names(&backup_only), system);
    let mut primary_only = whole;
    primary_only.put_back(64 << 10, &[0; 64 << 10]);
    assert_eq!(names(&primary_only), system);
}

#[test]
fn a_damaged_header_or_array_still_shows() {
    let mut image = fixture("gpt-talos");
    image.put(512 + 40, &[0xFF]);
    let found = look(&image);
    assert!(!found.gpt[0].header_valid && found.gpt[0].entries_valid);
    assert_eq!(found.gpt[0].partitions.len(), 6);

    image.put(1024 + 56, b"X");
    let found = look(&image);
    assert!(!found.gpt[0].entries_valid);
    assert_eq!(found.gpt[0].partitions[0].name, "XFI");
    assert!(found.gpt[0].partitions[0].is_system());

    // An array that lies outside the disk, and one of absurd size.
    for field in [&u64::MAX.to_le_bytes()[..], &(1_u64 << 40).to_le_bytes()] {
        image.put(512 + 72, field);
        let found = look(&image);
        assert_eq!(found.gpt[0].partitions, []);
        assert!(
            found
                .signatures
                .iter()
                .any(|finding| finding.kind == SignatureKind::Gpt)
        );
    }
    image.put(512 + 80, &[0xFF; 8]);
    assert_eq!(look(&image).gpt[0].partitions, []);
}

#[test]
fn an_empty_label_is_a_label() {
    let found = look(&fixture("dos-empty"));
    let [finding] = &found.signatures[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (finding.kind, finding.detail.as_str()),
        (SignatureKind::Dos, "empty")
    );
}
