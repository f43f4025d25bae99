//! The content check: is there anything on the disk at all, signature or not?

use std::io::{Read, Seek};
use std::ops::ControlFlow;

use super::disk::read_exactly;
use super::{Geometry, ProbeError};

/// How much of a disk has to be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlankPolicy {
    /// Nothing is read and every disk counts as blank: signatures alone decide.
    None,
    /// The first and the last 4 MiB and 64 samples of 64 KiB between, at places that depend on the size alone. Data
    /// that misses all of them stays unseen: samples can refuse a disk, not vouch for one.
    HeadAndTail,
    /// Every byte.
    Full,
}

impl BlankPolicy {
    /// Largest disk that is read in full by default, in bytes.
    pub const FULL_UP_TO: u64 = 64 << 30;

    /// The default for a disk of this size: [`Self::Full`] up to 64 GiB, else [`Self::HeadAndTail`].
    pub fn default_for(size_bytes: u64) -> Self {
        if size_bytes <= Self::FULL_UP_TO {
            Self::Full
        } else {
            Self::HeadAndTail
        }
    }
}

/// Outcome of a content check that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blank {
    /// All that the policy reads is zero.
    Blank,
    /// Something is there.
    NotZero {
        /// First byte, of those the policy reads, that is not zero.
        first_offset: u64,
    },
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes the policy wants read.
    pub total: u64,
}

const EDGE: u64 = 4 << 20;
const SAMPLE: u64 = 64 << 10;
const SAMPLES: u64 = 64;
const PAGE: u64 = 4096;
/// Bytes per read, and so between two calls of `progress`.
const STEP: u64 = 1 << 20;

/// Reads what `policy` asks for, front to back, and stops at the first byte that is not zero. `progress` is called
/// after every MiB at most and cancels by returning [`ControlFlow::Break`].
///
/// # Errors
/// A failed or short read, a geometry that makes no sense, or [`ProbeError::Cancelled`]: none of them means blank.
pub fn check<R: Read + Seek>(
    mut reader: R,
    geometry: Geometry,
    policy: BlankPolicy,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Blank, ProbeError> {
    geometry.check()?;
    let ranges = ranges(geometry.size_bytes, policy);
    let total = ranges.iter().map(|(from, to)| to - from).sum();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    for (from, to) in ranges {
        let mut at = from;
        while at < to {
            let length = usize::try_from((to - at).min(STEP)).unwrap_or(buffer.len());
            let chunk = &mut buffer[..length];
            read_exactly(&mut reader, geometry, at, chunk)?;
            if let Some(index) = first_set(chunk) {
                return Ok(Blank::NotZero {
                    first_offset: at + index,
                });
            }
            at += length as u64;
            done += length as u64;
            if progress(Progress { done, total }).is_break() {
                return Err(ProbeError::Cancelled { offset: at });
            }
        }
    }
    Ok(Blank::Blank)
}

/// Index of the first byte that is not zero. Words first: this loop is what a full check of a fast disk waits for.
fn first_set(chunk: &[u8]) -> Option<u64> {
    let blocks = chunk.chunks(4096).position(|block| {
        let (words, rest) = block.as_chunks::<8>();
        words
            .iter()
            .fold(0, |all, word| all | u64::from_ne_bytes(*word))
            != 0
            || rest.iter().any(|byte| *byte != 0)
    })?;
    let start = blocks * 4096;
    chunk[start..]
        .iter()
        .position(|byte| *byte != 0)
        .map(|index| (start + index) as u64)
}

/// Byte ranges the policy reads, in order and without overlap, each beginning on a page.
fn ranges(size: u64, policy: BlankPolicy) -> Vec<(u64, u64)> {
    match policy {
        BlankPolicy::None => Vec::new(),
        BlankPolicy::Full => vec![(0, size)],
        BlankPolicy::HeadAndTail if size <= 2 * EDGE + SAMPLES * SAMPLE => vec![(0, size)],
        BlankPolicy::HeadAndTail => {
            let tail = (size - EDGE) / PAGE * PAGE;
            let room = tail - EDGE - SAMPLE;
            let sample = |index: u64| {
                let spread = u128::from(room) * u128::from(index) / u128::from(SAMPLES - 1);
                let from = (EDGE + u64::try_from(spread).unwrap_or(room)) / PAGE * PAGE;
                (from, from + SAMPLE)
            };
            let mut ranges = vec![(0, EDGE)];
            ranges.extend((0..SAMPLES).map(sample));
            ranges.push((tail, size));
            ranges
        }
    }
}
