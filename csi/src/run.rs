//! The CSI programs: who starts what.
//!
//! Standalone, one process has it all: lvmd embedded, the three CSI services on one
//! socket, and the HTTP side door.

use std::sync::Arc;

use anyhow::{Context, bail};
use lvmd::args::ConfigSource;
use lvmd::cmd::Host;
use lvmd::config::watch::Source;
use lvmd::metrics::{Metrics, Page};
use lvmd::run::{Embedded, inode, listen};
use lvmd::runtime::{http, log, signals};
use prometheus_client::registry::Registry;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::args::NodeCli;
use crate::controller::Controller;
use crate::identity::Identity;
use crate::node::{Formatting, Node};
use crate::proto::controller_server::ControllerServer;
use crate::proto::identity_server::IdentityServer;
use crate::proto::node_server::NodeServer;
use crate::standalone::LocalStore;

/// Runs topolvm-node to its end.
///
/// # Errors
/// What keeps it from starting: flags, configuration, the socket.
pub async fn node(cli: NodeCli) -> anyhow::Result<()> {
    let mut notices = Vec::new();
    log::init(&cli.log.clone().settings(&mut notices))?;
    notices.iter().for_each(|notice| warn!("{notice}"));
    if cli.nodename.is_empty() {
        bail!("the node's name is not given: use --nodename or the variable NODE_NAME");
    }
    if !cli.standalone {
        bail!("without --standalone topolvm-node is not built yet in this version");
    }
    standalone(cli).await
}

async fn standalone(cli: NodeCli) -> anyhow::Result<()> {
    let NodeCli {
        csi_socket: socket,
        nodename,
        state_dir,
        config,
        metrics_bind_address,
        minimums,
        ..
    } = cli;
    let stop = signals::stop_token()?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, Some(&nodename));
    let source = ConfigSource::File(Source {
        path: config,
        lvm_path: None,
    });
    let embedded = Embedded::new(source, "topolvm-node", metrics, &stop)?;
    let volumes = embedded.volumes.clone();
    let side_door = http::serve(
        &metrics_bind_address,
        Page::new(registry),
        embedded.health(),
        stop.clone(),
    )
    .await
    .context("cannot serve metrics and health")?;
    let tasks = TaskTracker::new();
    let store = Arc::new(LocalStore::new(volumes.clone(), nodename.clone()));
    let controller = Controller::new(store, minimums.minimums(), tasks.clone());
    let state = state_dir.or_else(|| Some(socket.parent()?.to_owned()));
    let formatting = Formatting::new(&state.context("the socket is in no folder")?);
    let node = Node::new(nodename, volumes.clone(), Host, formatting, tasks.clone());
    let listener =
        listen(&socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let bound = inode(&socket);
    info!(socket = %socket.display(), "serving CSI");
    let kept = embedded.start(stop.clone());
    Server::builder()
        .add_service(IdentityServer::new(Identity(volumes)))
        .add_service(ControllerServer::new(controller))
        .add_service(NodeServer::new(node))
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        )
        .await
        .context("serving failed")?;
    stop.cancel();
    // The next one may be listening there already.
    if inode(&socket) == bound {
        let _ = std::fs::remove_file(&socket);
    }
    tasks.close();
    tasks.wait().await;
    kept.end().await;
    if let Some(door) = side_door {
        let _ = door.task.await;
    }
    info!("all work is finished, ending");
    Ok(())
}
