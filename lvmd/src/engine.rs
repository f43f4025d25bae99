//! The engine: one queue per VG, one lvm process per change, and state that decides.
//!
//! Whoever wants to change a VG takes its [`Lane`]; lanes of one VG are handed out in
//! order, lanes of two VGs run side by side, and LVM's own lock keeps other programs
//! apart. In the lane the caller sees fresh state, decides, changes, and sees fresh
//! state again: the exit code and stderr of lvm only explain. A lane is held until its
//! command has ended, also when the caller is gone.
//!
//! A VG is sound once it was looked at for wrecks; a command that did not end by itself,
//! or not in time, makes it unsound until somebody looks again.
//!
//! The engine is the only caller of lvm. A faster way to run commands replaces
//! the body of [`Lane::run`] without touching a caller.

mod seen;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nix::libc;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tracing::warn;

use crate::cmd::{Cmd, CmdError, Output, Runner};
use crate::lvm::model::Vg;
use crate::lvm::mutation::Mutation;
use crate::lvm::reader::{Checked, ReadError, ReadObserver, Reader};
use crate::lvm::script::Script;
use crate::lvm::snapshot::{Freeze, Snapshot, VgView};
use crate::lvm::tool::Tool;
use crate::patience::Patience;
use seen::Seen;

/// Told of each command and operation that ended, for metrics.
pub trait Observer: ReadObserver {
    /// `verb` ended after `seconds` with `result` (`ok`, `failed`, `signalled`, `stuck`, `not_started`).
    fn command_ended(&self, verb: &str, result: &str, seconds: f64);

    /// A wreck of this `kind` was found and is now `healed`, `named`, `resumed` or `failed`.
    fn wreck_found(&self, kind: &str, outcome: &str) {
        let _ = (kind, outcome);
    }

    /// An `operation`, such as `CreateLV`, ended after `seconds` with `result`, the name of a gRPC code.
    fn operation_ended(&self, operation: &str, result: &str, seconds: f64) {
        let _ = (operation, result, seconds);
    }
}

/// An observer that does not care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl ReadObserver for Unobserved {}

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
    seen: Arc<Seen>,
    last_read: Mutex<Option<Arc<Snapshot>>>,
    wanted: Mutex<Vec<String>>,
    /// lvm was seen to crash on several commands in one process.
    scripts_crash: AtomicBool,
}

/// The exclusive right to change one VG, as far as this process goes.
#[derive(Debug)]
pub struct Lane<'a, R> {
    engine: &'a Engine<R>,
    vg: String,
    turn: Arc<OwnedMutexGuard<()>>,
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
            reader: Reader::new(runner.clone(), tool.clone()).observed(runner.observer.clone()),
            runner,
            tool,
            lanes: Mutex::default(),
            seen: Arc::default(),
            last_read: Mutex::default(),
            wanted: Mutex::default(),
            scripts_crash: AtomicBool::default(),
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
        let snapshot = self.with_stuck(self.reader.read(&wanted)).await?;
        *lock(&self.last_read) = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// What [`Self::snapshot`] gave last, without asking again: for who shows and decides nothing.
    pub fn last_read(&self) -> Option<Arc<Snapshot>> {
        lock(&self.last_read).clone()
    }

    /// The same for who needs the group `vg` and no other of the snapshot; see
    /// [`Reader::read_group`].
    ///
    /// # Errors
    /// When state cannot be told.
    pub async fn snapshot_of(&self, vg: &str) -> Result<Arc<Snapshot>, ReadError> {
        let wanted = lock(&self.wanted).clone();
        self.with_stuck(self.reader.read_group(&wanted, vg)).await
    }

    /// What is read, with each VG frozen in which a command did not end by now, or not before it was read: what that did
    /// meanwhile may not be in it.
    async fn with_stuck(
        &self,
        read: impl Future<Output = Result<Arc<Snapshot>, ReadError>>,
    ) -> Result<Arc<Snapshot>, ReadError> {
        let mut stuck = HashMap::new();
        stuck.extend(self.stuck());
        let mut snapshot = read.await?;
        stuck.extend(self.stuck());
        for (vg, what) in stuck {
            let views = Arc::make_mut(&mut snapshot).vgs.iter_mut();
            views
                .filter(|view| view.vg.name == vg)
                .for_each(|view| view.frozen.push(Freeze::StuckCommand(what.clone())));
        }
        Ok(snapshot)
    }

    /// What lvm says of one VG, where device-mapper shows what only lvm can judge; `code`
    /// is the reason, for metrics.
    ///
    /// # Errors
    /// When lvm fails or no longer knows it.
    pub async fn ask_lvm(&self, view: &VgView, code: &'static str) -> Result<Vg, ReadError> {
        self.reader.ask_lvm(view, code).await
    }

    /// Compares what is read directly with what lvm says; see [`Reader::self_check`].
    ///
    /// # Errors
    /// When state cannot be told, or lvm fails.
    pub async fn self_check(&self) -> Result<Checked, ReadError> {
        let wanted = lock(&self.wanted).clone();
        self.reader.self_check(&wanted).await
    }

    /// A channel that moves after each change made here.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.seen.changes()
    }

    /// Reports a change that was seen from outside, so that watchers look again.
    pub fn note_change(&self) {
        self.seen.note_change();
    }

    /// Whether `vg` was looked at for wrecks and every command since ended by itself.
    pub fn is_sound(&self, vg: &str) -> bool {
        self.seen.is_sound(vg)
    }

    /// Forgets that `vg` is sound, since it was away.
    pub fn forget(&self, vg: &str) {
        self.seen.set_sound(vg, false);
    }

    /// Who is told of commands, operations and wrecks.
    pub fn observer(&self) -> &dyn Observer {
        &*self.runner.observer
    }

    /// Waits for the exclusive right to change `vg`.
    pub async fn lane(&self, vg: &str) -> Lane<'_, R> {
        let queue = lock(&self.lanes).entry(vg.to_owned()).or_default().clone();
        // tokio's mutex is fair: first come, first served.
        Lane {
            engine: self,
            vg: vg.to_owned(),
            turn: Arc::new(queue.lock_owned().await),
        }
    }

    /// Whether somebody has the right to change `vg` now, and may have a command at work.
    pub fn is_busy(&self, vg: &str) -> bool {
        let queue = lock(&self.lanes).get(vg).cloned();
        queue.is_some_and(|queue| queue.try_lock().is_err())
    }

    /// Waits until each of the changes that are under way has ended.
    pub async fn idle(&self) {
        let queues: Vec<_> = lock(&self.lanes).values().cloned().collect();
        for queue in queues {
            drop(queue.lock().await);
        }
    }

    /// VGs with a command of ours that does not end, and what it is.
    pub fn stuck(&self) -> Vec<(String, String)> {
        self.seen.stuck()
    }

    /// Asks what a device that hangs would not answer.
    pub fn patience(&self) -> &Patience {
        self.reader.patience()
    }

    /// Runs a program that is not lvm, beside it.
    ///
    /// # Errors
    /// What the program says, when it says that it failed.
    pub async fn run_beside(&self, cmd: Cmd) -> Result<Output, CmdError> {
        // Past the observer, which counts lvm processes.
        self.runner.runner.run(cmd).await
    }

    /// How lvm is called.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }
}

impl<R: Runner + Clone> Lane<'_, R> {
    /// The engine it is a lane of.
    pub fn engine(&self) -> &Engine<R> {
        self.engine
    }

    /// The VG as it is now, if it may be changed.
    ///
    /// # Errors
    /// When it is missing, frozen, or cannot be told.
    pub async fn view(&self) -> Result<VgView, EngineError> {
        let snapshot = self.engine.snapshot().await?;
        let view = snapshot
            .vg(&self.vg)
            .ok_or_else(|| EngineError::Missing(self.vg.clone()))?
            .clone();
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
        self.run_all(view, std::slice::from_ref(mutation), threshold)
            .await
    }

    /// Runs several in order, each only after the one before it succeeded, in one process
    /// where that can be (see [`Tool::script`]). As [`Lane::run`] otherwise.
    ///
    /// # Errors
    /// What lvm says, when it says that one of them failed.
    pub async fn run_all(
        &self,
        view: &VgView,
        mutations: &[Mutation],
        threshold: u8,
    ) -> Result<(), CmdError> {
        let commands: Vec<_> = mutations
            .iter()
            .map(|mutation| mutation.args(&self.vg, threshold))
            .collect();
        let tool = &self.engine.tool;
        if commands.len() > 1
            && !self.engine.scripts_crash.load(Ordering::Relaxed)
            && let Some((cmd, script)) = tool.script(&self.vg, &view.devices, &commands)?
        {
            let result = self.run_one(cmd, mutations, Some(script)).await;
            if let Err(CmdError::Signalled { signal, .. }) = result
                && [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS].contains(&signal)
            {
                warn!("this lvm crashes on several commands in a process; each gets its own");
                self.engine.scripts_crash.store(true, Ordering::Relaxed);
            }
            return result;
        }
        for (args, mutation) in commands.iter().zip(mutations) {
            let cmd = tool.call(Some(&self.vg), &view.devices, args)?;
            let one = std::slice::from_ref(mutation);
            self.run_one(cmd, one, None).await?;
        }
        Ok(())
    }

    async fn run_one(
        &self,
        cmd: Cmd,
        mutations: &[Mutation],
        script: Option<Script>,
    ) -> Result<(), CmdError> {
        let (text, limit) = (cmd.to_string(), cmd.limit);
        let (runner, seen) = (self.engine.runner.clone(), self.engine.seen.clone());
        let (vg, change, turn) = (self.vg.clone(), mutations.to_vec(), self.turn.clone());
        let command = tokio::spawn(async move {
            let started = Instant::now();
            let result = runner.run(cmd).await;
            seen.ended(&vg, &change, &result, started.elapsed() < limit);
            drop((script, turn));
            result.map(drop)
        });
        command.await.unwrap_or_else(|error| {
            Err(CmdError::Start {
                program: text,
                reason: error.to_string(),
            })
        })
    }

    /// Says that the VG is being looked at for wrecks.
    pub fn set_sound(&self) {
        self.engine.seen.set_sound(&self.vg, true);
    }
}

/// A runner that times what it runs.
#[derive(Debug, Clone)]
struct Observed<R> {
    runner: R,
    observer: Arc<dyn Observer>,
}

impl<R: Runner + Clone> Runner for Observed<R> {
    async fn run(&self, cmd: Cmd) -> Result<Output, CmdError> {
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
