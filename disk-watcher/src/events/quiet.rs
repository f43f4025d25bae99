//! How long no event came for a disk. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::DiskEvent;

/// When each disk was last heard of, for the rule `NotSettled`.
#[derive(Debug)]
pub struct Quiet {
    since: Instant,
    last: BTreeMap<String, Instant>,
}

impl Quiet {
    /// Begins now; a disk that is never heard of has been quiet since then.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            last: BTreeMap::new(),
        }
    }

    /// Takes an event. After a `Resync` nothing is known of the time before.
    pub fn note(&mut self, event: &DiskEvent, now: Instant) {
        match event {
            DiskEvent::Changed(name) => {
                self.last.insert(name.clone(), now);
            }
            DiskEvent::Recheck(_) => {}
            DiskEvent::Removed(name) => {
                self.last.remove(name);
            }
            DiskEvent::Resync => {
                self.since = now;
                self.last.clear();
            }
        }
    }

    /// In which time the next disk will have been quiet for `settle`; `None` when all have been.
    pub fn settles_in(&self, settle: Duration, now: Instant) -> Option<Duration> {
        let begun = self.last.values().chain([&self.since]);
        let left = begun.map(|at| (*at + settle).saturating_duration_since(now));
        left.filter(|left| !left.is_zero()).min()
    }

    /// How long the disk has been quiet.
    pub fn quiet_for(&self, disk: &str, now: Instant) -> Duration {
        let last = self.last.get(disk).copied().unwrap_or(self.since);
        now.saturating_duration_since(last.max(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_event_or_the_last_list() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut quiet = Quiet::new(start);
        assert_eq!(quiet.quiet_for("sda", at(5)), Duration::from_secs(5));
        quiet.note(&DiskEvent::Changed("sda".into()), at(6));
        quiet.note(&DiskEvent::Recheck("sda".into()), at(7));
        assert_eq!(quiet.quiet_for("sda", at(7)), Duration::from_secs(1));
        assert_eq!(quiet.quiet_for("sdb", at(7)), Duration::from_secs(7));
        let settle = Duration::from_secs(3);
        assert_eq!(
            quiet.settles_in(settle, at(1)),
            Some(Duration::from_secs(2))
        );
        assert_eq!(
            quiet.settles_in(settle, at(7)),
            Some(Duration::from_secs(2))
        );
        assert_eq!(quiet.settles_in(settle, at(9)), None);
        quiet.note(&DiskEvent::Resync, at(10));
        assert_eq!(quiet.quiet_for("sda", at(12)), Duration::from_secs(2));
        assert_eq!(quiet.quiet_for("sda", start), Duration::ZERO);
    }
}
