//! The keeper: looks when something has happened, says what it saw, and takes care.
//!
//! One task listens to [`events`] and to the changes lvmd makes itself, and after each it
//! looks once, however many follow it. Looking takes the processor from the very command
//! that is the reason for it, so the keeper rests between two looks and waits a moment for
//! changes of ours to end. What it saw goes to watchers, metrics and the log
//! before anything is healed, so that a wreck never delays the news of another.

mod care;
mod compare;
mod health;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use care::Care;
pub use compare::compare;
pub use health::{KeptHealth, absent, of_class};

use crate::cmd::{Host, Runner};
use crate::config::watch::Watching;
use crate::engine::Observer;
use crate::events;
use crate::lvm::reader::{ReadObserver, Source};
use crate::lvm::tool::Version;
use crate::metrics::{ClassSample, MemberSample, Metrics, PoolSample};
use crate::names;
use crate::volumes::{NodeState, Volumes};

/// How long after a look that failed nothing is looked at: looking may run an lvm, whose
/// lock is an event in itself.
const PAUSE: Duration = Duration::from_secs(1);
/// How many times as long as a look took the keeper rests after it, and at most how long.
const REST: (u32, Duration) = (4, Duration::from_millis(50));
/// How long a look waits for changes of ours to end. With [`REST`] and the time in which
/// events are one, news still reach watchers within 200 ms.
const YIELD: Duration = Duration::from_millis(100);

impl ReadObserver for Metrics {
    fn read(&self, source: Source) {
        Metrics::read(self, source.word());
    }

    fn fell_back(&self, code: &'static str) {
        self.read_fallback(code);
    }

    fn distrusted(&self, vg: &str) {
        Metrics::distrusted(self, vg);
    }
}

impl Observer for Metrics {
    fn command_ended(&self, verb: &str, result: &str, seconds: f64) {
        self.command(verb, result, Duration::from_secs_f64(seconds));
    }

    fn wreck_found(&self, kind: &str, outcome: &str) {
        self.heal(kind, outcome);
    }

    fn operation_ended(&self, operation: &str, result: &str, seconds: f64) {
        self.operation(operation, result, Duration::from_secs_f64(seconds));
    }
}

/// What the keeper last saw.
#[derive(Debug, Clone, Default)]
struct Seen {
    preflight: Option<Result<Version, String>>,
    state: Option<Result<Arc<NodeState>, String>>,
    /// The count of changes that `state` has seen for certain.
    as_of: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Keeper<R> {
    volumes: Volumes<R>,
    metrics: Metrics,
    watching: Watching,
    seen: watch::Sender<Seen>,
    care: Care<R>,
    /// Class, code and text of each condition that was logged and still holds.
    logged: BTreeSet<(String, &'static str, String)>,
}

/// Follows what a [`Keeper`] sees.
#[derive(Debug, Clone)]
pub struct Follower<R> {
    volumes: Volumes<R>,
    seen: watch::Receiver<Seen>,
}

impl<R: Runner + Clone> Follower<R> {
    /// The state as it is now or later; waits until it can be told. `None` when the keeper
    /// has ended.
    pub async fn now(&mut self) -> Option<Arc<NodeState>> {
        self.volumes.engine().note_change();
        let asked = *self.volumes.engine().changes().borrow();
        let told = |seen: &Seen| seen.as_of >= asked && matches!(seen.state, Some(Ok(_)));
        let seen = self.seen.wait_for(told).await.ok()?;
        seen.state.clone()?.ok()
    }

    /// What the next look that could tell saw; `None` when the keeper has ended.
    pub async fn next(&mut self) -> Option<Arc<NodeState>> {
        loop {
            self.looked().await?;
            if let Some(Ok(state)) = &self.seen.borrow_and_update().state {
                return Some(state.clone());
            }
        }
    }

    /// Waits for the next look, whatever it saw; `None` when the keeper has ended.
    pub async fn looked(&mut self) -> Option<()> {
        self.seen.changed().await.ok()
    }
}

impl<R: Runner + Clone> Keeper<R> {
    /// A keeper of `volumes`; see [`Keeper::run`].
    pub fn new(volumes: Volumes<R>, metrics: Metrics, watching: Watching) -> Self {
        Self {
            care: Care::new(volumes.clone()),
            volumes,
            metrics,
            watching,
            seen: watch::channel(Seen::default()).0,
            logged: BTreeSet::new(),
        }
    }

    /// How all is, for health pages.
    pub fn health(&self) -> KeptHealth<R> {
        KeptHealth {
            volumes: self.volumes.clone(),
            watching: self.watching.clone(),
            seen: self.seen.subscribe(),
        }
    }

    /// Whoever wants to know what it sees.
    pub fn follower(&self) -> Follower<R> {
        Follower {
            volumes: self.volumes.clone(),
            seen: self.seen.subscribe(),
        }
    }

    /// Keeps until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let (metrics, volumes) = (self.metrics.clone(), self.volumes.clone());
        let listening = tokio::spawn(events::listen(
            Path::new(names::LVM_LOCK_DIR),
            move |source| metrics.event(source.name()),
            move || volumes.engine().note_change(),
            stop.clone(),
        ));
        tokio::select! {
            () = self.keep() => {}
            () = stop.cancelled() => {}
        }
        let _ = listening.await;
    }

    async fn keep(&mut self) {
        let mut changes = self.volumes.engine().changes();
        loop {
            let engine = self.volumes.engine();
            let _ = tokio::time::timeout(YIELD, engine.idle()).await;
            let as_of = *changes.borrow_and_update();
            let began = Instant::now();
            let looked = self.preflight().await && self.look(as_of).await;
            let again = self.care.again().filter(|_| looked);
            if !looked {
                tokio::time::sleep(PAUSE).await;
            }
            let (times, most) = REST;
            tokio::time::sleep((began.elapsed() * times).min(most)).await;
            tokio::select! {
                _ = changes.changed() => {}
                () = until(again) => {}
                () = changed(&mut self.watching.config) => self.volumes.apply_config(),
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

    /// Looks at the classes and says what is there; whether it could be told.
    async fn look(&mut self, as_of: u64) -> bool {
        let state = self.volumes.state().await;
        let state = state.map(Arc::new).map_err(|error| error.to_string());
        match &state {
            Ok(state) => {
                self.publish(state);
                self.log(state);
            }
            Err(error) => warn!(%error, "the volume groups cannot be told; watchers wait"),
        }
        self.seen.send_modify(|seen| {
            seen.state = Some(state.clone());
            seen.as_of = as_of;
        });
        if let Ok(state) = &state {
            self.care.attend(state).await;
        }
        state.is_ok()
    }

    /// Says once that a condition holds, and once that it is over.
    fn log(&mut self, state: &NodeState) {
        let now: BTreeSet<_> = state
            .classes
            .iter()
            .flat_map(|class| {
                let of =
                    |c: &crate::pool::Condition| (class.class.clone(), c.code, c.message.clone());
                class.conditions.iter().map(of).collect::<Vec<_>>()
            })
            .collect();
        for (class, code, message) in now.difference(&self.logged) {
            warn!(%class, code, "{message}");
        }
        for (class, code, _) in self.logged.difference(&now) {
            info!(%class, code, "over");
        }
        self.logged = now;
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
        let config = self.volumes.config();
        let several = state.members.iter().filter(|member| {
            let class = config.classes.get(&member.class);
            class.is_ok_and(|class| class.only().is_none())
        });
        self.metrics
            .set_members(several.map(MemberSample::from).collect());
        let mut groups: HashMap<String, String> = HashMap::new();
        for class in &state.members {
            let code = class.frozen.first().map_or("Ready", |freeze| freeze.code());
            groups.insert(class.volume_group.clone(), code.to_owned());
        }
        for vg in config.classes.volume_groups() {
            groups
                .entry(vg.to_owned())
                .or_insert_with(|| "Missing".to_owned());
        }
        self.metrics.set_volume_groups(groups.into_iter().collect());
        let conditions = state.classes.iter().flat_map(|class| {
            let of = |c: &crate::pool::Condition| (class.class.clone(), c.code.to_owned());
            class.conditions.iter().map(of).collect::<Vec<_>>()
        });
        // Several groups of a class may have the same trouble.
        let conditions: BTreeSet<_> = conditions.collect();
        self.metrics
            .set_conditions(conditions.into_iter().collect());
    }
}

/// Waits for this moment; for ever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for another configuration; a fixed one has nobody who could change it.
async fn changed<T>(config: &mut watch::Receiver<T>) {
    if config.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
