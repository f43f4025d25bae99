//! Many events in, few out: a disk is reported once it was quiet for a moment. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{DiskEvent, Heard};

/// A disk is reported when no event came for it for so long,
const QUIET: Duration = Duration::from_millis(250);
/// or when the first one is so long ago.
const CAP: Duration = Duration::from_secs(2);
/// When a disk is reported again because udevd did not answer the kernel's event: its
/// message may not reach our network namespace, its database does.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// Who reported an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The kernel, where udevd runs: it may still be at work.
    KernelFirst,
    /// The kernel, where there is no udevd.
    KernelOnly,
    /// udevd: it is done.
    Udev,
}

/// Events that wait for their moment.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    disks: BTreeMap<String, Waiting>,
    again: BTreeMap<String, Vec<Instant>>,
    resync: Option<Span>,
}

#[derive(Debug)]
struct Waiting {
    span: Span,
    removed: bool,
    changed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

impl Span {
    fn due(self) -> Instant {
        (self.last + QUIET).min(self.first + CAP)
    }
}

impl Debounce {
    /// Takes an event.
    pub(super) fn note(&mut self, event: DiskEvent, source: Source, now: Instant) {
        let span = Span {
            first: now,
            last: now,
        };
        let (name, removed) = match event {
            DiskEvent::Resync => {
                self.disks.clear();
                self.again.clear();
                self.resync.get_or_insert(span).last = now;
                return;
            }
            DiskEvent::Recheck(_) => return,
            DiskEvent::Changed(name) => (name, false),
            DiskEvent::Removed(name) => (name, true),
        };
        self.again.remove(&name);
        if source == Source::KernelFirst && !removed {
            let times = AGAIN.iter().rev().map(|delay| now + *delay).collect();
            self.again.insert(name.clone(), times);
        }
        let waiting = self.disks.entry(name).or_insert(Waiting {
            span,
            removed: false,
            changed: false,
        });
        waiting.span.last = now;
        // Gone and back again is two events: it may be another disk.
        waiting.removed |= removed;
        waiting.changed = !removed;
    }

    /// When [`Debounce::take`] will next have something.
    pub(super) fn due(&self) -> Option<Instant> {
        let disks = self.disks.values().map(|waiting| waiting.span.due());
        let again = self
            .again
            .values()
            .filter_map(|times| times.last().copied());
        disks.chain(again).chain(self.resync.map(Span::due)).min()
    }

    /// What is due, with the moments of the last events behind it: a disk is quiet since then, not since it is told.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Heard> {
        let mut events = Vec::new();
        let mut tell = |event, at| events.push(Heard { event, at });
        if let Some(span) = self.resync.take_if(|span| span.due() <= now) {
            // The list that follows sees all that came before it.
            self.disks.clear();
            tell(DiskEvent::Resync, span.last);
        }
        self.disks.retain(|name, waiting| {
            let Waiting {
                span,
                removed,
                changed,
            } = *waiting;
            if span.due() > now {
                return true;
            }
            if removed {
                tell(DiskEvent::Removed(name.clone()), span.last);
            }
            if changed {
                tell(DiskEvent::Changed(name.clone()), span.last);
            }
            false
        });
        self.again.retain(|name, times| {
            if times.last().is_some_and(|at| *at <= now) {
                times.pop();
                tell(DiskEvent::Recheck(name.clone()), now);
            }
            !times.is_empty()
        });
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(name: &str) -> DiskEvent {
        DiskEvent::Changed(name.to_owned())
    }

    fn removed(name: &str) -> DiskEvent {
        DiskEvent::Removed(name.to_owned())
    }

    fn told(debounce: &mut Debounce, now: Instant) -> Vec<DiskEvent> {
        let told = debounce.take(now).into_iter();
        told.map(|heard| heard.event).collect()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_is_one_event_when_it_is_over() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        for at in [0, 100, 200] {
            debounce.note(changed("sda"), Source::Udev, start + ms(at));
        }
        assert_eq!(debounce.due(), Some(start + ms(450)));
        assert_eq!(told(&mut debounce, start + ms(449)), []);
        assert_eq!(told(&mut debounce, start + ms(450)), [changed("sda")]);
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_disk_is_quiet_since_its_last_event_and_not_since_it_is_told() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(changed("sda"), Source::Udev, start);
        debounce.note(changed("sda"), Source::Udev, start + ms(100));
        let told = debounce.take(start + ms(400));
        let at = start + ms(100);
        let event = changed("sda");
        assert_eq!(told, [Heard { event, at }]);
    }

    #[test]
    fn a_disk_that_never_rests_is_reported_all_the_same() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        for at in 0..25 {
            debounce.note(changed("sda"), Source::Udev, start + ms(at * 100));
        }
        assert_eq!(debounce.due(), Some(start + CAP));
        assert_eq!(told(&mut debounce, start + CAP), [changed("sda")]);
    }

    #[test]
    fn gone_and_back_is_told_as_both_and_back_and_gone_as_gone() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(removed("sda"), Source::Udev, start);
        debounce.note(changed("sda"), Source::Udev, start);
        debounce.note(changed("sdb"), Source::Udev, start);
        debounce.note(removed("sdb"), Source::Udev, start);
        assert_eq!(
            told(&mut debounce, start + CAP),
            [removed("sda"), changed("sda"), removed("sdb")]
        );
    }

    #[test]
    fn a_resync_swallows_what_the_list_will_show() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(changed("sda"), Source::KernelFirst, start);
        debounce.note(DiskEvent::Resync, Source::KernelFirst, start);
        debounce.note(changed("sdb"), Source::Udev, start + ms(10));
        assert_eq!(told(&mut debounce, start + ms(260)), [DiskEvent::Resync]);
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_kernel_event_that_udevd_does_not_answer_is_repeated_twice() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(changed("sda"), Source::KernelFirst, start);
        debounce.note(changed("sdb"), Source::KernelFirst, start);
        debounce.note(changed("sdb"), Source::Udev, start + ms(50));
        assert_eq!(
            told(&mut debounce, start + ms(300)),
            [changed("sda"), changed("sdb")]
        );
        let recheck = DiskEvent::Recheck("sda".to_owned());
        assert_eq!(
            told(&mut debounce, start + AGAIN[0]),
            std::slice::from_ref(&recheck)
        );
        assert_eq!(told(&mut debounce, start + AGAIN[1]), [recheck]);
        assert_eq!(debounce.due(), None);
        debounce.note(changed("sda"), Source::KernelOnly, start);
        assert_eq!(told(&mut debounce, start + ms(300)), [changed("sda")]);
        assert_eq!(debounce.due(), None);
    }
}
