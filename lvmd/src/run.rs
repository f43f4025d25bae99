//! The daemon: who starts what.
//!
//! `run` reads the flags and the configuration, opens the socket and the HTTP side
//! door, and starts the keeper. Nothing that is wrong with LVM or a VG ends the daemon:
//! it is not ready, says why, and looks again.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{self, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::args::{Cli, Command, ConfigSource, Resolved};
use crate::cmd::Host;
use crate::config::watch::{Pace, Watching};
use crate::config::{Config, LvmSystemDir};
use crate::engine::Engine;
use crate::keeper::{self, Follower, Keeper, KeptHealth};
use crate::lvm::tool::{SystemDir, Tool};
use crate::metrics::{Measuring, Metrics, Page};
use crate::proto::activation_server::ActivationServer;
use crate::proto::health::health_server::HealthServer;
use crate::proto::inventory_server::InventoryServer;
use crate::proto::lv_service_server::LvServiceServer;
use crate::proto::vg_service_server::VgServiceServer;
use crate::runtime::http::{self, Health};
use crate::runtime::{log, signals};
use crate::service::Service;
use crate::volumes::Volumes;

/// Runs lvmd, or the subcommand that was given, to its end.
///
/// # Errors
/// What keeps it from starting: flags, configuration, the socket.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { args, command } = cli;
    if let Some(Command::Health(health)) = command {
        let limit = Duration::from_secs(health.timeout);
        return Ok(crate::args::ask(&args.socket(), limit).await?);
    }
    let Resolved {
        config,
        metrics: bind,
        log: log_settings,
        notices,
    } = args.resolve()?;
    log::init(&log_settings)?;
    notices.iter().for_each(|notice| warn!("{notice}"));
    let stop = signals::stop_token()?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, None);
    let embedded = Embedded::new(config, "lvmd", metrics, &stop)?;
    let volumes = embedded.volumes.clone();
    let first = volumes.config();
    let page = embedded.page(registry);
    let side_door = http::serve(&bind, page, embedded.health(), stop.clone())
        .await
        .context("cannot serve metrics and health")?;
    let listener = listen(&first.socket)
        .with_context(|| format!("cannot listen at {}", first.socket.display()))?;
    let bound = inode(&first.socket);
    info!(socket = %first.socket.display(), "serving");
    let states = embedded.follower();
    let kept = embedded.start(stop.clone());
    let service = Service::new(volumes, states, stop.clone());
    let (listener, until) = (listener.into_std()?, stop.clone());
    tokio::task::spawn_blocking(move || serve(service, listener, until))
        .await?
        .context("serving failed")?;
    stop.cancel();
    // The next lvmd may be listening there already.
    if inode(&first.socket) == bound {
        let _ = std::fs::remove_file(&first.socket);
    }
    kept.end().await;
    if let Some(door) = side_door {
        let _ = door.task.await;
    }
    info!("all work is finished, ending");
    Ok(())
}

/// Serves on this thread alone, until `stop`. A call changes threads only for what may block;
/// between the workers of a larger runtime it would do so several times, which is much of
/// what a read takes.
fn serve(
    service: Service<Host>,
    listener: net::UnixListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(crate::BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let listener = UnixListener::from_std(listener)?;
        Server::builder()
            .add_service(LvServiceServer::new(service.clone()))
            .add_service(VgServiceServer::new(service.clone()))
            .add_service(ActivationServer::new(service.clone()))
            .add_service(InventoryServer::new(service.clone()))
            .add_service(HealthServer::new(service))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
            .await
            .map_err(anyhow::Error::from)
    });
    // A thread that sleeps on a device that hangs is not waited for.
    runtime.shutdown_background();
    served
}

/// lvmd without a socket. Nothing happens before [`Embedded::start`].
#[derive(Debug)]
pub struct Embedded {
    /// The volumes.
    pub volumes: Volumes<Host>,
    metrics: Metrics,
    health: Arc<KeptHealth<Host>>,
    keeper: Keeper<Host>,
}

/// An embedded lvmd at work.
#[derive(Debug)]
pub struct Kept {
    volumes: Volumes<Host>,
    keeper: JoinHandle<()>,
    check: JoinHandle<()>,
}

impl Embedded {
    /// An lvmd inside the program of this name.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(
        config: ConfigSource,
        program: &'static str,
        metrics: Metrics,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let watching = follow(config, &metrics, stop)?;
        let tool = tool(&watching.config.borrow().clone(), program);
        let engine = Engine::new(Host, tool, Arc::new(metrics.clone()));
        let volumes = Volumes::new(engine, watching.config.clone());
        let keeper = Keeper::new(volumes.clone(), metrics.clone(), watching);
        Ok(Self {
            volumes,
            metrics,
            health: Arc::new(keeper.health()),
            keeper,
        })
    }

    /// The page of this registry, for which the volumes are measured whenever it is asked for.
    pub fn page(&self, registry: Registry) -> Page {
        Page::new(registry).after(Measuring {
            volumes: self.volumes.clone(),
            metrics: self.metrics.clone(),
        })
    }

    /// How it is, for health pages.
    pub fn health(&self) -> impl Health + use<> {
        self.health.clone()
    }

    /// Whoever wants to know the state of the classes and each change of it.
    pub fn follower(&self) -> Follower<Host> {
        self.keeper.follower()
    }

    /// Begins to look after the volumes, until `stop`: when the socket is shown to be
    /// ours alone, because it heals what it finds.
    pub fn start(self, stop: CancellationToken) -> Kept {
        Kept {
            check: tokio::spawn(keeper::compare(self.volumes.clone(), stop.clone())),
            volumes: self.volumes,
            keeper: tokio::spawn(self.keeper.run(stop)),
        }
    }
}

impl Kept {
    /// Waits until all work has come to a safe end, after the stop.
    pub async fn end(self) {
        let _ = self.keeper.await;
        let _ = self.check.await;
        self.volumes.drain().await;
    }
}

fn follow(
    source: ConfigSource,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<Watching> {
    Ok(match source {
        ConfigSource::Fixed(config) => Watching::fixed(config),
        ConfigSource::File(source) => {
            let first = Arc::new(source.load()?);
            let metrics = metrics.clone();
            crate::config::watch::watch(
                source,
                first,
                Pace::default(),
                stop.clone(),
                move |outcome| metrics.config_reload(outcome),
            )
        }
    })
}

/// How lvm is called under this configuration, by the program of this name.
pub fn tool(config: &Config, program: &'static str) -> Tool {
    let mut tool = Tool::beside_us(program);
    tool.command_prefix.clone_from(&config.command_prefix);
    if config.lvm_system_dir == LvmSystemDir::User {
        tool.system_dir = SystemDir::User("/etc/lvm".into());
    }
    tool
}

/// Listens at `socket`, replacing a file that a dead process left.
///
/// # Errors
/// There is another kind of file, or a process that answers.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = socket.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::symlink_metadata(socket) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file that is no socket; remove it or choose another socket-name",
            ));
        }
        Ok(_) if UnixStream::connect(socket).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process answers there; two of them must not share a socket",
            ));
        }
        Ok(_) => std::fs::remove_file(socket)?,
        Err(_) => {}
    }
    UnixListener::bind(socket)
}

/// Which file this is, to know it again.
pub fn inode(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
