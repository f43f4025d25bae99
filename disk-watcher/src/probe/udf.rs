//! UDF, by its volume recognition sequence and by its anchors.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{le16, le32};
use super::{Finding, ProbeError, SignatureKind};

/// Identifiers of the descriptors of a recognition sequence (ECMA-167, 2/9.1) that ISO 9660 has not.
const IDS: [&[u8]; 6] = [b"BEA01", b"BOOT2", b"CDW02", b"NSR02", b"NSR03", b"TEA01"];

/// The recognition sequence begins at 32 KiB in steps of 2048 bytes, or of the block when that is larger. An anchor
/// volume descriptor pointer is at two of: block 256, the last block, 256 blocks before it (ECMA-167, 3/8.4.2.1;
/// UDF 2.60, 2.2.3), for blocks of 512 to 4096 bytes.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    for step in [2048, 4096] {
        for index in 0..16 {
            let offset = 0x8000 + index * step + 1;
            if disk
                .at(offset, 5)?
                .is_some_and(|id| IDS.contains(&id.as_slice()))
            {
                let detail = "volume recognition sequence".into();
                found.push(Finding {
                    kind: SignatureKind::Udf,
                    offset,
                    length: 5,
                    detail,
                });
            }
        }
    }
    for block in [512, 1024, 2048, 4096] {
        let last = (disk.size() / block).checked_sub(1);
        for number in [Some(256), last, last.and_then(|last| last.checked_sub(256))]
            .into_iter()
            .flatten()
        {
            let offset = number * block;
            if disk
                .at(offset, 512)?
                .is_some_and(|tag| is_anchor(&tag, number))
            {
                let detail = "anchor volume descriptor pointer".into();
                found.push(Finding {
                    kind: SignatureKind::Udf,
                    offset,
                    length: 2,
                    detail,
                });
            }
        }
    }
    Ok(())
}

/// A descriptor tag (ECMA-167, 3/7.2): identifier 2, the checksum of its sixteen bytes at 4, its own block at 12.
fn is_anchor(tag: &[u8], number: u64) -> bool {
    let sum = tag[..16]
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 4)
        .fold(0_u8, |sum, (_, b)| sum.wrapping_add(*b));
    le16(tag, 0) == 2 && tag[4] == sum && u64::from(le32(tag, 12)) == number
}
