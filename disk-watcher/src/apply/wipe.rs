//! Wiping a disk, as a person asked in so many words. The only place where data of others is
//! destroyed; [`crate::wipe`] says when.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracing::{info, warn};

use super::disk::current_id;
use super::wreck::{Aligned, hold};
use crate::busy;
use crate::config::{RequireZeroed, WipeMethod};
use crate::content;
use crate::facts::{DiskFacts, Root};
use crate::identity::{self, Identity};
use crate::journal;
use crate::node::{chain, host};
use crate::probe::aligned::DirectReader;
use crate::probe::{self, Findings, Geometry};
use crate::rules;

/// In what steps a disk is overwritten, in bytes.
const STEP: u64 = 16 << 20;
/// Both ends of the disk, which come last: until then its fingerprint is what it was, and a
/// wipe that was cut off can begin anew.
const EDGE: u64 = 1 << 20;
/// The unit in which signatures are erased, in bytes; sectors are not larger.
const BLOCK: u64 = 4096;

/// One wipe.
#[derive(Debug, Clone)]
pub struct Job {
    /// The disk.
    pub facts: DiskFacts,
    /// The disk as it was when the request was found good.
    pub identity: Identity,
    /// How.
    pub method: WipeMethod,
    /// Where the signatures' bytes are kept.
    pub keep: PathBuf,
}

/// How far a wipe has come, and whether it is to stop.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that were overwritten.
    pub done: AtomicU64,
    /// Set to stop it between two steps.
    pub stop: AtomicBool,
}

impl Progress {
    fn goes_on(&self) -> Result<(), String> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err("it was stopped; it begins anew with the same request".into()),
            false => Ok(()),
        }
    }
}

/// Wipes, then looks. One open file, held exclusively, from the last look at what stands on
/// the disk to the last byte. Blocks.
///
/// # Errors
/// Why nothing, or not all, was wiped.
pub fn wipe(job: &Job, progress: &Progress) -> Result<(), String> {
    let path = PathBuf::from(job.facts.node());
    let file = hold(&path).map_err(|e| format!("it cannot be held exclusively: {e}"))?;
    if let Some(other) = busy::openers(&Root::host(), &job.facts.family()).first() {
        return Err(format!("{} (pid {}) has it open", other.name, other.pid));
    }
    if let Some(use_of_it) = rules::used_by_the_host(&job.facts, &host()) {
        return Err(use_of_it.to_string());
    }
    let id = &job.identity.id;
    let now = content::read(&file, id.as_str(), RequireZeroed::None)?;
    identity::same(
        &file,
        &current_id(&job.facts, id),
        &now.fingerprint,
        &job.identity,
    )
    .map_err(|e| chain(&e))?;
    progress.goes_on()?;
    warn!(disk = %id, method = ?job.method, "wiping, as was asked");
    match job.method {
        WipeMethod::SignaturesOnly => erase_signatures(&file, &path, job)?,
        WipeMethod::Full => overwrite(&file, job.identity.device.size.0, progress)?,
    }
    file.sync_all().map_err(|e| e.to_string())?;
    let left = scan(&file, job)?;
    if let Some(seen) = left.signatures.first() {
        return Err(format!(
            "{} at byte {} is still there",
            seen.kind.name(),
            seen.offset
        ));
    }
    if job.method == WipeMethod::Full
        && let Some(at) = content::first_byte_behind(&file, 0, RequireZeroed::HeadAndTail)?
    {
        return Err(format!("byte {at} is still not zero"));
    }
    // Partitions that are in use were a reason against it; a kernel that still shows some is
    // a pity, and told by the rules.
    if let Err(error) = identity::forget_partitions(&file) {
        warn!(disk = %id, %error, "the kernel was not told that its partitions are gone");
    }
    info!(disk = %id, method = ?job.method, "wiped");
    Ok(())
}

fn scan(file: &File, job: &Job) -> Result<Findings, String> {
    let device = &job.identity.device;
    let geometry = Geometry {
        size_bytes: device.size.0,
        logical_sector: device.sector,
    };
    let reader = DirectReader::new(file.try_clone().map_err(|e| e.to_string())?);
    probe::scan(reader, geometry).map_err(|e| chain(&e))
}

/// Zeroes the bytes of each signature; all of them are kept in the journal before.
fn erase_signatures(file: &File, path: &Path, job: &Job) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let found = scan(file, job)?.signatures;
    let size = job.identity.device.size.0;
    let block = |offset: u64| {
        (
            offset & !(BLOCK - 1),
            BLOCK.min(size - (offset & !(BLOCK - 1))),
        )
    };
    std::fs::create_dir_all(&job.keep).map_err(io)?;
    for finding in &found {
        for offset in touched(finding.offset, finding.length) {
            let (start, length) = block(offset);
            let mut kept = Aligned::new(usize::try_from(length).unwrap_or(0));
            file.read_exact_at(kept.bytes(), start).map_err(io)?;
            let name = format!("{}-{start}.block", job.identity.fingerprint);
            journal::durable(&job.keep.join(name), kept.bytes()).map_err(|e| chain(&e))?;
        }
    }
    for finding in &found {
        for offset in touched(finding.offset, finding.length) {
            let (start, length) = block(offset);
            let mut bytes = Aligned::new(usize::try_from(length).unwrap_or(0));
            file.read_exact_at(bytes.bytes(), start).map_err(io)?;
            let from = finding.offset.max(start) - start;
            let to = (finding.offset + finding.length).min(start + length) - start;
            let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
            bytes.bytes()[range].fill(0);
            file.write_all_at(bytes.bytes(), start).map_err(io)?;
        }
    }
    Ok(())
}

/// A place in each block that the range touches.
fn touched(offset: u64, length: u64) -> impl Iterator<Item = u64> {
    let first = offset & !(BLOCK - 1);
    (first..offset + length.max(1)).step_by(4096)
}

/// Writes zeroes over all of it: the middle, then the end, then the beginning.
fn overwrite(file: &File, size: u64, progress: &Progress) -> Result<(), String> {
    for (begin, end) in parts(size) {
        let mut at = begin;
        while at < end {
            progress.goes_on()?;
            let length = STEP.min(end - at);
            identity::zero(file, at, length).map_err(|e| format!("at byte {at}: {e}"))?;
            at += length;
            progress.done.fetch_add(length, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// All of a disk of this size, as ranges in the order of their turn.
fn parts(size: u64) -> [(u64, u64); 3] {
    let head = EDGE.min(size);
    let tail = size.saturating_sub(EDGE).max(head);
    [(head, tail), (tail, size), (0, head)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_disk_is_overwritten_once_its_ends_last() {
        for size in [512, EDGE, EDGE + 512, 2 * EDGE, 5 * EDGE + 4096] {
            let mut parts = parts(size);
            assert_eq!(parts[2].0, 0);
            parts.sort_unstable();
            let mut at = 0;
            for (begin, end) in parts {
                assert!(
                    begin <= end && (begin == at || begin == end),
                    "{size}: {parts:?}"
                );
                at = at.max(end);
            }
            assert_eq!(at, size);
        }
    }

    #[test]
    fn a_signature_over_the_edge_of_a_block_touches_both() {
        assert_eq!(touched(1080, 2).collect::<Vec<_>>(), [0]);
        assert_eq!(touched(4095, 2).collect::<Vec<_>>(), [0, 4096]);
        assert_eq!(touched(8192, 4096).collect::<Vec<_>>(), [8192]);
    }
}
