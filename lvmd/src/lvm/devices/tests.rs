use super::*;

fn listed(name: &str, uuid: &str, minor: u32) -> dm::Listed {
    dm::Listed {
        name: name.into(),
        uuid: Some(uuid.into()),
        devno: (254, minor),
        event_nr: 0,
    }
}

#[test]
fn volumes_memory_disks_and_drives_are_never_looked_at() {
    let partitions = "major minor  #blocks  name\n\n 259 0 1000 nvme0n1\n 259 1 500 nvme0n1p1\n 254 0 10 dm-0\n 254 1 10 dm-1\n 254 2 10 dm-2\n 7 0 9 loop0\n 1 0 9 ram0\n 251 0 9 zram0\n 11 0 9 sr0\n 8 0 9 sda\n";
    let mapped = [
        listed("vg-lv", "LVM-abc", 0),
        listed("mpatha", "mpath-360", 1),
    ];
    let names: Vec<_> = candidates(partitions, &mapped)
        .into_iter()
        .map(|c| (c.name, c.rank))
        .collect();
    let expected = [
        ("nvme0n1", Rank::Disk),
        ("nvme0n1p1", Rank::Disk),
        ("dm-1", Rank::Disk),
        ("loop0", Rank::Virtual),
        ("sda", Rank::Disk),
    ];
    assert_eq!(
        names,
        expected.map(|(n, r)| (n.to_owned(), r)),
        "dm-2 is unknown to device-mapper's list: not looked at"
    );
}

#[test]
fn what_stands_on_a_volume_is_not_trusted_as_a_disk() {
    let sys = tempfile::tempdir().unwrap();
    let below = |upper: &str, lower: &str| {
        let dir = sys.path().join("dev/block").join(upper).join("slaves/x");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("dev"), format!("{lower}\n")).unwrap();
    };
    // An encrypted partition of a volume, and an encrypted disk.
    below("254:2", "254:1");
    below("254:1", "254:0");
    below("254:3", "8:0");
    let mapped = [
        listed("vg-lv", "LVM-abc", 0),
        listed("vg-lv1", "part1-LVM-abc", 1),
        listed("guest", "CRYPT-a", 2),
        listed("own", "CRYPT-b", 3),
    ];
    let on_lv = |minor| stands_on_lv(sys.path(), (254, minor), &mapped, 0);
    assert!(on_lv(2) && on_lv(1) && !on_lv(3));
}

#[test]
fn a_label_is_read_from_a_file_like_from_a_disk() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = dir.path().join("disk");
    let mut image = include_bytes!("../../../tests/fixtures/pv-head-lvm2-2.03.31.bin").to_vec();
    image.resize(1 << 20, 0);
    fs::write(&path, &image).unwrap();
    let (label, keys) = read_label(&path).unwrap().unwrap();
    assert_eq!((label.mdas.len(), keys.len()), (1, 1));
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    assert_eq!(read_label(&path).unwrap(), None);
}
