//! What stands in the partitions of a disk: a person who has it wiped has to know, and a PV in one
//! is a member of its group like any other.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use lvmd::units::SECTOR;

use super::Shifted;
use crate::identity::Device;
use crate::node::chain;
use crate::probe::aligned::DirectReader;
use crate::probe::{self, Findings, Geometry, GptTable};

/// A partition: its first byte and its size.
type Range = (u64, u64);

/// So many partitions are looked into; more are a table that means harm, or none that is used.
const MOST: usize = 128;

/// The signatures in all partitions, at their places on the disk, and the LVM labels among them. A
/// whole disk that LVM has no partitions, whatever its volumes look like.
pub(super) fn scan(file: &File, disk: &Findings, device: &Device) -> Result<Findings, String> {
    let mut all = Findings::default();
    if !disk.lvm.is_empty() {
        return Ok(all);
    }
    let mut ranges: BTreeSet<Range> = disk.gpt.iter().flat_map(in_table).collect();
    ranges.extend(in_kernel(device)?);
    if ranges.len() > MOST {
        return Err(format!(
            "it has more than {MOST} partitions, which are not all looked into"
        ));
    }
    for (start, size) in ranges {
        if size == 0
            || start
                .checked_add(size)
                .is_none_or(|end| end > device.size.0)
        {
            continue;
        }
        let reader = file.try_clone().map_err(|error| error.to_string())?;
        let part = Shifted {
            reader: DirectReader::new(reader),
            by: start,
        };
        let geometry = Geometry {
            size_bytes: size,
            logical_sector: device.sector,
        };
        // What begins or ends within a sector is no partition that the kernel makes.
        let sector = u64::from(device.sector);
        if !start.is_multiple_of(sector) || !size.is_multiple_of(sector) {
            continue;
        }
        let mut found = probe::scan(part, geometry)
            .map_err(|error| format!("partition at byte {start}: {}", chain(&error)))?;
        for signature in &mut found.signatures {
            signature.offset += start;
        }
        all.signatures.append(&mut found.signatures);
        all.lvm.append(&mut found.lvm);
    }
    all.signatures.sort();
    Ok(all)
}

fn in_table(table: &GptTable) -> impl Iterator<Item = Range> {
    // Entries of a damaged array may be anything.
    let partitions = table.partitions.iter().filter(|_| table.entries_valid);
    partitions.filter_map(|partition| {
        let blocks = partition.last_lba.checked_sub(partition.first_lba)? + 1;
        let bytes = |lba: u64| lba.checked_mul(table.block);
        Some((bytes(partition.first_lba)?, bytes(blocks)?))
    })
}

/// The partitions that the kernel sees, whatever table they are of.
fn in_kernel(device: &Device) -> Result<Vec<Range>, String> {
    let dir = PathBuf::from(format!("/sys/dev/block/{}", device.dev));
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut ranges = Vec::new();
    for entry in entries {
        let dir = entry.map_err(|error| error.to_string())?.path();
        let sectors = |name: &str| -> Option<u64> {
            let text = std::fs::read_to_string(dir.join(name)).ok()?;
            text.trim().parse::<u64>().ok()?.checked_mul(SECTOR)
        };
        if dir.join("partition").exists() {
            // One that goes while it is looked at is none.
            ranges.extend(sectors("start").zip(sectors("size")));
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::GptPartition;
    use crate::probe::gpt::Copy;

    #[test]
    fn an_entry_is_a_range_of_bytes_and_one_that_cannot_be_is_none() {
        let entry = |first_lba, last_lba| GptPartition {
            number: 1,
            name: String::new(),
            type_guid: String::new(),
            guid: String::new(),
            first_lba,
            last_lba,
            attributes: 0,
        };
        let table = GptTable {
            copy: Copy::Primary,
            block: 4096,
            disk_guid: String::new(),
            header_valid: true,
            usable: (6, 1000),
            entries_valid: true,
            partitions: vec![entry(256, 511), entry(5, 4), entry(1, u64::MAX)],
        };
        let ranges: Vec<Range> = in_table(&table).collect();
        assert_eq!(ranges, [(1 << 20, 1 << 20)]);
    }
}
