//! One block device, as `/sys/block` and udev's database describe it.

mod read;

pub(super) use self::read::{holders_of, read, stat};

use std::collections::BTreeSet;

use lvmd::units::Bytes;
use serde::Serialize;

use super::id::{Identified, identify};
use super::part::Part;
use super::udev::UdevRecord;
use super::{DevNo, Transport};
use crate::files::MadeFile;
use crate::labels::Labels;

/// What is known about one whole block device, or about a partition that is to be one. `None` where
/// the kernel says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskFacts {
    /// Its kernel name, such as `sda`.
    pub name: String,
    /// Its device number.
    pub dev: Option<DevNo>,
    /// The driver its major number belongs to, of `/proc/devices`.
    pub driver: Option<String>,
    /// A number no other disk gets until the next boot (Linux 5.15).
    pub diskseq: Option<u64>,
    /// Its size.
    pub size: Option<Bytes>,
    /// The unit it addresses, in bytes.
    pub logical_sector: Option<u32>,
    /// The unit it writes without reading first, in bytes.
    pub physical_sector: Option<u32>,
    /// What it likes to be written in, in bytes.
    pub io_size: Option<u32>,
    /// Whether it refuses writes.
    pub read_only: Option<bool>,
    /// Whether the medium can leave the drive.
    pub removable: Option<bool>,
    /// Whether the kernel keeps it for itself: one path of a multipath NVMe namespace.
    pub hidden: bool,
    /// Whether it rotates.
    pub rotational: Option<bool>,
    /// `none`, `host-managed` or `host-aware`.
    pub zoned: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its vendor.
    pub vendor: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its world-wide name.
    pub wwid: Option<String>,
    /// The UUID an NVMe namespace says it has.
    pub uuid: Option<String>,
    /// What the kernel finds its driver by.
    pub modalias: Option<String>,
    /// The file of ours behind it, where it is a loop device that stands in for a disk.
    pub file: Option<MadeFile>,
    /// Where it is a partition: of which disk, and which.
    pub part: Option<Box<Part>>,
    /// The labels that people put on its NodeDisk object; `None`: they are not known.
    pub labels: Option<Labels>,
    /// How it is attached; `None` when the bus is not one we know.
    pub transport: Option<Transport>,
    /// Its directory, from `/sys` on.
    pub sysfs_path: String,
    /// The SCSI peripheral device type, where there is one (0 is a disk).
    pub scsi_type: Option<u32>,
    /// The states of the SCSI device or of the NVMe controllers that lead to it.
    pub states: Vec<String>,
    /// Its partitions, as the kernel sees them.
    pub partitions: Vec<Partition>,
    /// Everything stacked on it or on its partitions, all the way up.
    pub holders: Vec<Holder>,
    /// What it is stacked on itself; none for a disk.
    pub slaves: Vec<String>,
    /// Whether it is a suspended device-mapper device; `None` when it is none.
    pub suspended: Option<bool>,
    /// What passed through it since boot.
    pub stat: Option<IoStat>,
    /// udev's record of it.
    pub udev: UdevRecord,
    /// Whether udevd runs, so that the record will be initialized some time.
    pub udev_running: bool,
    /// What could not be read, and why.
    pub problems: Vec<String>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its kernel name.
    pub name: String,
    /// Its device number.
    pub dev: Option<DevNo>,
    /// Its links under `/dev`.
    pub links: Vec<String>,
    /// Its name in the partition table, where udev read one.
    pub label: Option<String>,
    /// Its type in the partition table, where udev read one.
    pub type_guid: Option<String>,
}

/// A device that is stacked on a disk, a partition, or another holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its kernel name.
    pub name: String,
    /// What it holds.
    pub of: String,
    /// Its device number.
    pub dev: Option<DevNo>,
    /// Its name in device-mapper, where it is one of its devices.
    pub dm_name: Option<String>,
    /// Its uuid in device-mapper, such as `mpath-3600...` or `LVM-...`.
    pub dm_uuid: Option<String>,
}

/// Counters of `/sys/block/*/stat` (Documentation/block/stat.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IoStat {
    /// Reads completed.
    pub reads: u64,
    /// Writes completed.
    pub writes: u64,
    /// Sectors of 512 bytes written.
    pub sectors_written: u64,
    /// Discards completed.
    pub discards: u64,
}

/// Every number and path by which a disk and what is stacked on it can be named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// Kernel names.
    pub names: BTreeSet<String>,
    /// Device numbers.
    pub devs: BTreeSet<DevNo>,
    /// Paths under `/dev`.
    pub paths: BTreeSet<String>,
}

impl DiskFacts {
    /// Its device node.
    pub fn node(&self) -> String {
        node(&self.name)
    }

    /// Its links under `/dev`.
    pub fn links(&self) -> &[String] {
        &self.udev.links
    }

    /// Whether this path under `/dev` names it now.
    pub fn is_called(&self, path: &str) -> bool {
        self.node() == path || self.links().iter().any(|link| link == path)
    }

    /// The disk, or the one that it is a partition of.
    pub fn whole(&self) -> &Self {
        self.part.as_ref().map_or(self, |part| &part.disk)
    }

    /// Which disk it is.
    pub fn identify(&self) -> Identified {
        if let Some(part) = &self.part {
            return part.identify();
        }
        identify(
            self.wwid.as_deref(),
            self.vendor.as_deref(),
            self.model.as_deref(),
            self.serial.as_deref(),
        )
    }

    /// Which disk it is when its WWID is left aside.
    pub fn identify_by_serial(&self) -> Identified {
        identify(
            None,
            self.vendor.as_deref(),
            self.model.as_deref(),
            self.serial.as_deref(),
        )
    }

    /// Every name of the disk, its partitions and its holders. Of a partition: its own, those of what
    /// is on it, and those of its whole disk, for who uses all of that uses the partition.
    pub fn family(&self) -> Family {
        let mut family = Family::default();
        let mut add = |name: &str, dev: Option<DevNo>, links: &[String]| {
            family.names.insert(name.to_owned());
            family.paths.insert(node(name));
            family.paths.extend(links.iter().cloned());
            if let Some(dev) = dev {
                family.devs.insert(dev);
                family.paths.insert(format!("/dev/block/{dev}"));
            }
        };
        add(&self.name, self.dev, &self.udev.links);
        if let Some(part) = &self.part {
            add(&part.disk.name, part.disk.dev, &part.disk.udev.links);
        }
        for partition in &self.partitions {
            add(&partition.name, partition.dev, &partition.links);
        }
        for holder in &self.holders {
            let mapped: Vec<String> = holder
                .dm_name
                .iter()
                .map(|name| format!("/dev/mapper/{name}"))
                .collect();
            add(&holder.name, holder.dev, &mapped);
        }
        family
    }
}

/// The node of a kernel name: the kernel writes `!` where the node has a `/`.
fn node(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}
