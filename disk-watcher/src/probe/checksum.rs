//! The checksums that on-disk formats carry. They are used where a magic number alone would be weak, and to tell a
//! whole structure from a damaged one; a bad checksum never makes a finding go away.

/// Reflected CRC-32 with polynomial 0x04C11DB7 (0xEDB88320 reflected), without the final inversion: `state` is the
/// running value, so LVM's (initial value 0xf597a6cf, no inversion) and zlib's fall out of one function.
pub(super) fn crc32_update(mut state: u32, data: &[u8]) -> u32 {
    for byte in data {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = (state >> 1) ^ (0xEDB8_8320 & (state & 1).wrapping_neg());
        }
    }
    state
}

/// CRC-32 as in zlib, GPT (UEFI 2.10, 5.3.2) and SNIA DDF 2.0, 4.1.
pub(super) fn crc32(data: &[u8]) -> u32 {
    !crc32_update(!0, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
