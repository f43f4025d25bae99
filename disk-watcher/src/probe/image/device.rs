//! Swap, encryption, device-mapper, replication and object stores without a tool in Debian that works on a file.

use super::super::SignatureKind as Kind;
use super::{Fixture, block, fixture, sized};

const GIB: u64 = 1 << 30;

pub(super) fn images() -> Vec<Fixture> {
    let mut all = encryption();
    all.extend(stores());
    all.extend(mapper());
    all.extend(zfs());
    for page in [4096, 8192, 16_384, 32_768, 65_536] {
        all.push(fixture(
            &format!("swap-{page}"),
            Kind::Swap,
            &[(page - 10, b"SWAPSPACE2")],
        ));
        all.push(fixture(
            &format!("suspend-{page}"),
            Kind::SwapSuspend,
            &[(page - 10, b"S1SUSPEND")],
        ));
    }
    all.push(fixture(
        "tuxonice",
        Kind::SwapSuspend,
        &[(0, &[0xED, 0xC3, 0x02, 0xE9, 0x98, 0x56, 0xE5, 0x0C])],
    ));
    all
}

fn encryption() -> Vec<Fixture> {
    // libbde, "BDE format": boot entry and signature of Windows 7, FVE metadata offset at 176, metadata at that place.
    let seven = block(
        512,
        &[
            (0, b"\xEB\x58\x90-FVE-FS-"),
            (176, &0x10_0000_u64.to_le_bytes()),
            (510, &[0x55, 0xAA]),
        ],
    );
    let vista = block(512, &[(0, b"\xEB\x52\x90-FVE-FS-"), (510, &[0x55, 0xAA])]);
    // To Go: a FAT32 boot sector with BitLocker's GUID {4967d63b-2e29-4ad8-8399-f6a339e3d001} at 424.
    let guid = [
        0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0,
        0x01,
    ];
    let to_go = block(
        512,
        &[
            (0, b"\xEB\x58\x90MSWIN4.1"),
            (424, &guid),
            (440, &0x10_0000_u64.to_le_bytes()),
            (510, &[0x55, 0xAA]),
        ],
    );
    let metadata: &[u8] = b"-FVE-FS-\0\0\x02\0";
    // libfvde, "FVDE format", volume header: version 1 at 8, type 0x10 at 10, "CS" at 88, checksum algorithm 1 at 90.
    let core = block(
        512,
        &[
            (8, &[1, 0, 0x10, 0]),
            (88, b"CS"),
            (90, &1_u32.to_le_bytes()),
        ],
    );
    vec![
        fixture(
            "bitlocker-7",
            Kind::BitLocker,
            &[(0, &seven), (0x10_0000, metadata)],
        ),
        fixture("bitlocker-vista", Kind::BitLocker, &[(0, &vista)]),
        fixture(
            "bitlocker-to-go",
            Kind::BitLocker,
            &[(0, &to_go), (0x10_0000, metadata)],
        ),
        fixture("corestorage", Kind::CoreStorage, &[(0, &core)]),
    ]
}

fn stores() -> Vec<Fixture> {
    // BlueStore label (BlueStore.cc, _write_bdev_label): text line, uuid line, then the encoded label.
    let label: &[u8] = b"bluestore block device\n2b6a9c1e-0d0e-4a1f-8e57-0d8c4e3f9a11\n\x02\x01";
    let size = 1100 * GIB;
    // Stratis static header: crc32c over the rest of the sector at 0, magic at 4, sectors at 20.
    let sigblock = block(
        512,
        &[
            (4, b"!Stra0tis\x86\xFF\x02^\x41rh"),
            (20, &131_072_u64.to_le_bytes()),
        ],
    );
    // VDO volume geometry block: magic, then the block header (id 5, version 5.0).
    let vdo = block(
        64,
        &[
            (0, b"dmvdo001"),
            (8, &5_u32.to_le_bytes()),
            (12, &5_u32.to_le_bytes()),
        ],
    );
    // DRBD 8.3 and older shape, taken down uncleanly: magic at 60 big-endian, bytes per bit 4096 at 80.
    let drbd = block(
        4096,
        &[
            (60, &0x8374_026C_u32.to_be_bytes()),
            (64, &8_u32.to_be_bytes()),
            (80, &4096_u32.to_be_bytes()),
        ],
    );
    vec![
        fixture("bluestore", Kind::CephBluestore, &[(0, label)]),
        sized("bluestore-1g", Kind::CephBluestore, size, &[(GIB, label)]),
        sized(
            "bluestore-10g",
            Kind::CephBluestore,
            size,
            &[(10 * GIB, label)],
        ),
        sized(
            "bluestore-100g",
            Kind::CephBluestore,
            size,
            &[(100 * GIB, label)],
        ),
        sized(
            "bluestore-1000g",
            Kind::CephBluestore,
            size,
            &[(1000 * GIB, label)],
        ),
        fixture("stratis", Kind::Stratis, &[(512, &sigblock)]),
        fixture("stratis-second", Kind::Stratis, &[(4608, &sigblock)]),
        fixture("vdo", Kind::Vdo, &[(0, &vdo)]),
        fixture("drbd-unclean", Kind::Drbd, &[((64 << 20) - 4096, &drbd)]),
        sized(
            "drbd-odd-size",
            Kind::Drbd,
            (64 << 20) + 1536,
            &[((64 << 20) - 4096, &drbd)],
        ),
        fixture("drbdmanage", Kind::DrbdManage, &[(0, b"$DRBDmgr=q")]),
        fixture("drbdproxy", Kind::DrbdProxy, &[(0, b"DRBDdlh*")]),
    ]
}

fn mapper() -> Vec<Fixture> {
    vec![
        // dm-clone-metadata.c, superblock_disk: csum, flags, blocknr, uuid[16], magic.
        fixture(
            "clone",
            Kind::DmClone,
            &[(0, &block(64, &[(32, &0x8AF2_7F64_u64.to_le_bytes())]))],
        ),
        // dm-zoned-metadata.c: magic 'D' << 24 | 'Z' << 16 | 'B' << 8 | 'D', version 2.
        fixture(
            "zoned",
            Kind::DmZoned,
            &[(0, &[0x44, 0x42, 0x5A, 0x44, 2, 0, 0, 0])],
        ),
        // dm-log-writes.c, log_write_super: magic, version 1.
        fixture(
            "log-writes",
            Kind::DmLogWrites,
            &[(0, &[0x72, 0x68, 0x73, 0x77, 0x66, 0x73, 0x6A, 0, 1])],
        ),
        // softraidvar.h: ssd_magic 0x4d4152436372616d; on disk from sector 16 of the chunk.
        fixture(
            "softraid",
            Kind::Softraid,
            &[(8192, &0x4D41_5243_6372_616D_u64.to_le_bytes())],
        ),
        // First LVM, disk-rep.h: id "HM", u16 version.
        fixture("lvm1", Kind::Lvm1Pv, &[(0, b"HM\x01\0")]),
    ]
}

/// Labels of a pool, one at a time: each is enough. The captured fixture of zfs-fuse has all four.
fn zfs() -> Vec<Fixture> {
    const LABEL: u64 = 256 << 10;
    let size: u64 = (128 << 20) + 100 * 1024;
    let places = [
        ("l0", 0),
        ("l1", LABEL),
        ("l2", (128 << 20) - 2 * LABEL),
        ("l3", (128 << 20) - LABEL),
    ];
    // XDR name-value list: encoding 1, little-endian 1; version 0, flags 1; pair "version" = 5000.
    let pairs = [
        &[1, 1, 0, 0][..],
        &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 36, 0, 0, 0, 32, 0, 0, 0, 7],
        b"version\0",
        &[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x13, 0x88],
    ]
    .concat();
    let mut all = Vec::new();
    for (name, label) in places {
        let uber = 0x00BA_B10C_u64;
        all.push(sized(
            &format!("zfs-{name}-list"),
            Kind::ZfsMember,
            size,
            &[(label + (16 << 10), &pairs)],
        ));
        // A slot in the middle of the ring, and the last one, in both byte orders.
        let (middle, last) = (label + (132 << 10), label + (255 << 10));
        all.push(sized(
            &format!("zfs-{name}-ring"),
            Kind::ZfsMember,
            size,
            &[(middle, &uber.to_le_bytes())],
        ));
        all.push(sized(
            &format!("zfs-{name}-big-endian"),
            Kind::ZfsMember,
            size,
            &[(last, &uber.to_be_bytes())],
        ));
    }
    all
}
