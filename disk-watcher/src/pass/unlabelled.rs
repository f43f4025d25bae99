//! Claimed disks that get no label because something stands against it. The others of their class wait for them, since a
//! group is best made of all of them at once, but not for long: what stands against one may stay for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::rules::Against;

/// How long the others of its class wait for a disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// When a disk that was refused as it was read for its label is read again, once nobody waits for it.
const AGAIN: Duration = Duration::from_secs(600);

/// By PV.
#[derive(Debug, Default)]
pub(super) struct Unlabelled(HashMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    since: Instant,
    why: String,
    /// When it was read for its label, and refused.
    read: Option<Instant>,
}

impl Unlabelled {
    /// Notes what the rules say against the label. Gives why nobody waits for this disk now; `None`: it is waited for, or
    /// is to be labelled.
    pub(super) fn judged(
        &mut self,
        uuid: &str,
        against: Option<Against>,
        now: Instant,
    ) -> Option<String> {
        let Some(against) = against else {
            let refusal = self.0.get(uuid)?;
            let Some(read) = refusal.read else {
                self.0.remove(uuid);
                return None;
            };
            let waits = refusal.is_old(now) && now.saturating_duration_since(read) < AGAIN;
            return waits.then(|| refusal.why.clone());
        };
        if !against.of_the_disk {
            self.0.remove(uuid);
            return None;
        }
        let refusal = self.refuse(uuid, against.why, now);
        refusal.read = None;
        refusal.is_old(now).then(|| refusal.why.clone())
    }

    /// It was read for its label, and what was found is not what was judged.
    pub(super) fn read(&mut self, uuid: &str, why: String, now: Instant) {
        self.refuse(uuid, why, now).read = Some(now);
    }

    /// It has its label.
    pub(super) fn labelled(&mut self, uuid: &str) {
        self.0.remove(uuid);
    }

    fn refuse(&mut self, uuid: &str, why: String, now: Instant) -> &mut Refusal {
        let refusal = self.0.entry(uuid.to_owned()).or_insert(Refusal {
            since: now,
            why: String::new(),
            read: None,
        });
        refusal.why = why;
        refusal
    }
}

impl Refusal {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn against(of_the_disk: bool) -> Option<Against> {
        Some(Against {
            why: "no".into(),
            of_the_disk,
        })
    }

    #[test]
    fn a_refused_disk_is_waited_for_a_minute_and_what_passes_is_waited_for_as_long_as_it_takes() {
        let (mut unlabelled, begun) = (Unlabelled::default(), Instant::now());
        let mut at = |seconds, against| {
            let now = begun + Duration::from_secs(seconds);
            unlabelled.judged("a", against, now)
        };
        assert_eq!(at(0, against(true)), None);
        assert_eq!(at(59, against(true)), None);
        assert_eq!(at(60, against(true)).as_deref(), Some("no"));
        assert_eq!(at(61, None), None, "it is to be labelled");
        assert_eq!(at(62, against(true)), None, "anew");
        assert_eq!(at(200, against(false)), None, "the host is not ready");
        assert_eq!(at(201, against(true)), None);
    }

    #[test]
    fn a_disk_that_is_refused_as_it_is_read_is_read_again_and_soon_held_for_by_nobody() {
        let (mut unlabelled, begun) = (Unlabelled::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        unlabelled.read("a", "not blank".into(), at(0));
        assert_eq!(unlabelled.judged("a", None, at(1)), None, "once more");
        unlabelled.read("a", "not blank".into(), at(60));
        let left = unlabelled.judged("a", None, at(61));
        assert_eq!(left.as_deref(), Some("not blank"));
        assert_eq!(unlabelled.judged("a", None, at(660)), None, "once more");
        assert_eq!(unlabelled.judged("b", None, at(61)), None);
        unlabelled.labelled("a");
        assert_eq!(unlabelled.judged("a", None, at(61)), None);
    }
}
