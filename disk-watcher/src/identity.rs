//! Whether the disk behind an open file is still the disk that was judged.
//!
//! Names are reused: between the judgement and the first write a disk can be pulled
//! and another plugged in under its name. Directly before that write the device
//! number, the disk sequence number, the geometry and the bytes at both ends are
//! compared with those judged.

mod ioctl;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use lvmd::units::{Bytes, MIB};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::busy::devno;
use crate::facts::{DevNo, DiskId};

/// How much of each end goes into the fingerprint, in bytes.
const END: u64 = MIB;
/// No disk we take has larger sectors; direct reads are aligned to it.
const ALIGN: usize = 4096;

/// A disk as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: DiskId,
    /// What the kernel says of it.
    pub device: Device,
    /// The types of the signatures found on it, sorted.
    pub signatures: Vec<String>,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

/// What the kernel says of an open block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its device number.
    pub dev: DevNo,
    /// Its disk sequence number: never given twice between two boots.
    pub diskseq: u64,
    /// Its size.
    pub size: Bytes,
    /// Its logical sector, in bytes.
    pub sector: u32,
}

/// sha256 over id, size, signatures and the first and last 1 MiB, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// It is not the disk that was judged, or that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Changed {
    /// A value differs.
    #[error("{what} was {was} when the disk was judged and is {is}")]
    Value {
        /// Which value.
        what: &'static str,
        /// Then.
        was: String,
        /// Now.
        is: String,
    },
    /// The disk cannot be asked or read.
    #[error("the disk cannot be compared with the one judged")]
    Unreadable(#[from] io::Error),
}

impl Identity {
    /// Takes down who the open disk is.
    ///
    /// # Errors
    /// An ioctl or a read failed.
    pub fn of(file: &File, id: DiskId, signatures: Vec<String>) -> io::Result<Self> {
        let device = Device::of(file)?;
        let mut signatures = signatures;
        signatures.sort();
        let fingerprint = Fingerprint::of(file, device.size, &id, &signatures)?;
        Ok(Self {
            id,
            device,
            signatures,
            fingerprint,
        })
    }
}

/// Checks that the open disk is the one in `expected`. Its id is read from sysfs, not
/// from an open file; the caller compares that one.
///
/// # Errors
/// The first value that differs; a value that cannot be read counts as one.
pub fn same(file: &File, expected: &Identity) -> Result<(), Changed> {
    same_device(&Device::of(file)?, &expected.device)?;
    let now = Fingerprint::of(
        file,
        expected.device.size,
        &expected.id,
        &expected.signatures,
    )?;
    differ("the fingerprint", &expected.fingerprint.0, &now.0)
}

fn same_device(now: &Device, judged: &Device) -> Result<(), Changed> {
    differ("the device number", &judged.dev, &now.dev)?;
    differ("the disk sequence number", &judged.diskseq, &now.diskseq)?;
    differ("the size", &judged.size.0, &now.size.0)?;
    differ("the sector size", &judged.sector, &now.sector)
}

fn differ<T: PartialEq + ToString>(what: &'static str, was: &T, is: &T) -> Result<(), Changed> {
    if was == is {
        return Ok(());
    }
    Err(Changed::Value {
        what,
        was: was.to_string(),
        is: is.to_string(),
    })
}

impl Device {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The file is no block device, the disk is gone, or the kernel is older than 5.15.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self {
            dev: devno(file.metadata()?.rdev()),
            diskseq: ioctl::diskseq(file)?,
            size: Bytes(ioctl::size(file)?),
            sector: ioctl::logical_sector(file)?,
        })
    }
}

impl Fingerprint {
    /// Reads both ends of `file`, whose size is `size`; on a disk of less than 2 MiB
    /// they overlap.
    ///
    /// # Errors
    /// A read failed.
    pub fn of(file: &File, size: Bytes, id: &DiskId, signatures: &[String]) -> io::Result<Self> {
        let mut hash = Sha256::new();
        // Lengths and a last byte that no text has keep the parts apart.
        for part in [id.as_str(), &size.0.to_string(), &signatures.join("\u{1}")] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let end = END.min(size.0);
        hash.update(read_aligned(file, 0, end)?);
        hash.update(read_aligned(file, size.0 - end, end)?);
        let digest = hash.finalize();
        Ok(Self(
            digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads `length` bytes at `offset`, whatever the alignment, from a file that may be
/// opened with `O_DIRECT`. The range must lie in the file, whose size is a multiple of
/// its sector.
///
/// # Errors
/// A read failed, or the file ended early.
pub fn read_aligned(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    const STEP: u64 = ALIGN as u64;
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let start = offset - offset % STEP;
    let skip = usize::try_from(offset - start).map_err(too_large)?;
    let length = usize::try_from(length).map_err(too_large)?;
    let wanted = skip + length;
    let mut memory = vec![0; wanted.next_multiple_of(ALIGN) + ALIGN];
    let shift = memory.as_ptr().align_offset(ALIGN);
    let aligned = memory
        .get_mut(shift..shift + wanted.next_multiple_of(ALIGN))
        .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut done = 0;
    while done < wanted {
        let at = start + u64::try_from(done).map_err(too_large)?;
        match file.read_at(&mut aligned[done..], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(aligned[skip..wanted].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device {
            dev: DevNo { major: 8, minor: 0 },
            diskseq: 7,
            size: Bytes(4 * MIB),
            sector: 512,
        }
    }

    fn id() -> DiskId {
        DiskId::from("naa.1".to_owned())
    }

    #[test]
    fn every_difference_is_named() {
        assert!(same_device(&device(), &device()).is_ok());
        for (other, text) in [
            (
                Device {
                    dev: DevNo {
                        major: 8,
                        minor: 16,
                    },
                    ..device()
                },
                "the device number was 8:0 when the disk was judged and is 8:16",
            ),
            (
                Device {
                    diskseq: 8,
                    ..device()
                },
                "the disk sequence number was 7 when the disk was judged and is 8",
            ),
            (
                Device {
                    size: Bytes(1),
                    ..device()
                },
                "the size was 4194304 when the disk was judged and is 1",
            ),
            (
                Device {
                    sector: 4096,
                    ..device()
                },
                "the sector size was 512 when the disk was judged and is 4096",
            ),
        ] {
            assert_eq!(
                same_device(&other, &device()).unwrap_err().to_string(),
                text
            );
        }
    }

    #[test]
    fn one_byte_at_either_end_changes_the_fingerprint() {
        let file = tempfile::tempfile().unwrap();
        let size = Bytes(4 * MIB);
        file.set_len(size.0).unwrap();
        let print = || Fingerprint::of(&file, size, &id(), &[]).unwrap();
        let blank = print();
        assert_eq!(blank.as_str().len(), 64);
        file.write_at(&[1], 2 * MIB).unwrap();
        assert_eq!(print(), blank, "the middle is not read");
        for offset in [0, MIB - 1, 3 * MIB, 4 * MIB - 1] {
            file.write_at(&[1], offset).unwrap();
            assert_ne!(print(), blank, "{offset}");
            file.write_at(&[0], offset).unwrap();
        }
        assert_eq!(print(), blank);
        let other = Fingerprint::of(&file, size, &DiskId::from("x".to_owned()), &[]).unwrap();
        assert_ne!(other, blank);
        let signed = Fingerprint::of(&file, size, &id(), &["ext4".to_owned()]).unwrap();
        assert_ne!(signed, blank);
    }

    #[test]
    fn any_range_is_read_from_a_file_that_wants_alignment() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..20_480u32)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        file.write_at(&bytes, 0).unwrap();
        for (offset, length) in [(0, 1), (511, 2), (4095, 4098), (8191, 12_289), (20_479, 1)] {
            let from = usize::try_from(offset).unwrap();
            let to = from + usize::try_from(length).unwrap();
            assert_eq!(
                read_aligned(&file, offset, length).unwrap(),
                bytes[from..to]
            );
        }
        let error = read_aligned(&file, 20_479, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_block_device_cannot_be_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let expected = Identity {
            id: id(),
            device: device(),
            signatures: Vec::new(),
            fingerprint: Fingerprint("0".to_owned()),
        };
        assert!(matches!(
            same(&file, &expected),
            Err(Changed::Unreadable(_))
        ));
    }
}
