use super::*;
use crate::facts::fixture::Tree;

/// Three disks as Talos' manual shows them: NVMe, SATA with links, virtio-scsi.
fn disks() -> [DiskFacts; 3] {
    let mut tree = Tree::new();
    tree.block("pci0000:00/0000:00:09.0/nvme/nvme0/nvme0n1", "259:0");
    let controller = "sys/devices/pci0000:00/0000:00:09.0/nvme/nvme0";
    tree.write(&format!("{controller}/transport"), "pcie\n");
    tree.link("..", &format!("{controller}/nvme0n1/device"));
    tree.set("nvme0n1", "size", "20480000");
    tree.set(
        "nvme0n1",
        "wwid",
        "nvme.1b36-6465616462656566-51454d55204e564d65204374726c-00000001",
    );
    tree.write(&format!("{controller}/model"), "QEMU NVMe Ctrl\n");
    tree.write(&format!("{controller}/serial"), "deadbeef\n");
    tree.sata("sda", "8:0", "QM00001");
    tree.links(
        "sda",
        &[
            "/dev/disk/by-diskseq/11",
            "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
        ],
    );
    tree.set("sda", "queue/rotational", "1");
    let virtio = "pci0000:00/0000:00:05.0/virtio2/host6/target6:0:0/6:0:0:0";
    tree.scsi(virtio, "sdb", "8:16", "A1");
    ["nvme0n1", "sda", "sdb"].map(|name| tree.disk(name))
}

fn answers(text: &str) -> [bool; 3] {
    let cel = Cel::new(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    disks().map(|disk| {
        cel.picks(&disk, false)
            .unwrap_or_else(|e| panic!("{text}: {e}"))
    })
}

/// The expressions of Talos' manual (Common Configuration, disk selector; 1.12 to 1.14)
/// and of its own tests, with the answers its fields give.
#[test]
fn talos_published_expressions_give_talos_answers() {
    for (text, wanted) in [
        ("disk.transport == 'nvme'", [true, false, false]),
        (
            "disk.transport == \"nvme\" && !system_disk",
            [true, false, false],
        ),
        ("disk.transport == 'virtio'", [false, false, true]),
        (
            "disk.transport == 'scsi' && disk.size < 2u * TiB",
            [false, false, false],
        ),
        (
            "disk.serial.startsWith('deadbeef') && !disk.cdrom",
            [true, false, false],
        ),
        (
            "'/dev/disk/by-path/pci-0000:00:1f.2-ata-1' in disk.symlinks",
            [false, true, false],
        ),
        ("disk.size > 10u * GiB", [false, true, true]),
        (
            "disk.size > 10u * GB && disk.size < 1u * TB",
            [true, true, true],
        ),
        (
            "disk.size > 1000u * GiB && !disk.rotational",
            [false, false, false],
        ),
        ("disk.rotational", [false, true, false]),
        ("system_disk", [false, false, false]),
        (
            "!disk.readonly && disk.model.startsWith('QEMU')",
            [true, false, false],
        ),
        ("glob('*NVMe*', disk.model)", [true, false, false]),
        (
            "disk.bus_path == '/pci0000:00/0000:00:09.0/nvme'",
            [true, false, false],
        ),
        ("disk.wwid.matches('^naa[.]5000c500')", [false, true, true]),
        (
            "disk.symlinks.exists(l, l.startsWith('/dev/disk/by-path/'))",
            [false, true, false],
        ),
        (
            "disk.sub_system == '/sys/class/block' && disk.sector_size == 512u",
            [true, true, true],
        ),
        ("disk.pretty_size == '10 GB'", [true, false, false]),
        (
            "disk.model.size() > 13 ? disk.transport == 'nvme' : disk.rotational",
            [true, true, false],
        ),
    ] {
        assert_eq!(answers(text), wanted, "{text}");
    }
}

#[test]
fn what_can_never_be_told_is_refused_when_it_is_read() {
    for (text, wanted) in [
        ("", "column"),
        ("disk.transport ==", "column"),
        // Talos' manual has this one with the mistake in it.
        (
            "disk.serial.startsWith('deadbeef') && !cdrom",
            "write disk.cdrom",
        ),
        ("disk.siez > 1u", "has no field \"siez\""),
        ("disk.size > 10 * GiB", "write 10u * GiB"),
        ("disk.rotational || disk.size * 'x' > 1u", "'mul'"),
        ("disk.size", "true or false"),
        ("disk.model.lower() == 'x'", "no function \"lower\""),
        ("disk.model.matches('(')", "matches"),
        ("disk.model.matches('((a{99}){99}){99}')", "matches"),
        ("volume.name == 'x'", "only disk has fields"),
        ("volume == 'x'", "\"volume\" is not known"),
        ("[1, 2].exists(x, x == 1)", "run over disk.symlinks"),
        (
            "disk.symlinks.exists(a, disk.symlinks.exists(b, a == b))",
            "run over disk.symlinks",
        ),
        ("disk.model.x == 'y'", "only disk has fields"),
        ("{'a': 1}.a == 1", "only disk has fields"),
    ] {
        let error = Cel::new(text).expect_err(text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn a_hostile_text_is_refused_soon() {
    let deep = |open: &str, close: &str, times: usize| {
        format!(
            "{}disk.rotational{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    for text in [
        deep("(", ")", 450),
        deep("!", "", 900),
        deep("[", "]", 450),
        format!("disk.model{} == ''", ".a".repeat(480)),
        format!("disk.size > {}1u", "1u + ".repeat(190)),
        format!("disk.model == '{}'", "x".repeat(2000)),
        "'".repeat(1000),
        "\u{0}\u{ffff}?:?:?:[{(".to_owned(),
    ] {
        let started = std::time::Instant::now();
        let _ = Cel::new(&text);
        assert!(started.elapsed().as_secs() < 10, "{text:.40}");
    }
    assert!(Cel::new(&deep("(", ")", 450)).is_err());
    assert!(
        Cel::new(&format!("disk.model == '{}'", "x".repeat(2000)))
            .unwrap_err()
            .contains("1024")
    );
}

#[test]
fn a_value_that_is_not_known_picks_nothing() {
    let mut disk = disks()[0].clone();
    disk.rotational = None;
    let cel = Cel::new("!disk.rotational").unwrap();
    assert_eq!(
        cel.picks(&disk, false),
        Err("disk.rotational is not known".to_owned())
    );
    // What a disk does not say of itself is empty, as in Talos.
    disk.model = None;
    assert_eq!(
        Cel::new("!disk.model.startsWith('QEMU')")
            .unwrap()
            .picks(&disk, false),
        Ok(true)
    );
}

proptest::proptest! {
    #[test]
    fn no_text_and_no_disk_makes_it_fail(
        text in "(disk|[.]|model|size|symlinks|[(]|[)]|'a'|u|1|[ &|!<>=+*-]|[?:]|in|exists|x|,|[\\[\\]]){0,40}",
        model in ".{0,20}",
    ) {
        if let Ok(cel) = Cel::new(&text) {
            let mut disk = disks()[0].clone();
            disk.model = Some(model);
            let _ = cel.picks(&disk, true);
        }
    }
}
