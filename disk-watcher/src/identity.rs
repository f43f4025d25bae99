//! Whether the disk behind an open file is still the disk that was judged.
//!
//! Names are reused: between the judgement and the first write a disk can be pulled
//! and another plugged in under its name. Directly before that write the device
//! number, the disk sequence number and the geometry are asked of the open file again,
//! and id and fingerprint, read anew by the caller, are compared with those judged.

mod ioctl;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use lvmd::units::Bytes;

use crate::busy::devno;
use crate::facts::{DevNo, DiskId};

/// A disk as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id, from sysfs.
    pub id: DiskId,
    /// What the kernel says of it.
    pub device: Device,
    /// The digest of what stands on it: size, both ends, signatures (the probes' own).
    pub fingerprint: String,
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
    /// Whether it refuses writes.
    pub read_only: bool,
}

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
    /// The disk cannot be asked.
    #[error("the disk cannot be compared with the one judged")]
    Unreadable(#[from] io::Error),
}

/// Checks that the open disk is the one in `judged`. `id` and `fingerprint` are those
/// the caller has just read anew, the fingerprint through the same open file.
///
/// # Errors
/// The first value that differs; a value that cannot be read counts as one.
pub fn same(file: &File, id: &DiskId, fingerprint: &str, judged: &Identity) -> Result<(), Changed> {
    let now = Identity {
        id: id.clone(),
        device: Device::of(file)?,
        fingerprint: fingerprint.to_owned(),
    };
    compare(&now, judged)
}

fn compare(now: &Identity, judged: &Identity) -> Result<(), Changed> {
    let (is, was) = (&now.device, &judged.device);
    differ("the device number", &was.dev, &is.dev)?;
    differ("the disk sequence number", &was.diskseq, &is.diskseq)?;
    differ("the size", &was.size.0, &is.size.0)?;
    differ("the sector size", &was.sector, &is.sector)?;
    differ("the write protection", &was.read_only, &is.read_only)?;
    differ("the id", &judged.id, &now.id)?;
    differ("the fingerprint", &judged.fingerprint, &now.fingerprint)
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
            read_only: ioctl::read_only(file)?,
        })
    }
}

/// Overwrites a range of the open disk with zeroes; see BLKZEROOUT.
///
/// # Errors
/// It does not do that.
pub(crate) fn zero(file: &File, start: u64, length: u64) -> io::Result<()> {
    ioctl::zero(file, start, length)
}

/// Has the kernel read the partition table of the open disk anew.
///
/// # Errors
/// One of its partitions is in use, or it has none ever.
pub(crate) fn forget_partitions(file: &File) -> io::Result<()> {
    ioctl::reread_partitions(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged() -> Identity {
        Identity {
            id: DiskId::from("naa.1".to_owned()),
            device: Device {
                dev: DevNo { major: 8, minor: 0 },
                diskseq: 7,
                size: Bytes(4096),
                sector: 512,
                read_only: false,
            },
            fingerprint: "a1".to_owned(),
        }
    }

    #[test]
    fn every_difference_is_named() {
        assert!(compare(&judged(), &judged()).is_ok());
        type Change = (fn(&mut Identity), &'static str);
        let changes: [Change; 7] = [
            (
                |i| i.device.dev.minor = 16,
                "the device number was 8:0 when the disk was judged and is 8:16",
            ),
            (
                |i| i.device.diskseq = 8,
                "the disk sequence number was 7 when the disk was judged and is 8",
            ),
            (
                |i| i.device.size.0 = 1,
                "the size was 4096 when the disk was judged and is 1",
            ),
            (
                |i| i.device.sector = 4096,
                "the sector size was 512 when the disk was judged and is 4096",
            ),
            (
                |i| i.device.read_only = true,
                "the write protection was false when the disk was judged and is true",
            ),
            (
                |i| i.id = DiskId::from("naa.2".to_owned()),
                "the id was naa.1 when the disk was judged and is naa.2",
            ),
            (
                |i| i.fingerprint = "b2".to_owned(),
                "the fingerprint was a1 when the disk was judged and is b2",
            ),
        ];
        for (change, text) in changes {
            let mut now = judged();
            change(&mut now);
            assert_eq!(compare(&now, &judged()).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_block_device_cannot_be_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let judged = judged();
        let result = same(&file, &judged.id, &judged.fingerprint, &judged);
        assert!(matches!(result, Err(Changed::Unreadable(_))));
    }
}
