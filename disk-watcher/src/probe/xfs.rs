//! XFS beyond its first sector: the superblocks of later allocation groups, and external logs.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be32, bytes, uuid};
use super::{Finding, ProbeError, SignatureKind as Kind};

/// Most allocation groups for which the second group's place is computed.
const MAX_GROUPS: u64 = 128;

/// Groups that mkfs.xfs makes of its own accord: 4 on a plain disk, 8 to 32 with stripes (`calc_default_ag_geometry`).
const DEFAULT_GROUPS: [u64; 4] = [4, 8, 16, 32];

/// XFS_AG_MAX_BYTES: a group stays one block below it.
const LARGEST: u64 = 1 << 40;

/// What is promised when the first sector is gone: a file system that mkfs.xfs made to fill the disk, or a first
/// partition at 1 MiB that fills it, is found by the superblock of its second group, when it has
/// - blocks of 4 KiB and 2 to 128 groups of one size (on flash newer versions make as many as there are CPUs);
/// - or blocks of any size and the default groups, up to the largest, 1 TiB;
/// - or, on the whole disk, blocks of 4 KiB and the default groups bent by a stripe unit of up to 1 MiB.
///
/// A file system grown later is left to the content check.
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
    let mut places = group_sizes(size);
    places.extend(stripe_sizes(size));
    let partition = 1 << 20;
    let inside = group_sizes(size.saturating_sub(2 * partition));
    places.extend(inside.iter().map(|group| partition + group));
    places.retain(|offset| (64 * 512..size).contains(offset));
    places
}

/// Bytes of a group when the file system fills `space`: an equal share, rounded to its blocks.
fn group_sizes(space: u64) -> BTreeSet<u64> {
    let share = |block: u64, groups: u64| {
        let blocks = space / block;
        [blocks / groups * block, blocks.div_ceil(groups) * block]
    };
    let mut sizes: BTreeSet<u64> = (2..=MAX_GROUPS)
        .flat_map(|groups| share(4096, groups))
        .collect();
    for block in (9..=16).map(|bits| 1 << bits) {
        sizes.extend(
            DEFAULT_GROUPS
                .iter()
                .flat_map(|groups| share(block, *groups)),
        );
        sizes.insert(LARGEST - block);
    }
    sizes
}

/// Bytes of a group that mkfs.xfs has rounded to a stripe unit, and moved by one more when all groups would otherwise
/// begin on the same member of the stripe (`align_ag_geometry`).
fn stripe_sizes(space: u64) -> BTreeSet<u64> {
    let blocks = space / 4096;
    let shares = DEFAULT_GROUPS
        .iter()
        .map(|groups| blocks.div_ceil(*groups) * 4096);
    let mut sizes = BTreeSet::new();
    for share in shares.chain([LARGEST - 4096]) {
        for unit in (12..=20).map(|bits| 1_u64 << bits) {
            let down = share / unit * unit;
            sizes.extend([
                down.saturating_sub(unit),
                down,
                down + unit,
                down + 2 * unit,
            ]);
        }
    }
    sizes
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
