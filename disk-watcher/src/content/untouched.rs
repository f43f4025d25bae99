//! By what it is known that nobody wrote to a disk in between.

use std::ops::Range;

use lvmd::units::Bytes;

use crate::facts::{DiskFacts, PartEntry, Past, Root, UdevDb};

/// A disk in one state. Nobody wrote to it through this kernel while this stays the same and
/// the kernel counts at all, which [`Untouched::now`] lets see: its count of reads moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untouched {
    /// Its disk sequence number.
    pub(super) diskseq: u64,
    /// Its size.
    pub(super) size: Bytes,
    /// What the kernel counted; `None` where it is in use and only has to be the same disk.
    counts: Option<Counts>,
    /// Of a partition: its number may be another's after the table was written anew.
    part: Option<(Option<Range<u64>>, Option<PartEntry>)>,
    /// Of a partition that is not in use: what is written through its disk is not counted for it.
    past: Option<Past>,
}

/// Counters of `/sys/block/*/stat`. Not that of writes: a flush, which writes nothing, is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    sectors_written: u64,
    discards: u64,
}

impl Untouched {
    /// The disk as it was when these facts were read, and how many reads it had answered;
    /// `None` where the kernel does not say.
    pub fn of(facts: &DiskFacts) -> Option<(Self, u64)> {
        let stat = facts.stat.as_ref()?;
        let past = match &facts.part {
            None => None,
            Some(part) => Some(part.past?),
        };
        let this = Self {
            diskseq: facts.diskseq?,
            size: facts.size?,
            counts: Some(Counts {
                sectors_written: stat.sectors_written,
                discards: stat.discards,
            }),
            part: (facts.part.as_ref()).map(|part| (part.range.clone(), part.entry.clone())),
            past,
        };
        Some((this, stat.reads))
    }

    /// The same of the whole disk that has this kernel name now.
    pub fn now(name: &str) -> Option<(Self, u64)> {
        let facts = crate::facts::read(&Root::host(), name, &UdevDb::default());
        Self::of(&facts?)
    }

    /// The same disk, whatever was written to it.
    #[must_use]
    pub fn in_use(self) -> Self {
        Self {
            counts: None,
            past: None,
            ..self
        }
    }
}

#[cfg(test)]
impl Untouched {
    /// A disk of 64 MiB to which so many sectors were written.
    pub(super) fn after(sectors_written: u64) -> Self {
        Self {
            diskseq: 7,
            size: Bytes(64 << 20),
            counts: Some(Counts {
                sectors_written,
                discards: 0,
            }),
            part: None,
            past: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fixture::Tree;
    use crate::facts::read_partition;

    #[test]
    fn a_write_through_the_whole_disk_touches_a_partition_and_one_to_another_partition_does_not() {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        for (name, dev) in [("sda1", "8:1"), ("sda2", "8:2")] {
            tree.partition("sda", name, dev);
        }
        let count = |of: &str, sectors: u64, discards: u64| {
            let text = format!("9 0 72 3 4 0 {sectors} 6 0 7 8 {discards} 0 0 0 0 0");
            tree.set("sda", &format!("{of}stat"), &text);
        };
        let state = || {
            let facts = read_partition(&tree.root(), &tree.disk("sda"), "sda2", &tree.udev);
            Untouched::of(&facts.unwrap()).unwrap().0
        };
        count("", 100, 10);
        count("sda1/", 30, 3);
        count("sda2/", 20, 2);
        let before = state();
        count("sda1/", 530, 8);
        count("", 600, 15);
        assert_eq!(state(), before, "another partition was written to");
        count("", 608, 15);
        assert_ne!(state(), before, "8 sectors through the whole disk");
        assert_eq!(state().in_use(), before.clone().in_use());
        count("", 600, 16);
        assert_ne!(state(), before, "a discard through the whole disk");
        count("", 600, 15);
        assert_eq!(state(), before);
        count("sda2/", 28, 2);
        count("", 608, 15);
        assert_ne!(state(), before, "it was written to itself");
    }
}
