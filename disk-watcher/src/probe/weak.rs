//! Formats whose magic number is two bytes or less, so that a second field has to agree before it is believed.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be16, be32, le16, le32};
use super::{Finding, ProbeError, SignatureKind as Kind, table};

/// Looks at every place, for the whole disk and for a former first partition at 1 MiB.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    for start in [0, 1 << 20] {
        let Some(head) = disk.at(start, 2048)? else {
            continue;
        };
        let mut push = |kind, at: u64, length, detail: &str| {
            found.push(Finding {
                kind,
                offset: start + at,
                length,
                detail: detail.to_owned(),
            });
        };
        if let Some(version) = minix(&head[1024..]) {
            let place = if version == 3 { 0x418 } else { 0x410 };
            push(Kind::Minix, place, 2, &format!("version {version}"));
        }
        if let Some((kind, detail)) = hfs(&head[1024..]) {
            push(kind, 1024, 2, detail);
        }
        if core_storage(&head) {
            push(Kind::CoreStorage, 88, 2, "");
        }
        if bitlocker_to_go(&head) {
            push(Kind::BitLocker, 424, 16, "To Go");
        }
        if table::fat_parameters(&head) {
            push(Kind::Vfat, 11, 2, "by its parameter block");
        }
        ufs(disk, start, found)?;
    }
    hfs_alternate(disk, found)?;
    nilfs(disk, found)
}

/// struct minix_super_block and minix3_super_block at 1 KiB (uapi/linux/minix_fs.h), in both byte orders: magic at 16
/// or 24; the zone size must be 1 block and the inode and zone bitmaps large enough for what they cover.
fn minix(sb: &[u8]) -> Option<u32> {
    let (old, new) = ([le16, be16], [le32, be32]);
    for (read16, read32) in old.into_iter().zip(new) {
        let version = match (read16(sb, 16), read16(sb, 24)) {
            (0x137F | 0x138F, _) => 1,
            (0x2468 | 0x2478, _) => 2,
            (_, 0x4D5A) => 3,
            _ => continue,
        };
        let (inodes, maps, zone) = match version {
            3 => (
                read32(sb, 0),
                [read16(sb, 6), read16(sb, 8)],
                read16(sb, 12),
            ),
            _ => (
                u32::from(read16(sb, 0)),
                [read16(sb, 4), read16(sb, 6)],
                read16(sb, 10),
            ),
        };
        if zone == 0 && inodes > 0 && maps.iter().all(|blocks| *blocks > 0) {
            return Some(version);
        }
    }
    None
}

/// HFS (Inside Macintosh: Files, 2): "BD" at 1 KiB, allocation block size at 20 a multiple of 512, above zero; an
/// HFS+ volume can be embedded (drEmbedSigWord at 124). HFS+ and HFSX (TN1150): "H+" version 4 or "HX" version 5.
fn hfs(head: &[u8]) -> Option<(Kind, &'static str)> {
    match (&head[..2], be16(head, 2)) {
        (b"H+", 4) | (b"HX", 5) => Some((Kind::HfsPlus, "")),
        (b"BD", _) if matches!(&head[124..126], b"H+" | b"HX") => {
            Some((Kind::HfsPlus, "embedded in HFS"))
        }
        (b"BD", _) if be32(head, 20) > 0 && be32(head, 20).is_multiple_of(512) => {
            Some((Kind::Hfs, ""))
        }
        _ => None,
    }
}

/// The alternate volume header of HFS and HFS+ is 1 KiB before the end of the volume (TN1150, "Volume Header").
fn hfs_alternate<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    if let Some((offset, head)) = disk.before_end(512, 1024, 512)?
        && let Some((kind, _)) = hfs(&head)
    {
        found.push(Finding {
            kind,
            offset,
            length: 2,
            detail: "alternate header".into(),
        });
    }
    Ok(())
}

/// CoreStorage (libfvde, "FileVault Drive Encryption (FVDE)", 3): "CS" at 88, version 1 at 8, block type 0x10 at 10.
fn core_storage(head: &[u8]) -> bool {
    head[88..90] == *b"CS" && le16(head, 8) == 1 && le16(head, 10) == 0x10
}

/// BitLocker To Go looks like FAT32 with OEM id MSWIN4.1 and carries a BitLocker GUID at 424 (libbde, 3.3).
fn bitlocker_to_go(head: &[u8]) -> bool {
    // 4967d63b-2e29-4ad8-8399-f6a339e3d001, and ...92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8 for used-space-only.
    const GUIDS: [[u8; 16]; 2] = [
        [
            0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3,
            0xD0, 0x01,
        ],
        [
            0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E,
            0xAE, 0xD8,
        ],
    ];
    GUIDS.iter().any(|guid| head[424..440] == *guid)
}

/// UFS (fs/ufs/ufs_fs.h): fs_magic at 1372 of the superblock at 0, 8, 64 or 256 KiB, in both byte orders.
fn ufs<R: Read + Seek>(
    disk: &mut Disk<R>,
    start: u64,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    const MAGICS: [u32; 6] = [
        0x0001_1954,
        0x1954_0119,
        0x0019_5612,
        0x0009_5014,
        0x0061_2195,
        0x0523_1994,
    ];
    for at in [0, 8 << 10, 64 << 10, 256 << 10] {
        let offset = start + at + 1372;
        if let Some(magic) = disk.at(offset, 4)?
            && (MAGICS.contains(&le32(&magic, 0)) || MAGICS.contains(&be32(&magic, 0)))
        {
            found.push(Finding {
                kind: Kind::Ufs,
                offset,
                length: 4,
                detail: String::new(),
            });
        }
    }
    Ok(())
}

/// NILFS2 (nilfs2_ondisk.h): magic 0x3434 at 6 of the superblock at 1 KiB, and of the one in the last 4 KiB block
/// (NILFS_SB2_OFFSET_BYTES); its size field at 8 is the structure's and the revision at 0 is 2.
fn nilfs<R: Read + Seek>(disk: &mut Disk<R>, found: &mut Vec<Finding>) -> Result<(), ProbeError> {
    let size = disk.size();
    let places = [
        (Some(1024), ""),
        (Some((1 << 20) + 1024), "in a former partition at 1 MiB"),
        (
            (size / 4096).checked_sub(1).map(|block| block * 4096),
            "second superblock",
        ),
        (
            (size / 512).checked_sub(8).map(|sector| sector * 512),
            "second superblock",
        ),
    ];
    for (offset, detail) in places {
        let Some(offset) = offset else {
            continue;
        };
        let Some(sb) = disk.at(offset, 64)? else {
            continue;
        };
        if le16(&sb, 6) == 0x3434 && (20..=1024).contains(&le16(&sb, 8)) && le32(&sb, 0) <= 16 {
            found.push(Finding {
                kind: Kind::Nilfs2,
                offset: offset + 6,
                length: 2,
                detail: detail.into(),
            });
        }
    }
    Ok(())
}
