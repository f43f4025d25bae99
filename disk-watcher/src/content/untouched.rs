//! By what it is known that nobody wrote to a disk in between.

use std::ops::Range;

use lvmd::units::Bytes;

use crate::facts::{DiskFacts, PartEntry, Root, UdevDb};

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
    /// Of a partition: its number may be another's after the table was written anew. What is
    /// written through its disk is not counted for it.
    part: Option<(Option<Range<u64>>, Option<PartEntry>)>,
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
        let this = Self {
            diskseq: facts.diskseq?,
            size: facts.size?,
            counts: Some(Counts {
                sectors_written: stat.sectors_written,
                discards: stat.discards,
            }),
            part: (facts.part.as_ref()).map(|part| (part.range.clone(), part.entry.clone())),
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
        }
    }
}
