//! Reads fixed-width fields out of a sector. Every caller reads a buffer of a length it chose itself, so an index
//! past its end is a mistake in this crate, never in the disk.

/// `N` bytes at `at`.
pub(super) fn bytes<const N: usize>(buf: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&buf[at..at + N]);
    field
}

pub(super) fn le16(buf: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(buf, at))
}

pub(super) fn le32(buf: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(buf, at))
}

pub(super) fn le64(buf: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(buf, at))
}

pub(super) fn be16(buf: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes(buf, at))
}

pub(super) fn be64(buf: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes(buf, at))
}

pub(super) fn be32(buf: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes(buf, at))
}

/// Text up to the first NUL, with anything unprintable escaped: disk contents end up in logs and statuses.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    field[..end].escape_ascii().to_string()
}

/// Sixteen bytes as a UUID in the order they stand (RFC 9562 text form).
pub(super) fn uuid(field: [u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in field.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Sixteen bytes as a GUID: the first three groups are little-endian (UEFI 2.10, appendix A).
pub(super) fn guid(mut field: [u8; 16]) -> String {
    field[..4].reverse();
    field[4..6].reverse();
    field[6..8].reverse();
    uuid(field)
}
