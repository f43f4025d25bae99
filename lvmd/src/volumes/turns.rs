//! Whose turn it is to make or remove a volume of a name, and what is coming to which volume group.
//!
//! The lane of a volume group keeps changes of that group apart. Two requests for one name in a class with several groups
//! might take the lanes of two of them, so a name has its turn too.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::units::Bytes;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    names: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    coming: Mutex<HashMap<String, u64>>,
    settled: Mutex<HashSet<String>>,
}

/// The right to make or remove what has this name.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    name: String,
    held: Option<OwnedMutexGuard<()>>,
}

/// Bytes that are coming to a group, for as long as it lives.
#[derive(Debug)]
pub(super) struct Coming<'a> {
    turns: &'a Turns,
    vg: String,
    bytes: u64,
}

impl Turns {
    /// Waits for the turn; first come, first served.
    pub(super) async fn of(&self, name: &str) -> Turn<'_> {
        let queue = lock(&self.names)
            .entry(name.to_owned())
            .or_default()
            .clone();
        Turn {
            turns: self,
            name: name.to_owned(),
            held: Some(queue.lock_owned().await),
        }
    }

    /// Whether no command of an earlier lvmd is at work in a group any more.
    pub(super) fn is_settled(&self, vg: &str) -> bool {
        lock(&self.settled).contains(vg)
    }

    /// Notes that it was seen.
    pub(super) fn set_settled(&self, vg: &str) {
        lock(&self.settled).insert(vg.to_owned());
    }

    /// How much is being made in a group, in bytes: its metadata may not show it yet.
    pub(super) fn coming(&self, vg: &str) -> u64 {
        lock(&self.coming).get(vg).copied().unwrap_or(0)
    }

    /// Notes that so much is being made there.
    pub(super) fn comes(&self, vg: &str, size: Bytes) -> Coming<'_> {
        let mut coming = lock(&self.coming);
        let all = coming.entry(vg.to_owned()).or_default();
        let bytes = size.0.min(u64::MAX - *all);
        *all += bytes;
        Coming {
            turns: self,
            vg: vg.to_owned(),
            bytes,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut names = lock(&self.turns.names);
        // Whoever waits for it has it too.
        if names
            .get(&self.name)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            names.remove(&self.name);
        }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut coming = lock(&self.turns.coming);
        if let Some(all) = coming.get_mut(&self.vg) {
            *all -= self.bytes;
        }
    }
}

/// The lock of a mutex whose data stays whole when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_name_has_one_turn_at_a_time_and_nothing_is_kept_of_it() {
        let turns = Turns::default();
        let first = turns.of("a").await;
        let _other = turns.of("b").await;
        let soon = Duration::from_millis(20);
        assert!(timeout(soon, turns.of("a")).await.is_err());
        drop(first);
        drop(timeout(soon, turns.of("a")).await.unwrap());
        assert_eq!(lock(&turns.names).len(), 1, "that of b");
    }

    #[test]
    fn what_is_coming_is_counted_while_it_comes() {
        let turns = Turns::default();
        let one = turns.comes("vg", Bytes(2));
        let two = turns.comes("vg", Bytes(u64::MAX));
        assert_eq!((turns.coming("vg"), turns.coming("other")), (u64::MAX, 0));
        drop(one);
        drop(two);
        assert_eq!(turns.coming("vg"), 0);
    }
}
