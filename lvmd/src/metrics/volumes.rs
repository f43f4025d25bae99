//! The node's volumes, one set of series for each; those of a volume that is gone are gone with it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Metrics;
use super::page::{Look, Looking};
use crate::cmd::Runner;
use crate::names;
use crate::volumes::{Health, Io, Measured, Volumes};

/// Measures the volumes for each page that is asked for, and at no other time.
#[derive(Debug)]
pub struct Measuring<R> {
    /// The volumes.
    pub volumes: Volumes<R>,
    /// Where they are shown.
    pub metrics: Metrics,
}

impl<R: Runner + Clone> Look for Measuring<R> {
    fn look(&self) -> Looking<'_> {
        Box::pin(async move { self.metrics.set_volumes(self.volumes.measured().await) })
    }
}

/// The volumes as they were measured last.
#[derive(Debug, Default)]
pub(super) struct VolumeMetrics(Mutex<Vec<Measured>>);

impl VolumeMetrics {
    pub(super) fn set(&self, volumes: Vec<Measured>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = volumes;
    }
}

type Labels<'a> = [(&'static str, &'a str); 5];

/// Whose a volume is: the name of its LogicalVolume and PersistentVolume, and its claim, as far as its tags say them.
/// Prometheus gives a target labels of its own by the names `namespace` and `node`.
fn labels(volume: &Measured) -> Labels<'_> {
    let tag = |key| names::tag_value(&volume.tags, key);
    let claim = tag(names::TAG_PVC).and_then(|claim| claim.split_once('/'));
    let (namespace, claim) = claim.unwrap_or_default();
    [
        ("device_class", volume.class.as_str()),
        ("volume", tag(names::TAG_LV).unwrap_or(&volume.lv)),
        ("lv", volume.lv.as_str()),
        ("claim_namespace", namespace),
        ("claim", claim),
    ]
}

/// A gauge: its name, what it is, and its value where there is one.
type Gauge = (&'static str, &'static str, fn(&Measured) -> Option<u64>);

const GAUGES: [Gauge; 2] = [
    ("basalt_volume_size_bytes", "Size of a volume", |v| {
        Some(v.size.0)
    }),
    (
        "basalt_volume_used_bytes",
        "What a thin volume takes of its pool",
        |v| Some(v.used?.0),
    ),
];

/// A counter: its name without `_total`, what it is, and its value.
type Counter<V> = (&'static str, &'static str, fn(&Io) -> V);

/// With the words of node_exporter for disks, as those below.
const COUNTS: [Counter<u64>; 4] = [
    (
        "basalt_volume_reads_completed",
        "Reads of a volume since it became active",
        |io| io.read.requests,
    ),
    (
        "basalt_volume_read_bytes",
        "Bytes read of a volume since it became active",
        |io| io.read.bytes.0,
    ),
    (
        "basalt_volume_writes_completed",
        "Writes to a volume since it became active",
        |io| io.written.requests,
    ),
    (
        "basalt_volume_written_bytes",
        "Bytes written to a volume since it became active",
        |io| io.written.bytes.0,
    ),
];

const TIMES: [Counter<f64>; 2] = [
    (
        "basalt_volume_read_time_seconds",
        "What reads of a volume took, added up",
        |io| io.read.time.as_secs_f64(),
    ),
    (
        "basalt_volume_write_time_seconds",
        "What writes to a volume took, added up",
        |io| io.written.time.as_secs_f64(),
    ),
];

fn encode_counters<V>(
    encoder: &mut DescriptorEncoder<'_>,
    counters: &[Counter<V>],
    volumes: &[Measured],
) -> fmt::Result
where
    ConstCounter<V>: EncodeMetric,
{
    for (name, help, value) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for volume in volumes {
            if let Some(io) = &volume.io {
                let labels = labels(volume);
                ConstCounter::new(value(io)).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

impl Collector for VolumeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let volumes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if volumes.is_empty() {
            return Ok(());
        }
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for volume in volumes.iter() {
                if let Some(value) = value(volume) {
                    ConstGauge::new(value).encode(family.encode_family(&labels(volume))?)?;
                }
            }
        }
        let mut healthy = encoder.encode_descriptor(
            "basalt_volume_healthy",
            "1: nothing is known to be wrong with a volume; 0: what reason says is",
            None,
            MetricType::Gauge,
        )?;
        for volume in volumes.iter() {
            let (well, reason) = match volume.health {
                Health::Well => (1i64, ""),
                Health::Sick(reason) => (0, reason),
                Health::Unknown => continue,
            };
            let [class, name, lv, namespace, claim] = labels(volume);
            let all = [class, name, lv, namespace, claim, ("reason", reason)];
            ConstGauge::new(well).encode(healthy.encode_family(&all)?)?;
        }
        encode_counters(&mut encoder, &COUNTS, &volumes)?;
        encode_counters(&mut encoder, &TIMES, &volumes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Page;
    use crate::units::Bytes;
    use crate::volumes::Through;

    fn thin() -> Measured {
        Measured {
            class: "thin".into(),
            lv: "uid-1".into(),
            tags: vec!["basalt.lv=pvc-1".into(), "basalt.pvc=ns/data".into()],
            size: Bytes(100),
            used: Some(Bytes(40)),
            health: Health::Well,
            io: Some(Io {
                read: Through {
                    requests: 3,
                    bytes: Bytes(1536),
                    time: Duration::from_millis(250),
                },
                written: Through::default(),
            }),
        }
    }

    fn lines(page: &Page) -> Vec<String> {
        let (_, text) = page.render(None);
        let own = text.lines().filter(|l| l.starts_with("basalt_volume_"));
        own.map(str::to_owned).collect()
    }

    #[test]
    fn a_volume_has_its_series_as_long_as_it_is_there() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Some("n1"));
        let page = Page::new(registry);
        metrics.set_volumes(vec![thin()]);
        let labels = "node=\"n1\",device_class=\"thin\",volume=\"pvc-1\",lv=\"uid-1\",\
                      claim_namespace=\"ns\",claim=\"data\"";
        assert_eq!(
            lines(&page),
            [
                format!("basalt_volume_size_bytes{{{labels}}} 100"),
                format!("basalt_volume_used_bytes{{{labels}}} 40"),
                format!("basalt_volume_healthy{{{labels},reason=\"\"}} 1"),
                format!("basalt_volume_reads_completed_total{{{labels}}} 3"),
                format!("basalt_volume_read_bytes_total{{{labels}}} 1536"),
                format!("basalt_volume_writes_completed_total{{{labels}}} 0"),
                format!("basalt_volume_written_bytes_total{{{labels}}} 0"),
                format!("basalt_volume_read_time_seconds_total{{{labels}}} 0.25"),
                format!("basalt_volume_write_time_seconds_total{{{labels}}} 0.0"),
            ]
        );
        metrics.set_volumes(vec![]);
        assert!(lines(&page).is_empty(), "{:?}", lines(&page));
    }

    #[test]
    fn what_is_not_known_of_a_volume_has_no_series() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, None);
        let page = Page::new(registry);
        let sick = Measured {
            tags: vec![],
            used: None,
            health: Health::Sick("Partial"),
            io: None,
            ..thin()
        };
        let unknown = Measured {
            health: Health::Unknown,
            ..sick.clone()
        };
        let labels =
            "device_class=\"thin\",volume=\"uid-1\",lv=\"uid-1\",claim_namespace=\"\",claim=\"\"";
        let size = format!("basalt_volume_size_bytes{{{labels}}} 100");
        metrics.set_volumes(vec![sick]);
        let healthy = format!("basalt_volume_healthy{{{labels},reason=\"Partial\"}} 0");
        assert_eq!(lines(&page), [size.clone(), healthy]);
        metrics.set_volumes(vec![unknown]);
        assert_eq!(lines(&page), [size]);
    }
}
