//! What the daemon does and how long that takes: commands, extensions, events.

use std::time::{Duration, Instant};

use lvmd::cmd::{Cmd, CmdError, Output, Runner};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::events::DiskEvent;
use crate::pools::{Entry, EntryResult};

/// From an event that is answered at once to a command that ran into its limit.
const BUCKETS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Command {
    command: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Extension {
    class: String,
    part: String,
    result: String,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// Handles; clones write to the same metrics.
#[derive(Debug, Clone)]
pub struct WorkMetrics {
    commands: Seconds<Command>,
    extensions: Seconds<Extension>,
    events: Counter,
    resyncs: Counter,
    lag: Histogram,
}

impl WorkMetrics {
    /// Registers `diskwatcher_lvm_command_seconds`, `diskwatcher_extend_seconds`,
    /// `diskwatcher_uevents_total`, `diskwatcher_resyncs_total` and `diskwatcher_uevent_lag_seconds`.
    pub fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            commands: Family::new_with_constructor(histogram),
            extensions: Family::new_with_constructor(histogram),
            events: Counter::default(),
            resyncs: Counter::default(),
            lag: histogram(),
        };
        registry.register(
            "diskwatcher_lvm_command_seconds",
            "Time an lvm process took, by sub-command and how it ended",
            metrics.commands.clone(),
        );
        registry.register(
            "diskwatcher_extend_seconds",
            "Time an extension of a pool took, until the kernel showed it or did not",
            metrics.extensions.clone(),
        );
        registry.register(
            "diskwatcher_uevents",
            "Events of disks that were heard",
            metrics.events.clone(),
        );
        registry.register(
            "diskwatcher_resyncs",
            "How often everything was listed anew, because events were lost or at the start",
            metrics.resyncs.clone(),
        );
        registry.register(
            "diskwatcher_uevent_lag_seconds",
            "Time from an event of a disk to the end of the look that answered it",
            metrics.lag.clone(),
        );
        metrics
    }

    /// Counts an event.
    pub fn event(&self, event: &DiskEvent) {
        match event {
            DiskEvent::Resync => self.resyncs.inc(),
            _ => self.events.inc(),
        };
    }

    /// An event was answered.
    pub fn answered(&self, heard: Instant) {
        self.lag.observe(heard.elapsed().as_secs_f64());
    }

    /// An extension of the pool of a class ended.
    pub fn extended(&self, class: &str, entry: &Entry) {
        let labels = Extension {
            class: class.to_owned(),
            part: format!("{:?}", entry.part),
            result: match entry.result {
                EntryResult::Done => "done",
                EntryResult::Failed => "failed",
            }
            .to_owned(),
        };
        let took = Duration::from_millis(entry.millis).as_secs_f64();
        self.extensions.get_or_create(&labels).observe(took);
    }
}

/// Runs lvm through another runner, and measures it.
#[derive(Debug, Clone)]
pub struct Measured<R> {
    runner: R,
    metrics: WorkMetrics,
}

impl<R> Measured<R> {
    /// Measures what goes through `runner`.
    pub fn new(runner: R, metrics: WorkMetrics) -> Self {
        Self { runner, metrics }
    }
}

impl<R: Runner> Runner for Measured<R> {
    async fn run(&self, cmd: Cmd) -> Result<Output, CmdError> {
        let (command, started) = (cmd.verb().to_owned(), Instant::now());
        let ended = self.runner.run(cmd).await;
        let result = match &ended {
            Ok(_) => "ok".to_owned(),
            Err(CmdError::Failed { code, .. }) => code.to_string(),
            Err(CmdError::Signalled { .. }) => "signal".to_owned(),
            Err(CmdError::Stuck { .. }) => "stuck".to_owned(),
            Err(CmdError::Start { .. } | CmdError::TooMuchOutput { .. }) => "error".to_owned(),
        };
        let labels = Command { command, result };
        let seconds = self.metrics.commands.get_or_create(&labels);
        seconds.observe(started.elapsed().as_secs_f64());
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Part;
    use lvmd::cmd::Host;
    use lvmd::units::Bytes;

    #[tokio::test]
    async fn work_is_measured_by_how_it_ended() {
        let mut registry = Registry::default();
        let metrics = WorkMetrics::register(&mut registry);
        let host = Measured::new(Host, metrics.clone());
        host.run(Cmd::new("/bin/true").arg("vgs")).await.unwrap();
        let failed = host.run(Cmd::new("/bin/false").arg("vgs")).await;
        assert!(failed.is_err());
        let missing = host.run(Cmd::new("/nonexistent").arg("pvs")).await;
        assert!(missing.is_err());
        metrics.event(&DiskEvent::Resync);
        metrics.event(&DiskEvent::Removed("sda".to_owned()));
        metrics.answered(Instant::now());
        let took = Duration::from_millis(1500);
        let entry = Entry::now(Part::Data, Bytes(1), Bytes(2), took, None);
        metrics.extended("fast", &entry);

        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "diskwatcher_lvm_command_seconds_count{command=\"vgs\",result=\"ok\"} 1",
            "diskwatcher_lvm_command_seconds_count{command=\"vgs\",result=\"1\"} 1",
            "diskwatcher_lvm_command_seconds_count{command=\"pvs\",result=\"error\"} 1",
            "diskwatcher_extend_seconds_sum{class=\"fast\",part=\"Data\",result=\"done\"} 1.5",
            "diskwatcher_uevents_total 1",
            "diskwatcher_resyncs_total 1",
            "diskwatcher_uevent_lag_seconds_count 1",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
