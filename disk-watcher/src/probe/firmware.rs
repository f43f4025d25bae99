//! Members of firmware ("fake") RAID arrays whose metadata needs more than a fixed magic number: DDF, JMicron,
//! Silicon Image, VIA, Adaptec and Promise. All keep it near the end of the disk, in sectors of 512 bytes.
//!
//! The layouts are those of dmraid's format handlers and of util-linux 2.42 libblkid, which agree; DDF is SNIA's
//! "Common RAID Disk Data Format" 2.0.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be32, le16, le32, text};
use super::{Finding, ProbeError, SignatureKind as Kind};

/// Looks at every place.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    ddf(disk, found)?;
    last_sector(disk, found)?;
    promise(disk, found)
}

/// The DDF anchor is the last block of the disk (SNIA DDF 2.0, 5.1), or 256 blocks before it where a controller
/// keeps its own; the primary header it points at is found through it. A damaged anchor counts.
fn ddf<R: Read + Seek>(disk: &mut Disk<R>, found: &mut Vec<Finding>) -> Result<(), ProbeError> {
    for (block, count) in [(512, 1), (512, 257), (4096, 1)] {
        let Some((offset, head)) = disk.before_end(block, count * block, 512)? else {
            continue;
        };
        if be32(&head, 0) == 0xDE11_DE11 {
            let detail = format!("anchor, revision {}", text(&head[32..40]));
            found.push(Finding {
                kind: Kind::Ddf,
                offset,
                length: 4,
                detail,
            });
        }
    }
    Ok(())
}

/// The formats that own the last sector.
fn last_sector<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let Some((offset, sector)) = disk.before_end(512, 512, 512)? else {
        return Ok(());
    };
    let formats = [
        (Kind::Jmicron, 0, jmicron(&sector)),
        (Kind::Silicon, 0x60, silicon(&sector)),
        (Kind::Via, 0, via(&sector)),
        (Kind::Adaptec, 0, adaptec(&sector)),
    ];
    for (kind, at, is) in formats {
        if is {
            found.push(Finding {
                kind,
                offset: offset + at,
                length: 4,
                detail: String::new(),
            });
        }
    }
    Ok(())
}

/// JMicron: "JM"; the 64 16-bit words of the 128 byte structure add up to 0 or 1.
fn jmicron(sector: &[u8]) -> bool {
    sector.starts_with(b"JM") && matches!(sum16(&sector[..128]), 0 | 1)
}

/// Silicon Image Medley: 0x2F000000 at 0x60; the words before 0x13E and the one there add up to 0.
fn silicon(sector: &[u8]) -> bool {
    le32(sector, 0x60) == 0x2F00_0000 && sum16(&sector[..0x140]) == 0
}

/// VIA: 0xAA55, version at most 2; byte 50 is the sum of the bytes before it.
fn via(sector: &[u8]) -> bool {
    let sum = sector[..50]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    le16(sector, 0) == 0xAA55 && sector[2] <= 2 && sum == sector[50]
}

/// Adaptec HostRAID: 0x37FC4D1E at 0, or "DPTM" at 0x100, both big-endian.
fn adaptec(sector: &[u8]) -> bool {
    be32(sector, 0) == 0x37FC_4D1E || sector[0x100..].starts_with(b"DPTM")
}

fn sum16(words: &[u8]) -> u16 {
    words
        .chunks_exact(2)
        .fold(0, |sum: u16, word| sum.wrapping_add(le16(word, 0)))
}

/// Sectors before the end of the disk at which Promise's tools have put the metadata, by controller and disk size.
const PROMISE: [u64; 13] = [
    63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087,
];

fn promise<R: Read + Seek>(disk: &mut Disk<R>, found: &mut Vec<Finding>) -> Result<(), ProbeError> {
    for back in PROMISE {
        if let Some((offset, head)) = disk.before_end(512, back * 512, 24)?
            && head == b"Promise Technology, Inc."
        {
            found.push(Finding {
                kind: Kind::Promise,
                offset,
                length: 24,
                detail: String::new(),
            });
        }
    }
    Ok(())
}
