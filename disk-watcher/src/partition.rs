//! Partitions that are to be PVs: found by what the GPT of their disk says of them.
//!
//! The GPT is read by our own code, both copies, each time; what udev says of a partition selects
//! nothing. A partition is what the kernel has under its name and the table at the same place: while
//! the two differ, as after a table was written and not read anew, it is not taken.

use std::collections::BTreeMap;
use std::path::Path;

use lvmd::lvm::devices::read_label;

use crate::config::DiskClass;
use crate::facts::{self, DiskFacts, Part, PartEntry, Root, UdevDb};
use crate::identity::Device;
use crate::journal::Claim;
use crate::node::chain;
use crate::pass::id_of;
use crate::probe::Geometry;
use crate::probe::aligned::DirectReader;
use crate::probe::gpt::{self, Trusted};
use crate::select;

/// Which partitions are looked at as disks.
#[derive(Debug)]
pub struct Wanted<'a> {
    classes: Vec<&'a DiskClass>,
    claims: Vec<&'a Claim>,
}

impl<'a> Wanted<'a> {
    /// Those that a class selects by name or type, and those that are claimed.
    pub fn new(
        classes: impl IntoIterator<Item = &'a DiskClass>,
        claims: impl IntoIterator<Item = &'a Claim>,
    ) -> Self {
        let classes = classes.into_iter();
        let claims = claims.into_iter();
        Self {
            classes: classes.filter(|c| c.select.takes_partitions()).collect(),
            claims: claims.filter(|claim| claim.disk.is_of_a_part()).collect(),
        }
    }

    fn wants(&self, facts: &DiskFacts) -> bool {
        let entry = facts.part.as_ref().and_then(|part| part.entry.as_ref());
        let mut classes = self.classes.iter();
        if entry.is_some_and(|entry| classes.any(|class| select::names_partition(class, entry))) {
            return true;
        }
        // Ours by its id, or by its label, whatever became of the table.
        let id = id_of(facts);
        let is_named = || (self.claims.iter()).any(|claim| Some(&claim.disk) == id.as_ref());
        // One that cannot be read may be: what becomes of claims is decided only when all disks were read.
        let is_labelled = || match read_label(Path::new(&facts.node())) {
            Ok(None) => false,
            Ok(Some((label, _))) => self.claims.iter().any(|c| c.pv_uuid == label.pv_uuid),
            Err(_) => true,
        };
        !self.claims.is_empty() && (is_named() || is_labelled())
    }
}

/// The wanted partitions of these disks.
pub fn find(
    root: &Root,
    disks: &[DiskFacts],
    udev: &UdevDb,
    wanted: &Wanted<'_>,
) -> Vec<DiskFacts> {
    if wanted.classes.is_empty() && wanted.claims.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<DiskFacts> = (disks.iter())
        .flat_map(|disk| of_disk(root, disk, udev))
        .collect();
    name_twins(&mut all);
    all.retain(|facts| wanted.wants(facts));
    all
}

/// The same partition as it is now, read anew.
pub fn again(root: &Root, part: &DiskFacts, udev: &UdevDb) -> Option<DiskFacts> {
    let disk = facts::read(root, &part.whole().name, udev)?;
    let mut all = of_disk(root, &disk, udev);
    name_twins(&mut all);
    all.into_iter().find(|facts| facts.name == part.name)
}

/// All partitions that the kernel has of a disk, with what its GPT says of them.
fn of_disk(root: &Root, disk: &DiskFacts, udev: &UdevDb) -> Vec<DiskFacts> {
    // A file that stands in for a disk is one; nobody parts it.
    if disk.partitions.is_empty() || disk.file.is_some() {
        return Vec::new();
    }
    let table = table(disk);
    let names = disk.partitions.iter().map(|partition| &partition.name);
    let parts = names.filter_map(|name| facts::read_partition(root, disk, name, udev));
    let mut parts: Vec<DiskFacts> = parts.collect();
    for facts in &mut parts {
        if let Some(part) = &mut facts.part {
            describe(part, &table);
        }
    }
    parts
}

fn table(disk: &DiskFacts) -> Result<Trusted, String> {
    let reader = DirectReader::open(Path::new(&disk.node())).map_err(|e| e.to_string())?;
    let device = Device::of(reader.get_ref()).map_err(|e| e.to_string())?;
    if disk
        .diskseq
        .is_some_and(|diskseq| diskseq != device.diskseq)
    {
        return Err("another disk is in its place".to_owned());
    }
    let geometry = Geometry {
        size_bytes: device.size.0,
        logical_sector: device.sector,
    };
    let table = gpt::read(reader, geometry).map_err(|error| chain(&error))?;
    table.ok_or_else(|| "it has no GPT".to_owned())
}

/// Writes down what the table says of a partition.
fn describe(part: &mut Part, table: &Result<Trusted, String>) {
    let table = match table {
        Ok(table) => table,
        Err(why) => {
            part.doubts
                .push(format!("its entry in the GPT is not known: {why}"));
            return;
        }
    };
    part.doubts.clone_from(&table.doubts);
    part.taken = table.ranges();
    let mut entries = table.partitions.iter();
    let Some(entry) = entries.find(|entry| Some(entry.number) == part.number) else {
        part.doubts
            .push("the GPT of its disk has no such partition".to_owned());
        return;
    };
    part.doubts.extend(table.doubts_of(entry));
    if table.range(entry) != part.range {
        part.doubts.push(
            "the kernel has it in another place or size than the GPT of its disk (partprobe, partx -u)"
                .to_owned(),
        );
    }
    part.entry = Some(PartEntry {
        guid: entry.guid.clone(),
        label: entry.name.clone(),
        type_guid: entry.type_guid.clone(),
        attributes: entry.attributes,
    });
}

/// Tells each partition which others have its GUID, on whatever disk.
fn name_twins(all: &mut [DiskFacts]) {
    let guid = |facts: &DiskFacts| Some(facts.part.as_ref()?.entry.as_ref()?.guid.clone());
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for facts in all.iter() {
        if let Some(guid) = guid(facts) {
            names.entry(guid).or_default().push(facts.name.clone());
        }
    }
    for facts in all {
        let same = guid(facts).and_then(|guid| names.get(&guid));
        let me = facts.name.clone();
        if let (Some(same), Some(part)) = (same, &mut facts.part) {
            part.twins = same.iter().filter(|name| **name != me).cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fixture::Tree;
    use crate::probe::GptPartition;

    const GUID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

    fn entry(number: u32, guid: &str, first_lba: u64, last_lba: u64) -> GptPartition {
        GptPartition {
            number,
            name: "r-data".into(),
            type_guid: "t".into(),
            guid: guid.into(),
            first_lba,
            last_lba,
            attributes: 0,
        }
    }

    fn parts(entries: Vec<GptPartition>) -> Vec<DiskFacts> {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        for (name, dev, start) in [("sda1", "8:1", "2048"), ("sda2", "8:2", "2099200")] {
            tree.partition("sda", name, dev);
            tree.set("sda", &format!("{name}/start"), start);
        }
        let table = Ok(Trusted::sound(entries));
        let disk = tree.disk("sda");
        let read = |name| facts::read_partition(&tree.root(), &disk, name, &tree.udev).unwrap();
        let mut all = ["sda1", "sda2"].map(read).to_vec();
        for facts in &mut all {
            describe(facts.part.as_mut().unwrap(), &table);
        }
        name_twins(&mut all);
        all
    }

    #[test]
    fn the_kernel_and_the_table_have_to_agree() {
        let sound = [
            entry(1, GUID, 2048, 2_099_199),
            entry(2, "x", 2_099_200, 4_196_351),
        ];
        let doubts = |all: &[DiskFacts]| all[0].part.as_ref().unwrap().doubts.join("; ");
        let all = parts(sound.to_vec());
        assert_eq!(doubts(&all), "");
        let part = all[0].part.as_ref().unwrap();
        assert_eq!(part.entry.as_ref().unwrap().label, "r-data");
        assert_eq!((part.taken.len(), part.twins.len()), (2, 0));
        for (changed, words) in [
            (entry(1, GUID, 2048, 2_099_198), "another place or size"),
            (entry(1, GUID, 2056, 2_099_199), "another place or size"),
            (entry(1, GUID, 2048, 2_099_200), "overlaps"),
            (entry(7, GUID, 2048, 2_099_199), "no such partition"),
        ] {
            let all = parts(vec![changed, sound[1].clone()]);
            assert!(doubts(&all).contains(words), "{words}: {}", doubts(&all));
        }
    }

    #[test]
    fn two_partitions_with_one_guid_know_of_each_other() {
        let all = parts(vec![
            entry(1, GUID, 2048, 2_099_199),
            entry(2, GUID, 2_099_200, 4_196_351),
        ]);
        assert_eq!(all[0].part.as_ref().unwrap().twins, ["sda2"]);
        assert_eq!(all[1].part.as_ref().unwrap().twins, ["sda1"]);
    }
}
