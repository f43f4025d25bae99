//! File systems. Sources are the headers of the Linux kernel (`fs/<name>`), the makers' tools and format papers; each
//! row was checked against an image of the real tool where `SignatureKind::maker` names one, else against
//! util-linux 2.42 `libblkid/src/superblocks/<name>.c`.

use super::super::SignatureKind as Kind;
use super::{Magic, at, copy, end};

const GIB: u64 = 1 << 30;

pub(super) const MAGICS: &[Magic] = &[
    // XFS: sb_magicnum of the first allocation group (xfs_format.h, XFS_SB_MAGIC). Copies: `probe::xfs`.
    at(Kind::Xfs, 0, b"XFSB"),
    // Btrfs: super block at 64 KiB, mirrors at 64 MiB and 256 GiB (btrfs disk-format: btrfs_sb_offset), magic at 64.
    at(Kind::Btrfs, 0x1_0040, b"_BHRfS_M"),
    copy(Kind::Btrfs, (64 << 20) + 0x40, b"_BHRfS_M"),
    copy(Kind::Btrfs, 256 * GIB + 0x40, b"_BHRfS_M"),
    // F2FS (f2fs_fs.h, F2FS_SUPER_OFFSET 1024): both super blocks, one block of 4 KiB apart.
    at(Kind::F2fs, 1024, &[0x10, 0x20, 0xF5, 0xF2]),
    copy(Kind::F2fs, 5120, &[0x10, 0x20, 0xF5, 0xF2]),
    // JFS (jfs_filsys.h): SUPER1_OFF 32 KiB, SUPER2_OFF 60 KiB.
    at(Kind::Jfs, 0x8000, b"JFS1"),
    copy(Kind::Jfs, 0xF000, b"JFS1"),
    // ReiserFS (reiserfs.h): at 64 KiB, formerly 8 KiB; s_magic at 52 (20 in the oldest). Reiser4: format_super at 64 KiB.
    at(Kind::Reiserfs, 0x2034, b"ReIsErFs"),
    at(Kind::Reiserfs, 0x2014, b"ReIsErFs"),
    at(Kind::Reiserfs, 0x1_0034, b"ReIsErFs"),
    at(Kind::Reiserfs, 0x1_0034, b"ReIsEr2Fs"),
    at(Kind::Reiserfs, 0x1_0034, b"ReIsEr3Fs"),
    at(Kind::Reiser4, 0x1_0000, b"ReIsEr4"),
    // OCFS at 8 KiB. OCFS2 (ocfs2_fs.h): super block is block 2 of 512..4096 bytes; backups at 1 GiB and each
    // fourfold of it up to 1 TiB (OCFS2_BACKUP_SB_START, ocfs2_backup_super_blkno).
    at(Kind::Ocfs, 0x2000, b"OracleCFS"),
    at(Kind::Ocfs2, 0x400, b"OCFSV2"),
    at(Kind::Ocfs2, 0x800, b"OCFSV2"),
    at(Kind::Ocfs2, 0x1000, b"OCFSV2"),
    at(Kind::Ocfs2, 0x2000, b"OCFSV2"),
    copy(Kind::Ocfs2, GIB, b"OCFSV2"),
    copy(Kind::Ocfs2, 4 * GIB, b"OCFSV2"),
    copy(Kind::Ocfs2, 16 * GIB, b"OCFSV2"),
    copy(Kind::Ocfs2, 64 * GIB, b"OCFSV2"),
    copy(Kind::Ocfs2, 256 * GIB, b"OCFSV2"),
    copy(Kind::Ocfs2, 1024 * GIB, b"OCFSV2"),
    at(Kind::OracleAsm, 32, b"ORCLDISK"),
    // GFS and GFS2 (gfs2_ondisk.h): GFS2_SB_ADDR 128 sectors; GFS2_MAGIC, then metatype 1 (the super block).
    at(Kind::Gfs2, 0x1_0000, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1]),
    // NTFS: OEM id of the boot sector; its copy is the volume's last sector, which mkntfs puts in the device's last.
    at(Kind::Ntfs, 3, b"NTFS    "),
    end(Kind::Ntfs, 512, 512 - 3, b"NTFS    "),
    end(Kind::Ntfs, 4096, 4096 - 3, b"NTFS    "),
    // ReFS: file system name at 3, with the two zeros before the end of the jump field (libblkid refs.c).
    at(Kind::Refs, 0, b"\0\0\0ReFS\0"),
    end(Kind::Refs, 512, 512, b"\0\0\0ReFS\0"),
    end(Kind::Refs, 4096, 4096, b"\0\0\0ReFS\0"),
    // exFAT specification, 3.1 and 2.1: FileSystemName at 3; backup boot region at sector 12 of 512..4096 bytes.
    at(Kind::ExFat, 3, b"EXFAT   "),
    copy(Kind::ExFat, 12 * 512 + 3, b"EXFAT   "),
    copy(Kind::ExFat, 12 * 1024 + 3, b"EXFAT   "),
    copy(Kind::ExFat, 12 * 2048 + 3, b"EXFAT   "),
    copy(Kind::ExFat, 12 * 4096 + 3, b"EXFAT   "),
    // FAT (Microsoft fatgen103): BS_FilSysType at 54, on FAT32 at 82; FAT32's backup boot sector is sector 6.
    // FAT volumes without the text: `probe::weak`.
    at(Kind::Vfat, 82, b"FAT32   "),
    at(Kind::Vfat, 82, b"MSWIN"),
    at(Kind::Vfat, 54, b"FAT16   "),
    at(Kind::Vfat, 54, b"FAT12   "),
    at(Kind::Vfat, 54, b"FAT     "),
    at(Kind::Vfat, 54, b"MSDOS"),
    copy(Kind::Vfat, 6 * 512 + 82, b"FAT32   "),
    copy(Kind::Vfat, 6 * 4096 + 82, b"FAT32   "),
    // HPFS: super block in sector 16, spare block in sector 17 (fs/hpfs/hpfs.h, SB_MAGIC and SP_MAGIC).
    at(Kind::Hpfs, 0x2000, &[0x49, 0xE8, 0x95, 0xF9]),
    at(Kind::Hpfs, 0x2200, &[0x49, 0x18, 0x91, 0xF9]),
    // APFS reference, nx_superblock_t: nx_magic behind the 32 byte object header of block 0.
    at(Kind::Apfs, 32, b"NXSB"),
    // BFS of BeOS, both byte orders, with and without a boot block before it (fs/befs/befs_fs_types.h).
    at(Kind::Befs, 0x20, b"BFS1"),
    at(Kind::Befs, 0x20, b"1SFB"),
    at(Kind::Befs, 0x220, b"BFS1"),
    at(Kind::Befs, 0x220, b"1SFB"),
    at(Kind::Bfs, 0, &[0xCE, 0xFA, 0xAD, 0x1B]),
    at(Kind::Vxfs, 0x400, &[0xF5, 0xFC, 0x01, 0xA5]),
    at(Kind::Vxfs, 0x2000, &[0xA5, 0x01, 0xFC, 0xF5]),
    // System V (fs/sysv/super.c, struct sysv4_super_block): super block 512 bytes into block 0, 9, 15 or 18 of 1 KiB,
    // s_magic at 504. Xenix: super block in block 1, s_magic at 1016 (libblkid looks 8 bytes too far).
    at(Kind::Sysv, 1016, &[0x20, 0x7E, 0x18, 0xFD]),
    at(Kind::Sysv, 1016, &[0xFD, 0x18, 0x7E, 0x20]),
    at(Kind::Sysv, 10232, &[0x20, 0x7E, 0x18, 0xFD]),
    at(Kind::Sysv, 10232, &[0xFD, 0x18, 0x7E, 0x20]),
    at(Kind::Sysv, 16376, &[0x20, 0x7E, 0x18, 0xFD]),
    at(Kind::Sysv, 16376, &[0xFD, 0x18, 0x7E, 0x20]),
    at(Kind::Sysv, 19448, &[0x20, 0x7E, 0x18, 0xFD]),
    at(Kind::Sysv, 19448, &[0xFD, 0x18, 0x7E, 0x20]),
    at(Kind::Sysv, 2040, &[0x44, 0x55, 0x2B, 0x00]),
    at(Kind::Sysv, 2040, &[0x00, 0x2B, 0x55, 0x44]),
    at(Kind::Netware, 0x1000, b"SPB5"),
    // VMFS: file system header at 2 MiB, volume (extent) header at 1 MiB (libblkid vmfs.c; vmfs-tools agrees).
    at(Kind::Vmfs, 2 << 20, &[0x5E, 0xF1, 0xAB, 0x2F]),
    at(Kind::VmfsMember, 1 << 20, &[0x0D, 0xD0, 0x01, 0xC0]),
    // ISO 9660 (ECMA-119, 8.1) and High Sierra: volume descriptors from sector 16 of 2048 bytes.
    at(Kind::Iso9660, 0x8001, b"CD001"),
    at(Kind::Iso9660, 0x8009, b"CDROM"),
    at(Kind::Squashfs, 0, b"hsqs"),
    at(Kind::Squashfs, 0, b"sqsh"),
    // EROFS (erofs_fs.h): EROFS_SUPER_OFFSET 1024.
    at(Kind::Erofs, 1024, &[0xE2, 0xE1, 0xF5, 0xE0]),
    // cramfs (uapi/linux/cramfs_fs.h), both byte orders, at 0 or behind 512 bytes of boot code.
    at(Kind::Cramfs, 0, &[0x45, 0x3D, 0xCD, 0x28]),
    at(Kind::Cramfs, 0, &[0x28, 0xCD, 0x3D, 0x45]),
    at(Kind::Cramfs, 512, &[0x45, 0x3D, 0xCD, 0x28]),
    at(Kind::Cramfs, 512, &[0x28, 0xCD, 0x3D, 0x45]),
    at(Kind::Romfs, 0, b"-rom1fs-"),
    at(Kind::Ubi, 0, b"UBI#"),
    at(Kind::Ubifs, 0, &[0x31, 0x18, 0x10, 0x06]),
    at(Kind::Zonefs, 0, b"SFOZ"),
    at(Kind::Scoutfs, 0x1_0004, &[0x8B, 0x42, 0x3C, 0x10]),
    at(Kind::Mpool, 0, b"mpoolDev"),
    at(Kind::Exfs, 0, b"EXFS"),
];
