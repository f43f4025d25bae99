//! The closed list of signatures this crate knows, with the name each has in reasons, metrics and fingerprints.

/// What can put a signature on a disk in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// A program that is free, packaged, and works on any block device.
    Tool(&'static str),
    /// Nothing at hand: images are written from the published format.
    Written,
}

/// Declares the kinds, one line each: name of the variant, stable name, maker, meaning.
macro_rules! kinds {
    ($($variant:ident $name:literal $maker:expr, $about:literal;)+) => {
        /// What was found. The names are stable: they appear in reason codes (`Signature:<name>`) and fingerprints.
        ///
        /// Where each format rule comes from is said at the probe that implements it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum SignatureKind { $(#[doc = $about] $variant,)+ }

        impl SignatureKind {
            /// Every kind. Tests walk it: a kind that nothing can make a disk for is not allowed.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Stable lower-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One line for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }

            /// How tests can get a disk with it.
            pub const fn maker(self) -> Maker {
                match self { $(Self::$variant => $maker,)+ }
            }
        }
    };
}

use Maker::{Tool, Written};

kinds! {
    Gpt "gpt" Tool("sgdisk"), "GUID partition table, primary header at the second logical block";
    GptBackup "gpt-backup" Tool("sgdisk"), "GUID partition table, backup header at the last logical block";
    Dos "dos" Tool("sfdisk"), "MBR partition table, with or without entries";
    Pmbr "pmbr" Tool("sgdisk"), "protective MBR of a GUID partition table, whether or not that table is there";
    BootSector "boot-sector" Written, "first sector ends in 55 AA but holds no partition table";
    Atari "atari" Written, "Atari AHDI partition table";
    Mac "mac" Tool("parted"), "Apple partition map";
    Sun "sun" Tool("sfdisk"), "Sun disk label";
    Sgi "sgi" Tool("sfdisk"), "SGI disk label";
    Bsd "bsd" Tool("parted"), "BSD disk label";
    Aix "aix" Written, "AIX physical volume";
    Amiga "amiga" Tool("parted"), "Amiga rigid disk block";
    Ultrix "ultrix" Written, "Ultrix disk label";
    Unixware "unixware" Written, "UnixWare disk label";
    SolarisX86 "solaris_x86" Written, "Solaris x86 VTOC";
    Dasd "dasd" Written, "volume label of an IBM mainframe disk";
    Ldm "ldm" Written, "Windows dynamic disk";
    Ext2 "ext2" Tool("mke2fs"), "ext2 file system";
    Ext3 "ext3" Tool("mke2fs"), "ext3 file system";
    Ext4 "ext4" Tool("mke2fs"), "ext4 file system";
    Jbd "jbd" Tool("mke2fs"), "external journal of an ext3 or ext4 file system";
    Xfs "xfs" Tool("mkfs.xfs"), "XFS file system";
    XfsLog "xfs_external_log" Tool("mkfs.xfs"), "external log of an XFS file system";
    Btrfs "btrfs" Tool("mkfs.btrfs"), "Btrfs file system or member of one";
    ZfsMember "zfs_member" Tool("zpool"), "member of a ZFS pool";
    Bcachefs "bcachefs" Written, "bcachefs file system or member of one";
    F2fs "f2fs" Tool("mkfs.f2fs"), "F2FS file system";
    Nilfs2 "nilfs2" Tool("mkfs.nilfs2"), "NILFS2 file system";
    Jfs "jfs" Tool("mkfs.jfs"), "IBM JFS file system";
    Reiserfs "reiserfs" Tool("mkreiserfs"), "ReiserFS file system";
    Reiser4 "reiser4" Tool("mkfs.reiser4"), "Reiser4 file system";
    Ocfs "ocfs" Written, "Oracle cluster file system, version 1";
    Ocfs2 "ocfs2" Tool("mkfs.ocfs2"), "Oracle cluster file system, version 2";
    OracleAsm "oracleasm" Written, "Oracle ASM disk";
    Gfs2 "gfs2" Tool("mkfs.gfs2"), "GFS or GFS2 cluster file system";
    Ntfs "ntfs" Tool("mkntfs"), "NTFS file system";
    Refs "refs" Written, "Windows ReFS file system";
    ExFat "exfat" Tool("mkfs.exfat"), "exFAT file system";
    Vfat "vfat" Tool("mkfs.vfat"), "FAT12, FAT16 or FAT32 file system";
    Hpfs "hpfs" Written, "OS/2 HPFS file system";
    Hfs "hfs" Tool("hformat"), "Apple HFS file system";
    HfsPlus "hfsplus" Written, "Apple HFS+ file system";
    Apfs "apfs" Tool("mkapfs"), "Apple APFS container";
    Ufs "ufs" Tool("makefs"), "UFS file system of BSD or Solaris";
    Minix "minix" Tool("mkfs.minix"), "Minix file system";
    Befs "befs" Written, "BeOS file system";
    Bfs "bfs" Tool("mkfs.bfs"), "SCO boot file system";
    Vxfs "vxfs" Written, "Veritas file system";
    Sysv "sysv" Written, "System V or Xenix file system";
    Netware "nss" Written, "Novell NSS pool";
    Vmfs "vmfs" Written, "VMware VMFS file system";
    VmfsMember "vmfs_volume_member" Written, "extent of a VMware VMFS volume";
    Iso9660 "iso9660" Tool("xorriso"), "ISO 9660 image";
    Udf "udf" Tool("mkudffs"), "UDF image or file system";
    Squashfs "squashfs" Tool("mksquashfs"), "SquashFS image";
    Erofs "erofs" Tool("mkfs.erofs"), "EROFS image";
    Cramfs "cramfs" Tool("mkfs.cramfs"), "cramfs image";
    Romfs "romfs" Tool("genromfs"), "romfs image";
    Ubi "ubi" Tool("ubinize"), "UBI erase block";
    Ubifs "ubifs" Tool("mkfs.ubifs"), "UBIFS file system";
    Zonefs "zonefs" Written, "zonefs file system";
    Scoutfs "scoutfs" Written, "ScoutFS metadata or data device";
    Mpool "mpool" Written, "mpool object store";
    Exfs "exfs" Written, "EXFS file system";
    Swap "swap" Tool("mkswap"), "swap area";
    SwapSuspend "swsuspend" Written, "swap area holding a suspended system";
    Luks1 "luks1" Tool("cryptsetup"), "LUKS version 1 header";
    Luks2 "luks2" Tool("cryptsetup"), "LUKS version 2 header";
    Luks2Secondary "luks2-secondary" Tool("cryptsetup"), "second copy of a LUKS version 2 header";
    BitLocker "bitlocker" Written, "Windows BitLocker volume";
    CoreStorage "cs_fvault2" Written, "Apple CoreStorage (FileVault 2) physical volume";
    Lvm2Pv "lvm2_pv" Tool("pvcreate"), "LVM2 physical volume";
    Lvm1Pv "lvm1_pv" Written, "physical volume of the first LVM";
    DmSnapshot "dm_snapshot_cow" Tool("dmsetup"), "exception store of a device-mapper snapshot";
    DmVerity "dm_verity_hash" Tool("veritysetup"), "dm-verity hash tree";
    DmIntegrity "dm_integrity" Tool("integritysetup"), "dm-integrity device";
    DmThin "dm_thin_metadata" Tool("thin_restore"), "metadata of a device-mapper thin pool";
    DmCache "dm_cache_metadata" Tool("cache_restore"), "metadata of a device-mapper cache";
    DmEra "dm_era_metadata" Tool("era_restore"), "metadata of a device-mapper era target";
    DmWritecache "dm_writecache" Tool("dmsetup"), "device-mapper writecache";
    DmClone "dm_clone_metadata" Written, "metadata of a device-mapper clone target";
    DmZoned "dm_zoned" Written, "device-mapper zoned block device";
    DmLogWrites "dm_log_writes" Written, "log of a device-mapper log-writes target";
    Vdo "vdo" Written, "VDO volume";
    Stratis "stratis" Written, "Stratis block device";
    Bcache "bcache" Tool("make-bcache"), "bcache backing or cache device";
    CephBluestore "ceph_bluestore" Written, "Ceph BlueStore OSD device";
    Drbd "drbd" Tool("drbdmeta"), "DRBD internal metadata";
    DrbdManage "drbdmanage_control_volume" Written, "DRBD Manage control volume";
    DrbdProxy "drbdproxy_datalog" Written, "DRBD Proxy data log";
    Md090 "md0.90" Tool("mdadm"), "Linux md member, metadata 0.90";
    Md10 "md1.0" Tool("mdadm"), "Linux md member, metadata 1.0";
    Md11 "md1.1" Tool("mdadm"), "Linux md member, metadata 1.1";
    Md12 "md1.2" Tool("mdadm"), "Linux md member, metadata 1.2";
    Ddf "ddf" Tool("mdadm"), "member of a SNIA DDF array";
    Isw "isw" Tool("mdadm"), "member of an Intel Matrix (IMSM) array";
    Promise "promise" Written, "member of a Promise FastTrak array";
    Highpoint37x "hpt37x" Written, "member of a HighPoint 37x array";
    Highpoint45x "hpt45x" Written, "member of a HighPoint 45x array";
    Via "via" Written, "member of a VIA array";
    Nvidia "nvidia" Written, "member of an NVIDIA array";
    Silicon "silicon" Written, "member of a Silicon Image Medley array";
    Lsi "lsi" Written, "member of an LSI MegaRAID array";
    Jmicron "jmicron" Written, "member of a JMicron array";
    Adaptec "adaptec" Written, "member of an Adaptec HostRAID array";
    Softraid "softraid" Written, "chunk of an OpenBSD softraid volume";
    Geom "geom" Written, "FreeBSD GEOM class (mirror, stripe, eli, label, ...)";
    Qcow "qcow2" Tool("qemu-img"), "QEMU disk image written onto the device";
    Vhd "vhd" Tool("qemu-img"), "Virtual PC disk image written onto the device";
    Vhdx "vhdx" Tool("qemu-img"), "Hyper-V disk image written onto the device";
    Vmdk "vmdk" Tool("qemu-img"), "VMware disk image written onto the device";
}

impl std::fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
