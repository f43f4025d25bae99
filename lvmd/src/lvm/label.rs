//! The PV label and the header of its metadata area, straight from the disk.
//!
//! Two questions are answered without an lvm process: which PV is on this device,
//! and has its VG's metadata changed since we last looked. The first is the PV's
//! uuid; the second is the committed location in the metadata area's header, which
//! moves with every commit (lvm2 `format_text`: the text is written to a new place
//! in the ring, then the header is switched over to it).
//!
//! Layout (all little endian): one of the sectors 0 to 3 begins with `LABELONE`, u64
//! sector number, u32 crc over bytes 20..512, u32 offset of the PV header, the type
//! `LVM2 001`. The PV header is uuid\[32\], u64 device size in bytes, then pairs of
//! u64 offset and size: data areas ended by 0,0, metadata areas ended by 0,0. A
//! metadata area begins with a 512-byte header: u32 crc over bytes 4..512, 16 bytes
//! of magic, u32 version, u64 start, u64 size, then four locations of u64 offset,
//! u64 size, u32 crc, u32 flags; the first is the committed text.

/// How many bytes from the start of a device [`parse`] wants: the label's four
/// sectors, and the metadata header where lvm2 puts it by default (4 KiB).
pub const HEAD: usize = 8192;
/// Size of a metadata area's header, in bytes.
pub const MDA_HEADER: usize = 512;

const SECTOR: usize = 512;
const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";

/// A PV label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The PV's uuid as LVM prints it (6-4-4-4-4-4-6 characters).
    pub pv_uuid: String,
    /// The device's size when the label was written, in bytes.
    pub device_size: u64,
    /// Where its first extent begins, in bytes; 0 when it has no data area.
    pub data_start: u64,
    /// Where its metadata areas are.
    pub mdas: Vec<Area>,
    /// Whether a partition table stands before the label: LVM does not use such a device, its
    /// label is what a former use left.
    pub partitioned: bool,
}

/// A byte range on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// First byte.
    pub offset: u64,
    /// Length in bytes; 0 in a data area means "to the end".
    pub size: u64,
}

/// The committed location of one metadata area: equal keys mean equal metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitKey {
    /// Offset of the committed text from the area's start, in bytes; 0 when there is none.
    pub offset: u64,
    /// Its length in bytes; 0 when nothing is committed.
    pub size: u64,
    /// Its checksum.
    pub crc: u32,
    /// Bit 0: the area is ignored (`vgchange --vgmetadatacopies`).
    pub flags: u32,
}

impl CommitKey {
    /// Length and checksum of the text, equal on all PVs of a VG; `None` when the area is
    /// empty or ignored.
    pub fn text(&self) -> Option<(u64, u32)> {
        (self.size > 0 && self.flags & 1 == 0).then_some((self.size, self.crc))
    }
}

/// A label or header that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The checksum does not fit; a torn read or a damaged disk.
    #[error("the {what} has a wrong checksum")]
    Checksum {
        /// Which structure.
        what: &'static str,
    },
    /// The structure leaves the sector or contradicts itself.
    #[error("the {what} is malformed")]
    Malformed {
        /// Which structure.
        what: &'static str,
    },
}

/// Finds and reads the label in the first [`HEAD`] bytes of a device (fewer are
/// allowed: what is missing is not searched). `None`: this is no LVM2 PV.
///
/// # Errors
/// When there is a label, but it cannot be trusted.
pub fn parse(head: &[u8]) -> Result<Option<Label>, LabelError> {
    for sector in head.chunks_exact(SECTOR).take(4) {
        if &sector[..8] == b"LABELONE" && &sector[24..32] == b"LVM2 001" {
            return parse_label(sector, is_partition_table(&head[..SECTOR])).map(Some);
        }
    }
    Ok(None)
}

/// What LVM takes for an MBR, also that of a GPT (lvm2 `dev-type.c`, `_has_partition_table`):
/// no entry is marked with anything but "boot", and one has sectors.
fn is_partition_table(sector: &[u8]) -> bool {
    let entries = || sector[446..510].chunks_exact(16);
    sector[510..] == [0x55, 0xaa]
        && entries().all(|entry| entry[0] & 0x7f == 0)
        && entries().any(|entry| u32_at(entry, 12) > 0)
}

fn parse_label(sector: &[u8], partitioned: bool) -> Result<Label, LabelError> {
    let malformed = LabelError::Malformed { what: "PV label" };
    if crc(&sector[20..SECTOR]) != u32_at(sector, 16) {
        return Err(LabelError::Checksum { what: "PV label" });
    }
    let start = usize::try_from(u32_at(sector, 20)).map_err(|_| malformed.clone())?;
    let header = sector
        .get(start..)
        .filter(|h| h.len() >= 40)
        .ok_or(malformed.clone())?;
    let pv_uuid = format_uuid(&header[..32]).ok_or(malformed.clone())?;
    let mut pairs = header[40..].chunks_exact(16).map(|pair| Area {
        offset: u64_at(pair, 0),
        size: u64_at(pair, 8),
    });
    // Data areas first, then metadata areas; each list ends with an offset of 0.
    let mut lists = [Vec::new(), Vec::new()];
    for list in &mut lists {
        loop {
            match pairs.next() {
                Some(Area { offset: 0, .. }) => break,
                Some(area) => list.push(area),
                None => return Err(malformed),
            }
        }
    }
    let [data, mdas] = lists;
    Ok(Label {
        pv_uuid,
        device_size: u64_at(header, 32),
        data_start: data.first().map_or(0, |area| area.offset),
        mdas,
        partitioned,
    })
}

/// Reads the header of a metadata area that begins at byte `area_offset` of the device.
///
/// # Errors
/// When it is no metadata header or its checksum does not fit.
pub fn parse_mda_header(header: &[u8], area_offset: u64) -> Result<CommitKey, LabelError> {
    let malformed = LabelError::Malformed {
        what: "metadata header",
    };
    let header = header.get(..MDA_HEADER).ok_or(malformed.clone())?;
    if &header[4..20] != MAGIC || u32_at(header, 20) != 1 || u64_at(header, 24) != area_offset {
        return Err(malformed);
    }
    if crc(&header[4..]) != u32_at(header, 0) {
        return Err(LabelError::Checksum {
            what: "metadata header",
        });
    }
    Ok(CommitKey {
        offset: u64_at(header, 40),
        size: u64_at(header, 48),
        crc: u32_at(header, 56),
        flags: u32_at(header, 60),
    })
}

/// LVM's checksum: reflected CRC-32 (polynomial edb88320) that starts with f597a6cf
/// and is not inverted at the end (lvm2 `lib/misc/crc.c`).
pub fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |crc: u32, byte| {
        (crc >> 8) ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)]
    })
}

/// What each byte adds: a VG of 200 LVs has 56 KiB of text, too much to go bit by bit.
const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// Puts the dashes into 32 characters of uuid; `None` when they are no letters or digits.
pub fn format_uuid(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw.get(..32)?).ok()?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let mut parts = Vec::with_capacity(7);
    let mut rest = text;
    for len in [6, 4, 4, 4, 4, 4, 6] {
        let (part, tail) = rest.split_at(len);
        parts.push(part);
        rest = tail;
    }
    Some(parts.join("-"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    /// The first 8 KiB of a PV in a VG, written by lvm2 2.03.31.
    const PV: &[u8] = include_bytes!("../../tests/fixtures/pv-head-lvm2-2.03.31.bin");

    #[test]
    fn reads_what_lvm_wrote() {
        let label = parse(PV).unwrap().unwrap();
        assert_eq!(label.pv_uuid.len(), 38);
        assert_eq!((label.device_size, label.data_start), (256 << 20, 1 << 20));
        let [mda] = label.mdas[..] else {
            panic!("{label:?}")
        };
        assert_eq!(mda.offset, 4096);
        let key = parse_mda_header(&PV[4096..], 4096).unwrap();
        assert!(key.size > 0 && key.offset >= 512, "{key:?}");
    }

    #[test]
    fn one_changed_bit_is_noticed() {
        let mut torn = PV.to_vec();
        torn[512 + 100] ^= 1;
        assert_eq!(parse(&torn), Err(LabelError::Checksum { what: "PV label" }));
        let mut torn = PV[4096..].to_vec();
        torn[48] ^= 1;
        assert_eq!(
            parse_mda_header(&torn, 4096),
            Err(LabelError::Checksum {
                what: "metadata header"
            })
        );
        assert!(
            parse_mda_header(&PV[4096..], 8192).is_err(),
            "a header elsewhere is a copy, not this area's"
        );
    }

    #[test]
    fn a_partition_table_before_the_label_is_seen() {
        let is_partitioned = |edit: &dyn Fn(&mut [u8])| {
            let mut head = PV.to_vec();
            head[510..512].copy_from_slice(&[0x55, 0xaa]);
            edit(&mut head);
            parse(&head).unwrap().unwrap().partitioned
        };
        assert!(!parse(PV).unwrap().unwrap().partitioned);
        assert!(!is_partitioned(&|_| ()), "the boot sector of a file system");
        assert!(is_partitioned(&|head| head[446 + 12] = 1));
        assert!(!is_partitioned(&|head| {
            head[446 + 12] = 1;
            head[462] = 1;
        }));
    }

    #[test]
    fn a_blank_disk_is_no_pv() {
        assert_eq!(parse(&[0; HEAD]), Ok(None));
        assert_eq!(parse(&[]), Ok(None));
    }

    proptest! {
        #[test]
        fn no_input_panics(flips in proptest::collection::vec((0usize..8192, any::<u8>()), 0..20), cut in 0usize..8193) {
            let mut head = PV.to_vec();
            for (at, value) in flips { head[at] = value; }
            let _ = parse(&head[..cut]);
            if let Some(rest) = head.get(4096..cut) { let _ = parse_mda_header(rest, 4096); }
            prop_assert!(true);
        }
    }
}
