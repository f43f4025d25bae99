//! The bytes of a copy: read, and written or, where they are zero, cleared.

use std::io;

use nix::libc;

use crate::lvm::devices::Aligned;
use crate::volumes::opened::Opened;

/// How much is read at a time, in bytes.
const PIECE: usize = 1 << 20;
/// How much is cleared at a time at the most, in bytes.
const CLEARED: u64 = 64 << 20;

/// What a copy is written to.
pub(super) trait Target {
    /// Writes `bytes` at `at`.
    ///
    /// # Errors
    /// The device's.
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Has `length` bytes at `at` read as zero, whatever they were.
    ///
    /// # Errors
    /// The device's.
    fn clear(&self, at: u64, length: u64) -> io::Result<()>;
}

impl Target for Opened {
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self.file(), bytes, at)
    }

    fn clear(&self, at: u64, length: u64) -> io::Result<()> {
        self.zero(at, length)
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything is there.
    Whole,
    /// It was told to stop.
    Stopped,
}

/// The flags with which both devices are opened: past the page cache, which is the pods'.
pub(super) const FLAGS: i32 = libc::O_DIRECT;

/// Copies the first `length` bytes. `progress` is told how far it is, and answers whether to go on.
///
/// # Errors
/// The first of either side.
pub(super) fn transfer(
    read: &dyn Fn(&mut [u8], u64) -> io::Result<()>,
    target: &dyn Target,
    length: u64,
    progress: &dyn Fn(u64) -> bool,
) -> io::Result<Ended> {
    let mut buffer = Aligned::new(PIECE);
    let zeroes = vec![0; PIECE];
    let (mut at, mut zero_from) = (0u64, None::<u64>);
    while at < length {
        if !progress(at) {
            return Ok(Ended::Stopped);
        }
        let size = usize::try_from(length - at).map_or(PIECE, |rest| rest.min(PIECE));
        let piece = &mut buffer.bytes()[..size];
        read(piece, at)?;
        let is_zero = *piece == zeroes[..size];
        let from = zero_from.unwrap_or(at);
        if !is_zero && from < at {
            target.clear(from, at - from)?;
        }
        if !is_zero {
            target.write(at, piece)?;
        }
        at += size as u64;
        zero_from = is_zero.then_some(from);
        if is_zero && (at - from >= CLEARED || at == length) {
            target.clear(from, at - from)?;
            zero_from = None;
        }
    }
    Ok(Ended::Whole)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// What was on the disk before is another tenant's.
    struct Disk {
        bytes: RefCell<Vec<u8>>,
        cleared: RefCell<Vec<(u64, u64)>>,
    }

    impl Target for Disk {
        fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(at).unwrap();
            self.bytes.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn clear(&self, at: u64, length: u64) -> io::Result<()> {
            self.cleared.borrow_mut().push((at, length));
            let length = usize::try_from(length).unwrap();
            self.write(at, &vec![0; length])
        }
    }

    fn copy(source: &[u8], stop_at: Option<u64>) -> (Ended, Disk) {
        let disk = Disk {
            bytes: RefCell::new(vec![0xff; source.len()]),
            cleared: RefCell::default(),
        };
        let read = |piece: &mut [u8], at: u64| {
            let at = usize::try_from(at).unwrap();
            piece.copy_from_slice(&source[at..at + piece.len()]);
            Ok(())
        };
        let last = Cell::new(0);
        let progress = |at| {
            assert!(at >= last.replace(at));
            stop_at.is_none_or(|stop| at < stop)
        };
        let ended = transfer(&read, &disk, source.len() as u64, &progress).unwrap();
        (ended, disk)
    }

    #[test]
    fn every_byte_is_the_sources_also_where_it_is_zero() {
        let mib = PIECE;
        // Zeroes at the beginning, in the middle, twice, and at an end that is no whole piece.
        let mut source = vec![0; 9 * mib + 4096];
        for piece in [2, 5, 6] {
            source[piece * mib + 17] = 1;
        }
        let (ended, disk) = copy(&source, None);
        assert_eq!(ended, Ended::Whole);
        assert!(*disk.bytes.borrow() == source);
        let mib = mib as u64;
        assert_eq!(
            *disk.cleared.borrow(),
            [(0, 2 * mib), (3 * mib, 2 * mib), (7 * mib, 2 * mib + 4096)]
        );
    }

    #[test]
    fn nothing_but_zeroes_is_cleared_in_steps_between_which_it_can_be_stopped() {
        let source = vec![0; usize::try_from(CLEARED).unwrap() + 3 * PIECE];
        let (_, disk) = copy(&source, None);
        assert!(*disk.bytes.borrow() == source);
        assert_eq!(
            *disk.cleared.borrow(),
            [(0, CLEARED), (CLEARED, 3 * PIECE as u64)]
        );
        let (ended, disk) = copy(&vec![1; 4 * PIECE], Some(2 * PIECE as u64));
        assert_eq!(ended, Ended::Stopped);
        assert!(disk.bytes.borrow()[2 * PIECE..].iter().all(|b| *b == 0xff));
    }
}
