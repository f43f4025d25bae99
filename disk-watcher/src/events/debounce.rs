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
    /// The number of the last event of each disk, and when the kernel told it.
    told: BTreeMap<String, (u64, Instant)>,
    resync: Option<Span>,
}

#[derive(Debug)]
struct Waiting {
    span: Span,
    quiet_since: Instant,
    removed: bool,
    changed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

impl Span {
    fn at(now: Instant) -> Self {
        Self {
            first: now,
            last: now,
        }
    }

    fn due(self) -> Instant {
        (self.last + QUIET).min(self.first + CAP)
    }
}

impl Debounce {
    /// Events were lost: a list is to follow, and what was told before it no longer matters.
    pub(super) fn resync(&mut self, now: Instant) {
        self.disks.clear();
        self.again.clear();
        self.told.clear();
        self.resync.get_or_insert(Span::at(now)).last = now;
    }

    /// Takes an event of a disk with its number (`SEQNUM`, which the kernel counts up and udevd repeats).
    pub(super) fn note(&mut self, event: DiskEvent, source: Source, number: u64, now: Instant) {
        let (name, removed) = match event {
            DiskEvent::Resync => return self.resync(now),
            DiskEvent::Recheck(_) => return,
            DiskEvent::Changed(name) => (name, false),
            DiskEvent::Removed(name) => (name, true),
        };
        let told = self.told.get(&name).filter(|(last, _)| number <= *last);
        let quiet_since = match told {
            Some((_, at)) if source == Source::Udev => *at,
            _ if removed => {
                self.told.remove(&name);
                now
            }
            _ => {
                self.told.insert(name.clone(), (number, now));
                now
            }
        };
        self.again.remove(&name);
        if source == Source::KernelFirst && !removed {
            let times = AGAIN.iter().rev().map(|delay| now + *delay).collect();
            self.again.insert(name.clone(), times);
        }
        let waiting = self.disks.entry(name).or_insert(Waiting {
            span: Span::at(now),
            quiet_since,
            removed: false,
            changed: false,
        });
        waiting.span.last = now;
        waiting.quiet_since = waiting.quiet_since.max(quiet_since);
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

    /// What is due, with the moments of the last events behind it.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Heard> {
        let mut events = Vec::new();
        let mut tell = |event, at, quiet_since| {
            events.push(Heard {
                event,
                at,
                quiet_since,
            });
        };
        if let Some(span) = self.resync.take_if(|span| span.due() <= now) {
            // The list that follows sees all that came before it.
            self.disks.clear();
            tell(DiskEvent::Resync, span.last, span.last);
        }
        self.disks.retain(|name, waiting| {
            let Waiting {
                span,
                quiet_since,
                removed,
                changed,
            } = *waiting;
            if span.due() > now {
                return true;
            }
            if removed {
                tell(DiskEvent::Removed(name.clone()), span.last, quiet_since);
            }
            if changed {
                tell(DiskEvent::Changed(name.clone()), span.last, quiet_since);
            }
            false
        });
        self.again.retain(|name, times| {
            if times.last().is_some_and(|at| *at <= now) {
                times.pop();
                tell(DiskEvent::Recheck(name.clone()), now, now);
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
            debounce.note(changed("sda"), Source::Udev, at, start + ms(at));
        }
        assert_eq!(debounce.due(), Some(start + ms(450)));
        assert_eq!(told(&mut debounce, start + ms(449)), []);
        assert_eq!(told(&mut debounce, start + ms(450)), [changed("sda")]);
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_disk_is_quiet_since_the_kernel_last_told_of_it_and_not_since_udevd_answered() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        let mut heard = |from, number, noted, taken| {
            let (noted, taken) = (start + ms(noted), start + ms(taken));
            debounce.note(changed("sda"), from, number, noted);
            let told = debounce.take(taken);
            told.into_iter()
                .map(|heard| {
                    assert_eq!((&heard.event, heard.at), (&changed("sda"), noted));
                    heard.quiet_since - start
                })
                .next()
        };
        assert_eq!(heard(Source::KernelFirst, 7, 0, 0), None);
        assert_eq!(heard(Source::KernelFirst, 8, 100, 400), Some(ms(100)));
        assert_eq!(heard(Source::Udev, 7, 900, 900), None);
        assert_eq!(heard(Source::Udev, 8, 1000, 1300), Some(ms(100)));
        // The kernel's event was lost.
        assert_eq!(heard(Source::Udev, 9, 2000, 2300), Some(ms(2000)));
        assert_eq!(heard(Source::KernelFirst, 10, 3000, 3300), Some(ms(3000)));
    }

    #[test]
    fn a_disk_that_never_rests_is_reported_all_the_same() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        for at in 0..25 {
            debounce.note(changed("sda"), Source::Udev, at, start + ms(at * 100));
        }
        assert_eq!(debounce.due(), Some(start + CAP));
        assert_eq!(told(&mut debounce, start + CAP), [changed("sda")]);
    }

    #[test]
    fn gone_and_back_is_told_as_both_and_back_and_gone_as_gone() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(removed("sda"), Source::Udev, 1, start);
        debounce.note(changed("sda"), Source::Udev, 2, start);
        debounce.note(changed("sdb"), Source::Udev, 3, start);
        debounce.note(removed("sdb"), Source::Udev, 4, start);
        assert_eq!(
            told(&mut debounce, start + CAP),
            [removed("sda"), changed("sda"), removed("sdb")]
        );
    }

    #[test]
    fn a_resync_swallows_what_the_list_will_show() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(changed("sda"), Source::KernelFirst, 5, start);
        debounce.resync(start);
        debounce.note(changed("sdb"), Source::Udev, 6, start + ms(10));
        assert_eq!(told(&mut debounce, start + ms(260)), [DiskEvent::Resync]);
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_kernel_event_that_udevd_does_not_answer_is_repeated_twice() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.note(changed("sda"), Source::KernelFirst, 7, start);
        debounce.note(changed("sdb"), Source::KernelFirst, 8, start);
        debounce.note(changed("sdb"), Source::Udev, 9, start + ms(50));
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
        debounce.note(changed("sda"), Source::KernelOnly, 10, start);
        assert_eq!(told(&mut debounce, start + ms(300)), [changed("sda")]);
        assert_eq!(debounce.due(), None);
    }
}
