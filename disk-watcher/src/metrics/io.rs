//! What passes through disks and volumes, from the kernel's own counters, read when asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::facts::Root;
use crate::status::NodeStatus;

/// How long the uuid of a volume in device-mapper is, which has no suffix: `LVM-`, its group's, its own.
const VOLUME_UUID: usize = 4 + 32 + 32;

/// The disks of the last pass, and the volumes of groups of ours.
#[derive(Debug, Clone)]
pub struct IoMetrics {
    root: Root,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// Id and kernel name.
    disks: Vec<(String, String)>,
    /// What the uuids of a group's volumes begin with, and the group's name.
    groups: Vec<(String, String)>,
}

/// A counter: its names for disks and for volumes, what it is, its field in the kernel's line
/// (Documentation/block/stat.rst), and what one count is worth.
type Counter = ([&'static str; 2], &'static str, usize, f64);

const COUNTERS: [Counter; 5] = [
    (
        ["diskwatcher_disk_reads", "diskwatcher_volume_reads"],
        "Reads completed",
        0,
        1.0,
    ),
    (
        [
            "diskwatcher_disk_read_bytes",
            "diskwatcher_volume_read_bytes",
        ],
        "Bytes read",
        2,
        512.0,
    ),
    (
        ["diskwatcher_disk_writes", "diskwatcher_volume_writes"],
        "Writes completed",
        4,
        1.0,
    ),
    (
        [
            "diskwatcher_disk_written_bytes",
            "diskwatcher_volume_written_bytes",
        ],
        "Bytes written",
        6,
        512.0,
    ),
    (
        [
            "diskwatcher_disk_io_seconds",
            "diskwatcher_volume_io_seconds",
        ],
        "Time in which something was read or written",
        9,
        0.001,
    ),
];

impl IoMetrics {
    /// Registers `diskwatcher_disk_*_total` and `diskwatcher_volume_*_total`.
    pub fn register(registry: &mut Registry, root: Root) -> Self {
        let metrics = Self {
            root,
            seen: Arc::default(),
        };
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Replaces what is known.
    pub fn set(&self, node: &NodeStatus) {
        let disk = |disk: &crate::status::NodeDisk| Some((super::label(disk), disk.name.clone()?));
        let ours = node.groups.iter().filter(|group| group.class.is_some());
        let seen = Seen {
            disks: node.disks.iter().filter_map(disk).collect(),
            groups: ours
                .map(|group| {
                    let prefix = format!("LVM-{}", group.uuid.replace('-', ""));
                    (prefix, group.name.clone())
                })
                .collect(),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// The volumes that are active: group, name, and their directory in sysfs.
    fn volumes(&self, groups: &[(String, String)]) -> Vec<(String, String, PathBuf)> {
        let devices = std::fs::read_dir(self.root.join("sys/block"));
        let devices = devices.into_iter().flatten().flatten();
        let volume = |path: PathBuf| {
            let text = |name: &str| {
                let text = std::fs::read_to_string(path.join(name)).ok()?;
                Some(text.trim().to_owned())
            };
            let uuid = text("dm/uuid").filter(|uuid| uuid.len() == VOLUME_UUID)?;
            let (_, group) = groups.iter().find(|(prefix, _)| uuid.starts_with(prefix))?;
            Some((group.clone(), volume_name(&text("dm/name")?)?, path))
        };
        let mut found: Vec<_> = devices.filter_map(|entry| volume(entry.path())).collect();
        found.sort();
        found
    }
}

/// The name of a volume from that of its device: `vg-lv`, with each `-` in them doubled.
fn volume_name(device: &str) -> Option<String> {
    let marked = device.replace("--", "\0");
    let (_, volume) = marked.split_once('-')?;
    Some(volume.replace('\0', "-"))
}

/// The kernel's counters of a device; `None` when it is gone.
fn counters(device: &Path) -> Option<Vec<f64>> {
    let text = std::fs::read_to_string(device.join("stat")).ok()?;
    let counts = text.split_whitespace().map(|word| word.parse().ok());
    counts.collect()
}

impl Collector for IoMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.clone();
        // A partition is found by the second only.
        let places = ["sys/block", "sys/class/block"].map(|place| self.root.join(place));
        let of_disk = |name: &str| places.iter().find_map(|place| counters(&place.join(name)));
        let disks: Vec<_> = seen
            .disks
            .iter()
            .filter_map(|(id, name)| Some((id, of_disk(name)?)))
            .collect();
        let volumes: Vec<_> = self
            .volumes(&seen.groups)
            .into_iter()
            .filter_map(|(group, name, path)| Some((group, name, counters(&path)?)))
            .collect();
        for ([of_disks, of_volumes], help, field, worth) in COUNTERS {
            let value = |counts: &[f64]| counts.get(field).map(|count| count * worth);
            let mut family =
                encoder.encode_descriptor(of_disks, help, None, MetricType::Counter)?;
            for (id, counts) in &disks {
                if let Some(value) = value(counts) {
                    let labels = [("disk", id.as_str())];
                    ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
            let mut family =
                encoder.encode_descriptor(of_volumes, help, None, MetricType::Counter)?;
            for (group, name, counts) in &volumes {
                if let Some(value) = value(counts) {
                    let labels = [("vg", group.as_str()), ("volume", name.as_str())];
                    ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_volumes_of_ours_are_counted_and_what_is_hidden_or_others_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let device = |name: &str, dm: Option<(&str, String)>, stat: &str| {
            let path = dir.path().join("sys/block").join(name);
            std::fs::create_dir_all(path.join("dm")).unwrap();
            std::fs::write(path.join("stat"), stat).unwrap();
            if let Some((name, uuid)) = dm {
                std::fs::write(path.join("dm/name"), format!("{name}\n")).unwrap();
                std::fs::write(path.join("dm/uuid"), format!("{uuid}\n")).unwrap();
            }
        };
        let (ours, theirs, lv) = ("a".repeat(32), "b".repeat(32), "c".repeat(32));
        device("sda", None, " 1 0 2 3 4 0 6 7 0 1500 9\n");
        device(
            "dm-0",
            Some(("fa--st-v--1", format!("LVM-{ours}{lv}"))),
            "10 0 20 0 40 0 60 0 0 0",
        );
        device(
            "dm-1",
            Some(("fa--st-p-tpool", format!("LVM-{ours}{lv}-tpool"))),
            "7 7 7 7 7 7 7 7 7 7",
        );
        device(
            "dm-2",
            Some(("other-v", format!("LVM-{theirs}{lv}"))),
            "7 7 7 7 7 7 7 7 7 7",
        );
        let mut registry = Registry::default();
        let metrics = IoMetrics::register(&mut registry, Root::at(dir.path()));
        *metrics.seen.lock().unwrap() = Seen {
            disks: vec![
                ("naa.1".to_owned(), "sda".to_owned()),
                ("naa.2".to_owned(), "gone".to_owned()),
            ],
            groups: vec![(format!("LVM-{ours}"), "fa-st".to_owned())],
        };
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "diskwatcher_disk_read_bytes_total{disk=\"naa.1\"} 1024.0",
            "diskwatcher_disk_written_bytes_total{disk=\"naa.1\"} 3072.0",
            "diskwatcher_disk_io_seconds_total{disk=\"naa.1\"} 1.5",
            "diskwatcher_volume_reads_total{vg=\"fa-st\",volume=\"v-1\"} 10.0",
            "diskwatcher_volume_written_bytes_total{vg=\"fa-st\",volume=\"v-1\"} 30720.0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        assert!(!page.contains("tpool") && !page.contains("other") && !page.contains("naa.2"));
    }
}
