//! Swap areas, partition tables known by a magic number alone, and disk images written onto a disk by mistake.

use super::super::SignatureKind as Kind;
use super::{Magic, at, end};

/// Swap and suspend signatures end the first page, whose size depends on the machine (mkswap(8); kernel/power/swap.c;
/// uswsusp and TuxOnIce for the rest).
macro_rules! swap {
    ($($page:literal)+) => {
        &[$(
            at(Kind::Swap, $page - 10, b"SWAP-SPACE"),
            at(Kind::Swap, $page - 10, b"SWAPSPACE2"),
            at(Kind::SwapSuspend, $page - 10, b"S1SUSPEND"),
            at(Kind::SwapSuspend, $page - 10, b"S2SUSPEND"),
            at(Kind::SwapSuspend, $page - 10, b"ULSUSPEND"),
            at(Kind::SwapSuspend, $page - 10, b"LINHIB0001"),
        )+]
    };
}

/// Volume labels of s390 disks are in block 1 or 2, in EBCDIC: "VOL1" behind a key of four bytes, or "LNX1" or "CMS1" at
/// once (uapi/asm/vtoc.h; block/partitions/ibm.c).
macro_rules! dasd {
    ($($block:literal)+) => {
        &[$(
            at(Kind::Dasd, $block, &[0xE5, 0xD6, 0xD3, 0xF1]),
            at(Kind::Dasd, $block + 4, &[0xE5, 0xD6, 0xD3, 0xF1]),
            at(Kind::Dasd, $block, &[0xD3, 0xD5, 0xE7, 0xF1]),
            at(Kind::Dasd, $block, &[0xC3, 0xD4, 0xE2, 0xF1]),
        )+]
    };
}

pub(super) const DASD: &[Magic] = dasd!(0x200 0x400 0x800 0x1000 0x2000);

pub(super) const SWAP: &[Magic] = swap!(0x1000 0x2000 0x4000 0x8000 0x1_0000);

pub(super) const MAGICS: &[Magic] = &[
    at(
        Kind::SwapSuspend,
        0,
        &[0xED, 0xC3, 0x02, 0xE9, 0x98, 0x56, 0xE5, 0x0C],
    ),
    // AIX: "IBMA" in EBCDIC (block/partitions/msdos.c).
    at(Kind::Aix, 0, &[0xC9, 0xC2, 0xD4, 0xC1]),
    // Ultrix (block/partitions/ultrix.c): label at the end of the first 16 KiB, 72 bytes long, magic first.
    at(Kind::Ultrix, 16_384 - 72, &[0x57, 0x29, 0x03, 0x00]),
    // UnixWare: label in sector 29, d_magic at 4; Solaris x86: VTOC in sector 1, v_sanity at 12 (block/partitions/msdos.c).
    // libblkid has two digits of UnixWare's magic the other way round.
    at(Kind::Unixware, 29 * 512 + 4, &[0x0D, 0x60, 0x5E, 0xCA]),
    at(Kind::SolarisX86, 512 + 12, &[0xEE, 0xDE, 0x0D, 0x60]),
    // Windows dynamic disk (block/partitions/ldm.h): PRIVHEAD in sector 6, and twice in the database that is the
    // last 2048 sectors, beside the tables of contents.
    at(Kind::Ldm, 6 * 512, b"PRIVHEAD"),
    end(Kind::Ldm, 512, (2048 - 1856) * 512, b"PRIVHEAD"),
    end(Kind::Ldm, 512, 512, b"PRIVHEAD"),
    end(Kind::Ldm, 512, 2047 * 512, b"TOCBLOCK"),
    end(Kind::Ldm, 512, 2046 * 512, b"TOCBLOCK"),
    end(Kind::Ldm, 512, 3 * 512, b"TOCBLOCK"),
    end(Kind::Ldm, 512, 2 * 512, b"TOCBLOCK"),
    // QEMU docs/interop/qcow2; VHD specification 1.0 (footer in the last sector, its copy in the first of dynamic
    // images); [MS-VHDX] 2.2.1; VMDK 5.0 technical note.
    at(Kind::Qcow, 0, b"QFI\xFB"),
    at(Kind::Vhd, 0, b"conectix"),
    end(Kind::Vhd, 512, 512, b"conectix"),
    at(Kind::Vhdx, 0, b"vhdxfile"),
    at(Kind::Vmdk, 0, b"KDMV"),
];
