//! Disks by state and by reason, and pools, for Prometheus.

mod pools;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use self::pools::PoolMetrics;
use crate::status::NodeDisk;

/// The disks of the last pass; a disk that is gone has no sample.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Vec<Sample>>>);

#[derive(Debug, Clone)]
struct Sample {
    disk: String,
    state: String,
    reasons: Vec<String>,
}

impl Metrics {
    /// Registers `diskwatcher_disk_state` and `diskwatcher_disk_rejected`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Replaces what is known of all disks.
    pub fn set(&self, disks: &[NodeDisk]) {
        let samples = disks.iter().map(|disk| {
            let id = disk
                .id
                .as_ref()
                .map(ToString::to_string)
                .or_else(|| disk.name.clone())
                .unwrap_or_default();
            let mut reasons: Vec<String> = disk
                .reasons
                .iter()
                .map(|reason| reason.code.to_string())
                .collect();
            reasons.sort();
            reasons.dedup();
            Sample {
                disk: id,
                state: format!("{:?}", disk.state),
                reasons,
            }
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = samples.collect();
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let samples = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
