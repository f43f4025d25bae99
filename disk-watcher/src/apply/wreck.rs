//! Our own half-written label, the only thing this program erases unasked.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lvmd::cmd::Runner;
use lvmd::lvm::snapshot::{Snapshot, VgView};
use nix::libc;
use tracing::warn;

use super::{ApplyError, advance};
use crate::busy;
use crate::config::RequireZeroed;
use crate::content::{self, DATA_START, Untouched, WholeReads};
use crate::facts::{DiskFacts, Root};
use crate::journal::{Claim, Journal, Leaving, Stage};
use crate::node::{NodeReader, chain};
use crate::wreck::{self, BLOCK, Joining, Making};

/// How much of a wreck's disk is kept before our label on it is erased, in bytes.
const KEPT: usize = 2 << 20;
/// Why nothing is erased on a disk of another size than the claim's.
const SIZE_CHANGED: &str = "its size is not what it was";

/// Erases our own half-written label, the only thing this program ever erases. The proofs
/// ([`wreck::proven`], blank data) were given by the caller and are looked at once more
/// here, on the one open file through which it is erased then; the first 2 MiB are kept in
/// the journal before.
pub async fn clean_wreck<R: Runner + Clone>(
    node: &NodeReader<R>,
    whole: &WholeReads,
    journal: &mut Journal,
    claim: &Claim,
    facts: &DiskFacts,
) -> Result<(), ApplyError> {
    let changed = ApplyError::changed(&claim.disk);
    let snapshot = node.snapshot(&[]).await.map_err(&changed)?;
    no_group_lists(&snapshot, claim).map_err(&changed)?;
    let file = hold_alone(facts).map_err(&changed)?;
    let joining = match snapshot.vg(&claim.volume_group) {
        None => None,
        Some(view) if view.frozen.is_empty() && view.vg.owner() == Some(journal.owner()) => {
            Some(Joining {
                uuid: view.vg.uuid.clone(),
                seqno: view.vg.seqno,
            })
        }
        Some(_) => return Err(changed("its group is frozen or not ours".into())),
    };
    file.sync_all().map_err(|e| changed(e.to_string()))?;
    let reads = Untouched::now(&facts.name).map_or(u64::MAX, |(_, reads)| reads);
    proven(&file, claim, journal, joining).map_err(&changed)?;
    if claim.zeroes == RequireZeroed::Full
        && let found = content::all_now(whole, &file, facts, DATA_START, reads)
        && let Some(error) = ApplyError::unless_blank(&claim.disk, found)
    {
        return Err(error);
    }
    let kept = keep_head(&file, journal, claim)?;
    // Before the first byte: once the label is gone, nothing on the disk says what it was.
    advance(journal, claim, Stage::Claimed, None)?;
    erase(&file).map_err(|e| changed(e.to_string()))?;
    warn!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, kept = %kept.display(), "erased our own label, left by a cut-off command");
    Ok(())
}

/// Erases the label of a disk that left its group at a person's request, where vgreduce was
/// cut off at its last write: the label says that it belongs to a group, its metadata area
/// says nothing, and LVM would have to be forced. The journal says that it was on its way
/// out, and the group is whole and does not list it. Its first 2 MiB are kept before.
pub(super) async fn erase_label<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    claim: &Claim,
    facts: &DiskFacts,
) -> Result<(), ApplyError> {
    let changed = ApplyError::changed(&claim.disk);
    let no = |why: &str| Err(changed(why.to_owned()));
    let snapshot = node.snapshot(&[]).await.map_err(&changed)?;
    no_group_lists(&snapshot, claim).map_err(&changed)?;
    let left = snapshot
        .vgs
        .iter()
        .find(|view| Some(&view.vg.uuid) == claim.vg_uuid.as_ref());
    if left.is_none_or(|view| !view.frozen.is_empty() || view.vg.owner() != Some(journal.owner())) {
        return no("the group that it left is not there, not whole or not ours");
    }
    if claim.leaving != Some(Leaving::Reducing) {
        return no("the journal does not say that it was on its way out");
    }
    let file = hold_alone(facts).map_err(&changed)?;
    let reading =
        content::read(&file, claim.disk.as_str(), RequireZeroed::None).map_err(&changed)?;
    if reading.device.size != claim.size {
        return no(SIZE_CHANGED);
    }
    let ours = reading.label.is_some_and(|label| {
        label.pv_uuid == claim.pv_uuid && label.used && label.committed_nothing()
    });
    if !ours {
        return no("its label is not ours, or metadata is there");
    }
    let kept = keep_head(&file, journal, claim)?;
    let mut zeroes = Aligned::new(BLOCK);
    file.write_all_at(zeroes.bytes(), 0)
        .and_then(|()| file.sync_all())
        .map_err(|e| changed(e.to_string()))?;
    warn!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, kept = %kept.display(), "erased our own label, left by a cut-off vgreduce");
    Ok(())
}

/// All proofs that the disk itself and the journal can give without reading all of it.
///
/// # Errors
/// The one that is missing.
pub(crate) fn proven(
    file: &File,
    claim: &Claim,
    journal: &Journal,
    joining: Option<Joining>,
) -> Result<(), String> {
    let reading = content::read(file, claim.disk.as_str(), RequireZeroed::None)?;
    let label = reading.label.ok_or("it has no label, or several")?;
    if reading.device.size != claim.size {
        return Err(SIZE_CHANGED.into());
    }
    let making = Making {
        owner: journal.owner(),
        pv_uuids: journal
            .claims()
            .filter(|other| other.class == claim.class)
            .map(|other| other.pv_uuid.as_str())
            .collect(),
        joining,
        kept: journal.kept(&claim.pv_uuid).map_err(|e| chain(&e))?,
    };
    let mut head = Aligned::new(usize::try_from(DATA_START).unwrap_or(0));
    file.read_exact_at(head.bytes(), 0)
        .map_err(|e| e.to_string())?;
    wreck::proven(claim, &making, &label, head.bytes())?;
    if content::is_blank_behind(file, DATA_START, RequireZeroed::HeadAndTail)? {
        Ok(())
    } else {
        Err("its data area is not blank".into())
    }
}

fn no_group_lists(snapshot: &Snapshot, claim: &Claim) -> Result<(), String> {
    let lists = |view: &&VgView| view.vg.pvs.iter().any(|pv| pv.uuid == claim.pv_uuid);
    match snapshot.vgs.iter().find(lists) {
        Some(view) => Err(format!("group {} lists it", view.vg.name)),
        None => Ok(()),
    }
}

/// Holds the disk, which nobody else has open.
fn hold_alone(facts: &DiskFacts) -> Result<File, String> {
    let file = hold(Path::new(&facts.node())).map_err(|e| e.to_string())?;
    let others = busy::openers(&Root::host(), &facts.family());
    match others.first() {
        Some(other) => Err(format!("{} (pid {}) has it open", other.name, other.pid)),
        None => Ok(file),
    }
}

/// Keeps the first 2 MiB in the journal.
fn keep_head(file: &File, journal: &Journal, claim: &Claim) -> Result<PathBuf, ApplyError> {
    let mut head = Aligned::new(KEPT);
    file.read_exact_at(head.bytes(), 0)
        .map_err(|e| ApplyError::changed(&claim.disk)(e.to_string()))?;
    Ok(journal.keep(&claim.pv_uuid, head.bytes())?)
}

/// Opens the disk for reading and for erasing, exclusively: one file from the last look to
/// the last byte, so that no other disk can come to be behind the name.
pub(super) fn hold(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_EXCL | libc::O_DIRECT | libc::O_DSYNC | libc::O_CLOEXEC;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
}

/// Writes zeroes over everything before the data, the label last, each block on the disk
/// before the next: cut at any moment, it is partly erased under its label, or blank.
fn erase(file: &File) -> std::io::Result<()> {
    let mut zeroes = Aligned::new(BLOCK);
    for at in (0..DATA_START / BLOCK as u64).rev() {
        file.write_all_at(zeroes.bytes(), at * BLOCK as u64)?;
    }
    file.sync_all()
}

/// Zeroed memory whose start is aligned to 4 KiB, as O_DIRECT wants.
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    pub(super) fn new(length: usize) -> Self {
        let memory = vec![0; length + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Self { memory, start }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let end = self.memory.len() - BLOCK + self.start;
        &mut self.memory[self.start..end]
    }
}
