//! Volume groups of ours, for Prometheus.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::backup::Backups;
use crate::status::NodeVolumeGroup;

/// The groups of the last pass; one that is gone has no sample.
#[derive(Debug, Clone)]
pub struct GroupMetrics {
    journal: PathBuf,
    groups: Arc<Mutex<Vec<NodeVolumeGroup>>>,
}

/// A metric: its name, what it is, and its value for a group.
type Gauge = (
    &'static str,
    &'static str,
    fn(&NodeVolumeGroup, &Backups) -> u64,
);

const GAUGES: [Gauge; 8] = [
    ("diskwatcher_vg_size_bytes", "Size of a group", |g, _| {
        g.size.0
    }),
    (
        "diskwatcher_vg_free_bytes",
        "What no volume of a group uses",
        |g, _| g.free.0,
    ),
    (
        "diskwatcher_vg_reserved_bytes",
        "What pools of a group do not grow into",
        |g, _| g.reserved.0,
    ),
    (
        "diskwatcher_vg_missing_pvs",
        "PVs of a group that are not there",
        |g, _| count(g.pvs.iter().filter(|pv| pv.device.is_none()).count()),
    ),
    (
        "diskwatcher_vg_frozen",
        "Reasons why a group is not changed",
        |g, _| count(g.frozen.len()),
    ),
    (
        "diskwatcher_vg_class_in_force",
        "Whether the class that a group was made for is in force on this node",
        |g, _| u64::from(g.class_in_force.as_ref().is_some_and(|c| c.status)),
    ),
    (
        "diskwatcher_vg_seqno",
        "How often a group's metadata was changed",
        |g, _| g.seqno,
    ),
    (
        "diskwatcher_vg_backup_seqno",
        "The newest change of which the journal has the metadata; 0: none",
        |g, kept| kept.newest_seqno(&g.uuid).unwrap_or(0),
    ),
];

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl GroupMetrics {
    /// Registers `diskwatcher_vg_*`; `journal` is the journal's folder.
    pub fn register(registry: &mut Registry, journal: PathBuf) -> Self {
        let groups = Arc::default();
        let metrics = Self { journal, groups };
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Replaces what is known; groups that are not ours are left out.
    pub fn set(&self, groups: &[NodeVolumeGroup]) {
        let ours = groups.iter().filter(|group| group.class.is_some());
        *self.groups.lock().unwrap_or_else(PoisonError::into_inner) = ours.cloned().collect();
    }
}

impl Collector for GroupMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = groups.clone();
        let kept = Backups::of(&self.journal);
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for group in &groups {
                let class = group.class.as_deref().unwrap_or_default();
                let labels = [("vg", group.name.as_str()), ("class", class)];
                let value = i64::try_from(value(group, &kept)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Condition, GroupPv};
    use lvmd::units::Bytes;

    #[test]
    fn a_group_of_ours_is_told_with_what_is_missing_of_it() {
        let journal = tempfile::tempdir().unwrap();
        let kept = journal.path().join("groups/u-1");
        std::fs::create_dir_all(&kept).unwrap();
        for seqno in [9, 10] {
            std::fs::write(kept.join(format!("{seqno:020}.vg")), "").unwrap();
        }
        let pv = |device: Option<&str>| GroupPv {
            uuid: "p".to_owned(),
            device: device.map(str::to_owned),
        };
        let group = NodeVolumeGroup {
            name: "fast".to_owned(),
            uuid: "u-1".to_owned(),
            size: Bytes(100),
            free: Bytes(40),
            reserved: Bytes(5),
            seqno: 11,
            class: Some("fast".to_owned()),
            pvs: vec![pv(Some("/dev/sda")), pv(None)],
            pools: vec![],
            frozen: vec!["a PV is missing".to_owned()],
            class_in_force: Some(Condition::yes("ClassInForce", "InForce")),
            secret_changes: 0,
            adopt: None,
        };
        let mut foreign = group.clone();
        (foreign.name, foreign.class) = ("theirs".to_owned(), None);
        let mut registry = Registry::default();
        let metrics = GroupMetrics::register(&mut registry, journal.path().to_owned());
        metrics.set(&[group, foreign]);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for (name, value) in [
            ("size_bytes", 100),
            ("free_bytes", 40),
            ("reserved_bytes", 5),
            ("missing_pvs", 1),
            ("frozen", 1),
            ("class_in_force", 1),
            ("seqno", 11),
            ("backup_seqno", 10),
        ] {
            let line = format!("diskwatcher_vg_{name}{{vg=\"fast\",class=\"fast\"}} {value}");
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        assert!(!page.contains("theirs"));
    }
}
