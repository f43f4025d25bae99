//! How the watcher hears of a cluster's objects.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::now;

/// What disks are taken and given back by.
const KINDS: [&str; 4] = ["DiskClass", "DiskRemovalRequest", "DiskWipeRequest", "Node"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    kind: String,
}

/// Handles; clones write to the same metrics.
#[derive(Debug, Clone, Default)]
pub struct WatchMetrics {
    listed: Family<Of, Gauge>,
    broke_off: Family<Of, Counter>,
    unreadable: Family<Of, Gauge>,
}

impl WatchMetrics {
    /// Registers `diskwatcher_watch_listed_timestamp_seconds`,
    /// `diskwatcher_watch_failures_total` and `diskwatcher_unreadable_objects`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for kind in KINDS {
            metrics.listed.get_or_create(&of(kind)).set(0);
            drop(metrics.broke_off.get_or_create(&of(kind)));
        }
        registry.register(
            "diskwatcher_watch_listed_timestamp_seconds",
            "When all objects of a kind were told last; 0: never since the start",
            metrics.listed.clone(),
        );
        registry.register(
            "diskwatcher_watch_failures",
            "How often the watch of a kind broke off or could not begin",
            metrics.broke_off.clone(),
        );
        registry.register(
            "diskwatcher_unreadable_objects",
            "Objects of a kind that cannot be read",
            metrics.unreadable.clone(),
        );
        metrics
    }

    /// All objects of a kind were told.
    pub(crate) fn listed(&self, kind: &str) {
        let at = i64::try_from(now()).unwrap_or(i64::MAX);
        self.listed.get_or_create(&of(kind)).set(at);
    }

    /// The watch of a kind failed.
    pub(crate) fn broke_off(&self, kind: &str) {
        self.broke_off.get_or_create(&of(kind)).inc();
    }

    /// So many objects of a kind cannot be read.
    pub(crate) fn unreadable(&self, kind: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unreadable.get_or_create(&of(kind)).set(count);
    }
}

fn of(kind: &str) -> Of {
    Of {
        kind: kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_nothing_says_so() {
        let mut registry = Registry::default();
        let metrics = WatchMetrics::register(&mut registry);
        metrics.broke_off("DiskClass");
        metrics.listed("Node");
        metrics.unreadable("DiskClass", 2);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "diskwatcher_watch_listed_timestamp_seconds{kind=\"DiskClass\"} 0",
            "diskwatcher_watch_failures_total{kind=\"DiskClass\"} 1",
            "diskwatcher_watch_failures_total{kind=\"Node\"} 0",
            "diskwatcher_unreadable_objects{kind=\"DiskClass\"} 2",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        assert!(!page.contains("timestamp_seconds{kind=\"Node\"} 0\n"));
    }
}
