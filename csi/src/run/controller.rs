//! topolvm-controller.

use std::future::IntoFuture;
use std::sync::Arc;

use anyhow::Context;
use kube::Client;
use lvmd::metrics::Page;
use lvmd::runtime::http::{self, Check, Health};
use lvmd::runtime::{log, signals};
use prometheus_client::registry::Registry;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tracing::{info, warn};

use super::Bound;
use crate::args::ControllerCli;
use crate::calls::Calls;
use crate::controller::Controller;
use crate::identity::{Identity, Ready};
use crate::kubernetes::claims;
use crate::kubernetes::cleanup::Cleanup;
use crate::kubernetes::leader::Election;
use crate::kubernetes::store::KubeStore;
use crate::proto::controller_server::ControllerServer;
use crate::proto::identity_server::IdentityServer;
use crate::webhook::http::{Counts, Live};
use crate::webhook::own::Life;
use crate::webhook::tls::{Certificate, Connections};
use crate::webhook::upkeep::Upkeep;
use crate::webhook::{self, files};

/// Runs topolvm-controller to its end.
///
/// # Errors
/// What keeps it from starting: flags, no cluster, the socket.
pub async fn controller(cli: ControllerCli) -> anyhow::Result<()> {
    let mut notices = cli.without_effect.notices();
    log::init(&cli.log.clone().settings(&mut notices))?;
    notices.iter().for_each(|notice| warn!("{notice}"));
    let stop = signals::stop_token()?;
    let client = Client::try_default()
        .await
        .context("there is no cluster here: set KUBECONFIG")?;
    let tasks = TaskTracker::new();
    let store = Arc::new(KubeStore::start(&client, &tasks, &stop));
    let mut doors = Vec::new();
    let mut registry = Registry::default();
    let webhook = Webhook::start(&cli, &client, &mut registry, &tasks, &stop).await?;
    let calls = Calls::register(&mut registry);
    let page = Page::new(registry);
    for bind in [&cli.metrics_bind_address, &cli.health_probe_bind_address] {
        let health = Watching(store.clone(), webhook.certificate.clone());
        let door = http::serve(bind, page.clone(), health, stop.clone()).await;
        doors.extend(door.context("cannot serve metrics and health")?);
    }
    let cleanup = Duties {
        client: client.clone(),
        store: store.clone(),
        keep: cli.skip_node_finalize,
        upkeep: webhook.upkeep,
    };
    match cli.election.leader_election {
        true => {
            let namespace = namespace(&cli.election.leader_election_namespace)?;
            let me = format!("{}_{}", hostname()?, uuid()?);
            let election = Election::new(&client, &namespace, &cli.election, me);
            let stop = stop.clone();
            tasks.spawn(election.run(stop, move |token| cleanup.clone().run(token)));
        }
        false => {
            tasks.spawn(cleanup.run(stop.clone()));
        }
    }
    let controller = Controller::new(store.clone(), cli.minimums.minimums(), tasks.clone());
    let (listener, bound) = Bound::new(&cli.csi_socket)?;
    info!(socket = %cli.csi_socket.display(), "serving CSI");
    Server::builder()
        .layer(calls)
        .add_service(IdentityServer::new(Identity(Watching(store, None))))
        .add_service(ControllerServer::new(controller))
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        )
        .await
        .context("serving failed")?;
    stop.cancel();
    bound.remove()?;
    tasks.close();
    tasks.wait().await;
    for door in doors {
        let _ = door.task.await;
    }
    info!("all work is finished, ending");
    Ok(())
}

/// What one controller is enough for.
#[derive(Clone)]
struct Duties {
    client: Client,
    store: Arc<KubeStore>,
    keep: bool,
    upkeep: Option<Upkeep>,
}

impl Duties {
    async fn run(self, stop: CancellationToken) {
        let nodes = self.store.nodes().clone();
        let cleanup = Cleanup::new(self.client.clone(), nodes, self.keep);
        let upkeep = async {
            if let Some(upkeep) = self.upkeep {
                upkeep.run(stop.clone()).await;
            }
        };
        tokio::join!(
            cleanup.run(stop.clone()),
            claims::run(self.client, stop.clone()),
            upkeep
        );
    }
}

/// The namespace that was given, or this pod's.
fn namespace(given: &str) -> anyhow::Result<String> {
    const OWN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    std::fs::read_to_string(OWN)
        .map(|text| text.trim().to_owned())
        .context("this is no pod: use --leader-election-namespace, or --leader-election=false")
}

fn hostname() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("this machine has no name")?;
    Ok(name.to_string_lossy().into_owned())
}

fn uuid() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    Ok(text.context("the kernel gives no uuid")?.trim().to_owned())
}

/// The webhook, as far as others have to do with it.
#[derive(Default)]
struct Webhook {
    certificate: Option<Certificate>,
    upkeep: Option<Upkeep>,
}

impl Webhook {
    /// Starts to serve it, if it is wanted.
    async fn start(
        cli: &ControllerCli,
        client: &Client,
        registry: &mut Registry,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let args = &cli.webhook;
        if !args.enable_webhooks {
            return Ok(Self::default());
        }
        let listener = args.webhook_addr.listen().await;
        let Some(listener) = listener.context("cannot serve the webhook")? else {
            return Ok(Self::default());
        };
        let certificate = Certificate::default();
        let upkeep = match (&args.webhook_secret, &args.webhook_configuration) {
            (Some(secret), Some(configuration)) => {
                let namespace = namespace(&cli.election.leader_election_namespace)?;
                let upkeep =
                    Upkeep::new(client, &namespace, secret, configuration, Life::default());
                tasks.spawn(upkeep.clone().follow(certificate.clone(), stop.clone()));
                Some(upkeep)
            }
            _ => {
                let folder = args.cert_dir.clone();
                tasks.spawn(files::follow(folder, certificate.clone(), stop.clone()));
                None
            }
        };
        let router = webhook::http::router(Live(client.clone()), Counts::register(registry));
        let connections = Connections::of(listener, &certificate, stop.clone())?;
        info!(address = %args.webhook_addr, "serving the webhook");
        let serving = axum::serve(connections, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future();
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                warn!(%error, "the webhook is no longer served");
            }
        });
        Ok(Self {
            certificate: Some(certificate),
            upkeep,
        })
    }
}

/// The controller's health. A restart makes no API server answer, so it works while it runs.
/// It can do its job once it has seen the objects, and a certificate where it serves a webhook.
#[derive(Debug, Clone)]
struct Watching(Arc<KubeStore>, Option<Certificate>);

impl Health for Watching {
    async fn live(&self) -> Vec<Check> {
        vec![Check::ok("process", "it answers")]
    }

    async fn ready(&self) -> Vec<Check> {
        let watch = match self.0.is_watching() {
            true => Check::ok("watch", "LogicalVolumes are known"),
            false => Check::failed("watch", "LogicalVolumes could not be listed yet"),
        };
        let webhook = self
            .1
            .as_ref()
            .map(|certificate| match certificate.is_there() {
                true => Check::ok("webhook", "it has a certificate"),
                false => Check::failed("webhook", "it has no certificate yet"),
            });
        std::iter::once(watch).chain(webhook).collect()
    }
}

impl Ready for Watching {
    async fn ready(&self) -> bool {
        self.0.is_watching()
    }
}
