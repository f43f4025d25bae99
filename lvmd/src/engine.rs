//! The engine: one queue per VG, one lvm process per change, and state that decides.
//!
//! Whoever wants to change a VG takes its [`Lane`]; lanes of one VG are handed out in
//! order, lanes of two VGs run side by side, and LVM's own lock keeps other programs
//! apart. In the lane the caller sees fresh state, decides, changes, and sees fresh
//! state again: the exit code and stderr of lvm only explain.
//!
//! The engine is the only caller of lvm. A faster way to run commands replaces
//! [`Engine::execute`] without touching a caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tracing::{info, warn};

use crate::cmd::{CmdError, Output, Runner};
use crate::lvm::mutation::Mutation;
use crate::lvm::reader::{ReadError, Reader};
use crate::lvm::snapshot::{Freeze, Snapshot, VgView};
use crate::lvm::tool::Tool;

/// Told of each command that ended, for metrics.
pub trait Observer: Send + Sync + std::fmt::Debug + 'static {
    /// `verb` ended after `seconds` with `result` (`ok`, `failed`, `signalled`, `stuck`, `not_started`).
    fn command_ended(&self, verb: &str, result: &str, seconds: f64);
}

/// An observer that does not care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn command_ended(&self, _: &str, _: &str, _: f64) {}
}

/// See the module.
#[derive(Debug)]
pub struct Engine<R> {
    runner: Observed<R>,
    tool: Tool,
    reader: Reader<Observed<R>>,
    lanes: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    stuck: Mutex<HashMap<String, Stuck>>,
    changes: watch::Sender<u64>,
    wanted: Mutex<Vec<String>>,
}

/// The exclusive right to change one VG, as far as this process goes.
#[derive(Debug)]
pub struct Lane<'a, R> {
    engine: &'a Engine<R>,
    vg: String,
    _turn: OwnedMutexGuard<()>,
}

/// Why a change was not made, or not shown to be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// State cannot be told.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The VG is not there.
    #[error("volume group {0} is not there")]
    Missing(String),
    /// The VG must not be changed.
    #[error("volume group {vg} must not be changed: {}", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Frozen {
        /// The VG.
        vg: String,
        /// Why.
        reasons: Vec<Freeze>,
    },
}

impl<R: Runner + Clone> Engine<R> {
    /// An engine that calls lvm as `tool` says.
    pub fn new(runner: R, tool: Tool, observer: Arc<dyn Observer>) -> Self {
        let runner = Observed { runner, observer };
        Self {
            reader: Reader::new(runner.clone(), tool.clone()),
            runner,
            tool,
            lanes: Mutex::default(),
            stuck: Mutex::default(),
            changes: watch::channel(0).0,
            wanted: Mutex::default(),
        }
    }

    /// Names the VGs somebody waits for; they are looked for until they are there.
    pub fn want(&self, vgs: Vec<String>) {
        *lock(&self.wanted) = vgs;
    }

    /// All VGs as they are now.
    ///
    /// # Errors
    /// When state cannot be told.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, ReadError> {
        let wanted = lock(&self.wanted).clone();
        self.reader.read(&wanted).await
    }

    /// A channel that moves after each change made here.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reports a change that was seen from outside, so that watchers look again.
    pub fn note_change(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Waits for the exclusive right to change `vg`.
    pub async fn lane(&self, vg: &str) -> Lane<'_, R> {
        let queue = lock(&self.lanes).entry(vg.to_owned()).or_default().clone();
        // tokio's mutex is fair: first come, first served.
        Lane {
            engine: self,
            vg: vg.to_owned(),
            _turn: queue.lock_owned().await,
        }
    }

    /// VGs with a command of ours that does not end, and what it is.
    pub fn stuck(&self) -> Vec<(String, String)> {
        let mut stuck = lock(&self.stuck);
        stuck.retain(|_, command| !*command.ended.borrow());
        stuck
            .iter()
            .map(|(vg, command)| (vg.clone(), command.what.clone()))
            .collect()
    }

    /// How lvm is called.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// Runs lvm once. The one place where a faster engine would go.
    async fn execute(&self, view: &VgView, args: &[String]) -> Result<Output, CmdError> {
        self.runner
            .run(self.tool.call(Some(&view.vg.name), &view.devices, args)?)
            .await
    }
}

impl<R: Runner + Clone> Lane<'_, R> {
    /// The VG as it is now, if it may be changed.
    ///
    /// # Errors
    /// When it is missing, frozen, or cannot be told.
    pub async fn view(&self) -> Result<VgView, EngineError> {
        let snapshot = self.engine.snapshot().await?;
        let mut view = snapshot
            .vg(&self.vg)
            .ok_or_else(|| EngineError::Missing(self.vg.clone()))?
            .clone();
        let stuck = self
            .engine
            .stuck()
            .into_iter()
            .find(|(vg, _)| *vg == self.vg);
        view.frozen
            .extend(stuck.map(|(_, what)| Freeze::StuckCommand(what)));
        if view.frozen.is_empty() {
            Ok(view)
        } else {
            Err(EngineError::Frozen {
                vg: self.vg.clone(),
                reasons: view.frozen,
            })
        }
    }

    /// Runs one command on the VG as `view` shows it. What it did is for the caller to
    /// see with [`Lane::view`]; the result is only what lvm says of itself.
    ///
    /// # Errors
    /// What lvm says, when it says that it failed.
    pub async fn run(
        &self,
        view: &VgView,
        mutation: &Mutation,
        threshold: u8,
    ) -> Result<(), CmdError> {
        let result = self
            .engine
            .execute(view, &mutation.args(&self.vg, threshold))
            .await;
        self.engine.note_change();
        match &result {
            Ok(out) => {
                info!(vg = %self.vg, change = ?mutation, elapsed = ?out.elapsed, "changed");
                // Said after every change, since lvm's own backups are off.
                let usual = "WARNING: This metadata update is NOT backed up.";
                if !out.stderr.is_empty() && out.stderr != usual {
                    info!(vg = %self.vg, stderr = %out.stderr, "lvm remarks");
                }
            }
            Err(error) => warn!(vg = %self.vg, change = ?mutation, %error, "lvm failed"),
        }
        if let Err(error @ CmdError::Stuck { ended, .. }) = &result {
            warn!(vg = %self.vg, "frozen until the command ends");
            lock(&self.engine.stuck).insert(
                self.vg.clone(),
                Stuck {
                    what: error.to_string(),
                    ended: ended.clone(),
                },
            );
        }
        result.map(drop)
    }
}

/// A command of ours that got SIGTERM and still runs.
#[derive(Debug)]
struct Stuck {
    what: String,
    ended: watch::Receiver<bool>,
}

/// A runner that times what it runs.
#[derive(Debug, Clone)]
struct Observed<R> {
    runner: R,
    observer: Arc<dyn Observer>,
}

impl<R: Runner + Clone> Runner for Observed<R> {
    async fn run(&self, cmd: crate::cmd::Cmd) -> Result<Output, CmdError> {
        let verb = cmd.verb().to_owned();
        let started = Instant::now();
        let result = self.runner.run(cmd).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(CmdError::Failed { .. } | CmdError::TooMuchOutput { .. }) => "failed",
            Err(CmdError::Signalled { .. }) => "signalled",
            Err(CmdError::Stuck { .. }) => "stuck",
            Err(CmdError::Start { .. }) => "not_started",
        };
        self.observer
            .command_ended(&verb, outcome, started.elapsed().as_secs_f64());
        result
    }
}

/// The lock of a mutex whose data stays whole when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
