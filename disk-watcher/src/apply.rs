//! One step of an onboarding: the record, one lvm command, the look at what it did.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lvmd::cmd::{CmdError, Runner};
use lvmd::lvm::devices::read_label;
use lvmd::lvm::mutation::Mutation;
use lvmd::names;
use nix::libc;
use tracing::{info, warn};

use crate::busy::{self, Claim as Held};
use crate::commands::{self, LvmCall};
use crate::config::{DiskClass, RequireZeroed};
use crate::content;
use crate::facts::{DiskFacts, DiskId, Identified, Root};
use crate::identity::{self, Identity};
use crate::journal::{Claim, Journal, JournalError, Stage};
use crate::node::{NodeReader, chain};
use crate::resume::{Group, Pool};

/// The low-water threshold of a pool when it is made, in percent.
pub const THRESHOLD: u8 = 70;
/// How much of a wreck's disk is kept before our label on it is erased, in bytes.
const KEPT: usize = 2 << 20;

/// A step that was not done, or not seen to be done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The disk is not what was judged.
    #[error("disk {disk} is left alone: {why}")]
    Changed {
        /// The disk.
        disk: DiskId,
        /// What changed.
        why: String,
    },
    /// The journal cannot be written; nothing was changed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// lvm failed, and the state shows that the step is not done.
    #[error("{step} is not done: {why}")]
    NotDone {
        /// The step.
        step: String,
        /// What lvm said, or what is seen.
        why: String,
    },
}

/// Writes the claim on a judged disk. The disk is read again, held exclusively, and must
/// be what was judged; from the record on it is ours to finish.
pub fn claim(
    journal: &mut Journal,
    class: &DiskClass,
    facts: &DiskFacts,
    id: &DiskId,
    judged: &Identity,
) -> Result<String, ApplyError> {
    let zeroes = class.safety.zeroes_required(judged.device.size);
    recheck(facts, id, judged, zeroes, false)?;
    let pv_uuid = journal.pv_uuid(id, &class.name);
    journal.record(Claim {
        pv_uuid: pv_uuid.clone(),
        disk: id.clone(),
        class: class.name.clone(),
        volume_group: class.volume_group.name.clone(),
        vg_uuid: None,
        size: judged.device.size,
        zeroes,
        fingerprint: judged.fingerprint.clone(),
        stage: Stage::Claimed,
    })?;
    info!(disk = %id, class = %class.name, %pv_uuid, "claimed");
    Ok(pv_uuid)
}

/// Reads the disk anew, held exclusively, and compares it with what was judged. `begun`:
/// a pvcreate of ours may have been cut, so the header it writes first may stand there.
fn recheck(
    facts: &DiskFacts,
    id: &DiskId,
    judged: &Identity,
    zeroes: RequireZeroed,
    begun: bool,
) -> Result<(), ApplyError> {
    let changed = |why: String| ApplyError::Changed {
        disk: id.clone(),
        why,
    };
    let held = Held::open(Path::new(&facts.node())).map_err(|e| changed(chain(&e)))?;
    let others = busy::openers(&Root::host(), &facts.family());
    if let Some(other) = others.iter().find(|o| o.writes) {
        return Err(changed(format!(
            "{} (pid {}) has it open for writing",
            other.name, other.pid
        )));
    }
    let mut now = content::read(held.direct(), id.as_str(), zeroes).map_err(&changed)?;
    if begun
        && now.report.not_zeroed_at.is_some()
        && content::holds_only_an_empty_header(held.direct(), zeroes).map_err(&changed)?
    {
        now.report.not_zeroed_at = None;
        now.fingerprint.clone_from(&judged.fingerprint);
    }
    if let Some(seen) = now.report.signatures.first() {
        return Err(changed(format!(
            "it now carries a signature: {} at {}",
            seen.kind, seen.offset
        )));
    }
    if let Some(at) = now.report.not_zeroed_at {
        return Err(changed(format!("it is no longer blank: byte {at}")));
    }
    identity::same(
        held.direct(),
        &current_id(facts, id),
        &now.fingerprint,
        judged,
    )
    .map_err(|e| changed(chain(&e)))
}

/// The id as sysfs gives it now, for the same session ids as they are.
fn current_id(facts: &DiskFacts, id: &DiskId) -> DiskId {
    if id.is_session() {
        return id.clone();
    }
    let udev = crate::events::list().unwrap_or_default();
    match crate::facts::read(&Root::host(), &facts.name, &udev).map(|now| now.identify()) {
        Some(Identified::As(now)) => now,
        _ => DiskId::from("no id".to_owned()),
    }
}

/// Runs one command; what it did is for the caller to see.
pub async fn run<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    call: &LvmCall,
) -> Result<(), CmdError> {
    let cmd = node
        .tool()
        .call(Some(&class.volume_group.name), &call.devices, &call.args)?;
    info!(command = %cmd, "running");
    let result = node.runner().run(cmd).await;
    if let Err(error) = &result {
        warn!(%error, "lvm failed; what is there decides");
    }
    result.map(drop)
}

/// Writes our label: checks the disk once more, then pvcreate, then looks.
pub async fn label<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &mut Journal,
    class: &DiskClass,
    claim: &Claim,
    facts: &DiskFacts,
) -> Result<(), ApplyError> {
    let path = PathBuf::from(facts.node());
    let changed = |why: String| ApplyError::Changed {
        disk: claim.disk.clone(),
        why,
    };
    let device = File::open(&path)
        .and_then(|f| identity::Device::of(&f))
        .map_err(|e| changed(e.to_string()))?;
    if device.size != claim.size {
        return Err(changed(format!(
            "its size was {} and is {}",
            claim.size, device.size
        )));
    }
    let judged = Identity {
        id: claim.disk.clone(),
        device,
        fingerprint: claim.fingerprint.clone(),
    };
    recheck(facts, &claim.disk, &judged, claim.zeroes, true)?;
    let said = run(node, class, &commands::pvcreate(&path, &claim.pv_uuid)).await;
    match read_label(&path) {
        Ok(Some((label, _))) if label.pv_uuid == claim.pv_uuid => {
            advance(journal, claim, Stage::Labelled, None)
        }
        Ok(Some((label, _))) => Err(not_done(
            "pvcreate",
            format!("the disk carries PV {}", label.pv_uuid),
        )),
        Ok(None) => Err(not_done(
            "pvcreate",
            words(said, "the disk carries no label"),
        )),
        Err(error) => Err(not_done("pvcreate", error.to_string())),
    }
}

/// Makes the group of these labelled disks, then looks.
pub async fn make_group<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &mut Journal,
    class: &DiskClass,
    members: &[(Claim, PathBuf)],
) -> Result<(), ApplyError> {
    let disks: Vec<PathBuf> = members.iter().map(|(_, path)| path.clone()).collect();
    for (claim, path) in members {
        let seen = read_label(path)
            .ok()
            .flatten()
            .map(|(label, _)| label.pv_uuid);
        if seen.as_deref() != Some(&claim.pv_uuid) {
            return Err(ApplyError::Changed {
                disk: claim.disk.clone(),
                why: format!("{} no longer carries our label", path.display()),
            });
        }
    }
    let owner = journal.owner().to_owned();
    let said = run(node, class, &commands::vgcreate(class, &owner, &disks)).await;
    let group = group(node, class, &owner)
        .await
        .map_err(|why| not_done("vgcreate", why))?;
    let Some(group) = group.filter(|g| {
        g.ours
            && members
                .iter()
                .all(|(claim, _)| g.pv_uuids.contains(&claim.pv_uuid))
    }) else {
        return Err(not_done(
            "vgcreate",
            words(
                said,
                "LVM does not show the group with our tags and all its disks",
            ),
        ));
    };
    members
        .iter()
        .try_for_each(|(claim, _)| advance(journal, claim, Stage::Grouped, Some(&group.uuid)))
}

/// Makes the pool, then looks.
pub async fn make_pool<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    owner: &str,
) -> Result<(), ApplyError> {
    let Some(wanted) = &class.thin_pool else {
        return Ok(());
    };
    let step = "making the thin pool";
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(step, why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|v| v.frozen.is_empty())
        .ok_or_else(|| not_done(step, "the group is not there or frozen".into()))?;
    let geometry = crate::geometry::pool(wanted, view.vg.free_count, view.vg.extent_size)
        .map_err(|e| not_done(step, e.to_string()))?;
    let creation = geometry.creation(wanted, view.vg.extent_size, vec![]);
    let said = run(
        node,
        class,
        &commands::mutation(class, &view.devices, &creation, THRESHOLD),
    )
    .await;
    match group(node, class, owner).await {
        Ok(Some(Group {
            pool: Pool::Creating | Pool::Made,
            ..
        })) => Ok(()),
        Ok(_) => Err(not_done(step, words(said, "LVM does not show it"))),
        Err(why) => Err(not_done(step, why)),
    }
}

/// Takes the "creating" tag from a pool that is whole, then looks.
pub async fn finish_pool<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    owner: &str,
) -> Result<(), ApplyError> {
    let Some(wanted) = &class.thin_pool else {
        return Ok(());
    };
    let step = "finishing the thin pool";
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(step, why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|v| v.frozen.is_empty())
        .ok_or_else(|| not_done(step, "the group is not there or frozen".into()))?;
    let untag = Mutation::DeleteTag {
        name: wanted.name.clone(),
        tags: vec![names::tag(names::TAG_STATE, names::STATE_CREATING)],
    };
    let said = run(
        node,
        class,
        &commands::mutation(class, &view.devices, &untag, THRESHOLD),
    )
    .await;
    match group(node, class, owner).await {
        Ok(Some(Group {
            pool: Pool::Made, ..
        })) => Ok(()),
        Ok(_) => Err(not_done(step, words(said, "it still carries the tag"))),
        Err(why) => Err(not_done(step, why)),
    }
}

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

/// Records that a disk has come further.
pub fn advance(
    journal: &mut Journal,
    claim: &Claim,
    stage: Stage,
    vg_uuid: Option<&str>,
) -> Result<(), ApplyError> {
    let mut next = claim.clone();
    next.stage = stage;
    next.vg_uuid = vg_uuid.map(str::to_owned).or(next.vg_uuid);
    journal.record(next)?;
    info!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, ?stage, "done");
    Ok(())
}

/// The class's group as LVM shows it now.
///
/// # Errors
/// When LVM's state cannot be told.
pub async fn group<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    owner: &str,
) -> Result<Option<Group>, String> {
    let wanted = [class.volume_group.name.clone()];
    let snapshot = node.snapshot(&wanted).await?;
    let Some(view) = snapshot.vg(&class.volume_group.name) else {
        return Ok(None);
    };
    let vg = &view.vg;
    let ours = vg.owner() == Some(owner)
        && names::tag_value(&vg.tags, names::TAG_CLASS) == Some(&class.name);
    let pool = match &class.thin_pool {
        None => Pool::NotWanted,
        Some(wanted) => match vg.lv(&wanted.name) {
            None => Pool::Absent,
            Some(lv) if !lv.is_pool() => Pool::Other,
            Some(lv)
                if names::tag_value(&lv.tags, names::TAG_STATE) == Some(names::STATE_CREATING) =>
            {
                Pool::Creating
            }
            Some(_) => Pool::Made,
        },
    };
    Ok(Some(Group {
        uuid: vg.uuid.clone(),
        ours,
        frozen: view.frozen.iter().map(ToString::to_string).collect(),
        pv_uuids: vg.pvs.iter().map(|pv| pv.uuid.clone()).collect(),
        pool,
    }))
}

fn not_done(step: &str, why: String) -> ApplyError {
    ApplyError::NotDone {
        step: step.to_owned(),
        why,
    }
}

fn words(said: Result<(), CmdError>, otherwise: &str) -> String {
    said.err().map_or_else(
        || format!("lvm reports success, and {otherwise}"),
        |error| error.to_string(),
    )
}
