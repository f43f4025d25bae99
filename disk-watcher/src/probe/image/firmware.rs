//! Members of RAID arrays: firmware formats from dmraid's headers, and old md superblocks.

use super::super::SignatureKind as Kind;
use super::{Fixture, block, fixture, sized};

const SIZE: u64 = 64 << 20;

pub(super) fn images() -> Vec<Fixture> {
    let mut all = md();
    all.extend(promise());
    all.extend([
        last("lsi", Kind::Lsi, 1, &block(512, &[(0, b"$XIDE$")])),
        last(
            "hpt45x",
            Kind::Highpoint45x,
            11,
            &0x5A78_16F3_u32.to_le_bytes(),
        ),
        last(
            "hpt45x-bad",
            Kind::Highpoint45x,
            11,
            &0x5A78_16FD_u32.to_le_bytes(),
        ),
        fixture(
            "hpt37x",
            Kind::Highpoint37x,
            &[(9 * 512 + 32, &0x5A78_16F0_u32.to_le_bytes())],
        ),
        last("nvidia", Kind::Nvidia, 2, &nvidia()),
        last("jmicron", Kind::Jmicron, 1, &jmicron()),
        last("silicon", Kind::Silicon, 1, &silicon()),
        last("via", Kind::Via, 1, &via()),
        last("adaptec", Kind::Adaptec, 1, &adaptec()),
        last("geom-mirror", Kind::Geom, 1, b"GEOM::MIRROR\0\0\0\0"),
        last("geom-eli", Kind::Geom, 1, b"GEOM::ELI\0"),
        ddf_4096(),
        isw_4096(),
    ]);
    all
}

/// `bytes` in the sector that is `back` sectors before the end.
fn last(name: &str, kind: Kind, back: u64, bytes: &[u8]) -> Fixture {
    fixture(name, kind, &[(SIZE - back * 512, bytes)])
}

/// dmraid nv.h: 8 bytes of vendor, size 30 words, checksum that makes the words add up to itself, version 100.
fn nvidia() -> Vec<u8> {
    let mut raid = block(
        512,
        &[
            (0, b"NVIDIA  "),
            (8, &30_u32.to_le_bytes()),
            (16, &100_u16.to_le_bytes()),
        ],
    );
    let words = raid[..120]
        .chunks_exact(4)
        .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
    let sum = words.fold(0_u32, u32::wrapping_add).wrapping_neg();
    raid[12..16].copy_from_slice(&sum.to_le_bytes());
    raid
}

/// The 16-bit value that makes the words of `area` add up to zero.
fn balance(area: &[u8]) -> [u8; 2] {
    let words = area
        .chunks_exact(2)
        .map(|w| u16::from_le_bytes([w[0], w[1]]));
    words
        .fold(0_u16, u16::wrapping_add)
        .wrapping_neg()
        .to_le_bytes()
}

/// dmraid jm.h: "JM", version, checksum at 4 over the 128 bytes.
fn jmicron() -> Vec<u8> {
    let mut raid = block(512, &[(0, b"JM"), (2, &[1, 0]), (32, b"array"), (48, &[1])]);
    let sum = balance(&raid[..128]);
    raid[4..6].copy_from_slice(&sum);
    raid
}

/// dmraid sil.h: magic at 0x60, disk number at 0x116, checksum at 0x13E over what is before it.
fn silicon() -> Vec<u8> {
    let mut raid = block(
        512,
        &[
            (0x60, &0x2F00_0000_u32.to_le_bytes()),
            (0x10A, &[2, 0]),
            (0x116, &[1]),
        ],
    );
    let sum = balance(&raid[..0x13E]);
    raid[0x13E..0x140].copy_from_slice(&sum);
    raid
}

/// dmraid via.h: signature, version, disk map; checksum of the first 50 bytes at 50.
fn via() -> Vec<u8> {
    let mut raid = block(512, &[(0, &0xAA55_u16.to_le_bytes()), (2, &[1, 3, 0, 9])]);
    raid[50] = raid[..50]
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    raid
}

/// dmraid asr.h: b0idcode and, at 256, the table magic "DPTM"; big-endian.
fn adaptec() -> Vec<u8> {
    block(
        512,
        &[
            (0, &0x37FC_4D1E_u32.to_be_bytes()),
            (256, &0x4450_544D_u32.to_be_bytes()),
        ],
    )
}

/// dmraid pdc.h: PDC_CONFIGOFFSETS, in sectors from the end.
fn promise() -> Vec<Fixture> {
    let places = [
        63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087,
    ];
    let image = |back: u64| {
        last(
            &format!("promise-{back}"),
            Kind::Promise,
            back,
            b"Promise Technology, Inc.",
        )
    };
    places.into_iter().map(image).collect()
}

/// SNIA DDF 2.0 anchor on a disk of 4 KiB sectors: the last block. The captured fixture of mdadm has 512.
fn ddf_4096() -> Fixture {
    let anchor = block(
        512,
        &[(0, &0xDE11_DE11_u32.to_be_bytes()), (32, b"02.00.00")],
    );
    let mut fixture = fixture("ddf-4096", Kind::Ddf, &[(SIZE - 4096, &anchor)]);
    fixture.image = fixture.image.with_sector(4096);
    fixture
}

/// IMSM on a disk of 4 KiB sectors: the last but one (mdadm super-intel.c, MPB_SECTOR). The captured one has 512.
fn isw_4096() -> Fixture {
    let mut fixture = fixture(
        "isw-4096",
        Kind::Isw,
        &[(SIZE - 8192, b"Intel Raid ISM Cfg Sig. 1.1.00")],
    );
    fixture.image = fixture.image.with_sector(4096);
    fixture
}

/// md 0.90 in the byte order of another machine, on a member of odd size, and behind a table's last partition.
fn md() -> Vec<Fixture> {
    let big: Vec<u8> = [0xA92B_4EFC_u32, 0, 90, 0]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    let little: Vec<u8> = [0xA92B_4EFC_u32, 0, 90, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    vec![
        fixture("md0.90-big-endian", Kind::Md090, &[(SIZE - 65_536, &big)]),
        sized(
            "md0.90-odd-size",
            Kind::Md090,
            SIZE + 512 * 77,
            &[(SIZE - 65_536, &little)],
        ),
        sized(
            "md0.90-last-partition",
            Kind::Md090,
            SIZE + 33 * 512,
            &[(SIZE - 65_536, &little)],
        ),
        fixture(
            "md0.90-before-backup-gpt",
            Kind::Md090,
            &[(SIZE - 131_072, &little)],
        ),
    ]
}
