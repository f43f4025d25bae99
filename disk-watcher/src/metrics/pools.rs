//! Thin pools, for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::status::{NodeThinPool, PoolState};

/// The pools as they were looked at last, by class; a pool that is gone has no sample, and
/// one that is not active has no usage.
#[derive(Debug, Clone, Default)]
pub struct PoolMetrics(Arc<Mutex<BTreeMap<String, Look>>>);

/// A pool, and when it was looked at, in seconds since 1970.
type Look = (NodeThinPool, u64);

/// A metric: its name, what it is, and its value for a pool.
type Gauge = (&'static str, &'static str, fn(&NodeThinPool) -> Option<u64>);

/// Sizes are in bytes.
const GAUGES: [Gauge; 9] = [
    (
        "diskwatcher_pool_data_size_bytes",
        "Size of a pool's data",
        |p| Some(p.size.0),
    ),
    (
        "diskwatcher_pool_data_used_bytes",
        "Used data of a pool",
        |p| active(p, p.used.0),
    ),
    (
        "diskwatcher_pool_metadata_size_bytes",
        "Size of a pool's metadata",
        |p| Some(p.metadata_size.0),
    ),
    (
        "diskwatcher_pool_metadata_used_bytes",
        "Used metadata of a pool",
        |p| active(p, p.metadata_used.0),
    ),
    (
        "diskwatcher_pool_fill_rate_bytes",
        "Bytes a second by which a pool's data fills",
        |p| active(p, p.rate.lasting.max(p.rate.now)),
    ),
    (
        "diskwatcher_pool_time_to_full_seconds",
        "When a pool is full at that rate",
        |p| p.time_to_full_seconds,
    ),
    (
        "diskwatcher_pool_needs_check",
        "1: a pool's metadata must be checked",
        |p| active(p, u64::from(p.needs_check)),
    ),
    (
        "diskwatcher_pool_low_water_chunks",
        "Free chunks at which the kernel tells; 0: never",
        |p| active(p, p.low_water),
    ),
    (
        "diskwatcher_pool_extendable",
        "1: a pool could grow if it had to",
        |p| {
            let extendable = p.conditions.iter().find(|c| c.kind == "Extendable")?;
            Some(u64::from(extendable.status))
        },
    ),
];

fn active(pool: &NodeThinPool, value: u64) -> Option<u64> {
    (!matches!(pool.state, PoolState::Inactive | PoolState::Unknown)).then_some(value)
}

impl PoolMetrics {
    /// Registers `diskwatcher_pool_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Replaces what is known of the pool of a class; `None`: there is none.
    pub fn set(&self, class: &str, pool: Option<&NodeThinPool>) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pool {
            Some(pool) => pools.insert(class.to_owned(), (pool.clone(), super::now())),
            None => pools.remove(class),
        };
    }
}

impl Collector for PoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pools = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (class, (pool, _)) in &pools {
                let labels = [("class", class.as_str()), ("pool", pool.name.as_str())];
                if let Some(value) = value(pool) {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let mut looks = encoder.encode_descriptor(
            "diskwatcher_pool_last_tick_timestamp_seconds",
            "When a pool was looked at last",
            None,
            MetricType::Gauge,
        )?;
        for (class, (pool, at)) in &pools {
            let labels = [("class", class.as_str()), ("pool", pool.name.as_str())];
            let at = i64::try_from(*at).unwrap_or(i64::MAX);
            ConstGauge::new(at).encode(looks.encode_family(&labels)?)?;
        }
        let mut modes = encoder.encode_descriptor(
            "diskwatcher_pool_state",
            "The state each pool is in",
            None,
            MetricType::Gauge,
        )?;
        for (class, (pool, _)) in &pools {
            let state = format!("{:?}", pool.state);
            let labels = [
                ("class", class.as_str()),
                ("pool", pool.name.as_str()),
                ("state", state.as_str()),
            ];
            ConstGauge::new(1i64).encode(modes.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
