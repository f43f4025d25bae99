//! XFS beyond its first sector: the superblocks of later allocation groups, and external logs.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be32, bytes, uuid};
use super::{Finding, ProbeError, SignatureKind as Kind};

/// Most allocation groups for which the second group's place is computed.
const MAX_GROUPS: u64 = 128;

/// What is promised when the first sector is gone: a file system with blocks of 4 KiB that mkfs.xfs made to fill the
/// disk (or a first partition at 1 MiB that fills it) in 2 to 128 equal groups, or in groups of the largest size,
/// 1 TiB, is found by the superblock of its second group. mkfs.xfs takes 4 groups for a plain disk up to 4 TiB and
/// the largest size above, 8 to 32 with stripes, and its newer versions as many as CPUs on solid-state disks. A file
/// system grown later, or with other block sizes, is left to the content check.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    for offset in places(disk.size()) {
        let Some(sb) = disk.at(offset, 256)?.filter(|sb| sb.starts_with(b"XFSB")) else {
            continue;
        };
        let detail = format!(
            "superblock of a later allocation group, uuid {}",
            uuid(bytes(&sb, 32))
        );
        found.push(Finding {
            kind: Kind::Xfs,
            offset,
            length: 4,
            detail,
        });
    }
    log(disk, found)
}

/// Bytes at which the second group may begin.
fn places(size: u64) -> BTreeSet<u64> {
    const BLOCK: u64 = 4096;
    // XFS_AG_MAX_BYTES is 1 TiB, less one block by the rounding of XFS_AG_MAX_BLOCKS (xfs_format.h).
    const LARGEST: u64 = (1 << 40) / BLOCK - 1;
    let mut places = BTreeSet::new();
    for (start, space) in [(0, size), (1 << 20, size.saturating_sub(2 << 20))] {
        let blocks = space / BLOCK;
        let sizes = (2..=MAX_GROUPS).flat_map(|groups| [blocks / groups, blocks.div_ceil(groups)]);
        for group in sizes
            .chain([LARGEST])
            .filter(|group| (64..=LARGEST).contains(group))
        {
            let offset = start + group * BLOCK;
            if offset < size {
                places.insert(offset);
            }
        }
    }
    places
}

/// An external log: a record header in one of the first 512 sectors (xfs_log_format.h, struct xlog_rec_header): magic
/// 0xFEEDBABE, version 1 or 2 at 8, format 1 to 3 at 300. The log inside a file system does not begin there.
fn log<R: Read + Seek>(disk: &mut Disk<R>, found: &mut Vec<Finding>) -> Result<(), ProbeError> {
    let Some(head) = disk.at(0, 256 << 10)? else {
        return Ok(());
    };
    for (sector, header) in (0..).zip(head.chunks_exact(512)) {
        let version = be32(header, 8);
        if be32(header, 0) == 0xFEED_BABE
            && (1..=3).contains(&version)
            && (1..=3).contains(&be32(header, 300))
        {
            let detail = format!("uuid {}", uuid(bytes(header, 304)));
            found.push(Finding {
                kind: Kind::XfsLog,
                offset: sector * 512,
                length: 4,
                detail,
            });
            break;
        }
    }
    Ok(())
}
