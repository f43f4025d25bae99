//! The daemon: who starts what.
//!
//! `run` reads the flags and the configuration, opens the socket and the HTTP side
//! door, and starts one keeper task that checks LVM, heals a VG when it is first seen
//! and again when it comes back, and keeps the metrics true. Nothing that is wrong with
//! LVM or a VG ends the daemon: it is not ready, says why, and looks again.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{error, info, warn};

use crate::args::{Cli, Command, ConfigSource, Resolved};
use crate::cmd::{Host, Runner};
use crate::config::watch::{Pace, Watching};
use crate::config::{Config, LvmSystemDir};
use crate::engine::{Engine, Observer};
use crate::lvm::tool::{SystemDir, Tool, Version};
use crate::metrics::{ClassSample, Metrics, Page, PoolSample};
use crate::names;
use crate::proto::health::health_server::HealthServer;
use crate::proto::lv_service_server::LvServiceServer;
use crate::proto::vg_service_server::VgServiceServer;
use crate::runtime::http::{self, Check, Health};
use crate::runtime::{log, signals};
use crate::service::Service;
use crate::volumes::{NodeState, Volumes};

/// How often the keeper looks when nothing is known to have happened.
const TICK: Duration = Duration::from_secs(10);

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
    let embedded = Embedded::new(config, "lvmd", metrics.clone(), &stop)?;
    let volumes = embedded.volumes.clone();
    let first = volumes.config();
    let side_door = http::serve(&bind, Page::new(registry), embedded.health(), stop.clone())
        .await
        .context("cannot serve metrics and health")?;
    let listener = listen(&first.socket)
        .with_context(|| format!("cannot listen at {}", first.socket.display()))?;
    let bound = inode(&first.socket);
    info!(socket = %first.socket.display(), "serving");
    let kept = embedded.start(stop.clone());
    let service = Service::new(volumes.clone(), metrics, stop.clone());
    Server::builder()
        .add_service(LvServiceServer::new(service.clone()))
        .add_service(VgServiceServer::new(service.clone()))
        .add_service(HealthServer::new(service))
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        )
        .await
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

/// lvmd without a socket. Nothing happens before [`Embedded::start`].
#[derive(Debug)]
pub struct Embedded {
    /// The volumes.
    pub volumes: Volumes<Host>,
    health: Arc<KeptHealth<Host>>,
    keeper: Keeper<Host>,
}

/// An embedded lvmd at work.
#[derive(Debug)]
pub struct Kept {
    volumes: Volumes<Host>,
    keeper: JoinHandle<()>,
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
        let keeper = Keeper::new(volumes.clone(), metrics, watching);
        Ok(Self {
            volumes,
            health: Arc::new(keeper.health()),
            keeper,
        })
    }

    /// How it is, for health pages.
    pub fn health(&self) -> impl Health + use<> {
        self.health.clone()
    }

    /// Begins to look after the volumes, until `stop`: when the socket is shown to be
    /// ours alone, because it heals what it finds.
    pub fn start(self, stop: CancellationToken) -> Kept {
        Kept {
            volumes: self.volumes,
            keeper: tokio::spawn(self.keeper.run(stop)),
        }
    }
}

impl Kept {
    /// Waits until all work has come to a safe end, after the stop.
    pub async fn end(self) {
        let _ = self.keeper.await;
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

impl Observer for Metrics {
    fn command_ended(&self, verb: &str, result: &str, seconds: f64) {
        self.command(verb, result, Duration::from_secs_f64(seconds));
    }

    fn wreck_found(&self, kind: &str, outcome: &str) {
        self.heal(kind, outcome);
    }
}

/// What the keeper last saw.
#[derive(Debug, Clone, Default)]
struct Seen {
    preflight: Option<Result<Version, String>>,
    state: Option<Result<NodeState, String>>,
}

/// See the module.
#[derive(Debug)]
struct Keeper<R> {
    volumes: Volumes<R>,
    metrics: Metrics,
    watching: Watching,
    seen: watch::Sender<Seen>,
}

impl<R: Runner + Clone> Keeper<R> {
    fn new(volumes: Volumes<R>, metrics: Metrics, watching: Watching) -> Self {
        Self {
            volumes,
            metrics,
            watching,
            seen: watch::channel(Seen::default()).0,
        }
    }

    fn health(&self) -> KeptHealth<R> {
        KeptHealth {
            volumes: self.volumes.clone(),
            watching: self.watching.clone(),
            seen: self.seen.subscribe(),
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.volumes.engine().changes();
        loop {
            changes.borrow_and_update();
            if self.preflight().await {
                self.look().await;
            }
            tokio::select! {
                _ = changes.changed() => {}
                changed = self.watching.config.changed() => match changed {
                    Ok(()) => self.volumes.apply_config(),
                    // A fixed configuration has nobody who could change it.
                    Err(_) => tokio::select! {
                        _ = changes.changed() => {}
                        () = tokio::time::sleep(TICK) => {}
                        () = stop.cancelled() => return,
                    },
                },
                () = tokio::time::sleep(TICK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Whether LVM here can do its work; asked until it can.
    async fn preflight(&self) -> bool {
        if matches!(self.seen.borrow().preflight, Some(Ok(_))) {
            return true;
        }
        let result = self
            .volumes
            .engine()
            .tool()
            .preflight(&Host)
            .await
            .map_err(|error| error.to_string());
        match &result {
            Ok(version) => info!(%version, "lvm can do its work"),
            Err(error) => error!(%error, "lvm cannot do its work here"),
        }
        let passed = result.is_ok();
        self.seen.send_modify(|seen| seen.preflight = Some(result));
        passed
    }

    /// Looks at the classes; heals VGs that are not known to be sound.
    async fn look(&self) {
        let config = self.volumes.config();
        let state = self
            .volumes
            .state()
            .await
            .map_err(|error| error.to_string());
        if let Ok(state) = &state {
            let engine = self.volumes.engine();
            let (present, away): (Vec<_>, Vec<_>) =
                config.classes.volume_groups().into_iter().partition(|vg| {
                    let mut classes = state.classes.iter();
                    classes.any(|c| c.volume_group == *vg && c.frozen.is_empty())
                });
            away.into_iter().for_each(|vg| engine.forget(vg));
            for vg in present.into_iter().filter(|vg| !engine.is_sound(vg)) {
                if let Err(error) = self.volumes.heal_vg(vg).await {
                    warn!(%vg, %error, "cannot be looked at for wrecks yet");
                }
            }
            self.publish(state);
        }
        self.seen.send_modify(|seen| seen.state = Some(state));
    }

    fn publish(&self, state: &NodeState) {
        self.metrics.set_classes(
            state
                .classes
                .iter()
                .map(|class| ClassSample {
                    device_class: class.class.clone(),
                    available_bytes: class.vg_free.0,
                    size_bytes: class.vg_size.0,
                    pool: class.pool.as_ref().map(|pool| PoolSample {
                        size_bytes: pool.size.0,
                        data_percent: pool.percents().0,
                        metadata_percent: pool.percents().1,
                        overprovision_bytes: pool.overprovision_free.0,
                    }),
                })
                .collect(),
        );
        let mut groups: HashMap<String, String> = HashMap::new();
        for class in &state.classes {
            let code = class.frozen.first().map_or("Ready", |freeze| freeze.code());
            groups.insert(class.volume_group.clone(), code.to_owned());
        }
        let config = self.volumes.config();
        for vg in config.classes.volume_groups() {
            groups
                .entry(vg.to_owned())
                .or_insert_with(|| "Missing".to_owned());
        }
        self.metrics.set_volume_groups(groups.into_iter().collect());
    }
}

/// Health as the keeper sees it.
#[derive(Debug)]
struct KeptHealth<R> {
    volumes: Volumes<R>,
    watching: Watching,
    seen: watch::Receiver<Seen>,
}

impl<R: Runner + Clone> Health for KeptHealth<R> {
    /// A restart cures nothing that LVM has; so only the process itself is asked.
    async fn live(&self) -> Vec<Check> {
        let stuck = self.volumes.engine().stuck();
        let text = stuck
            .iter()
            .map(|(vg, what)| format!("{vg}: {what}"))
            .collect::<Vec<_>>()
            .join("; ");
        // A command that does not end freezes its VG; a restart would forget it.
        vec![Check::ok(
            "commands",
            if stuck.is_empty() {
                "no lvm command is stuck".to_owned()
            } else {
                text
            },
        )]
    }

    async fn ready(&self) -> Vec<Check> {
        let Seen { preflight, state } = self.seen.borrow().clone();
        let mut checks = vec![match preflight {
            Some(Ok(version)) => Check::ok("lvm", format!("lvm {version}")),
            Some(Err(error)) => Check::failed("lvm", error),
            None => Check::failed("lvm", "not asked yet"),
        }];
        checks.push(match self.volumes.require_lock_dir() {
            Ok(()) => Check::ok("lock-dir", names::LVM_LOCK_DIR),
            Err(error) => Check::failed("lock-dir", error.to_string()),
        });
        match state {
            Some(Ok(state)) => {
                checks.push(Check::ok(
                    "volume-groups",
                    format!(
                        "{} of {} classes are there",
                        state.classes.len(),
                        state.classes.len() + state.absent.len()
                    ),
                ));
                // A class that is down is said, and does not take the others down.
                checks.extend(
                    state
                        .absent
                        .iter()
                        .map(|(class, why)| Check::ok(format!("class {class}"), why.clone())),
                );
                let frozen = state
                    .classes
                    .iter()
                    .filter_map(|c| Some((c, c.frozen.first()?)));
                checks.extend(frozen.map(|(class, why)| {
                    Check::ok(format!("class {}", class.class), why.to_string())
                }));
            }
            Some(Err(error)) => checks.push(Check::failed("volume-groups", error)),
            None => checks.push(Check::failed("volume-groups", "not looked at yet")),
        }
        if let Some(error) = &self.watching.status.borrow().error {
            checks.push(Check::ok(
                "configuration",
                format!("the old one is in use: {error}"),
            ));
        }
        checks
    }
}
