//! Signatures that are a few fixed bytes at a fixed place: the larger part of all there are.
//!
//! A magic number that is there is a finding, however damaged the structure around it: what libblkid calls invalid
//! may still be somebody's only copy. Structures too weak to be known by a few bytes have a probe of their own.

mod device;
mod filesystem;
mod special;

use std::io::{Read, Seek};

use super::disk::Disk;
use super::{Finding, ProbeError, SignatureKind};

/// Where the magic bytes stand.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// At this byte.
    Start(u64),
    /// `back` bytes before the end of the last whole unit of `align` bytes.
    End { align: u64, back: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Magic {
    kind: SignatureKind,
    place: Place,
    bytes: &'static [u8],
    /// What the place means, for people; empty when it is the main copy.
    note: &'static str,
}

const fn at(kind: SignatureKind, offset: u64, bytes: &'static [u8]) -> Magic {
    Magic {
        kind,
        place: Place::Start(offset),
        bytes,
        note: "",
    }
}

const fn copy(kind: SignatureKind, offset: u64, bytes: &'static [u8]) -> Magic {
    Magic {
        kind,
        place: Place::Start(offset),
        bytes,
        note: "backup copy",
    }
}

const fn end(kind: SignatureKind, align: u64, back: u64, bytes: &'static [u8]) -> Magic {
    Magic {
        kind,
        place: Place::End { align, back },
        bytes,
        note: "at the end",
    }
}

/// Starts of the first partition of a table that may be gone: the tables of today and those with cylinders.
const FORMER_STARTS: [u64; 2] = [1 << 20, 63 * 512];

/// Magic numbers past this byte are not looked for behind a former partition's start.
const FORMER_REACH: u64 = 1 << 20;

/// Looks at every place of every table.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    for magic in [
        filesystem::MAGICS,
        device::MAGICS,
        special::MAGICS,
        special::SWAP,
        special::DASD,
    ]
    .into_iter()
    .flatten()
    {
        let offset = match magic.place {
            Place::Start(offset) => Some(offset),
            Place::End { align, back } => (disk.size() / align * align).checked_sub(back),
        };
        if let Some(offset) = offset {
            check(disk, magic, offset, magic.note.to_owned(), found)?;
        }
        if let Place::Start(offset) = magic.place
            && offset < FORMER_REACH
        {
            for start in FORMER_STARTS {
                let note = format!("in a former partition that began at byte {start}");
                check(disk, magic, start + offset, note, found)?;
            }
        }
    }
    Ok(())
}

fn check<R: Read + Seek>(
    disk: &mut Disk<R>,
    magic: &Magic,
    offset: u64,
    detail: String,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    if disk
        .at(offset, magic.bytes.len())?
        .is_some_and(|bytes| bytes == magic.bytes)
    {
        found.push(Finding {
            kind: magic.kind,
            offset,
            length: magic.bytes.len() as u64,
            detail,
        });
    }
    Ok(())
}
