//! Trees of `/sys` and `/proc` for tests, laid out as the kernel does.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{DiskFacts, HostFacts, HostProof, Root, UdevDb, UdevRecord};

/// `/proc/devices` of a machine that has every driver we name.
const DEVICES: &str = "Character devices:\n  1 mem\n  8 sg\n\nBlock devices:\n  1 ramdisk\n  \
    7 loop\n  8 sd\n  9 md\n 11 sr\n 43 nbd\n 65 sd\n 98 ubd\n147 drbd\n179 mmc\n230 zvol\n\
    252 device-mapper\n253 zram\n254 virtblk\n259 blkext\n";

/// A tree that tests add devices to.
#[derive(Debug)]
pub(crate) struct Tree {
    dir: TempDir,
    pub(crate) udev: UdevDb,
}

impl Tree {
    /// A host without disks.
    pub(crate) fn new() -> Self {
        let tree = Self {
            dir: tempfile::tempdir().unwrap(),
            udev: UdevDb {
                running: true,
                ..UdevDb::default()
            },
        };
        std::fs::create_dir_all(tree.path("sys/block")).unwrap();
        tree.write("proc/devices", DEVICES);
        tree.write(
            "proc/swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        );
        tree.write(
            "proc/1/mountinfo",
            "22 1 0:21 / /proc rw shared:1 - proc proc rw\n",
        );
        tree
    }

    /// A tree captured from a machine by `capture.sh`, which stands beside it: a line is
    /// `L`, path, target of a link, or `F`, path, contents of a file in hex.
    pub(crate) fn captured(text: &str) -> Self {
        let tree = Self {
            dir: tempfile::tempdir().unwrap(),
            udev: UdevDb::default(),
        };
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            match word() {
                "L" => {
                    let path = word();
                    tree.link(word(), path);
                }
                "F" => {
                    let path = word();
                    let hex = word().as_bytes();
                    let nibble = |b: u8| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap();
                    let bytes: Vec<u8> = hex
                        .chunks(2)
                        .map(|pair| nibble(pair[0]) << 4 | nibble(pair[1]))
                        .collect();
                    tree.write(path, bytes);
                }
                _ => {}
            }
        }
        tree
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(self.dir.path())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes a link, with the directories above it.
    pub(crate) fn link(&self, target: impl AsRef<Path>, path: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Adds a device whose directory is `devices` below `/sys/devices`; its attributes
    /// are those of an empty 20 GiB disk until overwritten.
    pub(crate) fn block(&mut self, devices: &str, dev: &str) -> String {
        let base = format!("sys/devices/{devices}");
        let name = devices.rsplit('/').next().unwrap().to_owned();
        let diskseq = 10 + self.udev.records.len();
        for (attribute, value) in [
            ("dev", dev.to_owned()),
            ("diskseq", diskseq.to_string()),
            ("size", "41943040".to_owned()),
            ("ro", "0".to_owned()),
            ("removable", "0".to_owned()),
            ("hidden", "0".to_owned()),
            ("stat", "9 0 72 3 4 0 5 6 0 7 8 1 0 0 0 0 0".to_owned()),
            ("queue/logical_block_size", "512".to_owned()),
            ("queue/physical_block_size", "4096".to_owned()),
            ("queue/rotational", "0".to_owned()),
            ("queue/zoned", "none".to_owned()),
        ] {
            self.write(&format!("{base}/{attribute}"), format!("{value}\n"));
        }
        for dir in ["holders", "slaves"] {
            std::fs::create_dir_all(self.path(&format!("{base}/{dir}"))).unwrap();
        }
        self.link(
            format!("../devices/{devices}"),
            &format!("sys/block/{name}"),
        );
        self.udev.records.insert(
            name.clone(),
            UdevRecord {
                initialized: true,
                ..UdevRecord::default()
            },
        );
        name
    }

    /// Adds a SATA disk with a serial number and a WWID.
    pub(crate) fn sata(&mut self, name: &str, dev: &str, serial: &str) {
        let device = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0";
        self.scsi(&format!("{device}-{name}"), name, dev, serial);
    }

    /// Adds a SCSI disk below `device`.
    pub(crate) fn scsi(&mut self, device: &str, name: &str, dev: &str, serial: &str) {
        self.block(&format!("{device}/block/{name}"), dev);
        let device_dir = format!("sys/devices/{device}");
        self.write(&format!("{device_dir}/vendor"), "ATA     \n");
        self.write(&format!("{device_dir}/model"), "TEST DISK 20G   \n");
        self.write(&format!("{device_dir}/state"), "running\n");
        self.write(&format!("{device_dir}/type"), "0\n");
        self.write(
            &format!("{device_dir}/wwid"),
            format!("naa.5000c500{serial:0>8}\n"),
        );
        let mut page = vec![0, 0x80, 0, u8::try_from(serial.len()).unwrap()];
        page.extend_from_slice(serial.as_bytes());
        self.write(&format!("{device_dir}/vpd_pg80"), page);
        self.link("../..", &format!("{device_dir}/block/{name}/device"));
        self.links(
            name,
            &[&format!("/dev/disk/by-id/ata-TEST_DISK_20G_{serial}")],
        );
    }

    /// Sets the links of a device.
    pub(crate) fn links(&mut self, name: &str, links: &[&str]) {
        let record = self.udev.records.entry(name.to_owned()).or_default();
        record.links = links.iter().map(|link| (*link).to_owned()).collect();
    }

    /// Overwrites an attribute of a device.
    pub(crate) fn set(&self, name: &str, attribute: &str, value: &str) {
        let dir = self.path("sys/block").join(name).canonicalize().unwrap();
        let file = dir.join(attribute);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, format!("{value}\n")).unwrap();
    }

    /// Adds a partition of 1 GiB, whose number is the end of its name.
    pub(crate) fn partition(&mut self, disk: &str, name: &str, dev: &str) {
        let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        for (attribute, value) in [
            ("partition", number),
            ("dev", dev),
            ("start", "2048"),
            ("size", "2097152"),
            ("ro", "0"),
            ("stat", "9 0 72 3 4 0 5 6 0 7 8 1 0 0 0 0 0"),
        ] {
            self.set(disk, &format!("{name}/{attribute}"), value);
        }
        let dir = self.path("sys/block").join(disk).canonicalize().unwrap();
        std::fs::create_dir_all(dir.join(name).join("holders")).unwrap();
        self.udev
            .records
            .entry(name.to_owned())
            .or_default()
            .initialized = true;
    }

    pub(crate) fn disk(&self, name: &str) -> DiskFacts {
        super::read(&self.root(), name, &self.udev).unwrap()
    }

    pub(crate) fn host(&self) -> HostFacts {
        HostFacts::read(&self.root(), HostProof::Proven("a test".to_owned()))
    }
}
