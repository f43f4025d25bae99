//! File systems and partition tables without a tool in Debian.

use super::super::SignatureKind as Kind;
use super::{Fixture, block, fixture, sized};

pub(super) fn images() -> Vec<Fixture> {
    let mut all = tables();
    all.extend(unix());
    all.extend(others());
    all
}

fn tables() -> Vec<Fixture> {
    // Atari AHDI 3.00: hd_siz at 0x1C2, partition headers at 0x1C6 (flag, id, start, size; big-endian).
    let atari = block(
        512,
        &[
            (0x1C2, &0x2_0000_u32.to_be_bytes()),
            (0x1C6, b"\x01LNX"),
            (0x1CA, &2_u32.to_be_bytes()),
            (0x1CE, &0x1000_u32.to_be_bytes()),
        ],
    );
    // Any boot code without a table: bytes where the boot flags of entries would be.
    let boot = block(
        512,
        &[
            (0, b"\xFA\x33\xC0"),
            (446, &[0x41; 64]),
            (510, &[0x55, 0xAA]),
        ],
    );
    // Ultrix pt(4): pt_magic, pt_valid in the last 72 bytes of the 16 KiB boot area.
    let ultrix = [0x0003_2957_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    // UnixWare: label in sector 29, d_magic at 4, VTOC magic at 144.
    let unixware = block(
        512,
        &[
            (4, &0xCA5E_600D_u32.to_le_bytes()),
            (144, &0x600D_DEEE_u32.to_le_bytes()),
        ],
    );
    // Solaris x86 dklabel: v_sanity at 12, v_version at 16 (1).
    let solaris = block(
        512,
        &[
            (12, &0x600D_DEEE_u32.to_le_bytes()),
            (16, &1_u32.to_le_bytes()),
        ],
    );
    // LDM private header, big-endian: "PRIVHEAD", version 2.11; the database is the last MiB.
    let private = block(512, &[(0, b"PRIVHEAD"), (12, &[0, 2, 0, 11])]);
    let database = (64 << 20) - (1 << 20);
    vec![
        fixture("atari", Kind::Atari, &[(0, &atari)]),
        fixture("boot-sector", Kind::BootSector, &[(0, &boot)]),
        fixture("aix", Kind::Aix, &[(0, &[0xC9, 0xC2, 0xD4, 0xC1])]),
        fixture("ultrix", Kind::Ultrix, &[(16_312, &ultrix)]),
        fixture("unixware", Kind::Unixware, &[(14_848, &unixware)]),
        fixture("solaris-x86", Kind::SolarisX86, &[(512, &solaris)]),
        fixture("dasd-cdl", Kind::Dasd, &[(8196, &[0xE5, 0xD6, 0xD3, 0xF1])]),
        fixture("dasd-ldl", Kind::Dasd, &[(512, &[0xD3, 0xD5, 0xE7, 0xF1])]),
        fixture("dasd-cms", Kind::Dasd, &[(1024, &[0xC3, 0xD4, 0xE2, 0xF1])]),
        fixture("ldm", Kind::Ldm, &[(3072, &private)]),
        fixture(
            "ldm-backup",
            Kind::Ldm,
            &[(database + 1856 * 512, &private)],
        ),
        fixture("ldm-last", Kind::Ldm, &[(database + 2047 * 512, &private)]),
        fixture("ldm-toc", Kind::Ldm, &[(database + 512, b"TOCBLOCK")]),
    ]
}

fn unix() -> Vec<Fixture> {
    // UFS of Solaris on SPARC: big-endian.
    let ufs = block(1536, &[(1372, &0x0001_1954_u32.to_be_bytes())]);
    // Minix of a big-endian machine.
    let minix = block(
        512,
        &[
            (0, &[0x15, 0x60]),
            (2, &[0x40, 0]),
            (4, &[0, 1]),
            (6, &[0, 2]),
            (16, &[0x13, 0x8F]),
        ],
    );
    // Super blocks of System V release 4 and Xenix (sysv_fs.h): s_magic, then s_type.
    let sysv = 0xFD18_7E20_u32.to_le_bytes();
    let xenix = 0x002B_5544_u32.to_le_bytes();
    vec![
        fixture("ufs-sparc", Kind::Ufs, &[(8192, &ufs)]),
        fixture("minix-big-endian", Kind::Minix, &[(1024, &minix)]),
        fixture("sysv", Kind::Sysv, &[(512 + 504, &sysv)]),
        fixture("sysv-floppy", Kind::Sysv, &[(9 * 1024 + 512 + 504, &sysv)]),
        fixture("xenix", Kind::Sysv, &[(1024 + 1016, &xenix)]),
        fixture(
            "vxfs",
            Kind::Vxfs,
            &[(1024, &0xA501_FCF5_u32.to_le_bytes())],
        ),
        fixture(
            "vxfs-hpux",
            Kind::Vxfs,
            &[(8192, &0xA501_FCF5_u32.to_be_bytes())],
        ),
        fixture(
            "befs",
            Kind::Befs,
            &[(512, &block(512, &[(32, b"1SFB"), (36, b"EGIB")]))],
        ),
        fixture(
            "befs-ppc",
            Kind::Befs,
            &[(0, &block(512, &[(32, b"BFS1"), (36, b"BIGE")]))],
        ),
        fixture(
            "zonefs",
            Kind::Zonefs,
            &[(0, &0x5A4F_4653_u32.to_le_bytes())],
        ),
        fixture(
            "scoutfs",
            Kind::Scoutfs,
            &[(64 << 10, &[1, 2, 3, 4, 0x8B, 0x42, 0x3C, 0x10])],
        ),
        fixture("ubi", Kind::Ubi, &[(0, b"UBI#\x01")]),
        fixture(
            "cramfs-big-endian",
            Kind::Cramfs,
            &[(512, &0x28CD_3D45_u32.to_be_bytes())],
        ),
    ]
}

fn others() -> Vec<Fixture> {
    // bcachefs principles of operation, "superblock": csum[16], version, version_min, pad, magic[16].
    let bcachefs = block(
        64,
        &[
            (24, &[0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9]),
            (32, &[0xD9, 0x6A, 0x60, 0xCF, 0x80, 0x3D, 0xF7, 0xEF]),
        ],
    );
    // TN1150: signature, version; attributes.
    let hfs_plus = block(512, &[(0, b"H+\0\x04"), (8, b"10.0")]);
    let hfsx = block(512, &[(0, b"HX\0\x05"), (8, b"HFSJ")]);
    let wrapper = block(
        512,
        &[(0, b"BD"), (20, &4096_u32.to_be_bytes()), (124, b"H+")],
    );
    let last = (64 << 20) - 1024;
    vec![
        fixture("bcachefs", Kind::Bcachefs, &[(4096, &bcachefs)]),
        fixture(
            "bcachefs-second",
            Kind::Bcachefs,
            &[(2056 * 512, &bcachefs)],
        ),
        fixture(
            "bcachefs-layout",
            Kind::Bcachefs,
            &[(3584, &bcachefs[24..40])],
        ),
        sized(
            "bcachefs-last",
            Kind::Bcachefs,
            64 << 20,
            &[(63 << 20, &bcachefs)],
        ),
        sized(
            "bcachefs-last-2m-buckets",
            Kind::Bcachefs,
            (64 << 20) + 4096,
            &[(62 << 20, &bcachefs)],
        ),
        fixture("hfsplus", Kind::HfsPlus, &[(1024, &hfs_plus)]),
        fixture("hfsplus-wrapped", Kind::HfsPlus, &[(1024, &wrapper)]),
        fixture("hfsx-alternate", Kind::HfsPlus, &[(last, &hfsx)]),
        fixture("ocfs", Kind::Ocfs, &[(8192, b"OracleCFS")]),
        sized(
            "ocfs2-backup-1t",
            Kind::Ocfs2,
            2 << 40,
            &[(1 << 40, b"OCFSV2")],
        ),
        fixture("oracleasm", Kind::OracleAsm, &[(32, b"ORCLDISK")]),
        fixture("refs", Kind::Refs, &[(0, b"\0\0\0ReFS\0\0\0\0\0FSRS")]),
        fixture(
            "refs-backup",
            Kind::Refs,
            &[((64 << 20) - 512, b"\0\0\0ReFS\0\0\0\0\0FSRS")],
        ),
        fixture(
            "hpfs",
            Kind::Hpfs,
            &[
                (8192, &0xF995_E849_u32.to_le_bytes()),
                (8704, &0xF991_1849_u32.to_le_bytes()),
            ],
        ),
        fixture("nss", Kind::Netware, &[(4096, b"SPB5")]),
        fixture(
            "vmfs",
            Kind::Vmfs,
            &[(2 << 20, &0x2FAB_F15E_u32.to_le_bytes())],
        ),
        fixture(
            "vmfs-member",
            Kind::VmfsMember,
            &[(1 << 20, &0xC001_D00D_u32.to_le_bytes())],
        ),
        fixture("mpool", Kind::Mpool, &[(0, b"mpoolDev")]),
        fixture("exfs", Kind::Exfs, &[(0, b"EXFS")]),
        sized(
            "btrfs-256g",
            Kind::Btrfs,
            300 << 30,
            &[((256 << 30) + 64, b"_BHRfS_M")],
        ),
    ]
}
