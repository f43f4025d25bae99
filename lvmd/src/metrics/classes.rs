//! Gauges that are replaced as a whole, so that what is gone does not linger.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::proto::WatchItem;
use crate::volumes::{ClassState, PoolState};

/// What is exported of one device class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassSample {
    /// The class.
    pub device_class: String,
    /// Free bytes of its volume group, as told to the scheduler.
    pub available_bytes: u64,
    /// Bytes of its volume group.
    pub size_bytes: u64,
    /// For a thin class, its pool.
    pub pool: Option<PoolSample>,
}

/// What is exported of a device class in one of its several volume groups.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSample {
    /// The class.
    pub device_class: String,
    /// The volume group.
    pub volume_group: String,
    /// What a volume of the class could have there, in bytes.
    pub free_bytes: u64,
    /// How much of the data and of the metadata space of its pool is used, 0 to 100; for a thin class.
    pub percents: Option<(f64, f64)>,
}

impl From<&ClassState> for MemberSample {
    fn from(state: &ClassState) -> Self {
        Self {
            device_class: state.class.clone(),
            volume_group: state.volume_group.clone(),
            free_bytes: state.free.0,
            percents: state.pool.as_ref().map(PoolState::percents),
        }
    }
}

/// What is exported of a thin class's pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSample {
    /// Bytes for data.
    pub size_bytes: u64,
    /// How much of the data space is used, 0 to 100.
    pub data_percent: f64,
    /// How much of the metadata space is used, 0 to 100.
    pub metadata_percent: f64,
    /// Virtual bytes that can still be promised.
    pub overprovision_bytes: u64,
}

impl From<&WatchItem> for ClassSample {
    fn from(item: &WatchItem) -> Self {
        Self {
            device_class: item.device_class.clone(),
            available_bytes: item.free_bytes,
            size_bytes: item.size_bytes,
            pool: item.thin_pool.as_ref().map(|pool| PoolSample {
                size_bytes: pool.size_bytes,
                data_percent: pool.data_percent,
                metadata_percent: pool.metadata_percent,
                overprovision_bytes: pool.overprovision_bytes,
            }),
        }
    }
}

/// Upstream's six gauges.
#[derive(Debug, Default)]
pub(super) struct ClassGauges(Mutex<Vec<ClassSample>>);

impl ClassGauges {
    pub(super) fn set(&self, samples: Vec<ClassSample>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = samples;
    }
}

impl Collector for ClassGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = |value: fn(&ClassSample) -> u64| {
            let pairs = samples.iter();
            pairs.map(|s| (s.device_class.as_str(), value(s))).collect()
        };
        let bytes = |value: fn(&PoolSample) -> u64| -> Vec<(&str, u64)> {
            pools(&samples)
                .map(|(class, p)| (class, value(p)))
                .collect()
        };
        let percent = |value: fn(&PoolSample) -> f64| -> Vec<(&str, f64)> {
            pools(&samples)
                .map(|(class, p)| (class, value(p)))
                .collect()
        };
        let mut gauge = |name: &str, help: &str, values: Vec<(&str, u64)>| {
            encode_gauge(&mut encoder, name, help, &of_class(values))
        };
        gauge(
            "topolvm_volumegroup_available_bytes",
            "LVM VG available bytes under lvmd management",
            all(|s| s.available_bytes),
        )?;
        gauge(
            "topolvm_volumegroup_size_bytes",
            "LVM VG size bytes under lvmd management",
            all(|s| s.size_bytes),
        )?;
        gauge(
            "topolvm_thinpool_size_bytes",
            "LVM VG thin pool raw size bytes",
            bytes(|p| p.size_bytes),
        )?;
        gauge(
            "topolvm_thinpool_overprovisioned_available",
            "LVM VG thin pool bytes available with overprovisioning",
            bytes(|p| p.overprovision_bytes),
        )?;
        let mut gauge = |name: &str, help: &str, values: Vec<(&str, f64)>| {
            encode_gauge(&mut encoder, name, help, &of_class(values))
        };
        gauge(
            "topolvm_thinpool_data_percent",
            "LVM VG thin pool data usage percent",
            percent(|p| p.data_percent),
        )?;
        gauge(
            "topolvm_thinpool_metadata_percent",
            "LVM VG thin pool metadata usage percent",
            percent(|p| p.metadata_percent),
        )
    }
}

/// Gauges of device classes in each of their volume groups, for classes that have several.
#[derive(Debug, Default)]
pub(super) struct MemberGauges(Mutex<Vec<MemberSample>>);

impl MemberGauges {
    pub(super) fn set(&self, samples: Vec<MemberSample>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = samples;
    }
}

impl Collector for MemberGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = |s: &MemberSample| {
            [
                ("device_class", s.device_class.clone()),
                ("volume_group", s.volume_group.clone()),
            ]
        };
        let free = samples.iter().map(|s| (labels(s), s.free_bytes));
        encode_gauge(
            &mut encoder,
            "lvmd_class_volumegroup_free_bytes",
            "What a volume could have in each volume group of a device class that has several",
            &free.collect::<Vec<_>>(),
        )?;
        let mut percent = |name: &str, help: &str, value: fn((f64, f64)) -> f64| {
            let pools = samples.iter();
            let pools = pools.filter_map(|s| Some((labels(s), value(s.percents?))));
            encode_gauge(&mut encoder, name, help, &pools.collect::<Vec<_>>())
        };
        percent(
            "lvmd_class_volumegroup_data_percent",
            "Thin pool data usage percent in each volume group of a device class that has several",
            |(data, _)| data,
        )?;
        percent(
            "lvmd_class_volumegroup_metadata_percent",
            "Thin pool metadata usage percent in each volume group of a device class that has several",
            |(_, metadata)| metadata,
        )
    }
}

fn pools(samples: &[ClassSample]) -> impl Iterator<Item = (&str, &PoolSample)> {
    samples
        .iter()
        .filter_map(|s| Some((s.device_class.as_str(), s.pool.as_ref()?)))
}

/// The values of classes, with their label.
fn of_class<V>(values: Vec<(&str, V)>) -> Vec<([(&'static str, String); 1], V)> {
    let labelled = values.into_iter();
    labelled
        .map(|(class, value)| ([("device_class", class.to_owned())], value))
        .collect()
}

/// One gauge with labels; nothing when there is no value.
fn encode_gauge<V, const N: usize>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: &[([(&'static str, String); N], V)],
) -> fmt::Result
where
    V: Copy,
    ConstGauge<V>: EncodeMetric,
{
    if values.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}

/// What holds of which: a gauge of ones with two labels.
#[derive(Debug)]
pub(super) struct Facts {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 2],
    pairs: Mutex<Vec<(String, String)>>,
}

impl Facts {
    pub(super) fn new(name: &'static str, help: &'static str, labels: [&'static str; 2]) -> Self {
        Self {
            name,
            help,
            labels,
            pairs: Mutex::default(),
        }
    }

    pub(super) fn set(&self, pairs: Vec<(String, String)>) {
        *self.pairs.lock().unwrap_or_else(PoisonError::into_inner) = pairs;
    }
}

impl Collector for Facts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.is_empty() {
            return Ok(());
        }
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        let [first, second] = self.labels;
        for (of, what) in pairs.iter() {
            let labels = [(first, of.as_str()), (second, what.as_str())];
            ConstGauge::new(1i64).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
