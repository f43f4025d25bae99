//! Partition tables other than GPT: the MBR with its empty and protective forms, and the labels of other machines.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be16, be32, le16, le32};
use super::{Finding, ProbeError, SignatureKind as Kind};

/// Looks at the first sector and at the few others that old labels may be in.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let Some(first) = disk.at(0, 512)? else {
        return Ok(());
    };
    if let Some((kind, detail)) = mbr(&first) {
        found.push(Finding {
            kind,
            offset: 510,
            length: 2,
            detail,
        });
    }
    if atari(&first) {
        found.push(Finding {
            kind: Kind::Atari,
            offset: 0x1C6,
            length: 48,
            detail: "no checksum".into(),
        });
    }
    if be16(&first, 508) == 0xDABE {
        found.push(Finding {
            kind: Kind::Sun,
            offset: 508,
            length: 2,
            detail: String::new(),
        });
    }
    if be32(&first, 0) == 0x0BE5_A941 {
        found.push(Finding {
            kind: Kind::Sgi,
            offset: 0,
            length: 4,
            detail: String::new(),
        });
    }
    mac(disk, &first, found)?;
    bsd(disk, found)?;
    amiga(disk, found)
}

/// The MBR (UEFI 2.10, 5.2.1; and by long use): 55 AA at 510, four entries of 16 bytes from 446, each beginning with
/// a boot flag of 00 or 80, type at 4. Linux takes the sector for a boot sector without a table when a flag differs.
fn mbr(first: &[u8]) -> Option<(Kind, String)> {
    if first[510..] != [0x55, 0xAA] {
        return None;
    }
    let entries: Vec<&[u8]> = first[446..510].chunks_exact(16).collect();
    if entries.iter().any(|entry| !matches!(entry[0], 0 | 0x80)) {
        return Some((Kind::BootSector, String::new()));
    }
    let types: Vec<String> = entries
        .iter()
        .filter(|e| e[4] != 0)
        .map(|e| format!("{:02x}", e[4]))
        .collect();
    Some(match &types[..] {
        [] => (Kind::Dos, "empty".into()),
        [one] if one == "ee" => (Kind::Pmbr, "partition types ee".into()),
        // With others beside ee it is a hybrid one, whose partitions need not be those of the GPT.
        _ => (Kind::Dos, format!("partition types {}", types.join(" "))),
    })
}

/// Atari AHDI root sector (block/partitions/atari.h): disk size at 0x1C2, four entries of 12 bytes from 0x1C6: flags
/// with bit 0 for "in use", three letters, start, size, all big-endian. There is no magic number and no checksum, so
/// this follows the kernel: one entry in use, of letters and digits, inside the size that the sector gives.
fn atari(first: &[u8]) -> bool {
    let sectors = be32(first, 0x1C2);
    let inside = |start: u32, size: u32| {
        start > 0 && size > 0 && start.checked_add(size).is_some_and(|end| end <= sectors)
    };
    first[0x1C6..0x1F6].chunks_exact(12).any(|entry| {
        entry[0] & 1 == 1
            && entry[1..4].iter().all(u8::is_ascii_alphanumeric)
            && inside(be32(entry, 4), be32(entry, 8))
    })
}

/// Apple (Inside Macintosh: Devices, 3): driver descriptor "ER" with its block size at 2; the map begins in block 1
/// with "PM", or "TS" before. A map whose descriptor is gone is found at 512 too.
fn mac<R: Read + Seek>(
    disk: &mut Disk<R>,
    first: &[u8],
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let block = match first.starts_with(b"ER") {
        true => u64::from(be16(first, 2)),
        false => 512,
    };
    let Some(entry) = disk.at(block, 16)? else {
        return Ok(());
    };
    // pmMapBlkCnt at 4 is at least 1, and a start of 0 in pmPyPartStart does not occur: two letters alone are weak.
    let map = matches!(&entry[..2], b"PM" | b"TS") && be32(&entry, 4) > 0 && be32(&entry, 8) > 0;
    if map {
        found.push(Finding {
            kind: Kind::Mac,
            offset: block,
            length: 2,
            detail: String::new(),
        });
    } else if first.starts_with(b"ER") && block.is_power_of_two() && (512..=4096).contains(&block) {
        found.push(Finding {
            kind: Kind::Mac,
            offset: 0,
            length: 2,
            detail: "driver descriptor without a map".into(),
        });
    }
    Ok(())
}

/// BSD disk label: magic 0x82564557 little-endian, at the start of sector 1 (i386), or at 64 or 128 of sector 0
/// (others); the same magic again at 132 (sys/disklabel.h, d_magic2).
fn bsd<R: Read + Seek>(disk: &mut Disk<R>, found: &mut Vec<Finding>) -> Result<(), ProbeError> {
    for offset in [512, 64, 128] {
        let Some(label) = disk.at(offset, 136)? else {
            continue;
        };
        if le32(&label, 0) == 0x8256_4557 {
            let whole = le32(&label, 132) == 0x8256_4557;
            let detail = if whole {
                String::new()
            } else {
                "damaged".into()
            };
            found.push(Finding {
                kind: Kind::Bsd,
                offset,
                length: 4,
                detail,
            });
        }
    }
    Ok(())
}

/// Amiga (affs_hardblocks.h): "RDSK" opens one of the first sixteen blocks (RDB_ALLOCATION_LIMIT).
fn amiga<R: Read + Seek>(disk: &mut Disk<R>, found: &mut Vec<Finding>) -> Result<(), ProbeError> {
    for block in 0..16 {
        if disk
            .at(block * 512, 4)?
            .is_some_and(|magic| magic == b"RDSK")
        {
            found.push(Finding {
                kind: Kind::Amiga,
                offset: block * 512,
                length: 4,
                detail: String::new(),
            });
        }
    }
    Ok(())
}

/// A FAT boot sector that carries none of the texts, as old formatters leave it; read by its BIOS parameter block
/// (Microsoft fatgen103, "Boot Sector and BPB"). BitLocker To Go hides in such a one.
pub(super) fn fat_parameters(first: &[u8]) -> bool {
    let bytes_per_sector = le16(first, 11);
    let sectors_per_cluster = first[13];
    let media = first[21];
    first[510..512] == [0x55, 0xAA]
        && matches!(first[0], 0xEB | 0xE9)
        && matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
        && sectors_per_cluster.is_power_of_two()
        && le16(first, 14) > 0
        && (1..=4).contains(&first[16])
        && (media == 0xF0 || media >= 0xF8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_protects_a_gpt_has_no_other_partition() {
        let kind = |types: [u8; 4]| {
            let mut sector = [0; 512];
            sector[510..].copy_from_slice(&[0x55, 0xAA]);
            for (at, kind) in types.into_iter().enumerate() {
                sector[446 + 16 * at + 4] = kind;
            }
            mbr(&sector).map(|(kind, _)| kind)
        };
        assert_eq!(kind([0xEE, 0, 0, 0]), Some(Kind::Pmbr));
        assert_eq!(kind([0, 0xEE, 0, 0]), Some(Kind::Pmbr));
        assert_eq!(kind([0x0C, 0xEE, 0, 0]), Some(Kind::Dos), "a hybrid one");
        assert_eq!(kind([0xEE, 0xEE, 0, 0]), Some(Kind::Dos));
        assert_eq!(kind([0x83, 0, 0, 0]), Some(Kind::Dos));
        assert_eq!(kind([0; 4]), Some(Kind::Dos));
    }
}
