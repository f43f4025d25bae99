//! `disk-watcher run`: events in, passes over the disks, status out.
//!
//! Each concern is a loop of its own that shares only the configuration and the
//! [`Board`] with the others, so that one that hangs stops no other.

mod alive;
mod board;
mod disks;
mod pools;
mod post;
mod reload;
mod socket;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Client;
use lvmd::cmd::Host;
use lvmd::metrics::Page;
use lvmd::runtime::{Bind, http, signals};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::alive::{Alive, Passed};
use self::board::Board;
use self::post::Standby;
use self::reload::ConfigFile;
use self::source::{Cluster, Source};
use crate::args::RunArgs;
use crate::events::Quiet;
use crate::facts::Root;
use crate::journal::{Home, Journal, Machine};
use crate::kubernetes::connect;
use crate::kubernetes::lease::{self, Standing};
use crate::kubernetes::show::{Shown, Writing};
use crate::kubernetes::watch::Objects;
use crate::metrics::{
    GroupMetrics, IoMetrics, Measured, Metrics, PoolMetrics, SecretMetrics, WatchMetrics,
    WorkMetrics,
};
use crate::pass::{Watcher, boot_id};
use crate::status::NodeStatus;
use crate::thin_check::ThinCheck;

/// How long pools are cared for after the loop over the disks broke, before the program ends to
/// begin anew.
const BROKEN: Duration = Duration::from_secs(300);
/// How long what is under way on a disk may take once we are to end, before pools, which may have to be
/// deactivated then, do not wait for it: a hung disk hangs its command. Half of what the chart gives us.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon an address that cannot be listened at is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT. A step that is under way is finished first.
///
/// What is wrong with the configuration, the journal, the network or the cluster keeps it from
/// what needs them and is shown; it ends for none of that, since pools would fill meanwhile.
///
/// # Errors
/// What leaves nothing to be done: no name of the node, no thread. And a loop that broke.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let RunArgs {
        sources,
        journal,
        accept_journal,
        status_dir,
        metrics_bind_address,
        lease_holder,
        thin_check_limit,
        log: _,
        log_json: _,
    } = args;
    let stop = signals::stop_token()?;
    let node_name = sources.node()?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let work = WorkMetrics::register(&mut registry);
    let pool_metrics = PoolMetrics::register(&mut registry);
    let groups = GroupMetrics::register(&mut registry, journal.clone());
    let io = IoMetrics::register(&mut registry, Root::host());
    let heard = sources.kubernetes.then(|| {
        (
            WatchMetrics::register(&mut registry),
            SecretMetrics::register(&mut registry),
        )
    });
    let (passed, last_pass) = watch::channel(Passed::none());
    let passed = Arc::new(passed);
    let page = Page::new(registry);
    let door = serve(metrics_bind_address, page, Alive(last_pass), stop.clone());
    let standby = Standby {
        sources: sources.clone(),
        node: node_name.clone(),
        metrics: metrics.clone(),
        work: work.clone(),
        passed: passed.clone(),
    };
    let Some(_post) = standby.wait(&stop).await else {
        return Ok(());
    };

    // Pools come first, and need little.
    let (file, written) = ConfigFile::open(sources, &journal);
    info!(classes = written.classes.len(), "starting");
    let home = Home {
        dir: journal.clone(),
        node: node_name.clone(),
        accepted: accept_journal,
    };
    let opened = home.open();
    let board = Board::new(status_dir.clone());
    let socket = tokio::spawn(socket::serve(
        status_dir.clone(),
        board.clone(),
        stop.clone(),
    ));
    let (config, told) = watch::channel(Arc::new(written.clone()));
    let check = ThinCheck {
        program: std::env::current_exe().context("cannot tell which program this is")?,
        limit: Duration::from_secs(thin_check_limit),
        notes: status_dir,
    };
    let pools = pools::start(pools::Shared {
        config: told,
        home: home.clone(),
        board: board.clone(),
        metrics: pool_metrics,
        work: work.clone(),
        check,
        stop: stop.clone(),
    })?;

    // Listens before the first look, so that nothing falls between the two.
    let events = disks::listen();
    // The Lease is kept until nothing of ours is under way any more.
    let let_go = CancellationToken::new();
    let me = lease_holder.filter(|me| !me.is_empty());
    // A clone may have name and machine-id of another machine, but not its boot.
    let me = me.unwrap_or_else(|| {
        let boot = boot_id().unwrap_or_default();
        format!(
            "{node_name}_{}_{}",
            Machine::here(&node_name).code(),
            boot.trim()
        )
    });
    let (cluster, lease) = heard
        .map(|heard| {
            let status = board.told();
            cluster(&node_name, me, &journal, status, heard, &stop, &let_go)
        })
        .unzip();
    let held = opened.as_ref().ok().map(Journal::held);
    let (source, composed) = Source::new(file, written, cluster, held);
    config.send_replace(Arc::new(composed));
    let mut watcher = Watcher::new(
        Measured::new(Host, work.clone()),
        None,
        Some(Quiet::new(Instant::now())),
        node_name,
    );
    watcher.set_journal(opened);
    let disks = disks::Loop {
        source,
        // Pools go on with what it says when that loop breaks.
        config: config.clone(),
        events,
        home,
        watcher,
        metrics,
        groups,
        io,
        work,
        passed,
        board,
    };
    let mut disks = tokio::spawn(disks.run(stop.clone()));
    let ended = tokio::select! {
        ended = &mut disks => Some(ended),
        () = late(&stop) => None,
    };
    if let Some(Err(error)) = &ended {
        error!(%error, "the loop over the disks broke; pools are cared for, and in five minutes it begins anew");
        tokio::select! {
            () = tokio::time::sleep(BROKEN) => {}
            () = stop.cancelled() => {}
        }
    }
    if ended.is_none() {
        error!(
            "the loop over the disks does not end; pools are left without waiting for it any longer"
        );
    }
    // What is under way on a pool is finished.
    stop.cancel();
    drop(config);
    if tokio::task::spawn_blocking(move || pools.join())
        .await
        .is_err()
    {
        error!("the thread of the pools broke");
    }
    let _ = tokio::join!(door, socket);
    let_go.cancel();
    if let Some(lease) = lease {
        let _ = lease.await;
    }
    info!("ending");
    match ended {
        Some(ended) => ended,
        None => disks.await,
    }
    .context("the loop over the disks broke")
}

/// When a loop that was told to stop should have ended.
async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}

/// Serves metrics and health as soon as the address can be had.
fn serve(bind: Bind, page: Page, health: Alive, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match http::serve(&bind, page.clone(), health.clone(), stop.clone()).await {
                Ok(Some(door)) => {
                    let _ = door.task.await;
                    return;
                }
                Ok(None) => return,
                Err(error) => error!(%error, address = %bind, "no metrics are served"),
            }
            tokio::select! {
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    })
}

/// Starts to follow the cluster's objects, and to show there what the node has, as soon as its
/// API server can be asked; and keeps the node's Lease for `me` until `let_go`.
fn cluster(
    node: &str,
    me: String,
    journal: &Path,
    status: watch::Receiver<Arc<NodeStatus>>,
    (metrics, secrets): (WatchMetrics, SecretMetrics),
    stop: &CancellationToken,
    let_go: &CancellationToken,
) -> (Cluster, JoinHandle<()>) {
    let (tell, told) = watch::channel(Arc::default());
    let (verdicts, judged) = watch::channel(Arc::default());
    let (stands, lease) = watch::channel(Standing::default());
    let (node, stop, heard) = (node.to_owned(), stop.clone(), told.clone());
    let (kept, let_go) = (journal.to_owned(), let_go.clone());
    let task = tokio::spawn(async move {
        let Some(client) = connect::client(Client::try_default, &stop).await else {
            return;
        };
        let objects = Objects::start(&client, &node, &metrics, &stop);
        objects.tell(tell, &stop);
        let shown = Shown {
            status,
            verdicts: judged,
            told: heard,
            objects,
            journal: kept,
            secrets,
        };
        // What breaks while objects are shown must not end the renewals of the Lease.
        let writing = tokio::spawn(Writing::start(&client, &node, shown, &stop).run());
        lease::hold(client, &node, &me, stands, let_go).await;
        if let Err(error) = writing.await {
            error!(%error, "showing objects broke");
        }
    });
    let cluster = Cluster::new(told, journal.to_owned(), verdicts, lease);
    (cluster, task)
}
