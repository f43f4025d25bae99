//! The partition table of a disk, as far as partitions may be told by it.
//!
//! Linux believes either copy of a GPT. Who writes to a partition because of what the table says of
//! it needs both copies, whole and the same, and nothing else at its place.

use std::io::{Read, Seek};
use std::ops::Range;

use super::{Copy, GptPartition, GptTable, scan};
use crate::probe::disk::Disk;
use crate::probe::{Geometry, ProbeError};

/// The GPT of a disk, and what keeps it from being believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The used entries; those of the backup where the primary copy is damaged.
    pub partitions: Vec<GptPartition>,
    /// What speaks against all of it. Empty: both copies are whole and the same.
    pub doubts: Vec<String>,
    block: u64,
    usable: (u64, u64),
}

/// Reads the GPT of a disk for its own sector size; `None` when neither copy has entries that can be
/// had.
///
/// # Errors
/// The disk cannot be read.
pub fn read<R: Read + Seek>(reader: R, geometry: Geometry) -> Result<Option<Trusted>, ProbeError> {
    let mut disk = Disk::new(reader, geometry)?;
    let mut tables = Vec::new();
    scan(&mut disk, &mut Vec::new(), &mut tables)?;
    Ok(trusted(&tables, u64::from(geometry.logical_sector)))
}

fn trusted(tables: &[GptTable], block: u64) -> Option<Trusted> {
    let whole = |copy: Copy| {
        let mut all = tables.iter();
        all.find(|t| t.copy == copy && t.block == block && t.header_valid && t.entries_valid)
    };
    let (primary, backup) = (whole(Copy::Primary), whole(Copy::Backup));
    let table = primary.or(backup)?;
    let mut doubts = Vec::new();
    match (primary, backup) {
        (Some(one), Some(other)) if !is_same(one, other) => {
            doubts.push("the two copies of its GPT differ".to_owned());
        }
        (Some(_), Some(_)) => {}
        (None, _) => doubts.push("the first copy of its GPT is damaged".to_owned()),
        (_, None) => doubts.push(
            "there is no sound second copy of its GPT at the end of the disk (`sgdisk -e` puts it there)"
                .to_owned(),
        ),
    }
    if tables.iter().any(|other| other.block != block) {
        doubts.push(format!(
            "it has a GPT for other sectors than its own of {block} bytes too"
        ));
    }
    Some(Trusted {
        partitions: table.partitions.clone(),
        doubts,
        block,
        usable: table.usable,
    })
}

fn is_same(one: &GptTable, other: &GptTable) -> bool {
    one.disk_guid == other.disk_guid
        && one.usable == other.usable
        && one.partitions == other.partitions
}

impl Trusted {
    /// One that nothing speaks against, of blocks of 512 bytes.
    #[cfg(test)]
    pub(crate) fn sound(partitions: Vec<GptPartition>) -> Self {
        Self {
            partitions,
            doubts: Vec::new(),
            block: 512,
            usable: (34, u64::MAX >> 10),
        }
    }

    /// The bytes of a partition; `None` where there can be none.
    pub fn range(&self, partition: &GptPartition) -> Option<Range<u64>> {
        let (first, last) = (partition.first_lba, partition.last_lba);
        let end = last.checked_add(1)?.checked_mul(self.block)?;
        (first <= last).then(|| first * self.block..end)
    }

    /// The bytes of all partitions.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        let ranges = self.partitions.iter().filter_map(|p| self.range(p));
        ranges.collect()
    }

    /// What speaks against this partition besides what speaks against the table.
    pub fn doubts_of(&self, partition: &GptPartition) -> Vec<String> {
        let mut doubts = Vec::new();
        let Some(range) = self.range(partition) else {
            return vec!["its entry in the GPT is no range of blocks".to_owned()];
        };
        let (first, last) = self.usable;
        if partition.first_lba < first || partition.last_lba > last {
            doubts.push("its entry reaches over what the GPT leaves for partitions".to_owned());
        }
        let others = self.partitions.iter();
        for other in others.filter(|other| other.number != partition.number) {
            let theirs = self.range(other);
            if theirs.is_none_or(|theirs| theirs.start < range.end && range.start < theirs.end) {
                doubts.push(format!(
                    "its entry overlaps that of partition {}",
                    other.number
                ));
            }
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, first_lba: u64, last_lba: u64) -> GptPartition {
        GptPartition {
            number,
            name: format!("p{number}"),
            type_guid: "t".into(),
            guid: format!("g{number}"),
            first_lba,
            last_lba,
            attributes: 0,
        }
    }

    fn table(copy: Copy) -> GptTable {
        GptTable {
            copy,
            block: 512,
            disk_guid: "d".into(),
            header_valid: true,
            usable: (34, 1000),
            entries_valid: true,
            partitions: vec![entry(1, 34, 99), entry(2, 100, 1000)],
        }
    }

    fn doubts(change: impl FnOnce(&mut Vec<GptTable>)) -> Option<String> {
        let mut tables = vec![table(Copy::Primary), table(Copy::Backup)];
        change(&mut tables);
        Some(trusted(&tables, 512)?.doubts.join("; "))
    }

    #[test]
    fn both_copies_have_to_be_whole_and_the_same() {
        assert_eq!(doubts(|_| ()).unwrap(), "");
        type Change = fn(&mut Vec<GptTable>);
        let changes: [(Change, &str); 7] = [
            (|t| t[1].partitions[0].name = "x".into(), "differ"),
            (|t| t[1].disk_guid = "x".into(), "differ"),
            (|t| t[0].header_valid = false, "first copy"),
            (|t| t[0].entries_valid = false, "first copy"),
            (|t| t[1].entries_valid = false, "second copy"),
            (|t| drop(t.pop()), "second copy"),
            (
                |t| {
                    t.push(GptTable {
                        block: 4096,
                        ..table(Copy::Backup)
                    })
                },
                "other sectors",
            ),
        ];
        for (change, words) in changes {
            let found = doubts(change).unwrap();
            assert!(found.contains(words), "{words}: {found}");
        }
        let neither = doubts(|t| t.iter_mut().for_each(|t| t.header_valid = false));
        assert_eq!(neither, None);
    }

    #[test]
    fn an_entry_that_overlaps_another_or_the_table_is_doubted() {
        let of = |changed: GptPartition| {
            let mut tables = [table(Copy::Primary), table(Copy::Backup)];
            for table in &mut tables {
                table.partitions[0] = changed.clone();
            }
            let table = trusted(&tables, 512).unwrap();
            table.doubts_of(&table.partitions[0]).join("; ")
        };
        assert_eq!(of(entry(1, 34, 99)), "");
        assert!(of(entry(1, 34, 100)).contains("overlaps that of partition 2"));
        assert!(of(entry(1, 33, 99)).contains("what the GPT leaves"));
        assert!(of(entry(1, 1001, 1001)).contains("what the GPT leaves"));
        assert!(of(entry(1, 5, 4)).contains("no range"));
        let table = trusted(&[table(Copy::Primary), table(Copy::Backup)], 512).unwrap();
        assert_eq!(table.ranges(), [34 * 512..100 * 512, 100 * 512..1001 * 512]);
    }
}
