//! Our own half-written label, the only thing this program ever erases.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use tracing::warn;

use super::{ApplyError, advance};
use crate::busy::Claim as Held;
use crate::content;
use crate::facts::DiskFacts;
use crate::journal::{Claim, Journal, Stage};
use crate::node::chain;

/// How much of a wreck's disk is kept before our label on it is erased, in bytes.
const KEPT: usize = 2 << 20;

/// Erases our own half-written label, the only thing this program ever erases. The proofs
/// (our UUID, never grouped, no committed metadata, blank data) were given by the caller
/// and are looked at once more here; the first 2 MiB are kept in the journal before.
pub fn clean_wreck(
    journal: &mut Journal,
    claim: &Claim,
    facts: &DiskFacts,
) -> Result<(), ApplyError> {
    let path = PathBuf::from(facts.node());
    let changed = |why: String| ApplyError::Changed {
        disk: claim.disk.clone(),
        why,
    };
    let held = Held::open(&path).map_err(|e| changed(chain(&e)))?;
    let reading =
        content::read(held.direct(), claim.disk.as_str(), claim.zeroes).map_err(&changed)?;
    let label = reading
        .label
        .filter(|l| l.pv_uuid == claim.pv_uuid && l.used && l.committed().is_empty());
    let label = label.ok_or_else(|| changed("it is no longer the wreck that was seen".into()))?;
    let end = label
        .data_areas
        .iter()
        .map(|area| area.offset)
        .min()
        .unwrap_or(0);
    if claim.stage >= Stage::Grouped || end != content::DATA_START {
        return Err(changed(
            "it was in a group, or its data does not begin where ours would".into(),
        ));
    }
    if !content::is_blank_behind(held.direct(), end, claim.zeroes).map_err(&changed)? {
        return Err(changed("its data area is not blank".into()));
    }
    let mut head = Aligned::new(KEPT);
    held.direct()
        .read_exact_at(head.bytes(), 0)
        .map_err(|e| changed(e.to_string()))?;
    let kept = journal.keep(&claim.pv_uuid, head.bytes())?;
    drop(held);
    erase(&path, end).map_err(|e| changed(e.to_string()))?;
    warn!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, kept = %kept.display(), "erased our own label, left by a cut-off vgcreate");
    advance(journal, claim, Stage::Claimed, None)
}

/// Writes zeroes over the first `end` bytes, the label last: cut at any moment, the disk is
/// still the wreck that it was, or blank.
fn erase(path: &Path, end: u64) -> std::io::Result<()> {
    let flags = libc::O_EXCL | libc::O_DIRECT | libc::O_CLOEXEC;
    let file = File::options().write(true).custom_flags(flags).open(path)?;
    let mut zeroes = Aligned::new(4096);
    for at in (0..end / 4096).rev() {
        file.write_all_at(zeroes.bytes(), at * 4096)?;
    }
    file.sync_all()
}

/// Zeroed memory whose start is aligned to 4 KiB, as O_DIRECT wants.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let memory = vec![0; length + 4096];
        let start = memory.as_ptr().align_offset(4096);
        Self { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let end = self.memory.len() - 4096 + self.start;
        &mut self.memory[self.start..end]
    }
}
