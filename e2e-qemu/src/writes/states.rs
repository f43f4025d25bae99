//! What a power cut leaves: every state that disks can be in at one moment of a log.
//!
//! After each write the disks have all writes so far ([`Cut::After`]). A disk with a cache of its own may have done those
//! since the last flush in another order ([`Cut::Reordered`]), and the write at which the power went may have reached some
//! of its sectors only ([`Cut::Torn`]). What QEMU writes of a flush does not say which disk it was for, so it counts for
//! all.

use std::ops::Range;

use super::{Entry, Image};

/// Where and how the power goes. Numbers are indices of entries of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// After this entry.
    After(usize),
    /// In this write: some of its sectors are written.
    Torn {
        /// The write.
        at: usize,
        /// Its sectors that are written.
        sectors: Range<usize>,
    },
    /// After this entry; of the writes since the last flush these are lost.
    Reordered {
        /// The last entry that was begun.
        at: usize,
        /// Those that are lost.
        lost: Vec<usize>,
    },
}

impl Cut {
    /// The entry at which the power went.
    #[must_use]
    pub fn at(&self) -> usize {
        match self {
            Self::After(at) | Self::Torn { at, .. } | Self::Reordered { at, .. } => *at,
        }
    }
}

/// The disks after a cut.
#[derive(Debug, Clone)]
pub struct State {
    /// The cut.
    pub cut: Cut,
    /// All disks.
    pub image: Image,
}

/// Whether an entry changes anything.
fn changes(entry: &Entry) -> bool {
    matches!(entry, Entry::Write { .. } | Entry::Discard { .. })
}

/// The cuts after each write in `part` of the log.
pub fn every_write(entries: &[Entry], part: Range<usize>) -> Vec<Cut> {
    let writes = part.filter(|n| entries.get(*n).is_some_and(changes));
    writes.map(Cut::After).collect()
}

/// So many cuts in which a write is torn, and as many in which writes are lost, in `part` of the log; the same for the same
/// seed.
pub fn sample(entries: &[Entry], part: Range<usize>, count: usize, seed: u64) -> Vec<Cut> {
    let mut random = Random(seed);
    let large = |n: &usize| matches!(&entries[*n], Entry::Write { data, .. } if data.len() > 512);
    let tearable: Vec<usize> = part.clone().filter(large).collect();
    // Two at least, or nothing is reordered: that the last one is lost is a cut before it.
    let loose: Vec<usize> = part.filter(|n| open_at(entries, *n).len() > 1).collect();
    let mut cuts = Vec::new();
    for _ in 0..count {
        if let Some(at) = random.one_of(&tearable)
            && let Entry::Write { data, .. } = &entries[at]
        {
            let all = data.len() / 512;
            let split = 1 + random.below(all - 1);
            // Sectors reach the medium from the front, or, where its head came by later, from the back.
            let front = random.below(2) == 0;
            let sectors = if front { 0..split } else { split..all };
            cuts.push(Cut::Torn { at, sectors });
        }
        if let Some(at) = random.one_of(&loose) {
            let open = open_at(entries, at);
            let mut lost: Vec<usize> = open
                .iter()
                .copied()
                .filter(|_| random.below(2) == 0)
                .collect();
            if lost.is_empty() {
                lost = vec![open[0]];
            }
            cuts.push(Cut::Reordered { at, lost });
        }
    }
    cuts
}

/// The writes up to `at` that no flush made sure of.
fn open_at(entries: &[Entry], at: usize) -> Vec<usize> {
    let done = &entries[..=at];
    let flushed = done.iter().rposition(|entry| *entry == Entry::Flush);
    let since = flushed.map_or(0, |n| n + 1)..=at;
    let loose = |n: &usize| match &entries[*n] {
        Entry::Write { through, .. } => !through,
        Entry::Discard { .. } => true,
        Entry::Flush | Entry::Mark(_) => false,
    };
    since.filter(loose).collect()
}

/// The disks after each cut, in the order of the log. `first`: as they were before it.
pub fn states(first: Image, entries: &[Entry], mut cuts: Vec<Cut>) -> impl Iterator<Item = State> {
    cuts.sort_by_key(Cut::at);
    // The disks as a flush left them, and with all that followed it.
    let (mut flushed, mut flushed_at, mut now, mut done) = (first.clone(), 0, first, 0);
    cuts.into_iter().map(move |cut| {
        let until = match &cut {
            Cut::After(at) | Cut::Reordered { at, .. } => at + 1,
            Cut::Torn { at, .. } => *at,
        };
        while done < until {
            if entries[done] == Entry::Flush {
                (flushed, flushed_at) = (now.clone(), done);
            }
            now.apply(&entries[done]);
            done += 1;
        }
        let image = match &cut {
            Cut::After(_) => now.clone(),
            Cut::Torn { at, sectors } => {
                let mut image = now.clone();
                image.apply_torn(&entries[*at], sectors.clone());
                image
            }
            Cut::Reordered { at, lost } => {
                let mut image = flushed.clone();
                let kept = (flushed_at..=*at).filter(|n| !lost.contains(n));
                kept.for_each(|n| image.apply(&entries[n]));
                image
            }
        };
        State { cut, image }
    })
}

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = (mixed ^ (mixed >> 31)) % end.max(1) as u64;
        usize::try_from(mixed).unwrap_or(0)
    }

    fn one_of(&mut self, from: &[usize]) -> Option<usize> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sector: u64, byte: u8, sectors: usize, through: bool) -> Entry {
        Entry::Write {
            offset: sector * 512,
            data: vec![byte; sectors * 512],
            through,
        }
    }

    fn log() -> Vec<Entry> {
        vec![
            write(0, 1, 1, false),
            Entry::Flush,
            write(1, 2, 1, false),
            write(2, 3, 4, false),
            write(0, 4, 1, true),
            write(7, 5, 1, false),
            Entry::Flush,
        ]
    }

    fn sectors(image: &Image) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        image.save(&(0..4096), file.path()).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    fn after(cuts: Vec<Cut>) -> Vec<Vec<u8>> {
        let log = log();
        let states = states(Image::default(), &log, cuts);
        states.map(|state| sectors(&state.image)).collect()
    }

    #[test]
    fn there_is_a_cut_after_each_write() {
        let cuts = every_write(&log(), 0..7);
        assert_eq!(cuts, [0, 2, 3, 4, 5].map(Cut::After));
        assert_eq!(every_write(&log(), 3..5), [3, 4].map(Cut::After));
        assert_eq!(
            after(cuts),
            [
                [1, 0, 0, 0, 0, 0, 0, 0],
                [1, 2, 0, 0, 0, 0, 0, 0],
                [1, 2, 3, 3, 3, 3, 0, 0],
                [4, 2, 3, 3, 3, 3, 0, 0],
                [4, 2, 3, 3, 3, 3, 0, 5],
            ]
        );
    }

    #[test]
    fn torn_and_lost_writes_leave_what_they_leave() {
        let torn = Cut::Torn {
            at: 3,
            sectors: 1..3,
        };
        let lost = Cut::Reordered {
            at: 5,
            lost: vec![2, 5],
        };
        assert_eq!(
            after(vec![lost, torn]),
            [[1, 2, 0, 3, 3, 0, 0, 0], [4, 0, 3, 3, 3, 3, 0, 0]]
        );
    }

    #[test]
    fn a_sample_is_of_what_can_be() {
        let log = log();
        let cuts = sample(&log, 0..7, 200, 1);
        assert_eq!(cuts, sample(&log, 0..7, 200, 1));
        assert_ne!(cuts, sample(&log, 0..7, 200, 2));
        assert_eq!(cuts.len(), 400);
        for cut in &cuts {
            match cut {
                Cut::Torn { at, sectors } => {
                    assert_eq!(*at, 3, "no other has several sectors");
                    assert!((1..4).contains(&sectors.len()));
                }
                Cut::Reordered { at, lost } => {
                    assert!(!lost.is_empty());
                    assert!(
                        lost.iter().all(|n| [2, 3, 5].contains(n) && n <= at),
                        "flushed, or forced through: {cut:?}"
                    );
                }
                Cut::After(_) => unreachable!("that is no sample"),
            }
        }
        assert!(cuts.contains(&Cut::Reordered {
            at: 5,
            lost: vec![2, 5]
        }));
        assert!(
            sample(&log, 0..2, 5, 1).is_empty(),
            "nothing can happen there"
        );
    }
}
