//! Members of Linux md arrays: superblock versions 0.90, 1.0, 1.1 and 1.2.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be32, bytes, le32, le64, text, uuid};
use super::{Finding, ProbeError, SignatureKind as Kind};

/// MD_SB_MAGIC (uapi/linux/raid/md_p.h).
const MAGIC: u32 = 0xA92B_4EFC;

/// Looks at all places of all versions (md(4); md_p.h; super1.c for the places of version 1).
///
/// Version 0.90 sits in the last whole 64 KiB that has another 64 KiB before the end. A member that is the last
/// partition of a disk has its superblock relative to the partition's end, which is often a whole MiB, so the place
/// is tried for the disk's end and for the disk's end without the space of a backup GPT.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let size = disk.size();
    let mut ends = vec![
        size,
        size.saturating_sub(33 * 512),
        size.saturating_sub(5 * 4096),
    ];
    ends.push(size / (1 << 20) * (1 << 20));
    ends.push(size.saturating_sub(33 * 512) / (1 << 20) * (1 << 20));
    let mut places: Vec<u64> = ends
        .iter()
        .filter_map(|end| (end / 65_536 * 65_536).checked_sub(65_536))
        .collect();
    places.sort_unstable();
    places.dedup();
    for offset in places {
        version_0(disk, offset, found)?;
    }
    // Version 1.0: 8 KiB before the end, on a 4 KiB boundary.
    let mut places: Vec<u64> = ends
        .iter()
        .filter_map(|end| (end / 4096 * 4096).checked_sub(8192))
        .collect();
    places.extend(
        (size / 512)
            .checked_sub(16)
            .map(|sector| sector / 8 * 8 * 512),
    );
    places.sort_unstable();
    places.dedup();
    for offset in places {
        version_1(disk, Kind::Md10, offset, found)?;
    }
    for start in [0, 1 << 20] {
        version_1(disk, Kind::Md11, start, found)?;
        version_1(disk, Kind::Md12, start + 4096, found)?;
    }
    Ok(())
}

/// mdp_super_t, in the byte order of the machine that made it.
fn version_0<R: Read + Seek>(
    disk: &mut Disk<R>,
    offset: u64,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let Some(sb) = disk.at(offset, 64)? else {
        return Ok(());
    };
    let read = match (le32(&sb, 0), be32(&sb, 0)) {
        (MAGIC, _) => le32,
        (_, MAGIC) => be32,
        _ => return Ok(()),
    };
    let detail = format!(
        "set {:08x}:{:08x}:{:08x}:{:08x}",
        read(&sb, 20),
        read(&sb, 52),
        read(&sb, 56),
        read(&sb, 60),
    );
    found.push(Finding {
        kind: Kind::Md090,
        offset,
        length: 4,
        detail,
    });
    Ok(())
}

/// struct mdp_superblock_1, little-endian: magic, major version 1, set uuid at 16, name at 32.
fn version_1<R: Read + Seek>(
    disk: &mut Disk<R>,
    kind: Kind,
    offset: u64,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let Some(sb) = disk
        .at(offset, 256)?
        .filter(|sb| le32(sb, 0) == MAGIC && le32(sb, 4) == 1)
    else {
        return Ok(());
    };
    let moved = match le64(&sb, 144).checked_mul(512) {
        Some(place) if place == offset => "",
        _ => ", written for another place",
    };
    let detail = format!(
        "set {} {:?}{moved}",
        uuid(bytes(&sb, 16)),
        text(&sb[32..64])
    );
    found.push(Finding {
        kind,
        offset,
        length: 4,
        detail,
    });
    Ok(())
}
