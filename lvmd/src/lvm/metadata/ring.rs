//! Where the committed text is in its metadata area.
//!
//! The area begins with its header (512 bytes), the rest is a ring: each commit writes
//! the text after the one before, and a text that meets the end goes on behind the
//! header (lvm2 `format_text`).

use super::MetadataError;
use crate::lvm::label::{self, Area, CommitKey, MDA_HEADER};

/// The byte ranges of the device that hold the text `key` names, in order: one, or two
/// when it wraps.
///
/// # Errors
/// When the location does not lie in the area. An area in which nothing is committed has
/// no text, which is one of these errors: ask [`CommitKey::text`] first.
pub fn pieces(area: Area, key: &CommitKey) -> Result<Vec<Area>, MetadataError> {
    let wrong = MetadataError::Place {
        offset: key.offset,
        size: key.size,
    };
    let header = MDA_HEADER as u64;
    let ring = area.size.checked_sub(header).ok_or(wrong.clone())?;
    let inside = (header..area.size).contains(&key.offset) && (1..=ring).contains(&key.size);
    if !inside || area.offset.checked_add(area.size).is_none() {
        return Err(wrong);
    }
    let first = Area {
        offset: area.offset + key.offset,
        size: key.size.min(area.size - key.offset),
    };
    let rest = key.size - first.size;
    let mut pieces = vec![first];
    if rest > 0 {
        pieces.push(Area {
            offset: area.offset + header,
            size: rest,
        });
    }
    Ok(pieces)
}

/// The text without the zero byte that ends it, if it is the one `key` names.
///
/// # Errors
/// When length or checksum differ.
pub fn check<'a>(bytes: &'a [u8], key: &CommitKey) -> Result<&'a [u8], MetadataError> {
    if u64::try_from(bytes.len()) != Ok(key.size) || label::crc(bytes) != key.crc {
        return Err(MetadataError::Checksum);
    }
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Ok(&bytes[..end])
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "small numbers that proptest chose"
)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn key(offset: u64, text: &[u8]) -> CommitKey {
        CommitKey {
            offset,
            size: text.len() as u64,
            crc: label::crc(text),
            flags: 0,
        }
    }

    proptest! {
        #[test]
        fn a_text_is_read_back_from_wherever_it_was_written(start in 0u64..9000, size in 513u64..4096, at in 0u64..4096, text in proptest::collection::vec(any::<u8>(), 1..4096)) {
            let area = Area { offset: start, size };
            let ring = size - 512;
            let text = &text[..text.len().min(ring as usize)];
            let at = 512 + at % ring;
            // Written as LVM does, byte by byte around the ring.
            let mut disk = vec![0; (start + size) as usize];
            for (n, byte) in text.iter().enumerate() {
                disk[(start + 512 + (at - 512 + n as u64) % ring) as usize] = *byte;
            }
            let pieces = pieces(area, &key(at, text)).unwrap();
            let read: Vec<u8> = pieces.iter().flat_map(|p| disk[p.offset as usize..(p.offset + p.size) as usize].to_vec()).collect();
            prop_assert_eq!(&read[..], text);
            prop_assert!(check(&read, &key(at, text)).is_ok());
        }

        #[test]
        fn no_location_leads_out_of_the_area(offset in any::<u64>(), size in any::<u64>(), at in any::<u64>(), length in any::<u64>()) {
            let area = Area { offset, size };
            if let Ok(pieces) = pieces(area, &CommitKey { offset: at, size: length, crc: 0, flags: 0 }) {
                prop_assert_eq!(pieces.iter().map(|p| p.size).sum::<u64>(), length);
                for piece in pieces {
                    prop_assert!(piece.offset >= offset + 512 && piece.offset + piece.size <= offset + size);
                }
            }
        }
    }

    #[test]
    fn another_text_than_the_committed_one_is_noticed() {
        let text = b"vg {\n}\n\0";
        assert_eq!(check(text, &key(512, text)).unwrap(), b"vg {\n}\n");
        let mut torn = text.to_vec();
        torn[3] ^= 1;
        assert_eq!(check(&torn, &key(512, text)), Err(MetadataError::Checksum));
        assert!(check(&text[..7], &key(512, text)).is_err());
    }
}
