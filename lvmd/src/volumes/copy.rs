//! Copies of thick volumes: snapshots, clones and restores that have all data themselves.
//!
//! A copy is begun by one lvm process: a volume `basalt-copying-<name>` is made, and its source is frozen in a thick
//! snapshot `basalt-frozen-<name>` with a store that cannot overflow, because one that does is silently worthless. Then the
//! data is copied in the background, past the VG's lane and LVM's lock, and synced. The copy gets its name only now: whoever
//! finds a volume of that name, also a program that knows nothing of our tags, finds a whole one. At last the frozen source
//! is removed. A source that nobody can write to, which each finished snapshot is, needs no freezing.
//!
//! What is under way bears `basalt.state=copying`, which is the authority to go on after a restart: from the beginning, out
//! of the same frozen source, which outlives a power cut.

mod begin;
mod conditions;
mod finish;
mod plan;
mod transfer;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::turns::Turn;
use super::{Access, Outcome, SnapshotOf, Volume, VolumeError, Volumes};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::lvm::model::Vg;
use crate::lvm::valid;
use crate::names;
use crate::units::Bytes;
pub(super) use conditions::conditions;
use plan::Stage;
use plan::reader_of;
pub(super) use plan::{copy_of, copying_name, frozen_name};

/// How long the first request for a snapshot waits for its end: that it is frozen is what its caller waits for.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(3);
/// How long any other request waits for its end, before it is to be asked again.
const VOLUME_WAIT: Duration = Duration::from_secs(10);
/// How long a removal waits until nobody reads or writes.
const STOP_WAIT: Duration = Duration::from_secs(30);
/// How many copies of a VG are under way at a time; others wait for their turn.
const AT_A_TIME: usize = 4;

/// A copy that has not all data yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: Bytes,
    /// The tags it was asked for with, and lvmd's own.
    pub tags: Vec<String>,
}

/// The copies that this process works on.
#[derive(Debug, Default)]
pub(super) struct Copies {
    jobs: Mutex<HashMap<(String, String), Arc<Job>>>,
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// One of them.
#[derive(Debug, Default)]
struct Job {
    done: AtomicU64,
    of: AtomicU64,
    /// What keeps it from going on.
    why: Mutex<Option<String>>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Copies {
    /// The work on this copy, and whether it is to be begun.
    fn job(&self, vg: &str, name: &str) -> (Arc<Job>, bool) {
        let mut jobs = lock(&self.jobs);
        let key = (vg.to_owned(), name.to_owned());
        if let Some(job) = jobs.get(&key) {
            return (job.clone(), false);
        }
        let job = Arc::<Job>::default();
        jobs.insert(key, job.clone());
        (job, true)
    }

    fn find(&self, vg: &str, name: &str) -> Option<Arc<Job>> {
        let key = (vg.to_owned(), name.to_owned());
        lock(&self.jobs).get(&key).cloned()
    }

    fn end(&self, vg: &str, name: &str, job: &Job) {
        lock(&self.jobs).remove(&(vg.to_owned(), name.to_owned()));
        job.ended.cancel();
    }

    fn turns(&self, vg: &str) -> Arc<Semaphore> {
        let mut turns = lock(&self.turns);
        let turns = turns.entry(vg.to_owned());
        turns
            .or_insert_with(|| Arc::new(Semaphore::new(AT_A_TIME)))
            .clone()
    }
}

impl<R: Runner + Clone> Volumes<R> {
    /// Makes a copy of a thick volume, or finds the one an earlier, equal request made.
    ///
    /// # Errors
    /// [`VolumeError::Copying`] while not all data is in it: it goes on by itself, and a repeated request finds it.
    pub(super) async fn copy(
        &self,
        class: &DeviceClass,
        request: &SnapshotOf,
        turn: Turn<'_>,
    ) -> Result<Outcome<Volume>, VolumeError> {
        let (vg, name) = (class.volume_group.as_str(), request.name.as_str());
        valid::lv_name(vg, name)?;
        super::check_tags(&request.tags)?;
        if !valid::is_mappable(vg, &plan::copying_name(name)) {
            return Err(VolumeError::InvalidArgument(format!(
                "the name {name} is too long for a copy: until it is whole, {} stands before it",
                names::COPYING_PREFIX
            )));
        }
        let is_asked_again = self.inner.copies.find(vg, name).is_some();
        let until = Instant::now()
            + match request.access {
                Access::ReadOnly if !is_asked_again => SNAPSHOT_WAIT,
                _ => VOLUME_WAIT,
            };
        // The source may be a copy that is not whole yet.
        self.until_ended(vg, &request.source, until).await;
        if let Some(volume) = self.begin(class, request).await? {
            return Ok(Outcome::AlreadySo(volume));
        }
        // It has its place. Who wants to remove it need not wait until it is whole.
        drop(turn);
        self.until_ended(vg, name, until).await;
        if let Some(volume) = self.usable(class, request).await? {
            return Ok(Outcome::Changed(volume));
        }
        match self.begin(class, request).await? {
            Some(volume) => Ok(Outcome::Changed(volume)),
            None => Err(self.copying(vg, name)),
        }
    }

    /// The copies of a class that have not all data yet.
    ///
    /// # Errors
    /// When the class is unknown, none of its VGs is there, or state cannot be told.
    pub async fn pending(&self, class: &str) -> Result<Vec<Pending>, VolumeError> {
        let config = self.config();
        let class = config.classes.get(class)?;
        let (mut pending, mut away) = (Vec::new(), None);
        let mut any = false;
        for member in class.members() {
            let snapshot = self.inner.engine.snapshot_of(&member.volume_group).await?;
            let Some(view) = snapshot.vg(&member.volume_group) else {
                away = Some(super::missing(member));
                continue;
            };
            any = true;
            let lvs = view.vg.lvs.iter();
            let begun = lvs
                .filter(|lv| super::belongs(lv, member) && lv.is_copying())
                .filter(|lv| !lv.name.starts_with(names::FROZEN_PREFIX));
            pending.extend(begun.map(|lv| Pending {
                name: plan::copy_of(lv).to_owned(),
                size: lv.size,
                tags: lv.tags.clone(),
            }));
        }
        away.filter(|_| !any).map_or(Ok(pending), Err)
    }

    /// Waits until the copy of this name is whole; one that is not under way is not waited for.
    ///
    /// # Errors
    /// [`VolumeError::Copying`] when it takes longer than a caller waits, [`VolumeError::CopyLost`] when it never will be.
    pub async fn copied(&self, class: &str, name: &str) -> Result<(), VolumeError> {
        let config = self.config();
        let class = config.classes.get(class)?;
        let until = Instant::now() + VOLUME_WAIT;
        for member in class.members() {
            let vg = &member.volume_group;
            self.until_ended(vg, name, until).await;
            let snapshot = self.inner.engine.snapshot_of(vg).await?;
            match snapshot.vg(vg).map(|view| Stage::of(&view.vg, name)) {
                Some(Stage::Begun { copy, from: None }) => return Err(plan::lost(copy)),
                Some(Stage::Begun { .. } | Stage::Copied(_)) => {
                    self.copy_in_background(vg, name);
                    return Err(self.copying(vg, name));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until the copy of this name is whole or nobody works on it any more, at most `until` then.
    async fn until_ended(&self, vg: &str, name: &str, until: Instant) {
        if let Some(job) = self.inner.copies.find(vg, name) {
            let _ = timeout_at(until, job.ended.cancelled()).await;
        }
    }

    /// Has nobody work on the copy of this name any more.
    pub(super) async fn stop_copying(&self, vg: &str, name: &str) {
        if let Some(job) = self.inner.copies.find(vg, name) {
            job.stop.cancel();
            self.until_ended(vg, name, Instant::now() + STOP_WAIT).await;
        }
    }

    /// How far the copy of this name is, as an error.
    fn copying(&self, vg: &str, name: &str) -> VolumeError {
        let job = self.inner.copies.find(vg, name).unwrap_or_default();
        let why = lock(&job.why).clone();
        VolumeError::Copying {
            name: name.to_owned(),
            done: Bytes(job.done.load(Ordering::Relaxed)),
            of: Bytes(job.of.load(Ordering::Relaxed)),
            why,
        }
    }
}

/// Refuses a change of a volume from which a copy takes its data.
pub(super) fn refuse_if_read(vg: &Vg, name: &str) -> Result<(), VolumeError> {
    match reader_of(vg, name) {
        Some(copy) => Err(VolumeError::BeingCopied {
            name: name.to_owned(),
            copy: copy.to_owned(),
        }),
        None => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
