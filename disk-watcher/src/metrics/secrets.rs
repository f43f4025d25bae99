//! The descriptions of volume groups that are kept in Secrets, for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::now;

/// What is in the Secret of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The newest change.
    seqno: u64,
    /// When it was last written, in seconds since 1970.
    at: u64,
}

impl Stored {
    /// This change was written just now.
    pub(crate) fn now(seqno: u64) -> Self {
        Self { seqno, at: now() }
    }
}

/// Handles; clones write to the same metrics. A group whose description is to be in no Secret has no sample.
#[derive(Debug, Clone, Default)]
pub struct SecretMetrics(Arc<Mutex<BTreeMap<String, Stored>>>);

type Gauge = (&'static str, &'static str, fn(Stored) -> u64);

const GAUGES: [Gauge; 2] = [
    (
        "diskwatcher_vg_secret_seqno",
        "The newest change of which a Secret has the metadata, written since the start; 0: none",
        |stored| stored.seqno,
    ),
    (
        "diskwatcher_vg_secret_timestamp_seconds",
        "When a group's Secret was written last; 0: never since the start",
        |stored| stored.at,
    ),
];

impl SecretMetrics {
    /// Registers `diskwatcher_vg_secret_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Replaces what is known, by the names of groups.
    pub(crate) fn set(&self, stored: BTreeMap<String, Stored>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stored;
    }
}

impl Collector for SecretMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (group, stored) in &all {
                let value = i64::try_from(value(*stored)).unwrap_or(i64::MAX);
                let labels = [("vg", group.as_str())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_never_written_says_so_and_one_without_a_secret_says_nothing() {
        let mut registry = Registry::default();
        let metrics = SecretMetrics::register(&mut registry);
        let page = || {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            page
        };
        let groups = [("a", Stored { seqno: 7, at: 9 }), ("b", Stored::default())];
        metrics.set(
            groups
                .map(|(name, stored)| (name.to_owned(), stored))
                .into(),
        );
        for line in [
            "diskwatcher_vg_secret_seqno{vg=\"a\"} 7",
            "diskwatcher_vg_secret_timestamp_seconds{vg=\"a\"} 9",
            "diskwatcher_vg_secret_seqno{vg=\"b\"} 0",
            "diskwatcher_vg_secret_timestamp_seconds{vg=\"b\"} 0",
        ] {
            assert!(page().lines().any(|l| l == line), "{line}\n{}", page());
        }
        assert!(Stored::now(1).at > 1_700_000_000);
        metrics.set(BTreeMap::new());
        assert!(!page().contains("vg="));
    }
}
