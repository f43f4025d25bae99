//! topolvm-node.

use std::sync::Arc;

use anyhow::{Context, bail};
use kube::Client;
use lvmd::args::ConfigSource;
use lvmd::cmd::Host;
use lvmd::config::watch::Source;
use lvmd::metrics::Metrics;
use lvmd::run::Embedded;
use lvmd::runtime::{http, log, signals};
use prometheus_client::registry::Registry;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tracing::{info, warn};

use super::Bound;
use super::backend::{Apart, Backend};
use crate::args::NodeCli;
use crate::calls::Calls;
use crate::controller::Controller;
use crate::identity::Identity;
use crate::kubernetes::node_object::NodeObject;
use crate::kubernetes::reconciler::Reconciler;
use crate::kubernetes::strays::Told;
use crate::kubernetes::successor;
use crate::node::{Allowed, Formatting, Node};
use crate::proto::controller_server::ControllerServer;
use crate::proto::identity_server::IdentityServer;
use crate::proto::node_server::NodeServer;
use crate::registration;
use crate::remote::Remote;
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
    let stop = signals::stop_token()?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, Some(&cli.nodename));
    let tasks = TaskTracker::new();
    let program = Program {
        registry,
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    if !cli.standalone && !cli.embed_lvmd {
        let lvmd = Remote::new(cli.lvmd_socket.clone())?;
        info!(socket = %cli.lvmd_socket.display(), "lvmd is another process");
        return program.run(cli, Apart { lvmd, metrics }, None).await;
    }
    let source = ConfigSource::File(Source {
        path: cli.config.clone(),
        lvm_path: Some(cli.lvm_path.clone()).filter(|path| !path.is_empty()),
    });
    let embedded = Embedded::new(source, "topolvm-node", metrics, &stop)?;
    let controller = cli.standalone.then(|| {
        let store = LocalStore::new(embedded.volumes.clone(), cli.nodename.clone());
        Controller::new(Arc::new(store), cli.minimums.minimums(), tasks)
    });
    program.run(cli, embedded, controller).await
}

/// What every node is made of.
struct Program {
    registry: Registry,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Program {
    /// Serves until it is to stop, with an lvmd, and a controller if there is no cluster.
    async fn run<B: Backend>(
        self,
        cli: NodeCli,
        lvmd: B,
        controller: Option<Controller<LocalStore<Host>>>,
    ) -> anyhow::Result<()> {
        let Self {
            mut registry,
            stop,
            tasks,
        } = self;
        let NodeCli {
            csi_socket: socket,
            nodename,
            state_dir,
            daemonset,
            metrics_bind_address,
            standalone,
            inline_class,
            minimums,
            ..
        } = cli;
        let allowed = Allowed {
            classes: inline_class.into_iter().collect(),
            minimums: minimums.minimums(),
        };
        // Reads files only: that the API server does not answer keeps no volume from its pod.
        let client = match standalone {
            true => None,
            false => Some(
                Client::try_default()
                    .await
                    .context("there is no cluster here: set KUBECONFIG, or use --standalone")?,
            ),
        };
        // Without a cluster there are no objects to be named by.
        let strays = (!standalone).then(|| Told::register(&mut registry, &nodename));
        let calls = Calls::register(&mut registry);
        let volumes = lvmd.volumes();
        let page = lvmd.page(registry);
        let side_door = http::serve(&metrics_bind_address, page, lvmd.health(), stop.clone())
            .await
            .context("cannot serve metrics and health")?;
        let state = state_dir.or_else(|| Some(socket.parent()?.to_owned()));
        let formatting = Formatting::new(&state.context("the socket is in no folder")?);
        let node = Node::new(
            nodename.clone(),
            volumes.clone(),
            Host,
            formatting,
            allowed,
            tasks.clone(),
        );
        let (listener, bound) = Bound::new(&socket)?;
        info!(socket = %socket.display(), "serving CSI");
        let mut registered = None;
        if let Some((client, strays)) = client.zip(strays) {
            let object = NodeObject::start(&client, nodename.clone(), &tasks, &stop);
            tasks.spawn(object.run(lvmd.rooms(), strays.said()));
            let reconciler =
                Reconciler::new(&client, nodename, volumes.clone(), node.clone(), strays);
            tasks.spawn(reconciler.run(stop.clone()));
            match registration::folder(&socket) {
                Some(folder) => {
                    let known = registration::serve(&folder, &socket, stop.clone())
                        .with_context(|| format!("cannot register in {}", folder.display()))?;
                    registered = daemonset.map(|set| (client, set, known));
                }
                None => info!("registering with the kubelet is left to somebody else"),
            }
        }
        let kept = lvmd.start(stop.clone());
        Server::builder()
            .layer(calls)
            .add_service(IdentityServer::new(Identity(volumes)))
            .add_optional_service(controller.map(ControllerServer::new))
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
        kept.await;
        if let Some(door) = side_door {
            let _ = door.task.await;
        }
        info!("all work is finished, ending");
        Ok(())
    }
}
