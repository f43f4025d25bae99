//! `disk-watcher run`: events in, passes over the disks, status out.
//!
//! Each concern is a loop of its own that shares only the configuration and the
//! [`Board`] with the others, so that one that hangs stops no other.

mod board;
mod disks;
mod pools;
mod reload;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Client;
use lvmd::cmd::Host;
use lvmd::metrics::Page;
use lvmd::runtime::http::{self, Check, Health};
use lvmd::runtime::signals;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::board::Board;
use self::reload::ConfigFile;
use self::source::{Cluster, Source};
use crate::args::RunArgs;
use crate::events::{Events, Quiet};
use crate::facts::Root;
use crate::journal::Journal;
use crate::kubernetes::show::{Shown, Writing};
use crate::kubernetes::watch::Objects;
use crate::metrics::{GroupMetrics, IoMetrics, Measured, Metrics, PoolMetrics, WorkMetrics};
use crate::pass::Watcher;
use crate::status::NodeStatus;
use crate::thin_check::ThinCheck;

/// The net under the events.
const RESYNC: Duration = Duration::from_secs(300);

/// Runs until SIGTERM or SIGINT. A step that is under way is finished first.
///
/// # Errors
/// What keeps it from starting: configuration, journal, netlink.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let RunArgs {
        mut sources,
        kubernetes,
        journal,
        status_dir,
        metrics_bind_address,
        thin_check_limit,
        log: _,
        log_json: _,
    } = args;
    let stop = signals::stop_token()?;
    let node_name = sources.node()?;
    sources.may_be_missing = kubernetes;
    let (file, written) = ConfigFile::open(sources)?;
    let journal_dir = journal;
    let mut journal = Journal::open(&journal_dir).context("cannot use the journal")?;
    let owner = journal.owner().to_owned();
    let board = Board::new(status_dir.clone());
    let cluster = match kubernetes {
        true => Some(cluster(&node_name, &journal_dir, board.told(), &stop).await?),
        false => None,
    };
    let (source, config) = Source::new(file, written, cluster);
    info!(
        %owner,
        classes = config.classes.len(),
        "starting"
    );
    // Listens before the first look, so that nothing falls between the two.
    let events = Events::subscribe()?;
    let mut registry = Registry::default();
    let work = WorkMetrics::register(&mut registry);
    // Before anything looks for the groups on them.
    crate::files::keep(&config, &mut journal);
    let watcher = Watcher::new(
        Measured::new(Host, work.clone()),
        Some(journal),
        Some(Quiet::new(Instant::now())),
        node_name,
    );
    let metrics = Metrics::register(&mut registry);
    let pool_metrics = PoolMetrics::register(&mut registry);
    let groups = GroupMetrics::register(&mut registry, journal_dir.clone());
    let io = IoMetrics::register(&mut registry, Root::host());
    let (passed, last_pass) = watch::channel(Instant::now());
    let door = http::serve(
        &metrics_bind_address,
        Page::new(registry),
        Arc::new(Alive { last_pass }),
        stop.clone(),
    )
    .await?;
    let check = ThinCheck {
        program: std::env::current_exe().context("cannot tell which program this is")?,
        limit: Duration::from_secs(thin_check_limit),
        notes: status_dir,
    };
    let (told, config) = watch::channel(Arc::new(config));
    let pools = pools::start(pools::Shared {
        config,
        owner,
        journal: journal_dir,
        board: board.clone(),
        metrics: pool_metrics,
        work: work.clone(),
        check,
        stop: stop.clone(),
    })?;
    let disks = disks::Loop {
        source,
        config: told,
        events,
        watcher,
        metrics,
        groups,
        io,
        work,
        passed,
        board,
    };
    let ended = disks.run(&stop).await;
    // What is under way on a pool is finished.
    stop.cancel();
    if tokio::task::spawn_blocking(move || pools.join())
        .await
        .is_err()
    {
        error!("the thread of the pools broke");
    }
    if let Some(door) = door {
        let _ = door.task.await;
    }
    info!("ending");
    ended
}

/// Starts to follow the cluster's objects, and to show there what the node has. That its API server does not answer keeps nothing
/// from starting.
async fn cluster(
    node: &str,
    journal: &Path,
    status: watch::Receiver<Arc<NodeStatus>>,
    stop: &CancellationToken,
) -> anyhow::Result<Cluster> {
    let client = Client::try_default()
        .await
        .context("there is no cluster here: set KUBECONFIG, or leave out --kubernetes")?;
    let objects = Objects::start(&client, node, stop);
    let told = objects.tell(stop);
    let (verdicts, judged) = watch::channel(Arc::default());
    let shown = Shown {
        status,
        verdicts: judged,
        told: told.clone(),
        objects,
    };
    tokio::spawn(Writing::start(&client, node, shown, stop).run());
    Ok(Cluster::new(told, journal.to_owned(), verdicts))
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
