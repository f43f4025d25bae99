//! One reading, and the thread that does it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use lvmd::units::Bytes;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::super::untouched::Untouched;
use super::super::{Shifted, geometry};
use super::AGAIN;
use crate::identity::Device;
use crate::node::chain;
use crate::probe::aligned::DirectReader;
use crate::probe::blank::{self, Blank, BlankPolicy};
use crate::rules::Progress;

/// The first byte that is not zero, or why that is not known.
pub(super) type Outcome = Result<Option<u64>, String>;

/// Reads the disk at the node, which has to be in the state, from the place on.
pub(super) type Reader = fn(&Path, &Untouched, u64, &Run) -> Outcome;

/// What is read.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its kernel name.
    pub(super) name: String,
    /// That of its disk, the same where it is one.
    pub(super) disk: String,
    /// Its node.
    pub(super) node: String,
}

/// One reading. Dropping it ends it after the MiB that is being read.
#[derive(Debug)]
pub(super) struct Job {
    node: PathBuf,
    /// The kernel name of the disk, where it is a partition.
    pub(super) disk: String,
    /// The disk as it was before.
    pub(super) state: Untouched,
    /// How many reads it had answered before.
    pub(super) reads: u64,
    /// The first byte that is read.
    start: u64,
    /// Lower ones were asked for before.
    pub(super) number: u64,
    /// Whether somebody asked for it in this pass.
    pub(super) asked: bool,
    /// `None`: it was not begun.
    run: Option<Arc<Run>>,
}

/// What the thread tells, and is told.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) done: AtomicU64,
    pub(super) stop: AtomicBool,
    outcome: OnceLock<(Instant, Outcome)>,
}

impl Job {
    pub(super) fn new(
        target: Target,
        state: Untouched,
        start: u64,
        reads: u64,
        number: u64,
    ) -> Self {
        Self {
            node: PathBuf::from(target.node),
            disk: target.disk,
            state,
            reads,
            start,
            number,
            asked: false,
            run: None,
        }
    }

    /// Whether it tells of all bytes from `start` on.
    pub(super) fn answers(&self, start: u64) -> bool {
        let found_before = matches!(self.outcome(), Some(Ok(Some(at))) if *at < start);
        self.start <= start && !found_before
    }

    pub(super) fn waits(&self) -> bool {
        self.run.is_none()
    }

    /// Whether it is being read.
    pub(super) fn is_read(&self) -> bool {
        self.run.is_some() && self.outcome().is_none()
    }

    #[cfg(test)]
    pub(super) fn run(&self) -> Option<Arc<Run>> {
        self.run.clone()
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        Some(&self.run.as_ref()?.outcome.get()?.1)
    }

    /// When it ended.
    pub(super) fn ended(&self) -> Option<Instant> {
        Some(self.run.as_ref()?.outcome.get()?.0)
    }

    /// Whether it failed, and that is a while ago.
    pub(super) fn is_to_repeat(&self, now: Instant) -> bool {
        let failed = self.outcome().is_some_and(Result::is_err);
        let is_old = |at: Instant| now.saturating_duration_since(at) >= AGAIN;
        failed && self.ended().is_some_and(is_old)
    }

    pub(super) fn progress(&self) -> Progress {
        let done = self.run.as_ref();
        let done = done.map_or(0, |run| run.done.load(Ordering::Relaxed));
        Progress::new(
            Bytes(done),
            Bytes(self.state.size.0.saturating_sub(self.start)),
        )
    }

    /// Begins it with this reader; `ended` is told when it is over.
    pub(super) fn start(&mut self, reader: Reader, ended: Arc<Notify>) {
        let run = self.run.insert(Arc::default()).clone();
        let (node, state, start) = (self.node.clone(), self.state.clone(), self.start);
        let ending = Ending { run, ended };
        info!(disk = %node.display(), size = %state.size, "reading all of it");
        let thread = thread::Builder::new().name("whole-disk".to_owned());
        // Nobody waits for it: a disk that hangs holds up neither a pass nor the end.
        let begun = thread.spawn(move || {
            let outcome = reader(&node, &state, start, &ending.run);
            info!(disk = %node.display(), ?outcome, "its reading ended");
            let _ = ending.run.outcome.set((Instant::now(), outcome));
        });
        if let Err(error) = begun {
            warn!(%error, "no thread reads it");
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            run.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Says that the thread is over, however it ended.
struct Ending {
    run: Arc<Run>,
    ended: Arc<Notify>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let broke = || (Instant::now(), Err("the thread that read it broke".into()));
        self.run.outcome.get_or_init(broke);
        self.ended.notify_one();
    }
}

/// The [`Reader`] of real disks.
pub(super) fn read(node: &Path, state: &Untouched, start: u64, run: &Run) -> Outcome {
    let reader = DirectReader::open(node).map_err(|e| chain(&e))?;
    let device = Device::of(reader.get_ref()).map_err(|e| chain(&e))?;
    if (device.diskseq, device.size) != (state.diskseq, state.size) {
        return Err("another disk is in its place".into());
    }
    let mut rest = geometry(&device);
    rest.size_bytes = rest.size_bytes.saturating_sub(start);
    let shifted = Shifted { reader, by: start };
    let told = |progress: blank::Progress| {
        run.done.store(progress.done, Ordering::Relaxed);
        match run.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    match blank::check(shifted, rest, BlankPolicy::Full, told).map_err(|e| chain(&e))? {
        Blank::Blank => Ok(None),
        Blank::NotZero { first_offset } => Ok(Some(start + first_offset)),
    }
}
