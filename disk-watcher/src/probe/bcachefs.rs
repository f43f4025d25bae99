//! bcachefs: the superblock layout, and every superblock that `bcachefs format` writes.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::{Finding, ProbeError, SignatureKind};

/// BCHFS_MAGIC (bcachefs_format.h).
const MAGIC: [u8; 16] = [
    0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9, 0xD9, 0x6A, 0x60, 0xCF, 0x80, 0x3D, 0xF7, 0xEF,
];

/// Place of the magic number in a superblock (struct bch_sb).
const IN_SUPERBLOCK: u64 = 24;

/// A superblock has 1 MiB to grow in, unless `--superblock_size` says otherwise.
const ROOM: u64 = 1 << 20;

/// The layout is in sector 7, the first superblock in sector 8, the second behind its room on a boundary of the file
/// system's block (512 bytes to 64 KiB), the last one where its room fits before the end, rounded down to a bucket
/// (bcachefs-tools, `bch2_sb_layout_init`). libblkid looks for the second at 2 MiB, so that is looked at too. The
/// first tools used bcache's magic with this layout; that is reported as bcache.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let mut places = vec![(7 * 512, "layout")];
    places.extend([0x1000, (1 << 20) + 0x1000].map(|at| (at + IN_SUPERBLOCK, "")));
    let second = 0x1000 + ROOM;
    let blocks = [4096, 8192, 16_384, 32_768, 65_536];
    places.extend(blocks.map(|block| {
        (
            second.next_multiple_of(block) + IN_SUPERBLOCK,
            "backup copy",
        )
    }));
    places.push(((2 << 20) + IN_SUPERBLOCK, "backup copy"));
    if let Some(last) = disk.size().checked_sub(ROOM) {
        let buckets = (9..=26).map(|bits| 1_u64 << bits);
        places.extend(buckets.map(|bucket| (last / bucket * bucket + IN_SUPERBLOCK, "at the end")));
    }
    for (offset, detail) in places {
        if disk
            .at(offset, MAGIC.len())?
            .is_some_and(|bytes| bytes == MAGIC)
        {
            found.push(Finding {
                kind: SignatureKind::Bcachefs,
                offset,
                length: MAGIC.len() as u64,
                detail: detail.into(),
            });
        }
    }
    Ok(())
}
