//! The steps on one disk: the claim, and our label.

use std::fs::File;
use std::path::{Path, PathBuf};

use lvmd::cmd::Runner;
use lvmd::lvm::devices::read_label;
use tracing::info;

use super::{ApplyError, advance, not_done, run, words};
use crate::busy::{self, Claim as Held};
use crate::commands;
use crate::config::{DiskClass, RequireZeroed};
use crate::content::{self, Untouched, WholeReads};
use crate::facts::{DiskFacts, DiskId, Identified, Part, Root};
use crate::identity::{self, Identity};
use crate::journal::{Claim, Journal, Stage};
use crate::node::{NodeReader, chain, host};
use crate::partition;
use crate::pass::id_of;
use crate::rules;

/// Writes the claim on a judged disk. The disk is read again, held exclusively, and must
/// be what was judged; from the record on it is ours to finish.
pub fn claim(
    whole: &WholeReads,
    journal: &mut Journal,
    class: &DiskClass,
    facts: &DiskFacts,
    id: &DiskId,
    judged: &Identity,
) -> Result<String, ApplyError> {
    let zeroes = class.safety.zeroes_required(judged.device.size);
    recheck(whole, facts, id, judged, zeroes, false)?;
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
        leaving: None,
    })?;
    info!(disk = %id, class = %class.name, %pv_uuid, "claimed");
    Ok(pv_uuid)
}

/// Reads the disk anew, held exclusively, and compares it with what was judged. `begun`:
/// a pvcreate of ours may have been cut, so the header it writes first may stand there.
///
/// Where all of it has to be zero, it was read before, in the background; here its ends, samples
/// and all places of signatures are read again, and that nobody wrote since is proven by the
/// kernel's counts, while nobody else can hold it (docs/decisions/blank-disks.md).
fn recheck(
    whole: &WholeReads,
    facts: &DiskFacts,
    id: &DiskId,
    judged: &Identity,
    zeroes: RequireZeroed,
    begun: bool,
) -> Result<(), ApplyError> {
    let changed = ApplyError::changed(id);
    let held = Held::open(Path::new(&facts.node())).map_err(|e| changed(chain(&e)))?;
    nobody_else_has_it(&held, facts).map_err(&changed)?;
    let reads = Untouched::now(&facts.name).map_or(u64::MAX, |(_, reads)| reads);
    let mut from = 0;
    let read = || content::read(held.direct(), id.as_str(), zeroes).map_err(&changed);
    let mut now = read()?;
    let first = (now.fingerprint.clone(), now.report.not_zeroed_at);
    let differs = now.report.not_zeroed_at.is_some() || now.fingerprint != judged.fingerprint;
    if begun
        && differs
        && now.report.signatures.is_empty()
        && content::holds_only_an_empty_header(held.direct()).map_err(&changed)?
    {
        from = content::DATA_START;
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
    if zeroes == RequireZeroed::Full
        && let found = content::all_now(whole, held.direct(), facts, from, reads)
        && let Some(error) = ApplyError::unless_blank(id, found)
    {
        return Err(error);
    }
    // A partition was read meanwhile, and who goes through its disk our hold keeps out of nothing.
    if zeroes == RequireZeroed::Full && facts.part.is_some() {
        nobody_else_has_it(&held, facts).map_err(&changed)?;
        let again = read()?;
        if (again.fingerprint, again.report.not_zeroed_at) != first {
            return Err(changed("it changed while it was read".into()));
        }
    }
    // Whoever asks whether a change came before the last look finds the moment in the log.
    info!(disk = %id, "looks whether it is still the same disk");
    identity::same(
        held.direct(),
        &current_id(facts, id),
        &now.fingerprint,
        judged,
    )
    .map_err(|e| changed(chain(&e)))
}

/// Nobody has the disk open for writing or uses it, and what others wrote and the kernel had in memory
/// only is written, and so counted. A partition and its disk have a memory each.
fn nobody_else_has_it(held: &Held, facts: &DiskFacts) -> Result<(), String> {
    let others = busy::openers(&Root::host(), &facts.family());
    if let Some(other) = others.iter().find(|o| o.writes) {
        return Err(format!(
            "{} (pid {}) has it open for writing",
            other.name, other.pid
        ));
    }
    if let Some(use_of_it) = rules::used_by_the_host(facts, &host()) {
        return Err(use_of_it.to_string());
    }
    if facts.part.is_some() {
        let whole = File::open(facts.whole().node()).map_err(|e| chain(&e))?;
        whole.sync_all().map_err(|e| chain(&e))?;
    }
    held.direct().sync_all().map_err(|e| chain(&e))
}

/// The id as sysfs gives it now, for the same session ids as they are.
pub(super) fn current_id(facts: &DiskFacts, id: &DiskId) -> DiskId {
    if let Some(part) = &facts.part {
        return current_part(facts, part)
            .unwrap_or_else(|why| DiskId::from(format!("no more that of the partition: {why}")));
    }
    if id.is_session() {
        return id.clone();
    }
    if let Some(made) = &facts.file {
        let now = crate::files::is_behind(made, facts).then(|| made.id.clone());
        return now.unwrap_or_else(|| DiskId::from("no file of ours".to_owned()));
    }
    let udev = crate::events::list().unwrap_or_default();
    match crate::facts::read(&Root::host(), &facts.name, &udev).map(|now| now.identify()) {
        Some(Identified::As(now)) => now,
        _ => DiskId::from("no id".to_owned()),
    }
}

/// The id of a partition as its disk and the GPT give it now, when it is the one that was judged.
fn current_part(facts: &DiskFacts, part: &Part) -> Result<DiskId, String> {
    let udev = crate::events::list().unwrap_or_default();
    let now = partition::again(&Root::host(), facts, &udev).ok_or("it is gone")?;
    let still = now.part.as_ref().ok_or("it is gone")?;
    part.is_still(still)?;
    id_of(&now).ok_or_else(|| "it has no id".to_owned())
}

/// Writes our label: checks the disk once more, then pvcreate, then looks.
pub async fn label<R: Runner + Clone>(
    node: &NodeReader<R>,
    whole: &WholeReads,
    journal: &mut Journal,
    class: &DiskClass,
    claim: &Claim,
    facts: &DiskFacts,
) -> Result<(), ApplyError> {
    let path = PathBuf::from(facts.node());
    let changed = ApplyError::changed(&claim.disk);
    let device = File::open(&path)
        .and_then(|f| identity::Device::of(&f))
        .map_err(|e| changed(e.to_string()))?;
    if facts.diskseq.is_some_and(|judged| judged != device.diskseq) {
        return Err(changed("another disk is in its place".into()));
    }
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
    recheck(whole, facts, &claim.disk, &judged, claim.zeroes, true)?;
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
