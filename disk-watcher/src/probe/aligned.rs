//! O_DIRECT input: what a probe sees is what the disk holds, not what the page cache remembers.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_DIRECT;

/// Alignment of offset, length and memory of every read. It suits every logical sector size of 512 to 4096 bytes
/// (open(2), "O_DIRECT": since Linux 2.6.0 alignment to the logical block size suffices).
const ALIGN: usize = 4096;

/// Bytes fetched by one read of the device at most.
const WINDOW: usize = 1 << 20;

/// A file opened read-only with O_DIRECT, readable at any offset and length through an aligned buffer.
///
/// The size is the caller's to know (BLKGETSIZE64): seeking from the end is refused rather than answered with the
/// size that a block device's inode shows.
#[derive(Debug)]
pub struct DirectReader {
    file: File,
    position: u64,
    /// Holds one window at an aligned address; `lead` is where that address is.
    buffer: Vec<u8>,
    lead: usize,
    /// Device range the window holds now.
    window: (u64, usize),
}

impl DirectReader {
    /// Opens `path` read-only with O_DIRECT. The descriptor is close-on-exec and not exclusive.
    ///
    /// # Errors
    /// What open(2) says; EINVAL when the file system below has no O_DIRECT.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .custom_flags(O_DIRECT)
            .open(path)
            .map(Self::new)
    }

    /// Reads from `file`, which the caller opened with O_DIRECT (for example together with O_EXCL).
    pub fn new(file: File) -> Self {
        let buffer = vec![0; WINDOW + ALIGN];
        let lead = buffer.as_ptr().align_offset(ALIGN);
        Self {
            file,
            position: 0,
            buffer,
            lead,
            window: (0, 0),
        }
    }

    /// The file, for ioctls.
    pub fn get_ref(&self) -> &File {
        &self.file
    }

    /// Makes the window cover `position`, in one read of the device.
    fn fetch(&mut self, wanted: usize) -> io::Result<()> {
        let start = self.position / ALIGN as u64 * ALIGN as u64;
        let skip = usize::try_from(self.position - start).unwrap_or(0);
        let length = (skip + wanted).next_multiple_of(ALIGN).min(WINDOW);
        self.window = (0, 0);
        let target = &mut self.buffer[self.lead..self.lead + length];
        let count = self.file.read_at(target, start)?;
        self.window = (start, count);
        Ok(())
    }

    /// Part of the window from `position` on; empty when the window does not cover it.
    fn held(&self) -> &[u8] {
        let (start, length) = self.window;
        let skip = self
            .position
            .checked_sub(start)
            .and_then(|skip| usize::try_from(skip).ok());
        match skip {
            Some(skip) if skip < length => &self.buffer[self.lead + skip..self.lead + length],
            _ => &[],
        }
    }
}

impl Read for DirectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.held().is_empty() {
            self.fetch(out.len())?;
        }
        let held = self.held();
        let count = held.len().min(out.len());
        out[..count].copy_from_slice(&held[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for DirectReader {
    /// Moves the position and drops what was read before, so that a second look is a second read of the disk.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(_) => None,
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        self.window = (0, 0);
        Ok(self.position)
    }
}
