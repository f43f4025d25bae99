//! topolvm-node.

use std::sync::Arc;

use anyhow::{Context, bail};
use futures::stream;
use kube::Client;
use lvmd::args::ConfigSource;
use lvmd::cmd::Host;
use lvmd::config::watch::Source;
use lvmd::metrics::{Metrics, Page};
use lvmd::run::Embedded;
use lvmd::runtime::{http, log, signals};
use prometheus_client::registry::Registry;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tracing::{info, warn};

use super::Bound;
use crate::args::NodeCli;
use crate::controller::Controller;
use crate::identity::Identity;
use crate::kubernetes::node_object::NodeObject;
use crate::kubernetes::reconciler::Reconciler;
use crate::kubernetes::strays::Told;
use crate::kubernetes::successor;
use crate::node::{Formatting, Node};
use crate::proto::controller_server::ControllerServer;
use crate::proto::identity_server::IdentityServer;
use crate::proto::node_server::NodeServer;
use crate::registration;
use crate::standalone::LocalStore;

/// Runs topolvm-node to its end.
///
/// # Errors
/// What keeps it from starting: flags, configuration, the socket.
pub async fn node(cli: NodeCli) -> anyhow::Result<()> {
    let mut notices = cli.without_effect.notices();
    log::init(&cli.log.clone().settings(&mut notices))?;
    notices.iter().for_each(|notice| warn!("{notice}"));
    if cli.nodename.is_empty() {
        bail!("the node's name is not given: use --nodename or the variable NODE_NAME");
    }
    if !cli.standalone && !cli.embed_lvmd {
        bail!(
            "an lvmd of its own, at {}, cannot be used: run lvmd in this program with --embed-lvmd",
            cli.lvmd_socket.display()
        );
    }
    let NodeCli {
        csi_socket: socket,
        nodename,
        state_dir,
        daemonset,
        config,
        lvm_path,
        metrics_bind_address,
        minimums,
        standalone,
        ..
    } = cli;
    let stop = signals::stop_token()?;
    // Reads files only: that the API server does not answer keeps no volume from its pod.
    let client = match standalone {
        true => None,
        false => Some(
            Client::try_default()
                .await
                .context("there is no cluster here: set KUBECONFIG, or use --standalone")?,
        ),
    };
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, Some(&nodename));
    // Without a cluster there are no objects to be named by.
    let strays = (!standalone).then(|| Told::register(&mut registry, &nodename));
    let source = ConfigSource::File(Source {
        path: config,
        lvm_path: Some(lvm_path).filter(|path| !path.is_empty()),
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
    let state = state_dir.or_else(|| Some(socket.parent()?.to_owned()));
    let formatting = Formatting::new(&state.context("the socket is in no folder")?);
    let node = Node::new(
        nodename.clone(),
        volumes.clone(),
        Host,
        formatting,
        tasks.clone(),
    );
    let controller = standalone.then(|| {
        let store = Arc::new(LocalStore::new(volumes.clone(), nodename.clone()));
        ControllerServer::new(Controller::new(store, minimums.minimums(), tasks.clone()))
    });
    let (listener, bound) = Bound::new(&socket)?;
    info!(socket = %socket.display(), "serving CSI");
    let mut registered = None;
    if let Some((client, strays)) = client.zip(strays) {
        let work = Work {
            client: client.clone(),
            nodename,
            tasks: tasks.clone(),
            stop: stop.clone(),
            strays,
        };
        work.start(&embedded);
        match registration::folder(&socket) {
            Some(folder) => {
                let known = registration::serve(&folder, &socket, stop.clone())
                    .with_context(|| format!("cannot register in {}", folder.display()))?;
                registered = daemonset.map(|set| (client, set, known));
            }
            None => info!("registering with the kubelet is left to somebody else"),
        }
    }
    let kept = embedded.start(stop.clone());
    Server::builder()
        .add_service(IdentityServer::new(Identity(volumes)))
        .add_optional_service(controller)
        .add_service(NodeServer::new(node))
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        )
        .await
        .context("serving failed")?;
    stop.cancel();
    if let Some((client, daemonset, known)) = registered
        && !successor::takes_over(&client, &daemonset).await
    {
        info!("what comes next registers by itself: the kubelet forgets this driver");
        if let Err(error) = known.leave() {
            warn!(%error, "the kubelet goes on asking for this driver");
        }
    }
    bound.remove()?;
    tasks.close();
    tasks.wait().await;
    kept.end().await;
    if let Some(door) = side_door {
        let _ = door.task.await;
    }
    info!("all work is finished, ending");
    Ok(())
}

/// What a node does in a cluster besides answering CSI calls.
struct Work {
    client: Client,
    nodename: String,
    tasks: TaskTracker,
    stop: CancellationToken,
    strays: Told,
}

impl Work {
    fn start(self, embedded: &Embedded) {
        let Self {
            client,
            nodename,
            tasks,
            stop,
            strays,
        } = self;
        let states = stream::unfold(embedded.follower(), |mut follower| async move {
            follower.next().await.map(|state| (state, follower))
        });
        let object = NodeObject::start(&client, nodename.clone(), &tasks, &stop);
        tasks.spawn(object.run(states, strays.text()));
        let reconciler = Reconciler::new(&client, nodename, embedded.volumes.clone(), strays);
        tasks.spawn(reconciler.run(stop));
    }
}
