//! Layers between disks and file systems: swap, encryption, device-mapper, replication, object stores.

use super::super::SignatureKind as Kind;
use super::{Magic, Place, at, copy, end};

const GIB: u64 = 1 << 30;

/// A LUKS2 header has a second copy right behind the first; the size of the first is one of nine (LUKS2 On-Disk
/// Format Specification 1.1, 2.1 "Binary header", table of hdr_size).
const fn luks2_second(offset: u64) -> Magic {
    Magic {
        kind: Kind::Luks2Secondary,
        place: Place::Start(offset),
        bytes: b"SKUL\xBA\xBE",
        note: "",
    }
}

pub(super) const MAGICS: &[Magic] = &[
    // LUKS1 On-Disk Format 1.2.3 (magic, u16 version big-endian) and LUKS2.
    at(Kind::Luks1, 0, b"LUKS\xBA\xBE\0\x01"),
    at(Kind::Luks2, 0, b"LUKS\xBA\xBE\0\x02"),
    luks2_second(0x4000),
    luks2_second(0x8000),
    luks2_second(0x1_0000),
    luks2_second(0x2_0000),
    luks2_second(0x4_0000),
    luks2_second(0x8_0000),
    luks2_second(0x10_0000),
    luks2_second(0x20_0000),
    luks2_second(0x40_0000),
    // BitLocker (libbde, "BitLocker Drive Encryption (BDE) format", 3): Vista and 7 boot sectors, To Go in `weak`.
    at(Kind::BitLocker, 3, b"-FVE-FS-"),
    // First LVM (format1/disk-rep.h): "HM" and version 1 or 2.
    at(Kind::Lvm1Pv, 0, b"HM\x01\x00"),
    at(Kind::Lvm1Pv, 0, b"HM\x02\x00"),
    // device-mapper: dm-snap-persistent.c, veritysetup(8), dm-integrity.c.
    at(Kind::DmSnapshot, 0, b"SnAp"),
    at(Kind::DmVerity, 0, b"verity\0\0"),
    at(Kind::DmIntegrity, 0, b"integrt\0"),
    // dm-thin-metadata.c 27022010, dm-cache-metadata.c 06142003 (octal), dm-era-target.c 2126579579,
    // dm-clone-metadata.c 0x8AF27F64: le64 at 32 of the first block.
    at(Kind::DmThin, 32, &27_022_010_u64.to_le_bytes()),
    at(Kind::DmCache, 32, &0o6_142_003_u64.to_le_bytes()),
    at(Kind::DmEra, 32, &2_126_579_579_u64.to_le_bytes()),
    at(Kind::DmClone, 32, &0x8AF2_7F64_u64.to_le_bytes()),
    // At 0: dm-writecache.c 0x23489321; dm-zoned-metadata.c, "DZBD" as a le32; dm-log-writes.c 0x6A736677736872.
    at(Kind::DmWritecache, 0, &[0x21, 0x93, 0x48, 0x23]),
    at(Kind::DmZoned, 0, b"DBZD"),
    at(
        Kind::DmLogWrites,
        0,
        &0x006A_7366_7773_6872_u64.to_le_bytes(),
    ),
    // VDO geometry block (drivers/md/dm-vdo, VDO_GEOMETRY_MAGIC_NUMBER).
    at(Kind::Vdo, 0, b"dmvdo001"),
    // Stratis: static header, signature blocks in sectors 1 and 9, magic behind the CRC (stratisd docs, "static header").
    at(Kind::Stratis, 512 + 4, STRATIS),
    copy(Kind::Stratis, 9 * 512 + 4, STRATIS),
    // bcache (bcache_ondisk.h): super block in sector 8, magic at 24.
    at(
        Kind::Bcache,
        0x1018,
        &[
            0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA,
            0x6D, 0x81,
        ],
    ),
    // Ceph BlueStore device label at 0; since Squid main devices carry copies (BlueStore, bdev_label_positions).
    at(Kind::CephBluestore, 0, b"bluestore block device"),
    copy(Kind::CephBluestore, GIB, b"bluestore block device"),
    copy(Kind::CephBluestore, 10 * GIB, b"bluestore block device"),
    copy(Kind::CephBluestore, 100 * GIB, b"bluestore block device"),
    copy(Kind::CephBluestore, 1000 * GIB, b"bluestore block device"),
    // DRBD internal metadata: a 4 KiB block at the end of the last whole 4 KiB, magic at 60 (drbdmeta.c,
    // DRBD_MD_MAGIC_08, _84_UNCLEAN and _09; v07's block is reported by the same rule).
    end(Kind::Drbd, 4096, 4096 - 60, &[0x83, 0x74, 0x02, 0x6B]),
    end(Kind::Drbd, 4096, 4096 - 60, &[0x83, 0x74, 0x02, 0x6C]),
    end(Kind::Drbd, 4096, 4096 - 60, &[0x83, 0x74, 0x02, 0x6D]),
    // External metadata: the same block at the start of its slot, slots of 128 MiB or one that is the device.
    at(Kind::Drbd, 60, &[0x83, 0x74, 0x02, 0x6B]),
    at(Kind::Drbd, 60, &[0x83, 0x74, 0x02, 0x6C]),
    at(Kind::Drbd, 60, &[0x83, 0x74, 0x02, 0x6D]),
    at(Kind::Drbd, (128 << 20) + 60, &[0x83, 0x74, 0x02, 0x6B]),
    at(Kind::Drbd, (128 << 20) + 60, &[0x83, 0x74, 0x02, 0x6C]),
    at(Kind::Drbd, (128 << 20) + 60, &[0x83, 0x74, 0x02, 0x6D]),
    at(Kind::DrbdManage, 0, b"$DRBDmgr=q"),
    at(Kind::DrbdProxy, 0, b"DRBDdlh*"),
    // Fixed places of firmware RAID; those with checksums or several places are in `probe::firmware`.
    end(Kind::Isw, 512, 1024, b"Intel Raid ISM Cfg Sig. "),
    end(Kind::Isw, 4096, 8192, b"Intel Raid ISM Cfg Sig. "),
    end(Kind::Lsi, 512, 512, b"$XIDE$"),
    end(Kind::Nvidia, 512, 1024, b"NVIDIA  "),
    end(Kind::Highpoint45x, 512, 11 * 512, &[0xF3, 0x16, 0x78, 0x5A]),
    end(Kind::Highpoint45x, 512, 11 * 512, &[0xFD, 0x16, 0x78, 0x5A]),
    at(Kind::Highpoint37x, 4640, &[0xF0, 0x16, 0x78, 0x5A]),
    at(Kind::Highpoint37x, 4640, &[0xFD, 0x16, 0x78, 0x5A]),
    // OpenBSD softraid (sys/dev/softraidvar.h): SR_MAGIC as a le64 at SR_META_OFFSET, sector 16 of the chunk.
    at(Kind::Softraid, 16 * 512, b"marcCRAM"),
    // FreeBSD GEOM classes keep "GEOM::<CLASS>" at the start of the last sector (geom(8) classes, g_*_metadata).
    end(Kind::Geom, 512, 512, b"GEOM::"),
    end(Kind::Geom, 4096, 4096, b"GEOM::"),
];

const STRATIS: &[u8] = b"!Stra0tis\x86\xFF\x02^\x41rh";
