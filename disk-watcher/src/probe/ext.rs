//! ext2, ext3, ext4 and their external journals, by the primary superblock and by the backups in later groups.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{bytes, le16, le32, uuid};
use super::{Finding, ProbeError, SignatureKind as Kind};

/// s_magic, at 56 of the superblock (Documentation/filesystems/ext4/super.rst; all offsets here are from there).
const MAGIC: u16 = 0xEF53;

/// Groups that hold a superblock under sparse_super: 1 and the powers of 3, 5 and 7.
const GROUPS: [u64; 14] = [1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729];

/// Looks at the primary superblock (1 KiB into the volume) and at every backup place on the disk for blocks of 1, 2, 4
/// and 64 KiB and groups of the default 8 x block size blocks. A file system made with other groups (`-g`, bigalloc,
/// sparse_super2) or in a former partition keeps its backups elsewhere; the content check is what finds those.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    for start in [0, 1 << 20, 63 * 512] {
        superblock(disk, start + 1024, start, 0, found)?;
    }
    for block in [1024, 2048, 4096, 65_536] {
        for group in GROUPS {
            // With 1 KiB blocks the first group begins at block 1, behind the boot block.
            let first = u64::from(block == 1024);
            superblock(disk, (group * 8 * block + first) * block, 0, group, found)?;
        }
    }
    Ok(())
}

fn superblock<R: Read + Seek>(
    disk: &mut Disk<R>,
    offset: u64,
    start: u64,
    group: u64,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let Some(sb) = disk.at(offset, 1024)?.filter(|sb| le16(sb, 56) == MAGIC) else {
        return Ok(());
    };
    // Two bytes are weak where anything may stand: block size, revision and blocks per group must be possible.
    if group > 0 && (le32(&sb, 24) > 6 || le32(&sb, 76) > 1 || le32(&sb, 32) == 0) {
        return Ok(());
    }
    let mut detail = format!("uuid {}", uuid(bytes(&sb, 104)));
    if group > 0 {
        detail.push_str(&format!(", backup superblock of group {group}"));
    } else if start > 0 {
        detail.push_str(&format!(
            ", in a former partition that began at byte {start}"
        ));
    }
    found.push(Finding {
        kind: version(&sb),
        offset: offset + 56,
        length: 2,
        detail,
    });
    Ok(())
}

/// Which of the family, by feature flags: a journal device says so (incompat 8); what ext3 does not know is ext4; a
/// journal (compat 4) makes ext3.
fn version(sb: &[u8]) -> Kind {
    let (compat, incompat, ro_compat) = (le32(sb, 92), le32(sb, 96), le32(sb, 100));
    const JOURNAL: u32 = 0x4;
    const JOURNAL_DEV: u32 = 0x8;
    // filetype 2, recover 4, meta_bg 0x10; sparse_super 1, large_file 2, btree_dir 4.
    const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
    const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;
    if incompat & JOURNAL_DEV != 0 {
        Kind::Jbd
    } else if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        Kind::Ext4
    } else if compat & JOURNAL != 0 {
        Kind::Ext3
    } else {
        Kind::Ext2
    }
}
