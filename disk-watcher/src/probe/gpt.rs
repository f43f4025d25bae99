//! GUID partition tables: both headers, for both sector sizes, whole or damaged (UEFI 2.10, chapter 5).

mod trusted;

use std::io::{Read, Seek};

pub use self::trusted::{Trusted, read};
use super::disk::Disk;
use super::field::{bytes, guid, le32, le64};
use super::{Finding, ProbeError, SignatureKind, checksum};

/// Which of the two headers a table was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The header in the second logical block.
    Primary,
    /// The header in the last logical block.
    Backup,
}

/// A GUID partition table as one of its headers tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptTable {
    /// Header it was read from.
    pub copy: Copy,
    /// Bytes per logical block that the header's place implies: 512 or 4096, whatever the disk has now.
    pub block: u64,
    /// DiskGUID.
    pub disk_guid: String,
    /// HeaderCRC32 is right.
    pub header_valid: bool,
    /// FirstUsableLBA and LastUsableLBA, inclusive: partitions lie between them.
    pub usable: (u64, u64),
    /// PartitionEntryArrayCRC32 is right. When it is not, `partitions` is what could be read, maybe nothing.
    pub entries_valid: bool,
    /// The used entries, in the order of the array.
    pub partitions: Vec<GptPartition>,
}

/// One used entry of the partition array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptPartition {
    /// Place in the array, counted from 1 as Linux does.
    pub number: u32,
    /// PartitionName; what is no UTF-16 is replaced.
    pub name: String,
    /// PartitionTypeGUID, lower case.
    pub type_guid: String,
    /// UniquePartitionGUID, lower case.
    pub guid: String,
    /// StartingLBA, in blocks of [`GptTable::block`].
    pub first_lba: u64,
    /// EndingLBA, inclusive.
    pub last_lba: u64,
    /// Attributes: bit 0 for what the platform needs, bit 2 for what an old BIOS boots, the upper ones by type.
    pub attributes: u64,
}

/// EFI system partition (UEFI 2.10, table 5.7).
pub const TYPE_ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// BIOS boot partition (GRUB manual, "BIOS installation").
pub const TYPE_BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

/// Names that Talos gives the partitions of its system disk (Talos `pkg/machinery/constants`).
const SYSTEM_NAMES: [&str; 9] = [
    "EFI",
    "BIOS",
    "BOOT",
    "META",
    "STATE",
    "EPHEMERAL",
    "BOOT-A",
    "BOOT-B",
    "IMAGECACHE",
];

impl GptPartition {
    /// Whether this partition shows a disk that a machine boots or runs its system from: an EFI system or BIOS boot
    /// partition, or a name of such (`EFI`, `STATE`, ..., or anything with "reserved" in it), in any case.
    pub fn is_system(&self) -> bool {
        let name = self.name.trim().to_uppercase();
        self.type_guid == TYPE_ESP
            || self.type_guid == TYPE_BIOS_BOOT
            || SYSTEM_NAMES.contains(&name.as_str())
            || name.contains("RESERVED")
    }
}

/// Most bytes of a partition array that are read: sixteen times the usual array.
const MAX_ARRAY: u64 = 256 << 10;

/// Looks where a header may be: the second and the last block, for blocks of 512 and of 4096 bytes.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
    tables: &mut Vec<GptTable>,
) -> Result<(), ProbeError> {
    for block in [512, 4096] {
        let last = (disk.size() / block).checked_sub(1).map(|lba| lba * block);
        for (copy, offset) in [(Copy::Primary, Some(block)), (Copy::Backup, last)] {
            if let Some(offset) = offset {
                header(disk, copy, block, offset, found, tables)?;
            }
        }
    }
    Ok(())
}

fn header<R: Read + Seek>(
    disk: &mut Disk<R>,
    copy: Copy,
    block: u64,
    offset: u64,
    found: &mut Vec<Finding>,
    tables: &mut Vec<GptTable>,
) -> Result<(), ProbeError> {
    let Some(head) = disk
        .at(offset, 512)?
        .filter(|head| head.starts_with(b"EFI PART"))
    else {
        return Ok(());
    };
    let size = usize::try_from(le32(&head, 12))
        .ok()
        .filter(|size| (92..=512).contains(size));
    let header_valid = size.is_some_and(|size| {
        let mut image = head[..size].to_vec();
        image[16..20].fill(0);
        checksum::crc32(&image) == le32(&head, 16)
    });
    let (entries_valid, partitions) = entries(disk, block, &head)?;
    let kind = match copy {
        Copy::Primary => SignatureKind::Gpt,
        Copy::Backup => SignatureKind::GptBackup,
    };
    let detail = format!(
        "blocks of {block} bytes, {} partitions{}{}",
        partitions.len(),
        if header_valid { "" } else { ", header damaged" },
        if entries_valid {
            ""
        } else {
            ", entries damaged"
        },
    );
    found.push(Finding {
        kind,
        offset,
        length: 8,
        detail,
    });
    tables.push(GptTable {
        copy,
        block,
        disk_guid: guid(bytes(&head, 56)),
        header_valid,
        usable: (le64(&head, 40), le64(&head, 48)),
        entries_valid,
        partitions,
    });
    Ok(())
}

/// The partition array a header points at, as far as it can be had.
fn entries<R: Read + Seek>(
    disk: &mut Disk<R>,
    block: u64,
    head: &[u8],
) -> Result<(bool, Vec<GptPartition>), ProbeError> {
    let (lba, count, size) = (
        le64(head, 72),
        u64::from(le32(head, 80)),
        u64::from(le32(head, 84)),
    );
    if !(128..=4096).contains(&size) || count * size > MAX_ARRAY {
        return Ok((false, Vec::new()));
    }
    let length = usize::try_from(count * size).unwrap_or(0);
    let array = match lba.checked_mul(block) {
        Some(offset) => disk.at(offset, length)?,
        None => None,
    };
    let Some(array) = array else {
        return Ok((false, Vec::new()));
    };
    let stride = usize::try_from(size).unwrap_or(128);
    let used = (1..)
        .zip(array.chunks_exact(stride))
        .filter(|(_, entry)| entry[..16] != [0; 16]);
    let partitions = used
        .map(|(number, entry)| partition(number, entry))
        .collect();
    Ok((checksum::crc32(&array) == le32(head, 88), partitions))
}

fn partition(number: u32, entry: &[u8]) -> GptPartition {
    let units = entry[56..128]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let name = char::decode_utf16(units.take_while(|unit| *unit != 0));
    GptPartition {
        number,
        name: name
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
        type_guid: guid(bytes(entry, 0)),
        guid: guid(bytes(entry, 16)),
        first_lba: le64(entry, 32),
        last_lba: le64(entry, 40),
        attributes: le64(entry, 48),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_partitions_of_a_system_disk() {
        let named = |name: &str, type_guid: &str| GptPartition {
            number: 1,
            name: name.into(),
            type_guid: type_guid.into(),
            guid: String::new(),
            first_lba: 0,
            last_lba: 0,
            attributes: 0,
        };
        let linux = "0fc63daf-8483-4772-8e79-3d69d8477de4";
        for name in [
            "EFI",
            "BIOS",
            "BOOT",
            "META",
            "STATE",
            "EPHEMERAL",
            "BOOT-A",
            "IMAGECACHE",
            "msReserved",
            "state",
        ] {
            assert!(named(name, linux).is_system(), "{name}");
        }
        assert!(named("", TYPE_ESP).is_system());
        assert!(named("", TYPE_BIOS_BOOT).is_system());
        for name in ["", "data", "BOOTLEG"] {
            assert!(!named(name, linux).is_system(), "{name}");
        }
    }
}
