use super::fixture::Tree;
use super::*;
use lvmd::units::{Bytes, GIB};

#[test]
fn a_sata_disk_is_read_whole() {
    let mut tree = Tree::new();
    tree.sata("sda", "8:0", "A1");
    let disk = tree.disk("sda");
    assert_eq!(disk.problems, Vec::<String>::new());
    assert_eq!(disk.dev, Some(DevNo { major: 8, minor: 0 }));
    assert_eq!(disk.driver.as_deref(), Some("sd"));
    assert_eq!(disk.size, Some(Bytes(20 * GIB)));
    assert_eq!(
        (disk.logical_sector, disk.physical_sector),
        (Some(512), Some(4096))
    );
    assert_eq!(disk.transport, Some(Transport::Sata));
    assert_eq!(disk.vendor.as_deref(), Some("ATA"));
    assert_eq!(disk.model.as_deref(), Some("TEST DISK 20G"));
    assert_eq!(disk.serial.as_deref(), Some("A1"));
    assert_eq!(disk.states, ["running"]);
    assert_eq!(disk.scsi_type, Some(0));
    assert_eq!(disk.suspended, None);
    assert_eq!(
        disk.stat,
        Some(IoStat {
            reads: 9,
            writes: 4,
            sectors_written: 5,
            discards: 1
        })
    );
    assert_eq!(
        disk.identify().id().unwrap().as_str(),
        "naa.5000c500000000A1"
    );
    assert!(disk.sysfs_path.starts_with("/sys/devices/pci0000:00/"));
}

#[test]
fn an_nvme_disk_is_pcie_only_when_every_path_is() {
    let mut tree = Tree::new();
    let head = "virtual/nvme-subsystem/nvme-subsys0";
    tree.block(&format!("{head}/nvme0n1"), "259:0");
    tree.link("..", &format!("sys/devices/{head}/nvme0n1/device"));
    for (controller, transport) in [("nvme0", "pcie"), ("nvme1", "pcie")] {
        tree.write(
            &format!("sys/devices/{head}/{controller}/transport"),
            transport,
        );
        tree.write(&format!("sys/devices/{head}/{controller}/state"), "live\n");
    }
    tree.write(&format!("sys/devices/{head}/serial"), "S1\n");
    tree.write(
        &format!("sys/devices/{head}/nvme0n1/wwid"),
        "eui.0025385b71b0a2f1\n",
    );
    let disk = tree.disk("nvme0n1");
    assert_eq!(disk.transport, Some(Transport::Nvme));
    assert_eq!(disk.states, ["live", "live"]);
    assert_eq!(disk.serial.as_deref(), Some("S1"));
    assert_eq!(
        disk.identify().id().unwrap().as_str(),
        "eui.0025385b71b0a2f1"
    );

    tree.write(&format!("sys/devices/{head}/nvme1/transport"), "tcp\n");
    assert_eq!(tree.disk("nvme0n1").transport, Some(Transport::Nvmeof));
    tree.write(
        &format!("sys/devices/{head}/nvme1/transport"),
        "carrier-pigeon\n",
    );
    assert_eq!(tree.disk("nvme0n1").transport, None);
}

#[test]
fn what_cannot_be_read_is_a_problem_not_a_default() {
    let mut tree = Tree::new();
    tree.sata("sda", "8:0", "A1");
    std::fs::remove_file(tree.path("sys/block/sda/ro")).unwrap();
    tree.set("sda", "size", "many");
    tree.set("sda", "removable", "2");
    let disk = tree.disk("sda");
    assert_eq!(
        (disk.read_only, disk.size, disk.removable),
        (None, None, None)
    );
    assert_eq!(
        disk.problems,
        [
            "size: \"many\" is not understood",
            "ro: missing",
            "removable: 2 is neither 0 nor 1"
        ]
    );
}

#[test]
fn the_family_is_everything_stacked_on_the_disk() {
    let mut tree = Tree::new();
    tree.sata("sda", "8:0", "A1");
    tree.partition("sda", "sda1", "8:1");
    tree.block("virtual/block/dm-0", "252:0");
    tree.set("dm-0", "dm/name", "luks");
    tree.set("dm-0", "dm/uuid", "CRYPT-LUKS2-x");
    tree.block("virtual/block/dm-1", "252:1");
    tree.set("dm-1", "dm/name", "vg-lv");
    tree.set("dm-1", "dm/suspended", "1");
    tree.set("sda", "sda1/holders/dm-0/x", "");
    tree.set("dm-0", "holders/dm-1/x", "");
    let disk = tree.disk("sda");
    let names: Vec<&str> = disk.holders.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["dm-0", "dm-1"]);
    assert_eq!(disk.holders[0].of, "sda1");
    let family = disk.family();
    assert!(family.paths.contains("/dev/mapper/vg-lv") && family.paths.contains("/dev/sda1"));
    assert!(family.devs.contains(&DevNo {
        major: 252,
        minor: 1
    }));
    assert_eq!(tree.disk("dm-1").suspended, Some(true));
}

#[test]
fn every_user_of_block_devices_is_seen() {
    let tree = Tree::new();
    tree.write(
        "proc/swaps",
        "Filename Type Size Used Priority\n/dev/sdb\\0402 partition 1 0 -2\n",
    );
    tree.write("sys/fs/ext4/sdc1/lifetime_write_kbytes", "0");
    tree.write("sys/fs/btrfs/features/x", "0");
    tree.link(
        "../../../../devices/x/block/sdd",
        "sys/fs/btrfs/uuid-1/devices/sdd",
    );
    tree.link(
        "../../../devices/x/block/sde/bcache",
        "sys/fs/bcache/uuid-2/bdev0",
    );
    tree.link(
        "../../../../devices/x/block/sdf",
        "sys/fs/bcachefs/uuid-3/dev-0/block",
    );
    tree.write("sys/block/loop0/loop/backing_file", "/dev/sdg (deleted)\n");
    tree.write(
        "sys/kernel/config/target/core/iblock_0/lun0/udev_path",
        "/dev/sdh\n",
    );
    tree.write(
        "sys/kernel/config/target/core/fileio_1/lun1/info",
        "Status: ACTIVATED  Max Queue Depth: 0\n        TCM FILEIO ID: 0 File: /dev/sdj Size: 1\n",
    );
    tree.write(
        "sys/kernel/config/nvmet/subsystems/n/namespaces/1/device_path",
        "/dev/sdi\n",
    );
    tree.write(
        "proc/1/root/etc/multipath/wwids",
        "# Multipath wwids\n/35000c500a1/\n",
    );
    let host = tree.host();
    assert_eq!(host.problems, Vec::<String>::new());
    assert_eq!(host.swaps, Ok(vec!["/dev/sdb 2".to_owned()]));
    let members: Vec<&str> = host.fs_members.iter().map(|m| m.device.as_str()).collect();
    for device in ["sdc1", "sdd", "sde", "sdf"] {
        assert!(members.contains(&device), "{device} of {members:?}");
    }
    let backings: Vec<&str> = host.backings.iter().map(|b| b.path.as_str()).collect();
    assert_eq!(backings, ["/dev/sdg", "/dev/sdh", "/dev/sdj", "/dev/sdi"]);
    assert_eq!(host.multipath_wwids, ["35000c500a1"]);
    assert_eq!(host.mounts.unwrap().len(), 1);
}

#[test]
fn mounts_of_others_count_once_and_only_where_they_are_of_a_device() {
    let tree = Tree::new();
    tree.write(
        "proc/1/mountinfo",
        "20 1 8:4 / / rw - ext4 /dev/sda4 rw\n21 20 0:6 / /dev rw - devtmpfs udev rw\n",
    );
    tree.link("mnt:[1]", "proc/1/ns/mnt");
    // A thread of PID 1's, two processes of one container, and one that ended meanwhile.
    tree.link("mnt:[1]", "proc/2/ns/mnt");
    for pid in [70, 71] {
        tree.link("mnt:[2]", &format!("proc/{pid}/ns/mnt"));
        tree.write(
            &format!("proc/{pid}/mountinfo"),
            "30 1 0:31 / / rw - overlay overlay rw\n31 30 8:4 /logs /logs rw - ext4 /dev/sda4 rw\n\
             32 30 8:16 / /data rw - vfat /dev/sdb rw\n33 30 0:6 /null /proc/kcore rw - devtmpfs udev rw\n\
             34 30 0:6 /sdc//deleted /dev/xvda rw - devtmpfs udev rw\n",
        );
    }
    tree.link("mnt:[3]", "proc/72/ns/mnt");
    let host = tree.host();
    let foreign: Vec<&str> = host
        .foreign
        .iter()
        .map(|f| f.mount.source.as_str())
        .collect();
    assert_eq!(foreign, ["/dev/sdb"]);
    let nodes: Vec<(Option<&str>, &str, u32)> = (host.nodes.iter())
        .map(|n| (n.node.as_deref(), n.mount_point.as_str(), n.pid))
        .collect();
    assert_eq!(
        nodes,
        [
            (Some("/dev/null"), "/proc/kcore", 70),
            (Some("/dev/sdc"), "/dev/xvda", 70)
        ]
    );
}

#[test]
fn a_table_that_cannot_be_read_is_unknown_not_empty() {
    let tree = Tree::new();
    tree.write("proc/1/mountinfo", "rubbish\n");
    std::fs::remove_file(tree.path("proc/swaps")).unwrap();
    let host = tree.host();
    assert!(host.mounts.is_err() && host.swaps.is_err());
}

#[test]
fn this_machine_can_be_read() {
    if let Ok(disks) = read_all(&Root::host(), &UdevDb::default()) {
        for disk in disks {
            assert!(disk.dev.is_some(), "{disk:?}");
        }
    }
}

#[test]
fn a_captured_machine_with_virtio_disks_reads_without_problems() {
    let tree = Tree::captured(include_str!("../../tests/fixtures/sysfs-6.18-virtio.txt"));
    let vda = tree.disk("vda");
    assert_eq!(vda.problems, Vec::<String>::new());
    assert_eq!(vda.transport, Some(Transport::Virtio));
    assert_eq!(vda.driver.as_deref(), Some("virtblk"));
    assert_eq!(
        vda.identify().id().unwrap().as_str(),
        "serial.0x1af4.overlayblk"
    );
    for name in ["loop0", "zram0"] {
        let disk = tree.disk(name);
        assert_eq!(disk.problems, Vec::<String>::new(), "{name}");
        assert_eq!(disk.transport, None, "{name}");
    }
}

#[test]
fn a_captured_uml_guest_has_a_disk_without_id_and_one_of_scsi_debug() {
    let tree = Tree::captured(include_str!("../../tests/fixtures/sysfs-6.12-uml.txt"));
    let ubda = tree.disk("ubda");
    assert_eq!(ubda.problems, Vec::<String>::new());
    assert_eq!(ubda.transport, Some(Transport::Ubd));
    assert_eq!(ubda.driver.as_deref(), Some("ubd"));
    assert_eq!(ubda.identify(), Identified::Missing);
    let sda = tree.disk("sda");
    assert_eq!(sda.problems, Vec::<String>::new());
    assert_eq!(sda.transport, Some(Transport::ScsiDebug));
    assert_eq!(sda.states, ["running"]);
    assert_eq!(
        sda.identify().id().unwrap().as_str(),
        "naa.33333330000007d0"
    );
    assert_eq!(sda.serial.as_deref(), Some("2000"));
}

#[test]
fn a_captured_qemu_guest_has_every_bus() {
    let tree = Tree::captured(include_str!("../../tests/fixtures/sysfs-6.12-qemu.txt"));
    let disks = read_all(&tree.root(), &UdevDb::default()).unwrap();
    let seen: Vec<_> = disks
        .iter()
        .map(|disk| {
            assert_eq!(disk.problems, Vec::<String>::new(), "{}", disk.name);
            let id = disk.identify().id().map(ToString::to_string);
            (
                disk.name.as_str(),
                disk.transport,
                disk.serial.as_deref(),
                id,
            )
        })
        .collect();
    let id = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            (
                "nvme0n1",
                Some(Transport::Nvme),
                Some("basalt-nvme1"),
                id("nvme.1b36-626173616c742d6e766d6531-51454d55204e564d65204374726c-00000001")
            ),
            // virtio-scsi without serial= and wwn=.
            ("sda", Some(Transport::Scsi), None, None),
            (
                "sdb",
                Some(Transport::Sata),
                Some("basalt-sata1"),
                id("t10.ATA_QEMU_HARDDISK_basalt-sata1")
            ),
            (
                "sdc",
                Some(Transport::Scsi),
                Some("basalt-vs1"),
                id("naa.5000c50015ea71ac")
            ),
            // Its serial number is known to udev only.
            ("sdd", Some(Transport::Usb), None, None),
            (
                "vda",
                Some(Transport::Virtio),
                Some("basalt-vb1"),
                id("serial.0x1af4.basalt-vb1")
            ),
        ]
    );
    assert_eq!(disks[0].states, ["live"]);
}
