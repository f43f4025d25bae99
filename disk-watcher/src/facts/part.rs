//! A partition that is to be a disk of its own: what is true of its whole disk is true of it, and the
//! partitions beside it are others.

use std::ops::Range;
use std::path::Path;

use lvmd::units::{Bytes, SECTOR};
use serde::Serialize;

use super::Root;
use super::disk::{DiskFacts, holders_of, stat};
use super::id::{Identified, is_junk};
use super::sysfs::Dir;
use super::udev::UdevDb;

/// What makes a partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The whole disk.
    pub disk: DiskFacts,
    /// Its number in the table, as the kernel has it.
    pub number: Option<u32>,
    /// Its bytes on the disk, as the kernel has them.
    pub range: Option<Range<u64>>,
    /// Its entry in the disk's GPT, read by us.
    pub entry: Option<PartEntry>,
    /// Why that cannot be relied on.
    pub doubts: Vec<String>,
    /// The bytes of all partitions in the table.
    pub taken: Vec<Range<u64>>,
    /// Other partitions of this node that have its GUID.
    pub twins: Vec<String>,
    /// What was written through the whole disk and not through a partition of it; `None`: not known.
    pub past: Option<Past>,
}

/// What the kernel counted of a disk without what it counted of its partitions: a write to a partition counts for both
/// (Linux, `part_stat_add`), one through the disk's own node for the disk alone, wherever it lands. Differences, so only
/// whether they are the same says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Sectors of 512 bytes written.
    pub sectors_written: u64,
    /// Discards completed.
    pub discards: u64,
}

/// How often the counts are read until nothing is written between the first and the last of them.
const READ_AT_MOST: usize = 200;

/// An entry of a GPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartEntry {
    /// UniquePartitionGUID, lower case.
    pub guid: String,
    /// PartitionName.
    pub label: String,
    /// PartitionTypeGUID, lower case.
    pub type_guid: String,
    /// Its attributes (UEFI 2.10, table 5.8).
    pub attributes: u64,
}

impl Part {
    pub(super) fn identify(&self) -> Identified {
        match &self.entry {
            None => Identified::Junk(vec!["no entry in a GPT".to_owned()]),
            Some(entry) if is_junk(&entry.guid) => Identified::Junk(vec![entry.guid.clone()]),
            Some(entry) => match self.disk.identify() {
                Identified::As(disk) => Identified::As(disk.of_part(&entry.guid)),
                other => other,
            },
        }
    }

    /// Whether `now` is the same partition, at the same place and of the same name and type.
    ///
    /// # Errors
    /// What differs, or why that cannot be told.
    pub fn is_still(&self, now: &Self) -> Result<(), String> {
        if let Some(doubt) = now.doubts.first() {
            return Err(doubt.clone());
        }
        if let Some(twin) = now.twins.first() {
            return Err(format!("{twin} has its GUID too"));
        }
        if self.entry.is_none() || self.entry != now.entry {
            return Err("its entry in the GPT is another now".to_owned());
        }
        if self.range.is_none() || self.range != now.range || self.number != now.number {
            return Err("it lies in another place of its disk now".to_owned());
        }
        Ok(())
    }
}

/// Reads the partition `name` of `disk`; `None` when it has none of that name.
pub(super) fn read(root: &Root, disk: &DiskFacts, name: &str, udev: &UdevDb) -> Option<DiskFacts> {
    let known = disk.partitions.iter().find(|p| p.name == name)?;
    let mut above = Dir::new(root.join("sys/block").join(&disk.name));
    let holders = holders_of(root, &mut above, &disk.name, &[name]);
    let mut dir = Dir::new(above.path().join(name));
    let mut bytes = |what: &str| -> Option<u64> { dir.required::<u64>(what)?.checked_mul(SECTOR) };
    let (start, size) = (bytes("start"), bytes("size"));
    let range = start
        .zip(size)
        .and_then(|(start, size)| Some(start..start.checked_add(size)?));
    let read_only = dir.required_flag("ro");
    let number = dir.required("partition");
    let counts = dir.optional("stat");
    let past = past(above.path(), disk);
    let mut problems = disk.problems.clone();
    problems.append(&mut above.problems);
    problems.append(&mut dir.problems);
    Some(DiskFacts {
        name: name.to_owned(),
        dev: known.dev,
        size: size.map(Bytes),
        read_only: disk
            .read_only
            .zip(read_only)
            .map(|(disk, part)| disk || part),
        partitions: Vec::new(),
        holders,
        stat: counts.as_deref().and_then(stat),
        udev: udev.record(name),
        problems,
        part: Some(Box::new(Part {
            disk: disk.clone(),
            number,
            range,
            entry: None,
            doubts: Vec::new(),
            taken: Vec::new(),
            twins: Vec::new(),
            past,
        })),
        ..disk.clone()
    })
}

/// See [`Past`]; other partitions may be in use, so all counts have to be of one moment. Its discards are those of requests:
/// two that the kernel merged are one for the disk and for its partition.
fn past(dir: &Path, disk: &DiskFacts) -> Option<Past> {
    let read = |dir: &Path| stat(&std::fs::read_to_string(dir.join("stat")).ok()?);
    for _ in 0..READ_AT_MOST {
        let whole = read(dir)?;
        let mut past = Past {
            sectors_written: whole.sectors_written,
            discards: whole.discards,
        };
        for partition in &disk.partitions {
            let of = read(&dir.join(&partition.name))?;
            past.sectors_written = past.sectors_written.wrapping_sub(of.sectors_written);
            past.discards = past.discards.wrapping_sub(of.discards);
        }
        let after = read(dir)?;
        if (after.sectors_written, after.discards) == (whole.sectors_written, whole.discards) {
            return Some(past);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fixture::Tree;
    use crate::facts::{DevNo, read_partition};

    fn tree() -> Tree {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        for (name, dev, start) in [("sda1", "8:1", "2048"), ("sda2", "8:2", "1050624")] {
            tree.partition("sda", name, dev);
            tree.set("sda", &format!("{name}/start"), start);
        }
        tree.links("sda2", &["/dev/disk/by-partlabel/r-data"]);
        tree
    }

    fn part(tree: &Tree, name: &str) -> DiskFacts {
        read_partition(&tree.root(), &tree.disk("sda"), name, &tree.udev).unwrap()
    }

    #[test]
    fn a_partition_has_its_own_size_and_place_and_the_words_of_its_disk() {
        let tree = tree();
        let facts = part(&tree, "sda2");
        assert_eq!(facts.node(), "/dev/sda2");
        assert_eq!(facts.size, Some(Bytes(1 << 30)));
        assert_eq!(
            (facts.problems.as_slice(), facts.model.as_deref()),
            (&[][..], Some("TEST DISK 20G"))
        );
        assert_eq!(facts.links(), ["/dev/disk/by-partlabel/r-data"]);
        assert_eq!(facts.whole().name, "sda");
        let part = facts.part.as_ref().unwrap();
        assert_eq!(part.number, Some(2));
        assert_eq!(part.range, Some(513 << 20..(513 << 20) + (1 << 30)));
        assert!(read_partition(&tree.root(), &tree.disk("sda"), "sda9", &tree.udev).is_none());
    }

    #[test]
    fn its_family_is_what_is_on_it_and_its_whole_disk_and_never_what_is_beside_it() {
        let mut tree = tree();
        for (dm, below) in [("dm-0", "sda1/"), ("dm-1", "sda2/"), ("dm-2", "")] {
            tree.block(&format!("virtual/block/{dm}"), &dm.replace("dm-", "252:"));
            tree.set("sda", &format!("{below}holders/{dm}/x"), "");
        }
        let facts = part(&tree, "sda2");
        let held: Vec<&str> = facts.holders.iter().map(|h| h.name.as_str()).collect();
        assert_eq!(held, ["dm-1", "dm-2"], "and the one on the whole disk");
        let family = facts.family();
        for name in ["sda", "sda2", "dm-1", "dm-2"] {
            assert!(family.names.contains(name), "{name}");
        }
        for name in ["sda1", "dm-0"] {
            assert!(!family.names.contains(name), "{name}");
        }
        assert!(!family.devs.contains(&DevNo { major: 8, minor: 1 }));
        assert!(
            family
                .paths
                .contains("/dev/disk/by-id/ata-TEST_DISK_20G_A1")
        );
    }

    #[test]
    fn another_table_makes_it_another_partition() {
        let tree = tree();
        let mut facts = part(&tree, "sda2");
        let part = facts.part.as_mut().unwrap();
        assert!(
            matches!(part.identify(), Identified::Junk(_)),
            "nothing says which it is"
        );
        part.entry = Some(PartEntry {
            guid: "f47ac10b-58cc-4372-a567-0e02b2c3d479".into(),
            label: "r-data".into(),
            type_guid: "0fc63daf-8483-4772-8e79-3d69d8477de4".into(),
            attributes: 0,
        });
        let id = part.identify();
        let id = id.id().unwrap().as_str();
        assert_eq!(
            id,
            "naa.5000c500000000A1.part-f47ac10b-58cc-4372-a567-0e02b2c3d479"
        );
        type Change = (fn(&mut Part), &'static str);
        let changes: [Change; 6] = [
            (
                |p| p.entry.as_mut().unwrap().label = "EPHEMERAL".into(),
                "its entry",
            ),
            (
                |p| p.entry.as_mut().unwrap().guid = String::new(),
                "its entry",
            ),
            (|p| p.range = Some(0..1), "another place"),
            (|p| p.number = None, "another place"),
            (|p| p.doubts.push("the two copies differ".into()), "differ"),
            (|p| p.twins.push("sdb1".into()), "sdb1"),
        ];
        assert_eq!(part.is_still(part), Ok(()));
        for (change, words) in changes {
            let mut now = part.clone();
            change(&mut now);
            assert!(part.is_still(&now).unwrap_err().contains(words), "{words}");
        }
        part.entry.as_mut().unwrap().guid = "00000000-0000-0000-0000-000000000000".into();
        assert!(matches!(part.identify(), Identified::Junk(_)));
    }
}
