//! A writer that hides nothing: around the page cache, each write timed, and everything
//! read back and compared.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use nix::libc;
use sha2::{Digest, Sha256};

const BLOCK: usize = 1 << 20;
const SPOT: usize = 4096;

/// What was written and how it went.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) blocks: u64,
    pub(crate) longest_write: Duration,
    pub(crate) longest_fsync: Duration,
    pub(crate) took: Duration,
    digest: Vec<u8>,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} MiB in {} ms, longest write {} ms, longest fsync {} ms",
            self.blocks,
            self.took.as_millis(),
            self.longest_write.as_millis(),
            self.longest_fsync.as_millis()
        )
    }
}

/// Writes `blocks` blocks of 1 MiB, each different, from `first` on; fsync after each 32.
pub(crate) fn write(device: &str, first: u64, blocks: u64) -> std::io::Result<Written> {
    let file = File::options()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(device)?;
    let (mut written, mut digest) = (Written::default(), Sha256::new());
    let mut memory = Aligned::new();
    let started = Instant::now();
    for number in first..first + blocks {
        let block = memory.bytes();
        fill(block, number);
        digest.update(&*block);
        let begun = Instant::now();
        file.write_all_at(block, number * BLOCK as u64)?;
        written.longest_write = written.longest_write.max(begun.elapsed());
        if number % 32 == 31 {
            let begun = Instant::now();
            file.sync_all()?;
            written.longest_fsync = written.longest_fsync.max(begun.elapsed());
        }
        written.blocks += 1;
    }
    file.sync_all()?;
    written.took = started.elapsed();
    written.digest = digest.finalize().to_vec();
    Ok(written)
}

/// Whether the device gives back what was written.
pub(crate) fn is_there(device: &str, first: u64, written: &Written) -> bool {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(device)
        .unwrap();
    let mut digest = Sha256::new();
    let mut memory = Aligned::new();
    for number in first..first + written.blocks {
        let block = memory.bytes();
        file.read_exact_at(block, number * BLOCK as u64).unwrap();
        digest.update(&*block);
    }
    digest.finalize().to_vec() == written.digest
}

/// Single spots of a device, of 4 KiB each.
pub(crate) struct Spots(File);

impl Spots {
    pub(crate) fn open(device: &str) -> Self {
        let mut options = File::options();
        options.read(true).write(true);
        Self(options.custom_flags(libc::O_DIRECT).open(device).unwrap())
    }

    /// Writes a mark at the beginning of this MiB; gives how long it took.
    pub(crate) fn write(&self, mib: u64, mark: u64) -> std::io::Result<Duration> {
        let mut memory = Aligned::new();
        let spot = &mut memory.bytes()[..SPOT];
        fill(spot, mark);
        let begun = Instant::now();
        self.0.write_all_at(spot, mib * BLOCK as u64)?;
        Ok(begun.elapsed())
    }

    /// Whether the mark is there.
    pub(crate) fn has(&self, mib: u64, mark: u64) -> bool {
        let (mut memory, mut wanted) = (Aligned::new(), [0; SPOT]);
        fill(&mut wanted, mark);
        let spot = &mut memory.bytes()[..SPOT];
        self.0.read_exact_at(spot, mib * BLOCK as u64).unwrap();
        *spot == wanted
    }
}

/// Bytes that tell their block, cheap to make.
fn fill(block: &mut [u8], number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in block.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

/// A block whose address is a multiple of 4 KiB, as O_DIRECT wants.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; BLOCK + 4096];
        let start = memory.as_ptr().align_offset(4096);
        Self { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BLOCK]
    }
}
