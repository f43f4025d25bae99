//! Reading one device: sysfs first, udev where sysfs is silent.

use std::collections::BTreeMap;
use std::path::Path;

use lvmd::units::{Bytes, SECTOR};

use super::{DiskFacts, Holder, IoStat, Partition};
use crate::facts::sysfs::Dir;
use crate::facts::udev::{UdevDb, UdevRecord};
use crate::facts::{DevNo, Root, Transport, transport};

/// Reads one device; `None` when there is none of that name.
pub(in crate::facts) fn read(
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
        // 0 where the disk has no wish: then what it writes at once counts, as in Talos.
        io_size: dir
            .optional_as::<u32>("queue/optimal_io_size")
            .filter(|size| size.is_power_of_two())
            .or_else(|| dir.optional_as("queue/minimum_io_size")),
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
        uuid: dir.optional("uuid"),
        modalias: dir.optional("device/modalias"),
        file: None,
        part: None,
        labels: None,
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
    let parts: Vec<&str> = partitions.iter().map(|p| p.name.as_str()).collect();
    holders_of(root, dir, name, &parts)
}

/// Follows `holders` upwards from the disk `name` in `dir` and from these partitions of it.
pub(in crate::facts) fn holders_of(
    root: &Root,
    dir: &mut Dir,
    name: &str,
    partitions: &[&str],
) -> Vec<Holder> {
    let mut queue: Vec<(String, String)> = Vec::new();
    queue.extend(
        dir.names("holders")
            .into_iter()
            .map(|held| (name.to_owned(), held)),
    );
    for partition in partitions {
        let below = dir.names(&format!("{partition}/holders"));
        queue.extend(
            below
                .into_iter()
                .map(|held| ((*partition).to_owned(), held)),
        );
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

pub(in crate::facts) fn stat(text: &str) -> Option<IoStat> {
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
