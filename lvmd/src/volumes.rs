//! The volumes of a node: what lvmd does, without the wire.
//!
//! This is what the gRPC service calls, and what the CSI node calls in-process. Every
//! operation takes the VG's lane, looks, decides, changes with one lvm command, and
//! looks again. A call that is repeated finds what the first one made.

mod activate;
mod copy;
mod counted;
mod create;
mod error;
mod find;
mod heal;
mod inventory;
mod io;
mod listing;
mod measured;
mod moving;
mod opened;
mod place;
mod pool;
mod remove;
mod resize;
mod seen;
mod snapshot;
mod stale;
mod state;
pub mod stopped;
mod stranded;
pub mod stray_move;
mod tagged;
mod turns;
mod uncounted;
mod unfinished;
mod wipe;

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

pub use copy::Pending;
pub use create::Create;
pub use error::VolumeError;
pub use find::Found;
pub use heal::{HealReport, Wreck, diagnose};
pub use inventory::{Inventory, Listed};
pub use io::{Io, Through};
pub use listing::Listing;
pub use measured::{Health, Measured};
pub use snapshot::{Access, SnapshotOf};
pub use state::{ClassState, NodeState, PoolState};

use crate::cmd::Runner;
use crate::config::{Config, DeviceClass};
use crate::dm;
use crate::engine::{Engine, EngineError, Lane};
use crate::lvm::attr::LvAttr;
use crate::lvm::health::Verdict;
use crate::lvm::lock_dir::{self, Places};
use crate::lvm::model::{Lv, Vg};
use crate::lvm::valid;
use crate::names;
use crate::pool::Condition;
use crate::units::Bytes;

/// Whether a request changed something. A repeated request finds its work done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was done now.
    Changed(T),
    /// It was so already.
    AlreadySo(T),
}

impl<T> Outcome<T> {
    /// What it is about, done now or before.
    pub fn into_inner(self) -> T {
        match self {
            Self::Changed(value) | Self::AlreadySo(value) => value,
        }
    }
}

/// A volume as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: Bytes,
    /// Major and minor number; (0, 0) while it is not active.
    pub devno: (u32, u32),
    /// Its tags.
    pub tags: Vec<String>,
    /// `/dev/<vg>/<lv>`.
    pub path: String,
    /// lvs' ten attribute characters.
    pub attr: LvAttr,
    /// What is wrong with it; `None` when nothing is.
    pub verdict: Option<Verdict>,
    /// The same for people, and what is wrong with its pool.
    pub conditions: Vec<Condition>,
}

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug)]
pub struct Volumes<R> {
    inner: Arc<Inner<R>>,
}

#[derive(Debug)]
struct Inner<R> {
    engine: Engine<R>,
    config: watch::Receiver<Arc<Config>>,
    /// Background work; drained at shutdown.
    tasks: TaskTracker,
    wipes: wipe::Wipes,
    copies: copy::Copies,
    turns: turns::Turns,
    lock_dir: OnceLock<lock_dir::Proof>,
    /// Cancelled when no new background work may begin.
    stop: CancellationToken,
}

impl<R> Clone for Volumes<R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<R: Runner + Clone> Volumes<R> {
    /// Serves the classes of `config`, following its changes.
    pub fn new(engine: Engine<R>, config: watch::Receiver<Arc<Config>>) -> Self {
        let this = Self {
            inner: Arc::new(Inner {
                engine,
                config,
                tasks: TaskTracker::new(),
                wipes: wipe::Wipes::default(),
                copies: copy::Copies::default(),
                turns: turns::Turns::default(),
                lock_dir: OnceLock::new(),
                stop: CancellationToken::new(),
            }),
        };
        this.apply_config();
        this
    }

    /// Tells the engine which VGs are wanted now.
    pub fn apply_config(&self) {
        let config = self.config();
        self.inner.engine.want(
            config
                .classes
                .volume_groups()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        );
        self.inner.engine.note_change();
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine<R> {
        &self.inner.engine
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.borrow().clone()
    }

    /// Runs an operation in a task that [`Self::drain`] waits for.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.tasks.spawn(work)
    }

    /// Waits until all work has come to a safe end. Wiping stops at its next step.
    pub async fn drain(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Gives the pool of a thin class in this VG its own low-water mark when the kernel has another.
    ///
    /// # Errors
    /// When the class is unknown or has not this VG, the VG must not be changed, or the mark is not shown to be there.
    pub async fn rearm(&self, class: &str, vg: &str) -> Result<(), VolumeError> {
        let config = self.config();
        let class = config.classes.get(class)?;
        let Some(class) = class.member(vg) else {
            return Err(EngineError::Missing(vg.to_owned()).into());
        };
        let lane = self.lane(vg).await?;
        let view = lane.view().await?;
        pool::try_rearm(&lane, &view, class).await
    }

    /// Shows, once, that the lock directory is the host's. With a command prefix lvm runs
    /// in a mount namespace that is the user's choice.
    ///
    /// # Errors
    /// When it is not shown; nothing may be changed then.
    pub fn require_lock_dir(&self) -> Result<(), VolumeError> {
        if !self.inner.engine.tool().command_prefix.is_empty()
            || self.inner.lock_dir.get().is_some()
        {
            return Ok(());
        }
        let places = Places::here().map_err(|error| VolumeError::Mapper(error.to_string()))?;
        let proof = lock_dir::prove(&places)?;
        if self.inner.lock_dir.set(proof).is_ok() {
            info!(%proof, "LVM's lock directory is the host's");
        }
        Ok(())
    }

    /// The right to change `vg`, wrecks cleared away: after an abnormal end even commands
    /// that have nothing to do with it may fail.
    async fn lane(&self, vg: &str) -> Result<Lane<'_, R>, VolumeError> {
        self.require_lock_dir()?;
        let lane = self.inner.engine.lane(vg).await;
        if !self.inner.engine.is_sound(vg)
            && let Err(error) = self.heal_in(&lane).await
        {
            info!(vg, %error, "not looked at for wrecks");
        }
        Ok(lane)
    }
}

/// Whether `lv` is a volume of `class`.
fn belongs(lv: &Lv, class: &DeviceClass) -> bool {
    !lv.hidden
        && !lv.is_pool()
        && match class.pool() {
            None => !lv.is_thin() && class.has(&lv.tags),
            Some(pool) => lv.is_thin() && lv.pool == pool,
        }
}

/// Where an LV that is not in the class is, in words.
fn whereabouts(lv: &Lv) -> String {
    if lv.is_pool() {
        "it is a pool".into()
    } else if lv.is_thin() {
        format!("it is a thin volume of pool {}", lv.pool)
    } else if let Some(class) = names::tag_value(&lv.tags, names::TAG_DEVICE_CLASS) {
        format!("it is a thick volume, made in device class {class}")
    } else {
        "it is a thick volume".into()
    }
}

fn missing(class: &DeviceClass) -> VolumeError {
    VolumeError::Engine(EngineError::Missing(class.volume_group.clone()))
}

/// Refuses tags LVM does not take, and the one that is an order to lvmd.
fn check_tags(tags: &[String]) -> Result<(), VolumeError> {
    tags.iter().try_for_each(|tag| valid::tag(tag))?;
    let own = [names::TAG_STATE, names::TAG_COPY];
    match own.iter().find(|key| names::tag_value(tags, key).is_some()) {
        Some(key) => Err(VolumeError::InvalidArgument(format!(
            "tag {key} is lvmd's own: it says what is under way with a volume, or what it is a copy of"
        ))),
        None => Ok(()),
    }
}

fn require_pool(vg: &Vg, class: &DeviceClass) -> Result<(), VolumeError> {
    match class.pool() {
        Some(pool) if vg.pool(pool).is_none() => Err(VolumeError::PoolMissing {
            vg: vg.name.clone(),
            pool: pool.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whether the volume has a device through which nothing can be read or written: a
/// command was cut off between suspending and resuming it, or before its table was loaded.
fn is_cut_off(device: Option<&dm::Device>) -> bool {
    device.is_some_and(|device| device.suspended || !device.live)
}

fn open_mapper() -> Result<dm::Control, VolumeError> {
    dm::Control::open().map_err(|error| VolumeError::Mapper(error.to_string()))
}

/// The device of an LV; `None` when it is not active.
fn device(control: &dm::Control, vg: &Vg, lv: &Lv) -> Result<Option<dm::Device>, VolumeError> {
    // An active pool shows as a device of its own only when nothing else uses it.
    let suffix = if lv.is_pool() { "tpool" } else { "" };
    control
        .device(&lv.dm_uuid(vg, suffix))
        .map_err(|error| VolumeError::Mapper(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_cannot_order_an_overwrite_by_a_tag() {
        assert!(check_tags(&["basalt.lv=a".into(), "x".into()]).is_ok());
        assert!(check_tags(&["basalt.state=wiping".into()]).is_err());
        assert!(check_tags(&["basalt.copy=rw/v".into()]).is_err());
        assert!(check_tags(&["@at".into()]).is_err());
    }
}
