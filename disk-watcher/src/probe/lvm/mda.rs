//! One metadata area: its header, and the committed and precommitted texts it points at.

use std::io::{Read, Seek};

use super::super::ProbeError;
use super::super::disk::Disk;
use super::super::field::{le32, le64};
use super::text::{self, VgText};
use super::{Extent, crc};

/// FMTT_MAGIC (`lib/format_text/layout.h`).
const MAGIC: &[u8] = b"\x20LVM2\x20x[5A%r0N*>";
/// The area's header takes its first sector; texts wrap to behind it (MDA_HEADER_SIZE).
const HEADER: u64 = 512;
/// Longest text that is read: thirty times that of a group with 900 volumes.
const MAX_TEXT: u64 = 8 << 20;

/// A metadata area of a physical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MdaState {
    /// Where the label says it is.
    pub area: Extent,
    /// Magic, checksum, version and own place of the header are right. When not, the slots are empty and mean nothing.
    pub valid: bool,
    /// LVM keeps no current metadata here (RAW_LOCN_IGNORED; `pvchange --metadataignore`).
    pub ignored: bool,
    /// Slot 0: what LVM goes by. Empty on an orphan, and after a cut inside vgcreate, vgextend or vgreduce.
    pub committed: Slot,
    /// Slot 1: text written for a commit that has not happened (yet).
    pub precommitted: Slot,
}

/// A `raw_locn` of the header, and the text it points at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slot {
    /// First byte of the text, counted from the area's start.
    pub offset: u64,
    /// Bytes of text with its closing NUL; 0 when the slot is empty.
    pub size: u64,
    /// Checksum the text should have. With offset and size this changes at every commit.
    pub checksum: u32,
    /// The text.
    pub text: SlotText,
}

/// What a slot points at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SlotText {
    /// Nothing.
    #[default]
    Empty,
    /// A volume group's description with the right checksum.
    Vg(Box<VgText>),
    /// Something that is no whole description; says why. Never to be taken for "no volume group".
    Unreadable(&'static str),
}

impl Slot {
    /// The description, when there is a whole one.
    pub fn vg(&self) -> Option<&VgText> {
        match &self.text {
            SlotText::Vg(vg) => Some(vg),
            SlotText::Empty | SlotText::Unreadable(_) => None,
        }
    }
}

/// Reads the area. Nothing about what it holds is an error, only a failing disk is.
pub(super) fn read<R: Read + Seek>(
    disk: &mut Disk<R>,
    area: Extent,
) -> Result<MdaState, ProbeError> {
    let mut state = MdaState {
        area,
        valid: false,
        ignored: false,
        committed: Slot::default(),
        precommitted: Slot::default(),
    };
    // struct mda_header: u32 crc over bytes 4 to 511, magic[16], u32 version, u64 start, u64 size, raw_locn[4].
    let Some(header) = disk.at(area.offset, 512)? else {
        return Ok(state);
    };
    let checked = crc(&header[4..]) == le32(&header, 0);
    let own = header[4..20] == *MAGIC && le32(&header, 20) == 1 && le64(&header, 24) == area.offset;
    if !checked || !own {
        return Ok(state);
    }
    state.valid = true;
    state.ignored = le32(&header, 40 + 20) & 1 != 0;
    state.committed = slot(disk, area, &header[40..64])?;
    state.precommitted = slot(disk, area, &header[64..88])?;
    Ok(state)
}

/// struct raw_locn: u64 offset, u64 size, u32 checksum, u32 flags.
fn slot<R: Read + Seek>(disk: &mut Disk<R>, area: Extent, raw: &[u8]) -> Result<Slot, ProbeError> {
    let (offset, size, checksum) = (le64(raw, 0), le64(raw, 8), le32(raw, 16));
    let text = match (offset, size) {
        (0, _) | (_, 0) => SlotText::Empty,
        _ => match fetch(disk, area, offset, size)? {
            Err(why) => SlotText::Unreadable(why),
            Ok(bytes) if crc(&bytes) != checksum => SlotText::Unreadable("checksum differs"),
            Ok(bytes) => match text::parse(&field_text(&bytes)) {
                Some(vg) => SlotText::Vg(Box::new(vg)),
                None => SlotText::Unreadable("no volume group description"),
            },
        },
    };
    Ok(Slot {
        offset,
        size,
        checksum,
        text,
    })
}

/// The one description that was ever written to a metadata area, given the area's bytes
/// with its header; `None`: it was never written to.
///
/// # Errors
/// There is more than one, or something that is none.
pub fn only_text(area: &[u8]) -> Result<Option<VgText>, &'static str> {
    let ring = area.get(512..).unwrap_or_default();
    let end = ring
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(ring.len());
    let (first, rest) = ring.split_at(end);
    if rest.iter().any(|byte| *byte != 0) {
        return Err("its metadata area was written to more than once");
    }
    if first.is_empty() {
        return Ok(None);
    }
    let text = text::parse(&String::from_utf8_lossy(first));
    text.map(Some)
        .ok_or("its metadata area holds something that is no description of a group")
}

/// The bytes of a text, put together when it wraps from the area's end to behind its header.
fn fetch<R: Read + Seek>(
    disk: &mut Disk<R>,
    area: Extent,
    offset: u64,
    size: u64,
) -> Result<Result<Vec<u8>, &'static str>, ProbeError> {
    let room = area.size.saturating_sub(HEADER);
    if size > room || !(HEADER..area.size).contains(&offset) {
        return Ok(Err("lies outside the area"));
    }
    if size > MAX_TEXT {
        return Ok(Err("too long to read"));
    }
    let first = size.min(area.size - offset);
    let mut bytes = Vec::new();
    for (from, length) in [(offset, first), (HEADER, size - first)] {
        let place = area.offset.checked_add(from);
        let part = match (place, usize::try_from(length)) {
            (Some(place), Ok(length)) => disk.at(place, length)?,
            _ => None,
        };
        match part {
            Some(part) => bytes.extend(part),
            None => return Ok(Err("lies outside the disk")),
        }
    }
    Ok(Ok(bytes))
}

fn field_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
