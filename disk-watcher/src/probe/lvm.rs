//! LVM2 physical volumes: the label, what it says of the device, and the metadata areas it points at.
//!
//! The layout is that of lvm2 `lib/format_text/layout.h` and `lib/label/label.h`; the places and checksums below were
//! verified on volumes of lvm2 2.03.16. All counts on disk are little-endian; LVM's sectors are 512 bytes whatever
//! the disk's are.

mod mda;
mod text;

use std::io::{Read, Seek};

pub use mda::{MdaState, Slot, SlotText, only_text};
pub use text::{PvText, VgText};

use super::disk::Disk;
use super::field::{le32, le64};
use super::{Finding, ProbeError, SignatureKind, checksum};

/// Initial value of LVM's CRCs (INITIAL_CRC in `lib/misc/crc.h`).
const CRC_START: u32 = 0xF597_A6CF;

/// Type of the label (LVM2_LABEL).
const TYPE: &[u8] = b"LVM2 001";

/// LVM's checksum.
fn crc(data: &[u8]) -> u32 {
    checksum::crc32_update(CRC_START, data)
}

/// A run of bytes on a physical volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Bytes; in a data area 0 means "to the end of the device".
    pub size: u64,
}

/// What the label of a physical volume says, and what its metadata areas hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LvmLabel {
    /// Sector of 512 bytes, 0 to 3, that the label is in; LVM writes it to 1.
    pub sector: u64,
    /// UUID of the physical volume, in LVM's form 6-4-4-4-4-4-6.
    pub pv_uuid: String,
    /// Size of the device when the label was written, in bytes.
    pub device_size: u64,
    /// Data areas.
    pub data_areas: Vec<Extent>,
    /// Metadata areas, in the order of the label; a volume may have none.
    pub mdas: Vec<MdaState>,
    /// Version of the header's extension, 0 when there is none.
    pub extension: u32,
    /// The extension says that the volume belongs to a volume group (PV_EXT_USED). False is an orphan.
    pub used: bool,
}

/// What a description of a group says; `None` when it is none.
pub fn describe(text: &str) -> Option<VgText> {
    text::parse(text)
}

impl LvmLabel {
    /// The volume group texts that can be read from the committed slots, newest first.
    pub fn committed(&self) -> Vec<&VgText> {
        let mut texts: Vec<&VgText> = self
            .mdas
            .iter()
            .filter_map(|mda| mda.committed.vg())
            .collect();
        texts.sort_by_key(|vg| std::cmp::Reverse(vg.seqno));
        texts
    }

    /// Whether every metadata area is whole and in use, and LVM never committed anything to
    /// it. A damaged area is no empty one.
    pub fn committed_nothing(&self) -> bool {
        let empty = |mda: &MdaState| {
            let slot = &mda.committed;
            mda.valid && !mda.ignored && (slot.offset, slot.size) == (0, 0)
        };
        !self.mdas.is_empty() && self.mdas.iter().all(empty)
    }

    /// Whether the byte at `offset` belongs to volumes (or may): it is inside a data area.
    pub fn is_data(&self, offset: u64) -> bool {
        self.data_areas.iter().any(|area| {
            let end = if area.size == 0 {
                u64::MAX
            } else {
                area.offset.saturating_add(area.size)
            };
            (area.offset..end).contains(&offset)
        })
    }
}

/// Looks at the first four sectors. A sector that begins like a label but is damaged is a finding without a label.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
    labels: &mut Vec<LvmLabel>,
) -> Result<(), ProbeError> {
    for sector in 0..4 {
        let offset = sector * 512;
        let like = |bytes: &Vec<u8>| bytes.starts_with(b"LABELONE") || bytes[24..32] == *TYPE;
        let Some(bytes) = disk.at(offset, 512)?.filter(like) else {
            continue;
        };
        let label = label(disk, sector, &bytes)?;
        let detail = match &label {
            Some(label) if label.used => format!("pv {}, in a volume group", label.pv_uuid),
            Some(label) => format!("pv {}, orphan", label.pv_uuid),
            None => "label damaged".into(),
        };
        found.push(Finding {
            kind: SignatureKind::Lvm2Pv,
            offset,
            length: 8,
            detail,
        });
        labels.extend(label);
    }
    Ok(())
}

/// struct label_header: "LABELONE", u64 own sector, u32 crc over bytes 20 to 511, u32 offset of the PV header, type.
/// `None` when any of it is wrong.
fn label<R: Read + Seek>(
    disk: &mut Disk<R>,
    sector: u64,
    bytes: &[u8],
) -> Result<Option<LvmLabel>, ProbeError> {
    let header = usize::try_from(le32(bytes, 20)).unwrap_or(usize::MAX);
    let whole = le64(bytes, 8) == sector
        && crc(&bytes[20..]) == le32(bytes, 16)
        && bytes[24..32] == *TYPE
        && bytes.starts_with(b"LABELONE");
    if !whole || !(32..=512 - 40).contains(&header) {
        return Ok(None);
    }
    let mut fields = Fields {
        bytes,
        at: header + 40,
    };
    let (Some(data_areas), Some(areas)) = (fields.extents(), fields.extents()) else {
        return Ok(None);
    };
    // struct pv_header_extension: u32 version, u32 flags, then boot loader areas. Labels before 2.02.99 end earlier.
    let extension = fields.u32().unwrap_or(0);
    let flags = if extension > 0 {
        fields.u32().unwrap_or(0)
    } else {
        0
    };
    let mut mdas = Vec::new();
    for area in areas {
        mdas.push(mda::read(disk, area)?);
    }
    Ok(Some(LvmLabel {
        sector,
        pv_uuid: dashed(&bytes[header..header + 32]),
        device_size: le64(bytes, header + 32),
        data_areas,
        mdas,
        extension,
        used: flags & 1 != 0,
    }))
}

/// Reads on through the label's sector, and stops at its end.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let value = self
            .bytes
            .get(self.at..self.at + 4)
            .map(|field| le32(field, 0));
        self.at += 4;
        value
    }

    fn u64(&mut self) -> Option<u64> {
        let value = self
            .bytes
            .get(self.at..self.at + 8)
            .map(|field| le64(field, 0));
        self.at += 8;
        value
    }

    /// Pairs of offset and size up to a pair of zeros (struct disk_locn).
    fn extents(&mut self) -> Option<Vec<Extent>> {
        let mut extents = Vec::new();
        loop {
            let extent = Extent {
                offset: self.u64()?,
                size: self.u64()?,
            };
            if extent.offset == 0 {
                return Some(extents);
            }
            extents.push(extent);
        }
    }
}

/// Thirty-two characters as LVM shows a UUID: 6-4-4-4-4-4-6 (`id_write_format`).
fn dashed(id: &[u8]) -> String {
    let text = super::field::text(id);
    if text.len() != 32 || !text.is_ascii() {
        return text;
    }
    let mut at = 0;
    let parts = [6, 4, 4, 4, 4, 4, 6].map(|length| {
        at += length;
        text[at - length..at].to_owned()
    });
    parts.join("-")
}
