//! What is wrong with an LV, from its attributes.
//!
//! The verdicts and their order are TopoLVM's: a volume is abnormal for the first of
//! them that holds.

use std::fmt;

use crate::lvm::attr::LvAttr;

/// Something that is wrong with an LV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// PVs it lies on are missing.
    Partial,
    /// LVM cannot tell its health.
    UnknownHealth,
    /// Its write cache reports an error.
    WriteCacheError,
    /// The pool failed: nothing can be read or written.
    PoolFailed,
    /// The pool's data space is used up.
    PoolOutOfDataSpace,
    /// The pool's metadata is read-only.
    PoolMetadataReadOnly,
    /// The pool below the volume failed.
    ThinFailed,
    /// A leg of the RAID had a write error.
    RaidRefreshNeeded,
    /// The legs of the RAID are not the same.
    RaidMismatches,
    /// The RAID is being reshaped.
    RaidReshaping,
    /// Images that a reshape freed are still there.
    RaidReshapeRemoved,
    /// A leg of the RAID is avoided for reading.
    RaidWriteMostly,
    /// It is suspended: whatever it is asked waits.
    Suspended,
    /// It is a thick snapshot whose store was full.
    InvalidSnapshot,
    /// Its merge failed.
    MergeFailed,
    /// Its device has only a table that is not live.
    InactiveTable,
    /// Its device has no table.
    NoTable,
    /// The pool's metadata needs a check.
    CheckNeeded,
    /// LVM cannot tell its state.
    UnknownState,
    /// It is only remembered.
    Historical,
    /// LVM cannot tell whether it is open.
    UnknownOpen,
}

impl Verdict {
    /// The first thing that is wrong; `None` when nothing is.
    pub fn of(attr: LvAttr) -> Option<Self> {
        let by_health = match (attr.health(), attr.kind()) {
            ('p', _) => Some(Self::Partial),
            ('X', _) => Some(Self::UnknownHealth),
            ('E', _) => Some(Self::WriteCacheError),
            ('F', 't') => Some(Self::PoolFailed),
            ('D', 't') => Some(Self::PoolOutOfDataSpace),
            ('M', 't') => Some(Self::PoolMetadataReadOnly),
            ('F', 'V') => Some(Self::ThinFailed),
            ('r', 'r' | 'R') => Some(Self::RaidRefreshNeeded),
            ('m', 'r' | 'R') => Some(Self::RaidMismatches),
            ('s', 'r' | 'R') => Some(Self::RaidReshaping),
            ('R', 'r' | 'R') => Some(Self::RaidReshapeRemoved),
            ('w', 'r' | 'R') => Some(Self::RaidWriteMostly),
            _ => None,
        };
        by_health.or(match (attr.state(), attr.open()) {
            ('s' | 'S', _) => Some(Self::Suspended),
            ('I', _) => Some(Self::InvalidSnapshot),
            ('m' | 'M', _) => Some(Self::MergeFailed),
            ('i', _) => Some(Self::InactiveTable),
            ('d', _) => Some(Self::NoTable),
            ('c' | 'C', _) => Some(Self::CheckNeeded),
            ('X', _) => Some(Self::UnknownState),
            ('h', _) => Some(Self::Historical),
            (_, 'X') => Some(Self::UnknownOpen),
            _ => None,
        })
    }

    /// The stable code, for conditions, metrics and logs.
    pub fn code(self) -> &'static str {
        self.words().0
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Partial => ("Partial", "PVs it lies on are missing"),
            Self::UnknownHealth => (
                "UnknownHealth",
                "LVM cannot tell its health; look at the node",
            ),
            Self::WriteCacheError => ("WriteCacheError", "its write cache reports an error"),
            Self::PoolFailed => (
                "PoolFailed",
                "the thin pool failed: nothing can be read or written",
            ),
            Self::PoolOutOfDataSpace => (
                "PoolOutOfDataSpace",
                "the thin pool's data space is used up; extend it",
            ),
            Self::PoolMetadataReadOnly => (
                "PoolMetadataReadOnly",
                "the thin pool's metadata is read-only: what is mapped can be read",
            ),
            Self::ThinFailed => (
                "ThinFailed",
                "the thin pool below it failed: nothing can be read or written",
            ),
            Self::RaidRefreshNeeded => (
                "RaidRefreshNeeded",
                "a disk of the RAID had a write error; refresh the volume or replace the disk",
            ),
            Self::RaidMismatches => ("RaidMismatches", "the copies of the RAID are not the same"),
            Self::RaidReshaping => ("RaidReshaping", "the RAID is being reshaped"),
            Self::RaidReshapeRemoved => (
                "RaidReshapeRemoved",
                "images that a reshape of the RAID freed are still there",
            ),
            Self::RaidWriteMostly => (
                "RaidWriteMostly",
                "a disk of the RAID is avoided for reading",
            ),
            Self::Suspended => ("Suspended", "it is suspended: whatever it is asked waits"),
            Self::InvalidSnapshot => (
                "InvalidSnapshot",
                "its snapshot store was full: what it held is lost",
            ),
            Self::MergeFailed => ("MergeFailed", "merging the snapshot failed"),
            Self::InactiveTable => (
                "InactiveTable",
                "its device has no live table, only one that waits",
            ),
            Self::NoTable => ("NoTable", "its device has no table"),
            Self::CheckNeeded => ("CheckNeeded", "the thin pool's metadata needs a check"),
            Self::UnknownState => (
                "UnknownState",
                "LVM cannot tell its state; look at the node",
            ),
            Self::Historical => ("Historical", "it was removed and is only remembered"),
            Self::UnknownOpen => (
                "UnknownOpen",
                "LVM cannot tell whether it is open; look at the node",
            ),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_21_verdicts_and_the_first_of_two() {
        use Verdict::*;
        let rows: [_; 32] = [
            ("--------p-", Some(Partial)),
            ("--------X-", Some(UnknownHealth)),
            ("--------E-", Some(WriteCacheError)),
            ("t-------F-", Some(PoolFailed)),
            ("t-------D-", Some(PoolOutOfDataSpace)),
            ("t-------M-", Some(PoolMetadataReadOnly)),
            ("V-------F-", Some(ThinFailed)),
            ("r-------r-", Some(RaidRefreshNeeded)),
            ("r-------m-", Some(RaidMismatches)),
            ("R-------m-", Some(RaidMismatches)),
            ("r-------s-", Some(RaidReshaping)),
            ("r-------R-", Some(RaidReshapeRemoved)),
            ("r-------w-", Some(RaidWriteMostly)),
            ("----s-----", Some(Suspended)),
            ("----I-----", Some(InvalidSnapshot)),
            ("----m-----", Some(MergeFailed)),
            ("----i-----", Some(InactiveTable)),
            ("----d-----", Some(NoTable)),
            ("----c-----", Some(CheckNeeded)),
            ("----X-----", Some(UnknownState)),
            ("----h-----", Some(Historical)),
            ("-----X----", Some(UnknownOpen)),
            // Nothing is wrong, or it is not a thing of its kind.
            ("-wi-a-----", None),
            ("-wi-ao----", None),
            ("-wi-------", None),
            ("V-------D-", None),
            ("--------r-", None),
            // Suspended, each in its way; the first of two.
            ("----S-----", Some(Suspended)),
            ("----M-----", Some(MergeFailed)),
            ("----C-----", Some(CheckNeeded)),
            ("t---s---F-", Some(PoolFailed)),
            ("----XX----", Some(UnknownState)),
        ];
        for (attr, verdict) in rows {
            let parsed = LvAttr::parse(attr).unwrap();
            assert_eq!(Verdict::of(parsed), verdict, "{attr}");
        }
    }
}
