//! Metrics: upstream's names, and what upstream does not measure.
//!
//! [`Metrics`] are handles to write to, registered with whatever registry the program
//! has; [`Page`] is that registry as Prometheus reads it.

mod classes;
mod page;
mod process;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use classes::{ClassGauges, Facts, MemberGauges};
pub use classes::{ClassSample, MemberSample, PoolSample};
pub use page::{Look, Looking, Page};
use process::Process;
pub use volumes::Measuring;
use volumes::VolumeMetrics;

use crate::config::watch::Outcome;
use crate::volumes::Measured;

/// From a cached read (tens of microseconds) to a command that ran into its limit.
const BUCKETS: [f64; 17] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Command {
    command: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Heal {
    kind: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fallback {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Read {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Distrusted {
    volume_group_uuid: String,
}

/// Handles to every metric of lvmd. Clones write to the same metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    classes: Arc<ClassGauges>,
    members: Arc<MemberGauges>,
    groups: Arc<Facts>,
    conditions: Arc<Facts>,
    volumes: Arc<VolumeMetrics>,
    events: Family<Event, Counter>,
    operations: Family<Operation, Histogram, fn() -> Histogram>,
    commands: Family<Command, Histogram, fn() -> Histogram>,
    running: Gauge,
    reloads: Family<Reload, Counter>,
    heals: Family<Heal, Counter>,
    fallbacks: Family<Fallback, Counter>,
    reads: Family<Read, Counter>,
    distrusted: Family<Distrusted, Gauge>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    /// Registers all metrics. `node` becomes the label `node` of upstream's six gauges,
    /// as topolvm-node exports them, and of volumes; a standalone lvmd has none.
    pub fn register(registry: &mut Registry, node: Option<&str>) -> Self {
        let metrics = Self {
            classes: Arc::default(),
            members: Arc::default(),
            groups: Arc::new(Facts::new(
                "lvmd_volumegroup_state",
                "1 for the state each volume group of a device class is in",
                ["volume_group", "state"],
            )),
            conditions: Arc::new(Facts::new(
                "lvmd_condition",
                "1 for each thing that is wrong with a device class or its pool",
                ["device_class", "condition"],
            )),
            volumes: Arc::default(),
            events: Family::default(),
            operations: Family::new_with_constructor(histogram),
            commands: Family::new_with_constructor(histogram),
            running: Gauge::default(),
            reloads: Family::default(),
            heals: Family::default(),
            fallbacks: Family::default(),
            reads: Family::default(),
            distrusted: Family::default(),
        };
        let of_node = match node {
            Some(node) => {
                let label = ("node".into(), node.to_owned().into());
                registry.sub_registry_with_label(label)
            }
            None => &mut *registry,
        };
        of_node.register_collector(Box::new(Arc::clone(&metrics.classes)));
        of_node.register_collector(Box::new(Arc::clone(&metrics.volumes)));
        registry.register_collector(Box::new(Arc::clone(&metrics.members)));
        registry.register_collector(Box::new(Arc::clone(&metrics.groups)));
        registry.register_collector(Box::new(Arc::clone(&metrics.conditions)));
        registry.register(
            "lvmd_events",
            "Signs that something may have changed, by where they came from",
            metrics.events.clone(),
        );
        registry.register_collector(Box::new(Process::default()));
        registry.register(
            "lvmd_operation_seconds",
            "Time an operation took, by its gRPC method and status code",
            metrics.operations.clone(),
        );
        registry.register(
            "lvmd_command_seconds",
            "Time an lvm process took, by sub-command",
            metrics.commands.clone(),
        );
        registry.register(
            "lvmd_commands_running",
            "lvm processes that run now",
            metrics.running.clone(),
        );
        registry.register(
            "lvmd_config_reload",
            "Changed configuration files, by whether they were taken up",
            metrics.reloads.clone(),
        );
        registry.register(
            "lvmd_heal",
            "Wrecks of interrupted work that were found, by kind and by what became of them",
            metrics.heals.clone(),
        );
        registry.register(
            "lvmd_read_fallback",
            "Reads that had to ask lvm because the direct reader was not certain, by reason",
            metrics.fallbacks.clone(),
        );
        registry.register(
            "lvmd_reads",
            "Questions for state, by where the answer came from: metadata on the disks, or an lvm process",
            metrics.reads.clone(),
        );
        registry.register(
            "lvmd_read_distrusted",
            "1 for each volume group the direct reader was wrong about; lvm is asked instead",
            metrics.distrusted.clone(),
        );
        metrics
    }

    /// Replaces what is known of every class; a class not among `samples` disappears.
    pub fn set_classes(&self, samples: Vec<ClassSample>) {
        self.classes.set(samples);
    }

    /// Replaces what is known of the classes with several volume groups, in each of them.
    pub fn set_members(&self, samples: Vec<MemberSample>) {
        self.members.set(samples);
    }

    /// Replaces what is known of every volume group: its name and its state in one
    /// word, such as `ok`, `missing`, `partial`, `frozen`.
    pub fn set_volume_groups(&self, groups: Vec<(String, String)>) {
        self.groups.set(groups);
    }

    /// Replaces what is known to be wrong: pairs of device class and condition code.
    pub fn set_conditions(&self, conditions: Vec<(String, String)>) {
        self.conditions.set(conditions);
    }

    /// Replaces what is known of every volume.
    pub fn set_volumes(&self, volumes: Vec<Measured>) {
        self.volumes.set(volumes);
    }

    /// Counts an event of this source.
    pub fn event(&self, source: &str) {
        let labels = Event {
            source: source.to_owned(),
        };
        self.events.get_or_create(&labels).inc();
    }

    /// Counts an operation; `result` is its status code, such as `OK`.
    pub fn operation(&self, operation: &str, result: &str, took: Duration) {
        let labels = Operation {
            operation: operation.to_owned(),
            result: result.to_owned(),
        };
        self.operations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Counts a process that ended; `command` is the sub-command of lvm.
    pub fn command(&self, command: &str, result: &str, took: Duration) {
        let labels = Command {
            command: command.to_owned(),
            result: result.to_owned(),
        };
        self.commands
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Counts a process as running for as long as the returned value lives.
    #[must_use]
    pub fn command_running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// Counts a changed configuration file.
    pub fn config_reload(&self, outcome: Outcome) {
        let result = match outcome {
            Outcome::Applied => "applied",
            Outcome::Refused => "refused",
        };
        let labels = Reload {
            result: result.to_owned(),
        };
        self.reloads.get_or_create(&labels).inc();
    }

    /// Counts a wreck that was found.
    pub fn heal(&self, kind: &str, result: &str) {
        let labels = Heal {
            kind: kind.to_owned(),
            result: result.to_owned(),
        };
        self.heals.get_or_create(&labels).inc();
    }

    /// Counts a question for state; `source` is `metadata` or `lvm`.
    pub fn read(&self, source: &str) {
        let labels = Read {
            source: source.to_owned(),
        };
        self.reads.get_or_create(&labels).inc();
    }

    /// Says that the direct reader was wrong about a VG, which lvm is asked about since.
    pub fn distrusted(&self, volume_group: &str) {
        let labels = Distrusted {
            volume_group_uuid: volume_group.to_owned(),
        };
        self.distrusted.get_or_create(&labels).set(1);
    }

    /// Counts a read that had to ask lvm.
    pub fn read_fallback(&self, reason: &str) {
        let labels = Fallback {
            reason: reason.to_owned(),
        };
        self.fallbacks.get_or_create(&labels).inc();
    }
}

/// A process that runs.
#[derive(Debug)]
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
