//! Reads whole disks in the background, to see that they are blank, while passes go on.
//!
//! A reading is one of a disk in one state ([`Untouched`]), as it was before the first byte was
//! read. When that is another now, or an event came for the disk, the reading is void and
//! begins anew; when nobody asks for it any more, it ends. What that proves, and what not, is
//! in docs/decisions/blank-disks.md.

mod job;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::job::{Job, Reader, Target};
use super::untouched::Untouched;
use crate::facts::DiskFacts;
use crate::rules::Progress;

/// How many disks are read at once.
const AT_ONCE: usize = 2;
/// For how long a reading is good for taking the disk, once no disk is being read.
const FRESH: Duration = Duration::from_secs(600);
/// When a disk that could not be read is read again.
const AGAIN: Duration = Duration::from_secs(600);
/// Why a reading says nothing.
const UNCOUNTED: &str = "the kernel does not count what is read from it and written to it, so nobody could tell \
     what came after it was read: write 1 to its queue/iostats in sysfs, or loosen requireZeroed";

/// What is known of all bytes of a disk behind some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whole {
    /// Each is zero.
    Blank,
    /// This one is not; those before it are.
    NotZero(u64),
    /// They are being read, or will be.
    Reading(Progress),
    /// They cannot be read, or it cannot be told that nobody writes meanwhile.
    Unknown(String),
}

/// The readings under way and those that ended. Dropping it ends them.
#[derive(Debug)]
pub struct WholeReads {
    reader: Reader,
    jobs: Mutex<Jobs>,
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Jobs {
    /// By kernel name.
    of: HashMap<String, Job>,
    /// The number of the next.
    next: u64,
    /// Whether any may begin.
    may_begin: bool,
}

impl Default for WholeReads {
    fn default() -> Self {
        Self::with(job::read)
    }
}

impl WholeReads {
    fn with(reader: Reader) -> Self {
        Self {
            reader,
            jobs: Mutex::default(),
            ended: Arc::default(),
        }
    }

    /// A pass begins. Without `may_begin` nothing is read, and what is asked waits.
    pub fn begin_pass(&self, may_begin: bool) {
        let mut jobs = self.jobs();
        jobs.may_begin = may_begin;
        for job in jobs.of.values_mut() {
            job.asked = false;
        }
    }

    /// It ends: what it did not ask for is not read any more.
    pub fn end_pass(&self) {
        let mut jobs = self.jobs();
        jobs.of.retain(|_, job| job.asked);
        jobs.start_next(self.reader, &self.ended);
    }

    /// Something happened to this disk or to a partition of it; `None`: perhaps to any.
    pub fn forget(&self, name: Option<&str>) {
        let mut jobs = self.jobs();
        (jobs.of).retain(|of, job| name.is_some_and(|name| name != of && name != job.disk));
    }

    /// Returns when a reading has ended.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// All bytes from `start` on, of a disk that nobody may write to meanwhile.
    pub fn ask(&self, facts: &DiskFacts, start: u64) -> Whole {
        match Untouched::of(facts) {
            Some((state, reads)) => self.answer(facts, state, reads, start),
            None => Whole::Unknown(UNCOUNTED.into()),
        }
    }

    /// The same of a part that nobody uses yet of a disk that is in use.
    pub fn ask_unused_part(&self, facts: &DiskFacts, start: u64) -> Whole {
        match Untouched::of(facts) {
            Some((state, reads)) => self.answer(facts, state.in_use(), reads, start),
            None => Whole::Unknown(UNCOUNTED.into()),
        }
    }

    /// The same directly before a whole disk is changed, by its counts as they are now. `reads`: how
    /// many it had answered before it was looked at just now. What was read long ago does not
    /// count: not everything that can write is counted.
    pub fn ask_now(&self, facts: &DiskFacts, start: u64, reads: u64) -> Whole {
        let Some((state, now)) = Untouched::now(&facts.name).filter(|(_, now)| *now > reads) else {
            return Whole::Unknown(UNCOUNTED.into());
        };
        if !self.jobs().is_fresh(&facts.name, Instant::now()) {
            self.forget(Some(&facts.name));
        }
        self.answer(facts, state, now, start)
    }

    fn answer(&self, facts: &DiskFacts, state: Untouched, reads: u64, start: u64) -> Whole {
        let target = Target {
            name: facts.name.clone(),
            disk: facts.whole().name.clone(),
            node: facts.node(),
        };
        self.tell(target, state, reads, start)
    }

    fn tell(&self, target: Target, state: Untouched, reads: u64, start: u64) -> Whole {
        let name = &target.name.clone();
        let mut jobs = self.jobs();
        let now = Instant::now();
        let is_it = |job: &Job| job.state == state && job.answers(start) && !job.is_to_repeat(now);
        if !jobs.of.get(name).is_some_and(is_it) {
            jobs.next += 1;
            let job = Job::new(target, state, start, reads, jobs.next);
            // The one that was there ends with this.
            jobs.of.insert(name.to_owned(), job);
        }
        jobs.start_next(self.reader, &self.ended);
        let Some(job) = jobs.of.get_mut(name) else {
            return Whole::Unknown(UNCOUNTED.into());
        };
        job.asked = true;
        match job.outcome() {
            None => Whole::Reading(job.progress()),
            Some(Ok(_)) if reads <= job.reads => Whole::Unknown(UNCOUNTED.into()),
            Some(Ok(None)) => Whole::Blank,
            Some(Ok(Some(at))) => Whole::NotZero(*at),
            Some(Err(why)) => Whole::Unknown(why.clone()),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jobs {
    /// Begins those that waited longest, as many as may be read at once.
    fn start_next(&mut self, reader: Reader, ended: &Arc<Notify>) {
        while self.may_begin && self.of.values().filter(|job| job.is_read()).count() < AT_ONCE {
            let waiting = self.of.values_mut().filter(|job| job.waits());
            match waiting.min_by_key(|job| job.number) {
                Some(job) => job.start(reader, ended.clone()),
                None => return,
            }
        }
    }

    /// Whether what is known of the disk is young, or had to wait for other readings.
    fn is_fresh(&self, name: &str, now: Instant) -> bool {
        let is_known = |job: &Job| job.outcome().is_some();
        if !self.of.get(name).is_some_and(is_known) || self.of.values().any(|job| !is_known(job)) {
            return true;
        }
        let last = self.of.values().filter_map(Job::ended).max();
        last.is_none_or(|last| now.saturating_duration_since(last) < FRESH)
    }
}

#[cfg(test)]
mod tests;
