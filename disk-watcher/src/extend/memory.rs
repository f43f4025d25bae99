//! What was tried, so that success is followed by a pause and failure by patience.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Part, Pool};

/// The longest pause after failures; longer would be longer than a pool takes to fill.
const LONGEST: Duration = Duration::from_secs(60);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The kernel and LVM's metadata show it.
    Grew,
    /// They do not.
    Failed,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Memory {
    now: Instant,
    parts: BTreeMap<Part, Tried>,
}

#[derive(Debug, Clone, Default)]
struct Tried {
    grew_at: Option<Instant>,
    failed: Option<Failure>,
}

#[derive(Debug, Clone)]
struct Failure {
    at: Instant,
    /// How often in a row.
    count: u32,
    /// What was the case then: used percent, and free extents of the group.
    percent: u64,
    free: u64,
}

impl Memory {
    /// Nothing was tried.
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            parts: BTreeMap::new(),
        }
    }

    /// Sets the time, and forgets failures where the matter has changed: one percent more
    /// is used, or the group has more or less to give.
    pub fn look(&mut self, now: Instant, pool: &Pool) {
        self.now = now;
        for (part, tried) in &mut self.parts {
            let percent = usage_of(*part, pool);
            if tried
                .failed
                .as_ref()
                .is_some_and(|f| percent > f.percent || pool.free != f.free)
            {
                tried.failed = None;
            }
        }
    }

    /// Notes an attempt; `pool` is as it was before it.
    pub fn note(&mut self, now: Instant, part: Part, attempt: Attempt, pool: &Pool) {
        self.now = now;
        let tried = self.parts.entry(part).or_default();
        match attempt {
            Attempt::Grew => {
                *tried = Tried {
                    grew_at: Some(now),
                    failed: None,
                };
            }
            Attempt::Failed => {
                let before = tried.failed.as_ref().map_or(0, |f| f.count);
                tried.failed = Some(Failure {
                    at: now,
                    count: before.saturating_add(1),
                    percent: usage_of(part, pool),
                    free: pool.free,
                });
            }
        }
    }

    /// How long `part` still waits after failures: 1, 2, 4 s and so on, a minute at most.
    pub fn back_off(&self, part: Part) -> Option<Duration> {
        let failure = self.parts.get(&part)?.failed.as_ref()?;
        let pause = Duration::from_secs(1 << failure.count.saturating_sub(1).min(6)).min(LONGEST);
        let left = pause.checked_sub(self.now.saturating_duration_since(failure.at))?;
        (!left.is_zero()).then_some(left)
    }

    /// Whether `part` grew less than `pause` ago.
    pub fn grew_within(&self, part: Part, pause: Duration) -> bool {
        self.parts
            .get(&part)
            .and_then(|tried| tried.grew_at)
            .is_some_and(|at| self.now.saturating_duration_since(at) < pause)
    }
}

fn usage_of(part: Part, pool: &Pool) -> u64 {
    match part {
        Part::Data => pool.data_bytes.percent(),
        Part::Metadata => pool.metadata_bytes.percent(),
    }
}
