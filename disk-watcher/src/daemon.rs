//! `disk-watcher run`: events in, passes over the disks, status out.
//!
//! One task does everything in order: it waits for an event, for a disk to settle, for a
//! changed configuration or for the net of five minutes, and then makes one pass. A bad
//! configuration keeps the old one; a pass that fails is made again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use lvmd::cmd::Host;
use lvmd::metrics::Page;
use lvmd::runtime::http::{self, Check, Health};
use lvmd::runtime::signals;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::args::{self, RunArgs, View};
use crate::config::Config;
use crate::events::{Events, Quiet};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::pass::Watcher;
use crate::status::{DiskState, NodeDisk};

/// The net under the events.
const RESYNC: Duration = Duration::from_secs(300);
/// How soon an unfinished or failed pass is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT. A step that is under way is finished first.
///
/// # Errors
/// What keeps it from starting: configuration, journal, netlink.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let RunArgs {
        config: config_path,
        journal,
        status_dir,
        metrics_bind_address,
        log: _,
        log_json: _,
    } = args;
    let stop = signals::stop_token()?;
    let mut config = args::load(&config_path)?;
    let mut stamp = stamp(&config_path);
    let journal = Journal::open(&journal).context("cannot use the journal")?;
    info!(
        owner = journal.owner(),
        classes = config.classes.len(),
        "starting"
    );
    // Listens before the first look, so that nothing falls between the two.
    let mut events = Events::subscribe()?;
    let mut watcher = Watcher::new(Host, Some(journal), Some(Quiet::new(Instant::now())));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (passed, last_pass) = watch::channel(Instant::now());
    let door = http::serve(
        &metrics_bind_address,
        Page::new(registry),
        Arc::new(Alive { last_pass }),
        stop.clone(),
    )
    .await?;
    let mut wait = Duration::ZERO;
    let mut last: Vec<NodeDisk> = Vec::new();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => watcher.heard(&event),
                None => anyhow::bail!("the listener for uevents ended"),
            },
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => break,
        }
        if let Some(changed) = reload(&config_path, &mut stamp) {
            config = changed;
        }
        match watcher.pass(&config).await {
            Ok(disks) => {
                log_changes(&last, &disks);
                metrics.set(&disks);
                if let Err(error) = publish(&status_dir, &disks) {
                    warn!(%error, dir = %status_dir.display(), "the status cannot be kept");
                }
                wait = if disks.iter().any(unfinished) {
                    AGAIN
                } else {
                    RESYNC.min(Duration::from_secs(10))
                };
                last = disks;
                passed.send_replace(Instant::now());
            }
            Err(error) => {
                error!(%error, "the disks cannot be listed");
                wait = AGAIN;
            }
        }
    }
    if let Some(door) = door {
        let _ = door.task.await;
    }
    info!("ending");
    Ok(())
}

/// Whether a disk is on its way and wants to be looked at soon.
fn unfinished(disk: &NodeDisk) -> bool {
    matches!(
        disk.state,
        DiskState::Candidate | DiskState::Claimed | DiskState::Labelled | DiskState::Grouped
    )
}

/// What tells a changed file: ConfigMaps swap a symlink, so it is followed.
fn stamp(path: &Path) -> Option<(std::time::SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The new configuration, if the file changed and can be used.
fn reload(path: &Path, seen: &mut Option<(std::time::SystemTime, u64)>) -> Option<Config> {
    let now = stamp(path);
    if now == *seen {
        return None;
    }
    *seen = now;
    match args::load(path) {
        Ok(config) => {
            info!(file = %path.display(), classes = config.classes.len(), "the new configuration is in use");
            Some(config)
        }
        Err(error) => {
            error!(error = %format!("{error:#}"), "the old configuration stays in use");
            None
        }
    }
}

/// Keeps the status in each form, replaced whole.
fn publish(dir: &Path, disks: &[NodeDisk]) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    for view in View::ALL {
        let next = dir.join(format!(".{}.next", view.file()));
        std::fs::write(&next, view.render(disks)?)?;
        std::fs::rename(next, dir.join(view.file()))?;
    }
    Ok(())
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
            info!(disk = name, %id, state = ?disk.state, reasons = %disk.summary(), "judged");
        }
    }
    for gone in before
        .iter()
        .filter(|d| !now.iter().any(|n| n.name == d.name && n.id == d.id))
    {
        info!(disk = gone.name.as_deref().unwrap_or("-"), "gone");
    }
}

/// Whether passes are still made.
#[derive(Debug)]
struct Alive {
    last_pass: watch::Receiver<Instant>,
}

impl Alive {
    fn check(&self) -> Check {
        let age = self.last_pass.borrow().elapsed();
        let text = format!("last pass {}s ago", age.as_secs());
        if age < RESYNC * 2 {
            Check::ok("passes", text)
        } else {
            Check::failed("passes", text)
        }
    }
}

impl Health for Alive {
    async fn live(&self) -> Vec<Check> {
        vec![self.check()]
    }

    async fn ready(&self) -> Vec<Check> {
        vec![self.check()]
    }
}
