//! One whole block device, as `/sys/block` and udev's database describe it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lvmd::units::{Bytes, SECTOR};
use serde::Serialize;

use super::id::{Identified, identify};
use super::sysfs::Dir;
use super::udev::{UdevDb, UdevRecord};
use super::{DevNo, Root, Transport, transport};

/// What is known about one whole block device. `None` where the kernel says nothing.
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

    /// Which disk it is.
    pub fn identify(&self) -> Identified {
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

    /// Every name of the disk, its partitions and its holders.
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

/// Reads one device; `None` when there is none of that name.
pub(super) fn read(
    root: &Root,
    name: &str,
    udev: &UdevDb,
    drivers: &BTreeMap<u32, String>,
) -> Option<DiskFacts> {
    let sys = root.join("sys").canonicalize().ok()?;
    let path = root.join("sys/block").join(name).canonicalize().ok()?;
    let mut dir = Dir::new(path);
    let dev: Option<DevNo> = dir.required("dev");
    let sysfs_path = Path::new("/sys").join(dir.path().strip_prefix(&sys).unwrap_or(dir.path()));
    let transport = transport::of(dir.path());
    let record = udev.record(name);
    let partitions = partitions(&mut dir, udev);
    let holders = holders(root, &mut dir, name, &partitions);
    let described = Described::read(&mut dir, &record);
    let facts = DiskFacts {
        dev,
        driver: dev.and_then(|dev| drivers.get(&dev.major).cloned()),
        diskseq: dir.required("diskseq"),
        // Always in units of 512 bytes, whatever the disk's own sectors are.
        size: dir
            .required::<u64>("size")
            .and_then(|sectors| sectors.checked_mul(SECTOR))
            .map(Bytes),
        logical_sector: dir.required("queue/logical_block_size"),
        physical_sector: dir.required("queue/physical_block_size"),
        read_only: dir.required_flag("ro"),
        removable: dir.required_flag("removable"),
        hidden: dir
            .optional_as::<u32>("hidden")
            .is_some_and(|value| value != 0),
        rotational: dir.required_flag("queue/rotational"),
        zoned: dir.required("queue/zoned"),
        model: described.model,
        vendor: described.vendor,
        serial: described.serial,
        wwid: described.wwid,
        transport,
        sysfs_path: sysfs_path.to_string_lossy().into_owned(),
        scsi_type: dir
            .optional_as("device/type")
            .filter(|_| transport.is_some_and(Transport::is_scsi)),
        states: states(&mut dir),
        partitions,
        holders,
        slaves: dir.names("slaves"),
        suspended: dir
            .optional_as::<u32>("dm/suspended")
            .map(|value| value != 0),
        stat: dir.optional("stat").as_deref().and_then(stat),
        udev: record,
        udev_running: udev.running,
        name: name.to_owned(),
        problems: dir.problems,
    };
    Some(facts)
}

/// What a disk says about itself.
struct Described {
    model: Option<String>,
    vendor: Option<String>,
    serial: Option<String>,
    wwid: Option<String>,
}

impl Described {
    /// sysfs first, because it is the kernel's own reading; udev where sysfs is silent.
    fn read(dir: &mut Dir, udev: &UdevRecord) -> Self {
        let from_udev = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| udev.property(key))
                .map(str::to_owned)
        };
        Self {
            model: dir
                .optional("device/model")
                .or_else(|| dir.optional("device/name"))
                .or_else(|| from_udev(&["ID_MODEL"])),
            vendor: dir
                .optional("device/vendor")
                .or_else(|| from_udev(&["ID_VENDOR"])),
            serial: dir
                .optional("serial")
                .or_else(|| dir.optional("device/serial"))
                .or_else(|| vpd_serial(dir))
                .or_else(|| from_udev(&["ID_SERIAL_SHORT", "ID_SCSI_SERIAL"])),
            wwid: dir
                .optional("wwid")
                .or_else(|| dir.optional("device/wwid"))
                .or_else(|| dir.optional("device/cid"))
                .or_else(|| from_udev(&["ID_WWN_WITH_EXTENSION", "ID_WWN"])),
        }
    }
}

/// The unit serial number page of SCSI (SPC-4, 7.8.18): four bytes of header, then text.
fn vpd_serial(dir: &Dir) -> Option<String> {
    let page = std::fs::read(dir.path().join("device/vpd_pg80")).ok()?;
    let length = u16::from_be_bytes([*page.get(2)?, *page.get(3)?]);
    let text = page.get(4..4 + usize::from(length))?;
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// The state of the device, or of each controller of an NVMe subsystem.
fn states(dir: &mut Dir) -> Vec<String> {
    if let Some(state) = dir.optional("device/state") {
        return vec![state];
    }
    let names = dir.names("device");
    names
        .iter()
        .filter(|name| name.starts_with("nvme"))
        .filter_map(|name| dir.optional(&format!("device/{name}/state")))
        .collect()
}

fn partitions(dir: &mut Dir, udev: &UdevDb) -> Vec<Partition> {
    let mut names = dir.names("");
    names.retain(|name| dir.path().join(name).join("partition").exists());
    names
        .into_iter()
        .map(|name| {
            let record = udev.record(&name);
            let property = |key: &str| record.property(key).map(str::to_owned);
            Partition {
                dev: dir.required(&format!("{name}/dev")),
                label: property("ID_PART_ENTRY_NAME"),
                type_guid: property("ID_PART_ENTRY_TYPE"),
                links: record.links.clone(),
                name,
            }
        })
        .collect()
}

/// Follows `holders` upwards from the disk and its partitions.
fn holders(root: &Root, dir: &mut Dir, name: &str, partitions: &[Partition]) -> Vec<Holder> {
    let mut queue: Vec<(String, String)> = Vec::new();
    queue.extend(
        dir.names("holders")
            .into_iter()
            .map(|held| (name.to_owned(), held)),
    );
    for partition in partitions {
        let below = dir.names(&format!("{}/holders", partition.name));
        queue.extend(below.into_iter().map(|held| (partition.name.clone(), held)));
    }
    let mut found: Vec<Holder> = Vec::new();
    while let Some((of, holder)) = queue.pop() {
        if found
            .iter()
            .any(|known| known.name == holder && known.of == of)
        {
            continue;
        }
        let mut upper = Dir::new(root.join("sys/block").join(&holder));
        queue.extend(
            upper
                .names("holders")
                .into_iter()
                .map(|next| (holder.clone(), next)),
        );
        found.push(Holder {
            dev: upper.optional_as("dev"),
            dm_name: upper.optional("dm/name"),
            dm_uuid: upper.optional("dm/uuid"),
            name: holder,
            of,
        });
        dir.problems.append(&mut upper.problems);
    }
    found.sort_by(|a, b| (&a.name, &a.of).cmp(&(&b.name, &b.of)));
    found
}

fn stat(text: &str) -> Option<IoStat> {
    let fields: Vec<u64> = text
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    Some(IoStat {
        reads: *fields.first()?,
        writes: *fields.get(4)?,
        sectors_written: *fields.get(6)?,
        discards: fields.get(11).copied().unwrap_or(0),
    })
}
