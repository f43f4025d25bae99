//! The loops over the pools: one for each class with a pool, on a thread of their own.
//!
//! A class whose lvm hangs, or a look over the disks that does, holds up no other pool. They need
//! the classes that are or were in force and the id in the journal's folder, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use lvmd::cmd::Host;
use lvmd::names;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::board::Board;
use crate::config::Config;
use crate::journal::Home;
use crate::metrics::{Measured, PoolMetrics, WorkMetrics};
use crate::node::{NodeReader, POOLS_PROGRAM};
use crate::pass::boot_id;
use crate::pools::{Booted, Care, History};
use crate::status::NodeThinPool;
use crate::thin_check::ThinCheck;

/// How soon it is looked again whose tag our groups have.
const AGAIN: Duration = Duration::from_secs(1);

/// How soon a loop that broke begins anew.
const ANEW: Duration = Duration::from_secs(10);

/// What all of them share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// The configuration in use.
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// The journal's folder: whose tag groups of ours have, and histories.
    pub(super) home: Home,
    /// What `disk-watcher status` shows.
    pub(super) board: Board,
    /// What Prometheus sees.
    pub(super) metrics: PoolMetrics,
    /// The same, of what is done.
    pub(super) work: WorkMetrics,
    /// How lvm checks a pool before it activates it.
    pub(super) check: ThinCheck,
    /// Ends them.
    pub(super) stop: CancellationToken,
}

/// Starts the thread; it ends after `stop`, when what is under way is done.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn start(shared: Shared) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("cannot start the runtime of the pools")?;
    std::thread::Builder::new()
        .name("pools".to_owned())
        .spawn(move || runtime.block_on(run(shared)))
        .context("cannot start the thread of the pools")
}

/// Keeps one loop for each class that has a pool.
async fn run(mut shared: Shared) {
    let (wake, woken) = watch::channel(());
    let events = tokio::spawn(lvmd::events::listen(
        Path::new(names::LVM_LOCK_DIR),
        |_| {},
        move || {
            wake.send_replace(());
        },
        shared.stop.clone(),
    ));
    let Some(owner) = owner(&shared).await else {
        let _ = events.await;
        return;
    };
    let runner = Measured::new(Host, shared.work.clone());
    let node = Arc::new(NodeReader::for_program(runner, POOLS_PROGRAM));
    let mut loops: BTreeMap<String, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        let config = shared.config.borrow_and_update().clone();
        for (class, task) in loops.extract_if(.., |_, task| task.is_finished()) {
            if let Err(error) = task.await {
                error!(%class, %error, "the loop over its pool broke; it begins anew");
            }
        }
        for class in config.classes.iter().filter(|c| c.thin_pool.is_some()) {
            loops.entry(class.name.clone()).or_insert_with(|| {
                let one = One {
                    name: class.name.clone(),
                    care: Care::new(
                        node.clone(),
                        owner.clone(),
                        shared.home.clone(),
                        History::open(&shared.home.dir, &class.name),
                        Booted::open(&shared.home.dir, &class.name, boot_id()),
                        shared.check.clone(),
                    ),
                    shared: shared.clone(),
                    woken: woken.clone(),
                };
                tokio::spawn(one.run())
            });
        }
        tokio::select! {
            changed = shared.config.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(ANEW) => {}
            () = shared.stop.cancelled() => break,
        }
    }
    for (class, task) in loops {
        if let Err(error) = task.await {
            error!(%class, %error, "the loop over its pool broke");
        }
    }
    let _ = events.await;
}

/// See [`Home::owner`]; waits until there is one.
async fn owner(shared: &Shared) -> Option<String> {
    let mut problem = String::new();
    loop {
        match shared.home.owner() {
            Ok(Some(owner)) => return Some(owner),
            Ok(None) => {}
            Err(error) => {
                let why = crate::node::chain(&error);
                if why != problem {
                    error!(%why, "no pool is cared for: which are ours is not known");
                    problem = why;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = shared.stop.cancelled() => return None,
        }
    }
}

/// The loop of one class.
struct One {
    name: String,
    care: Care<Measured<Host>>,
    shared: Shared,
    woken: watch::Receiver<()>,
}

impl One {
    /// Until stopped, or until the class is gone or has no pool any more.
    async fn run(mut self) {
        let mut last: Option<NodeThinPool> = None;
        loop {
            self.woken.mark_unchanged();
            let config = self.shared.config.borrow_and_update().clone();
            let Some(class) = config.class(&self.name).filter(|c| c.thin_pool.is_some()) else {
                break;
            };
            let looked = self.care.attend(class, &config).await;
            log_change(last.as_ref(), looked.shown.as_ref());
            if let Some(entry) = &looked.extended {
                self.shared.work.extended(&self.name, entry);
            }
            self.shared.metrics.set(&self.name, looked.shown.as_ref());
            self.shared.board.set_pool(
                &self.name,
                looked.shown.clone(),
                Instant::now(),
                looked.again,
            );
            last = looked.shown;
            tokio::select! {
                _ = self.woken.changed() => {}
                _ = self.shared.config.changed() => {}
                () = tokio::time::sleep(looked.again) => {}
                () = self.shared.stop.cancelled() => {
                    self.care.release(class).await;
                    return;
                }
            }
        }
        self.shared.metrics.set(&self.name, None);
        self.shared.board.forget_pool(&self.name);
    }
}

/// One line when the state or what is wrong changes.
fn log_change(before: Option<&NodeThinPool>, now: Option<&NodeThinPool>) {
    let key = |pool: &NodeThinPool| {
        let wrong = pool.conditions.iter().filter(|c| c.is_trouble());
        let codes: Vec<_> = wrong.map(|c| (c.kind, c.reason.clone())).collect();
        (pool.state, codes)
    };
    match (before, now) {
        (_, Some(pool)) if before.map(key) != Some(key(pool)) => {
            info!(class = %pool.class, pool = %pool.name, state = ?pool.state, wrong = %pool.summary(), "the pool");
        }
        (Some(pool), None) => info!(class = %pool.class, pool = %pool.name, "the pool is gone"),
        _ => {}
    }
}
