//! How large a file system believes its device to be, and whether it was ever used, read
//! from its superblock.
//!
//! Only to save the growing tool's run when there is nothing to grow: what is not
//! understood here is left to the tool, which looks for itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::filesystem::Kind;

/// Where Btrfs has its superblock.
const BTRFS: u64 = 64 << 10;

/// The size of the file system in bytes; `None` when it is not understood.
///
/// # Errors
/// The device cannot be read.
pub(super) fn size(device: &File, kind: Kind) -> io::Result<Option<u64>> {
    let at = match kind {
        Kind::Ext4 => 1024,
        Kind::Xfs => 0,
        Kind::Btrfs => BTRFS,
    };
    let mut block = [0; 1024];
    device.read_exact_at(&mut block, at)?;
    Ok(parse(&block, kind))
}

/// The fields' places: Linux `fs/ext4/ext4.h` (`ext4_super_block`), `fs/xfs/libxfs/xfs_format.h`
/// (`xfs_dsb`), `include/uapi/linux/btrfs_tree.h` (`btrfs_super_block`).
fn parse(block: &[u8; 1024], kind: Kind) -> Option<u64> {
    let le32 = |at: usize| {
        Some(u64::from(u32::from_le_bytes(
            block[at..at + 4].try_into().ok()?,
        )))
    };
    let be32 = |at: usize| {
        Some(u64::from(u32::from_be_bytes(
            block[at..at + 4].try_into().ok()?,
        )))
    };
    match kind {
        Kind::Ext4 => {
            let magic = block[56..58] == [0x53, 0xef];
            let has_high = le32(0x60)? & 0x80 != 0;
            let high = if has_high { le32(0x150)? } else { 0 };
            let blocks = le32(4)? | high << 32;
            let unit = 1024u64.checked_shl(u32::try_from(le32(24)?).ok()?)?;
            magic.then(|| blocks.checked_mul(unit))?
        }
        Kind::Xfs => {
            let blocks = u64::from_be_bytes(block[8..16].try_into().ok()?);
            (block[..4] == *b"XFSB").then(|| blocks.checked_mul(be32(4)?))?
        }
        Kind::Btrfs => {
            let bytes = u64::from_le_bytes(block[0x70..0x78].try_into().ok()?);
            (block[0x40..0x48] == *b"_BHRfS_M").then_some(bytes)
        }
    }
}

/// Whether a file system of `size` bytes leaves room on a device of `device` bytes. A
/// rest smaller than a block group or allocation group stays unused.
pub(super) fn leaves_room(size: Option<u64>, device: u64) -> bool {
    const REST: u64 = 64 << 10;
    size.is_none_or(|size| device.saturating_sub(size) >= REST)
}

/// Whether a device that begins with `first` is shown never to have been mounted for writing.
/// ext4 keeps the time of its last mount and a count; XFS is marked while it is being made
/// and cannot be mounted then. Btrfs gets its magic number last, so one that is known is made.
pub(super) fn was_never_mounted(first: &[u8], kind: Kind) -> bool {
    let byte = |at: usize| first.get(at).copied();
    match kind {
        Kind::Ext4 => {
            let (mount_time, mount_count) = (1024 + 0x2c..1024 + 0x30, 1024 + 0x34..1024 + 0x36);
            mount_time.chain(mount_count).all(|at| byte(at) == Some(0))
        }
        Kind::Xfs => byte(126) == Some(1),
        Kind::Btrfs => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks_are_read_as_the_kernel_lays_them_out() {
        let mut ext4 = [0; 1024];
        ext4[56..58].copy_from_slice(&[0x53, 0xef]);
        ext4[4..8].copy_from_slice(&262_144u32.to_le_bytes());
        ext4[24] = 2;
        assert_eq!(parse(&ext4, Kind::Ext4), Some(1 << 30));
        ext4[0x60] = 0x80;
        ext4[0x150] = 1;
        assert_eq!(parse(&ext4, Kind::Ext4), Some((1 << 30) + (1 << 44)));
        let mut xfs = [0; 1024];
        xfs[..4].copy_from_slice(b"XFSB");
        xfs[4..8].copy_from_slice(&4096u32.to_be_bytes());
        xfs[8..16].copy_from_slice(&100u64.to_be_bytes());
        assert_eq!(parse(&xfs, Kind::Xfs), Some(409_600));
        let mut btrfs = [0; 1024];
        btrfs[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        btrfs[0x70..0x78].copy_from_slice(&(300u64 << 20).to_le_bytes());
        assert_eq!(parse(&btrfs, Kind::Btrfs), Some(300 << 20));
        for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
            assert_eq!(parse(&[0; 1024], kind), None);
        }
    }

    #[test]
    fn growing_is_wanted_only_where_there_is_room_or_nobody_can_tell() {
        assert!(!leaves_room(Some(1 << 30), 1 << 30));
        assert!(!leaves_room(Some((1 << 30) - 4096), 1 << 30));
        assert!(leaves_room(Some(1 << 30), (1 << 30) + (4 << 20)));
        assert!(leaves_room(None, 1 << 30));
    }
}
