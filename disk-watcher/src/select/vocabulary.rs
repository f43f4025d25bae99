//! A disk in Talos' words: the fields of `Disks.block.talos.dev`, as
//! `talosctl get disks -o yaml` shows them.
//!
//! A value that Talos leaves empty is empty here. One that the kernel always has and
//! that could not be read is left out: an expression that needs it cannot be told.

use std::collections::HashMap;

use cel::Value;

use crate::facts::{DiskFacts, Transport};
use crate::rules::is_system_partition;

/// The fields of `disk`.
pub(super) const FIELDS: [&str; 18] = [
    "dev_path",
    "size",
    "pretty_size",
    "io_size",
    "sector_size",
    "readonly",
    "cdrom",
    "model",
    "serial",
    "modalias",
    "wwid",
    "uuid",
    "bus_path",
    "sub_system",
    "transport",
    "rotational",
    "secondary_disks",
    "symlinks",
];

/// Size multipliers, unsigned as sizes are.
pub(super) const UNITS: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("EiB", 1 << 60),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("EB", 1_000_000_000_000_000_000),
];

/// The most links of one disk that are looked at; udev makes a dozen.
const MAX_LINKS: usize = 64;

/// The variables of an expression.
pub(super) struct Words {
    pub(super) disk: HashMap<String, Value>,
    pub(super) system_disk: bool,
}

/// A disk in these words. `unstable`: links by disk sequence number are among them.
pub(super) fn of(disk: &DiskFacts, unstable: bool) -> Words {
    let mut words: HashMap<String, Value> = HashMap::new();
    let mut put = |name: &str, value: Option<Value>| {
        words.extend(value.map(|value| (name.to_owned(), value)));
    };
    let text = |value: Option<&str>| Some(Value::from(value.unwrap_or_default()));
    let names = |list: &mut dyn Iterator<Item = &String>| {
        let list: Vec<Value> = list
            .take(MAX_LINKS)
            .map(|name| Value::from(name.as_str()))
            .collect();
        Some(Value::from(list))
    };
    put("dev_path", Some(disk.node().into()));
    put("size", disk.size.map(|size| Value::UInt(size.0)));
    put("pretty_size", disk.size.map(|size| pretty(size.0).into()));
    put("io_size", disk.io_size.map(|size| Value::UInt(size.into())));
    put(
        "sector_size",
        disk.logical_sector.map(|size| Value::UInt(size.into())),
    );
    put("readonly", disk.read_only.map(Value::Bool));
    put(
        "cdrom",
        disk.driver
            .as_deref()
            .map(|driver| Value::Bool(driver == "sr")),
    );
    put("model", text(disk.model.as_deref()));
    put("serial", text(disk.serial.as_deref()));
    put("modalias", text(disk.modalias.as_deref()));
    put("wwid", text(disk.wwid.as_deref()));
    put("uuid", text(disk.uuid.as_deref()));
    put("bus_path", Some(bus_path(&disk.sysfs_path).into()));
    put("sub_system", text(Some("/sys/class/block")));
    put(
        "transport",
        text(disk.transport.map(|t| transport(t, &disk.sysfs_path))),
    );
    put("rotational", disk.rotational.map(Value::Bool));
    put("secondary_disks", names(&mut disk.slaves.iter()));
    let stable = |link: &&String| unstable || !link.starts_with("/dev/disk/by-diskseq/");
    put("symlinks", names(&mut disk.links().iter().filter(stable)));
    let is_system = |p: &crate::facts::Partition| {
        is_system_partition(
            p.label.as_deref().unwrap_or_default(),
            p.type_guid.as_deref().unwrap_or_default(),
        )
    };
    Words {
        disk: words,
        system_disk: disk.partitions.iter().any(is_system),
    }
}

/// A disk that has everything, on which an expression is tried when it is read.
pub(super) fn sample() -> Words {
    let text = |value: &str| Value::from(value);
    let disk = [
        ("dev_path", text("/dev/nvme0n1")),
        ("size", Value::UInt(10_485_760_000)),
        ("pretty_size", text("10 GB")),
        ("io_size", Value::UInt(512)),
        ("sector_size", Value::UInt(512)),
        ("readonly", Value::Bool(false)),
        ("cdrom", Value::Bool(false)),
        ("model", text("QEMU NVMe Ctrl")),
        ("serial", text("deadbeef")),
        ("modalias", text("pci:v00001B36")),
        ("wwid", text("eui.0025385b71b0a2f1")),
        ("uuid", text("2f1b1c5e-0b8a-4b7e-9a37-1e6a9d2f6a11")),
        ("bus_path", text("/pci0000:00/0000:00:09.0/nvme")),
        ("sub_system", text("/sys/class/block")),
        ("transport", text("nvme")),
        ("rotational", Value::Bool(false)),
        ("secondary_disks", Value::from(vec![text("sdz")])),
        (
            "symlinks",
            Value::from(vec![text("/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_deadbeef")]),
        ),
    ];
    Words {
        disk: disk
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        system_disk: false,
    }
}

/// Talos' word for a transport. It knows nothing between the adapters of SCSI but
/// virtio's, and calls the others nothing; they are `scsi` here, as its manual writes.
fn transport(transport: Transport, sysfs_path: &str) -> &'static str {
    match transport {
        Transport::Nvmeof => "nvme",
        Transport::Scsi if sysfs_path.contains("/virtio") => "virtio",
        other => other.as_str(),
    }
}

/// Where the disk hangs, two levels above its own directory.
fn bus_path(sysfs_path: &str) -> String {
    let below = sysfs_path
        .strip_prefix("/sys/devices")
        .unwrap_or(sysfs_path);
    let parent = |path: &str| {
        path.rsplit_once('/')
            .map_or_else(String::new, |(above, _)| above.to_owned())
    };
    parent(&parent(below))
}

/// `10 GB`: three digits at most, in powers of 1000.
fn pretty(bytes: u64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 1_u64;
    let mut name = 0;
    while bytes / unit >= 1000 && name + 1 < NAMES.len() {
        unit *= 1000;
        name += 1;
    }
    if name == 0 {
        return format!("{bytes} B");
    }
    // To a tenth, halves up; from 10 on to a whole number, halves to the even one.
    let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
    let (whole, rest) = (tenths / 10, tenths % 10);
    if tenths < 100 {
        return format!("{whole}.{rest} {}", NAMES[name]);
    }
    let up = rest > 5 || (rest == 5 && whole % 2 == 1);
    format!("{} {}", whole + u128::from(up), NAMES[name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_places_are_written_as_talos_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (10_485_760_000, "10 GB"),
            (13_000_000_000, "13 GB"),
            (1_920_383_410_176, "1.9 TB"),
            (75_000_000, "75 MB"),
        ] {
            assert_eq!(pretty(bytes), text, "{bytes}");
        }
        assert_eq!(
            bus_path("/sys/devices/pci0000:00/0000:00:09.0/nvme/nvme0/nvme0n1"),
            "/pci0000:00/0000:00:09.0/nvme"
        );
        assert_eq!(bus_path("x"), "");
    }
}
