//! The log of dm-log-writes (kernel documentation, "dm-log-writes"), which QEMU's block driver `blklogwrites` writes too.
//!
//! All numbers are little-endian. The first sector of the log is its superblock: magic, version 1, number of entries, and
//! the sector size. An entry is a sector with where it went, how many sectors, flags and how many bytes of text it has,
//! followed by the data of a write. A discard has no data; a mark has text in its own sector.

use std::io;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// The superblock's sector is larger than this, and so is each entry's.
const HEADER: usize = 32;

/// What the log is not.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It does not begin as a log, or is of another version.
    #[error("this is no log of dm-log-writes, version 1")]
    NotALog,
    /// Its sector size is not a power of two from 512 to 64 KiB.
    #[error("a log with sectors of {0} bytes")]
    SectorSize(u32),
    /// It ends in the middle of this entry, counted from zero.
    #[error("the log ends inside entry {0}")]
    Short(usize),
    /// It cannot be read.
    #[error("the log cannot be read")]
    Io(#[from] io::Error),
}

/// One thing that a guest asked of its disks. Offsets and lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Data was written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
        /// Whether it was to be on the medium before it counts as done (FUA).
        through: bool,
    },
    /// These bytes are not needed any more; they read as zeroes here.
    Discard {
        /// From where.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Everything that was done before is on the medium from here on.
    Flush,
    /// Somebody left a note.
    Mark(Vec<u8>),
}

/// A whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Reads a log. A write that also asks for a flush is told as two entries, the flush first.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let word = |at: usize| number(bytes, at).ok_or(LogError::NotALog);
        if (word(0)?, word(8)?) != (MAGIC, VERSION) {
            return Err(LogError::NotALog);
        }
        let count = word(16)?;
        let size = bytes
            .get(24..28)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or(LogError::NotALog)?;
        if !size.is_power_of_two() || !(512..=1 << 16).contains(&size) {
            return Err(LogError::SectorSize(size));
        }
        let sector = size as usize;
        let mut entries = Vec::new();
        let mut at = sector;
        for index in 0..usize::try_from(count).unwrap_or(usize::MAX) {
            let short = || LogError::Short(index);
            let header = bytes.get(at..at + sector).ok_or_else(short)?;
            let field = |n: usize| number(header, 8 * n).ok_or_else(short);
            // Sectors of the disk are always of this size; only the log's own layout follows `size`.
            let (first, sectors, flags, text) = (field(0)?, field(1)?, field(2)?, field(3)?);
            at += sector;
            let offset = first.saturating_mul(u64::from(size));
            let length = sectors.saturating_mul(u64::from(size));
            if flags & FLUSH != 0 {
                entries.push(Entry::Flush);
            }
            if flags & MARK != 0 {
                let end = HEADER
                    + usize::try_from(text)
                        .unwrap_or(usize::MAX)
                        .min(sector - HEADER);
                entries.push(Entry::Mark(header[HEADER..end].to_vec()));
            } else if flags & DISCARD != 0 {
                entries.push(Entry::Discard { offset, length });
            } else if length > 0 {
                let room = usize::try_from(length).map_err(|_| short())?;
                let end = at.checked_add(room).ok_or_else(short)?;
                let data = bytes.get(at..end).ok_or_else(short)?.to_vec();
                at = end;
                let through = flags & FUA != 0;
                entries.push(Entry::Write {
                    offset,
                    data,
                    through,
                });
            }
        }
        Ok(Self { entries })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: u64, sectors: u64, flags: u64, tail: &[u8]) -> Vec<u8> {
        let text = if flags & MARK != 0 { tail.len() } else { 0 };
        let mut bytes: Vec<u8> = [first, sectors, flags, text as u64]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        if flags & MARK != 0 {
            bytes.extend_from_slice(tail);
        }
        bytes.resize(512, 0);
        if flags & MARK == 0 {
            bytes.extend_from_slice(tail);
        }
        bytes
    }

    fn log(entries: &[Vec<u8>]) -> Vec<u8> {
        let words = [MAGIC, VERSION, entries.len() as u64, 512];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.resize(512, 0);
        bytes.extend(entries.concat());
        bytes
    }

    #[test]
    fn entries_are_read_in_order() {
        let bytes = log(&[
            entry(8, 1, 0, &[7; 512]),
            entry(0, 0, FLUSH, &[]),
            entry(16, 2, FLUSH | FUA, &[8; 1024]),
            entry(4, 6, DISCARD, &[]),
            entry(0, 0, MARK, b"here"),
        ]);
        let entries = Log::parse(&bytes).unwrap().entries;
        let write = |offset, data: &[u8], through| Entry::Write {
            offset,
            data: data.to_vec(),
            through,
        };
        assert_eq!(
            entries,
            [
                write(4096, &[7; 512], false),
                Entry::Flush,
                Entry::Flush,
                write(8192, &[8; 1024], true),
                Entry::Discard {
                    offset: 2048,
                    length: 3072
                },
                Entry::Mark(b"here".to_vec()),
            ]
        );
    }

    #[test]
    fn what_is_cut_short_or_no_log_is_an_error() {
        let bytes = log(&[entry(8, 2, 0, &[7; 1024])]);
        for end in [513, 1023, 1024, bytes.len() - 1] {
            assert!(matches!(Log::parse(&bytes[..end]), Err(LogError::Short(0))));
        }
        for bytes in [&[][..], &[0; 512], &bytes[..20]] {
            assert!(matches!(Log::parse(bytes), Err(LogError::NotALog)));
        }
        let mut odd = bytes.clone();
        odd[24] = 1;
        assert!(matches!(Log::parse(&odd), Err(LogError::SectorSize(513))));
        let huge = log(&[entry(0, u64::MAX, 0, &[])]);
        assert!(matches!(Log::parse(&huge), Err(LogError::Short(0))));
    }
}
