//! Physical volumes of LVM in any state, also those that only a power cut leaves behind.

use super::{Sparse, block};

/// First byte of the metadata area, as pvcreate places it.
const AREA: u64 = 4096;
/// Bytes of the metadata area: it ends where data begins, at 1 MiB.
const AREA_SIZE: u64 = (1 << 20) - AREA;

/// A physical volume to be written: label in sector 1, one metadata area, data from 1 MiB.
#[derive(Debug, Clone)]
pub struct LvmImage {
    /// Size of the disk in bytes.
    pub size: u64,
    /// UUID with or without dashes.
    pub pv_uuid: String,
    /// The label says "in a volume group".
    pub used: bool,
    /// Slot 0.
    pub committed: Option<LvmSlot>,
    /// Slot 1.
    pub precommitted: Option<LvmSlot>,
}

/// A text in the metadata area.
#[derive(Debug, Clone)]
pub struct LvmSlot {
    /// First byte, from the area's start; at least 512. A text that passes the area's end goes on at 512.
    pub offset: u64,
    /// The text, without the closing NUL.
    pub text: String,
}

impl LvmImage {
    /// Bytes of the metadata area, for texts that wrap.
    pub const AREA_SIZE: u64 = AREA_SIZE;

    /// The disk.
    pub fn image(&self) -> Sparse {
        let mut disk = Sparse::new(self.size, 512);
        let id: Vec<u8> = self.pv_uuid.bytes().filter(|byte| *byte != b'-').collect();
        let mut label = block(
            512,
            &[
                (0, b"LABELONE"),
                (8, &1_u64.to_le_bytes()),
                (20, &32_u32.to_le_bytes()),
                (24, b"LVM2 001"),
                (32, &id),
                (64, &self.size.to_le_bytes()),
                // Data area from 1 MiB to the end, end of list; metadata area, end of list; extension version 2.
                (72, &(1_u64 << 20).to_le_bytes()),
                (104, &AREA.to_le_bytes()),
                (112, &AREA_SIZE.to_le_bytes()),
                (136, &2_u32.to_le_bytes()),
                (140, &u32::from(self.used).to_le_bytes()),
            ],
        );
        let sum = crc(&label[20..]);
        label[16..20].copy_from_slice(&sum.to_le_bytes());
        disk.put(512, &label);

        let mut header = block(
            512,
            &[
                (4, b" LVM2 x[5A%r0N*>"),
                (20, &1_u32.to_le_bytes()),
                (24, &AREA.to_le_bytes()),
                (32, &AREA_SIZE.to_le_bytes()),
            ],
        );
        for (at, slot) in [(40, &self.committed), (64, &self.precommitted)] {
            if let Some(slot) = slot {
                let text = [slot.text.as_bytes(), &[0]].concat();
                header[at..at + 8].copy_from_slice(&slot.offset.to_le_bytes());
                header[at + 8..at + 16].copy_from_slice(&(text.len() as u64).to_le_bytes());
                header[at + 16..at + 20].copy_from_slice(&crc(&text).to_le_bytes());
                let first = text
                    .len()
                    .min(usize::try_from(AREA_SIZE - slot.offset).unwrap_or(0));
                disk.put(AREA + slot.offset, &text[..first]);
                disk.put(AREA + 512, &text[first..]);
            }
        }
        let sum = crc(&header[4..]);
        header[..4].copy_from_slice(&sum.to_le_bytes());
        disk.put(AREA, &header);
        disk
    }
}

/// LVM's checksum, by its nibble table of the polynomial 0xEDB88320 (`lib/misc/crc.c` gives the same numbers).
fn crc(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..16_u32)
        .map(|nibble| {
            (0..4).fold(nibble, |c, _| {
                if c & 1 == 1 {
                    0xEDB8_8320 ^ (c >> 1)
                } else {
                    c >> 1
                }
            })
        })
        .collect();
    data.iter().fold(0xF597_A6CF, |crc, byte| {
        let mixed = crc ^ u32::from(*byte);
        let half = (mixed >> 4) ^ table[(mixed & 0xF) as usize];
        (half >> 4) ^ table[(half & 0xF) as usize]
    })
}
