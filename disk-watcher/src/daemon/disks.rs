//! The loop over the disks. It does everything in order: it waits for an event, for a
//! disk to settle, for a changed configuration or for the net of ten seconds, and then
//! makes one pass. A pass that fails is made again. Without a journal it acts on nothing, and
//! tries to open it before each pass; without events it goes by the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lvmd::cmd::Host;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::alive::Passed;
use super::board::Board;
use super::source::Source;
use crate::config::Config;
use crate::events::{Events, EventsError, Heard};
use crate::journal::Home;
use crate::metrics::{GroupMetrics, IoMetrics, Measured, Metrics, WorkMetrics};
use crate::node;
use crate::pass::Watcher;
use crate::rules::Code;
use crate::status::{DiskState, NodeDisk, NodeVolumeGroup};

/// How soon an unfinished or failed pass is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// How soon a pass is made although nothing is known to have happened.
const NET: Duration = Duration::from_secs(10);

/// What the loop needs.
#[derive(Debug)]
pub(super) struct Loop {
    /// Where the configuration comes from.
    pub(super) source: Source,
    /// What it says, told to all loops.
    pub(super) config: watch::Sender<Arc<Config>>,
    /// What happens to disks; `None`: it cannot be heard.
    pub(super) events: Option<Events>,
    /// Where the journal is, and whose it has to be.
    pub(super) home: Home,
    /// What makes the passes.
    pub(super) watcher: Watcher<Measured<Host>>,
    /// What Prometheus sees of disks.
    pub(super) metrics: Metrics,
    /// Of groups.
    pub(super) groups: GroupMetrics,
    /// Of what passes through them.
    pub(super) io: IoMetrics,
    /// Of what is done.
    pub(super) work: WorkMetrics,
    /// The last pass.
    pub(super) passed: Arc<watch::Sender<Passed>>,
    /// What `disk-watcher status` shows.
    pub(super) board: Board,
}

impl Loop {
    /// Runs until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.source.first_answer() => {}
            () = stop.cancelled() => return,
        }
        self.passes(&stop).await;
        self.watcher.finish().await;
    }

    async fn passes(&mut self, stop: &CancellationToken) {
        let mut wait = Duration::ZERO;
        let mut last: Vec<NodeDisk> = Vec::new();
        let mut cared: Vec<NodeVolumeGroup> = Vec::new();
        let mut unanswered: Vec<Instant> = Vec::new();
        loop {
            tokio::select! {
                event = next(&mut self.events) => match event {
                    Some(heard) => unanswered.push(self.hear(&heard)),
                    None => {
                        error!("the listener for uevents ended");
                        self.events = None;
                    }
                },
                () = tokio::time::sleep(wait) => {}
                () = self.source.touched() => {}
                () = self.watcher.read_whole() => {}
                () = stop.cancelled() => return,
            }
            if self.events.is_none() {
                self.events = listen();
            }
            if !self.watcher.has_journal() {
                let journal = self.home.open();
                self.watcher.set_journal(journal);
            }
            // One look answers all that is known by now.
            while let Some(heard) = self.events.as_mut().and_then(Events::waiting) {
                unanswered.push(self.hear(&heard));
            }
            let mut config = self.config.borrow().clone();
            if let Some(changed) = self.source.changed(&config, self.watcher.held()) {
                config = Arc::new(changed);
                self.config.send_replace(config.clone());
            }
            let (source, held, mut news) = (&mut self.source, self.watcher.held(), None);
            // Nothing begins any more once we are to end: pools are left then.
            let mut is_still = || {
                if stop.is_cancelled() {
                    return false;
                }
                news = news
                    .take()
                    .or_else(|| source.changed(&config, held.clone()));
                news.is_none()
            };
            let passed = self.watcher.pass_while(&config, &mut is_still).await;
            match passed {
                Ok(node) => {
                    let disks = &node.disks;
                    log_changes(&last, disks);
                    log_care(&cared, &node.groups);
                    cared.clone_from(&node.groups);
                    self.metrics.set(&node);
                    self.groups.set(&node.groups);
                    self.io.set(&node);
                    wait = if disks.iter().any(unfinished) {
                        let settles = self.watcher.settles_in(&config);
                        settles.map_or(AGAIN, |settles| settles.min(AGAIN))
                    } else {
                        NET
                    };
                    last = node.disks.clone();
                    self.passed.send_replace(Passed::now(&node));
                    self.board.set_node(node);
                    for heard in unanswered.drain(..) {
                        self.work.answered(heard);
                    }
                }
                Err(error) => {
                    error!(%error, "the disks cannot be listed");
                    wait = AGAIN;
                }
            }
            if let Some(changed) = news {
                self.config.send_replace(Arc::new(changed));
                wait = Duration::ZERO;
            }
        }
    }

    /// Notes an event; says when it was heard.
    fn hear(&mut self, heard: &Heard) -> Instant {
        self.work.event(&heard.event);
        self.watcher.heard(heard);
        heard.at
    }
}

/// The next event; where none can be heard there is none.
async fn next(events: &mut Option<Events>) -> Option<Heard> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// Listens for events, if that is possible now.
pub(super) fn listen() -> Option<Events> {
    let events = Events::subscribe();
    let deaf = |error: &EventsError| error!(error = %node::chain(error), "disks are looked at by the clock");
    events.inspect_err(deaf).ok()
}

/// Whether a disk is on its way, or the host is not fit yet, so that it is looked at soon.
fn unfinished(disk: &NodeDisk) -> bool {
    let has = |code| disk.reasons.iter().any(|reason| reason.code == code);
    // The end of its reading is told.
    let waits = |code: &Code| code.only_waits() && *code != Code::NotSettled;
    let is_only_read = has(Code::BeingRead) && disk.reasons.iter().all(|r| waits(&r.code));
    has(Code::HostNotReady)
        || !is_only_read
            && matches!(
                disk.state,
                DiskState::Draining
                    | DiskState::Wiping
                    | DiskState::Candidate
                    | DiskState::Claimed
                    | DiskState::Labelled
                    | DiskState::Grouped
            )
}

/// One line for each disk whose state or reasons changed.
fn log_changes(before: &[NodeDisk], now: &[NodeDisk]) {
    for disk in now {
        let old = before
            .iter()
            .find(|d| d.name == disk.name && d.id == disk.id);
        if old.is_none_or(|old| old.state != disk.state || old.summary() != disk.summary()) {
            let name = disk.name.as_deref().unwrap_or("-");
            let id = disk
                .id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            info!(disk = name, %id, state = ?disk.state, reasons = %disk.summary(), plan = disk.plan.first(), "judged");
        }
    }
    for gone in before
        .iter()
        .filter(|d| !now.iter().any(|n| n.name == d.name && n.id == d.id))
    {
        info!(disk = gone.name.as_deref().unwrap_or("-"), "gone");
    }
}

/// One line for each group whose class is not in force any more, or is again.
fn log_care(before: &[NodeVolumeGroup], now: &[NodeVolumeGroup]) {
    for group in now {
        let Some(is) = &group.class_in_force else {
            continue;
        };
        let old = before.iter().find(|g| g.uuid == group.uuid);
        match old.and_then(|old| old.class_in_force.as_ref()) {
            Some(was) if was == is => {}
            None if is.status => {}
            _ if is.status => info!(group = %group.name, "its class is in force"),
            _ => {
                warn!(group = %group.name, reason = %is.reason, message = %is.message, "its class is not in force");
            }
        }
    }
}
