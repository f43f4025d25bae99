//! Disks by state and by reason, and pools, for Prometheus.

mod groups;
mod io;
mod pools;
mod secrets;
mod watch;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use self::groups::GroupMetrics;
pub use self::io::IoMetrics;
pub use self::pools::PoolMetrics;
pub use self::secrets::SecretMetrics;
pub(crate) use self::secrets::Stored;
pub use self::watch::WatchMetrics;
pub use self::work::{Measured, WorkMetrics};
use crate::status::{NodeCheck, NodeDisk, NodeStatus};

/// The disks of the last pass; a disk that is gone has no sample.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Pass>>);

/// A pass over the disks.
#[derive(Debug, Clone, Default)]
struct Pass {
    /// When it ended, in seconds since 1970; 0: none did.
    at: u64,
    checks: Vec<NodeCheck>,
    disks: Vec<Sample>,
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// What tells a disk from others: its id, else its name.
fn label(disk: &NodeDisk) -> String {
    let id = disk.id.as_ref().map(ToString::to_string);
    id.or_else(|| disk.name.clone()).unwrap_or_default()
}

#[derive(Debug, Clone)]
struct Sample {
    disk: String,
    class: String,
    state: String,
    reasons: Vec<String>,
}

impl Metrics {
    /// Registers `diskwatcher_preflight`, `diskwatcher_disk_state`, `diskwatcher_disk_rejected`,
    /// `diskwatcher_class_disks` and `diskwatcher_last_tick_timestamp_seconds`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Replaces what is known of the node and all its disks.
    pub fn set(&self, node: &NodeStatus) {
        let samples = node.disks.iter().map(|disk| {
            let mut reasons: Vec<String> = disk
                .reasons
                .iter()
                .map(|reason| reason.code.to_string())
                .collect();
            reasons.sort();
            reasons.dedup();
            Sample {
                disk: label(disk),
                class: disk.class.clone().unwrap_or_default(),
                state: format!("{:?}", disk.state),
                reasons,
            }
        });
        let pass = Pass {
            at: now(),
            checks: node.preflight.clone(),
            disks: samples.collect(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pass;
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pass = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if pass.at > 0 {
            let at = i64::try_from(pass.at).unwrap_or(i64::MAX);
            let gauge = encoder.encode_descriptor(
                "diskwatcher_last_tick_timestamp_seconds",
                "When the disks were looked at last",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(at).encode(gauge)?;
        }
        let mut checks = encoder.encode_descriptor(
            "diskwatcher_preflight",
            "Whether what has to hold before anything is changed does",
            None,
            MetricType::Gauge,
        )?;
        for check in &pass.checks {
            let holds = ConstGauge::new(i64::from(check.problem.is_none()));
            holds.encode(checks.encode_family(&[("check", check.check)])?)?;
        }
        let samples = pass.disks;
        let one = ConstGauge::new(1i64);
        let mut states = encoder.encode_descriptor(
            "diskwatcher_disk_state",
            "The state each disk is in",
            None,
            MetricType::Gauge,
        )?;
        for sample in &samples {
            let labels = [
                ("disk", sample.disk.as_str()),
                ("state", sample.state.as_str()),
            ];
            one.encode(states.encode_family(&labels)?)?;
        }
        let mut counts: BTreeMap<[(&str, &str); 2], i64> = BTreeMap::new();
        for sample in samples.iter().filter(|sample| !sample.class.is_empty()) {
            let labels = [
                ("class", sample.class.as_str()),
                ("state", sample.state.as_str()),
            ];
            *counts.entry(labels).or_default() += 1;
        }
        let mut classes = encoder.encode_descriptor(
            "diskwatcher_class_disks",
            "Disks that each class picks or has, by state",
            None,
            MetricType::Gauge,
        )?;
        for (labels, count) in counts {
            ConstGauge::new(count).encode(classes.encode_family(&labels)?)?;
        }
        let mut reasons = encoder.encode_descriptor(
            "diskwatcher_disk_rejected",
            "Each reason that speaks against a disk",
            None,
            MetricType::Gauge,
        )?;
        for sample in &samples {
            for reason in &sample.reasons {
                let labels = [("disk", sample.disk.as_str()), ("reason", reason.as_str())];
                one.encode(reasons.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
