//! The device of a volume that nobody uses, opened to write over it or to read it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::libc;

use crate::dm;
use crate::units::Bytes;

/// Which device is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its device-mapper uuid.
    pub(super) uuid: String,
    /// The size it must have: no smaller, or something of it is left out, and no larger, or it is not the volume's own
    /// space.
    pub(super) size: Bytes,
}

/// A device that was shown to be the one that is wanted.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    size: u64,
}

impl Opened {
    /// Opens it to write, if nobody else has it open, and keeps it from being mounted.
    ///
    /// # Errors
    /// It is another, has another size, or somebody has it open.
    pub(super) fn to_write(wanted: &Wanted, flags: i32) -> io::Result<Self> {
        // O_EXCL: nobody has it mounted, and nobody can while we write (open(2)).
        let mut options = File::options();
        options
            .write(true)
            .custom_flags(libc::O_EXCL | libc::O_CLOEXEC | flags);
        let (opened, device) = Self::open(wanted, &options)?;
        // A pod writes to a raw volume without O_EXCL.
        if device.open_count != 1 {
            return Err(io::Error::other("somebody else has it open"));
        }
        Ok(opened)
    }

    /// Opens it to read.
    ///
    /// # Errors
    /// It is another, or has another size.
    pub(super) fn to_read(wanted: &Wanted, flags: i32) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_CLOEXEC | flags);
        Self::open(wanted, &options).map(|(opened, _)| opened)
    }

    fn open(wanted: &Wanted, options: &std::fs::OpenOptions) -> io::Result<(Self, dm::Device)> {
        let control = dm::Control::open()?;
        let find = || {
            control
                .device(&wanted.uuid)?
                .ok_or_else(|| io::Error::other("it has no device"))
        };
        let path = format!("/dev/dm-{}", find()?.devno.1);
        let file = options.open(&path)?;
        // While it is open its number cannot become another device's, so what
        // device-mapper says of the uuid from here on is said of the open file.
        let (rdev, device) = (file.metadata()?.rdev(), find()?);
        if (libc::major(rdev), libc::minor(rdev)) != device.devno {
            return Err(io::Error::other(format!("{path} is another device now")));
        }
        let mut size = 0u64;
        #[expect(unsafe_code, reason = "the size of a block device is an ioctl")]
        // SAFETY: BLKGETSIZE64 writes one u64, and `size` is one.
        Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64, &raw mut size) })?;
        if Bytes(size) != wanted.size {
            let (is, wanted) = (Bytes(size), wanted.size);
            let why = format!("its device has {is}, its metadata {wanted}");
            return Err(io::Error::other(why));
        }
        Ok((Self { file, size }, device))
    }

    /// The open device.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Writes `length` zeroes at `at`, through the device's own offload where it has one.
    ///
    /// # Errors
    /// The device's.
    pub(super) fn zero(&self, at: u64, length: u64) -> io::Result<()> {
        let range = [at, length];
        #[expect(unsafe_code, reason = "BLKZEROOUT is an ioctl")]
        // SAFETY: BLKZEROOUT reads two u64, start and length in bytes, and `range` is two.
        Errno::result(unsafe { libc::ioctl(self.file.as_raw_fd(), BLKZEROOUT, range.as_ptr()) })?;
        Ok(())
    }

    /// Has the disk keep what was written.
    ///
    /// # Errors
    /// The device's.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

// Linux include/uapi/linux/fs.h
const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
const BLKZEROOUT: libc::c_ulong = 0x127f;
