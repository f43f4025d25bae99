//! Which disk is the disk of a claim, and what stands on it now.

use std::path::Path;

use lvmd::lvm::devices::read_label;

use super::Judged;
use crate::apply;
use crate::config::RequireZeroed;
use crate::content::{self, DATA_START, Whole, WholeReads};
use crate::facts::{DiskFacts, DiskId, Identified};
use crate::journal::{Claim, Journal, Stage};
use crate::probe::aligned::DirectReader;
use crate::resume::{Found, Group};
use crate::rules::Code;
use crate::select::Selection;
use crate::wreck::Joining;

/// The disk's id. One that says nothing of itself, where its class allows that, has one
/// until it is unplugged or the machine reboots; once labelled, its PV's UUID tells it.
pub(crate) fn id_of(facts: &DiskFacts) -> Option<DiskId> {
    match facts.identify() {
        Identified::As(id) => Some(id),
        Identified::Junk(_) => None,
        Identified::Missing => match &facts.part {
            None => Some(DiskId::for_session(&boot_id()?, facts.diskseq?)),
            Some(part) => Some(id_of(&part.disk)?.of_part(&part.entry.as_ref()?.guid)),
        },
    }
}

/// The kernel's name for this boot; `None` where it cannot be told.
pub(crate) fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

/// Whether the claim leads nowhere: it names a disk by a session that is over, and no disk
/// carries its PV. The disk, if it is still there, has another id now, and is judged anew.
pub(super) fn is_abandoned(claim: &Claim, judged: &[Judged]) -> bool {
    claim.stage == Stage::Claimed
        && boot_id().is_some_and(|boot| claim.disk.is_of_another_session(&boot))
        && judged.iter().all(|disk| disk.reading.is_some())
        && !judged.iter().any(|disk| is_disk_of(claim, disk))
}

/// The disk of a claim that [`is_abandoned`], where our pvcreate was cut between the empty metadata area that it writes first
/// and its label: else it would stay refused as not blank. The disk has no id to tell it by, so it must be the only one
/// that can be meant: of the claim's size and class, with nothing against it but these bytes, and no others.
pub(super) fn begun_on<'a>(
    claim: &Claim,
    claims: &[Claim],
    judged: &'a [Judged],
) -> Option<&'a Judged> {
    let mut begun = judged.iter().filter(|disk| {
        let unclaimed = id_of(&disk.facts)
            .is_some_and(|id| id.is_session() && claims.iter().all(|claim| claim.disk != id));
        let only_not_blank = (disk.judgement.reasons.iter())
            .all(|reason| matches!(reason.code, Code::NotZeroed | Code::LimitReached));
        unclaimed
            && only_not_blank
            && disk.judgement.selection == Selection::Class(claim.class.clone())
            && disk.facts.size == Some(claim.size)
            && DirectReader::open(Path::new(&disk.facts.node())).is_ok_and(|reader| {
                content::holds_only_an_empty_header(reader.get_ref()).is_ok_and(|only| only)
            })
    });
    let disk = begun.next();
    disk.filter(|_| begun.next().is_none())
}

/// Whether a disk that had no id, and has no PV any more, cannot be told from others since a
/// reboot. Every disk was read, so no PV is left behind.
pub(super) fn is_lost(claim: &Claim, judged: &[Judged]) -> bool {
    boot_id().is_some_and(|boot| claim.disk.is_of_another_session(&boot))
        && judged.iter().all(|disk| disk.reading.is_some())
}

/// Whether this is the disk of the claim: by the label it carries, else by its id.
pub(super) fn is_disk_of(claim: &Claim, judged: &Judged) -> bool {
    match judged.reading.as_ref().and_then(|r| r.label.as_ref()) {
        Some(label) => label.pv_uuid == claim.pv_uuid,
        None => id_of(&judged.facts).as_ref() == Some(&claim.disk),
    }
}

/// What stands on the disk of a claim now; the label is read anew.
pub(super) fn found(
    claim: &Claim,
    judged: &[Judged],
    journal: &Journal,
    group: Option<&Group>,
    whole: &WholeReads,
) -> Found {
    let mut disks = judged.iter().filter(|j| is_disk_of(claim, j));
    let Some(disk) = disks.next() else {
        return Found::Gone;
    };
    if let Some(other) = disks.next() {
        return Found::Unknown(format!(
            "{} and {} both carry it; unplug the copy",
            disk.facts.name, other.facts.name
        ));
    }
    let path = disk.facts.node();
    let damaged = match read_label(Path::new(&path)) {
        Err(error) => Some(error.to_string()),
        Ok(None) => return Found::NoLabel,
        Ok(Some(_)) => None,
    };
    let reading = DirectReader::open(Path::new(&path))
        .map_err(|e| e.to_string())
        .and_then(|reader| {
            let reading =
                content::read(reader.get_ref(), claim.disk.as_str(), RequireZeroed::None)?;
            Ok((reading, reader))
        });
    let (reading, reader) = match reading {
        Ok(both) => both,
        Err(why) => return Found::Unknown(why),
    };
    let Some(label) = &reading.label else {
        return Found::Unknown(damaged.unwrap_or("its label is not understood".into()));
    };
    if label.pv_uuid != claim.pv_uuid {
        return Found::Unknown(format!("it carries PV {}", label.pv_uuid));
    }
    if let Some(why) = damaged.filter(|_| label.used) {
        return Found::Unknown(why);
    }
    if let Some(vg) = label.committed().first() {
        return Found::InGroup {
            vg_uuid: vg.uuid.clone(),
            size: reading.device.size,
        };
    }
    if !label.used && label.committed_nothing() {
        return Found::Orphan;
    }
    // Its own words may change with a kernel; to be erased it has to say what it said.
    let same = claim.disk.is_session() || id_of(&disk.facts).as_ref() == Some(&claim.disk);
    let proofs = if same {
        let joining = group.map(|group| Joining {
            uuid: group.uuid.clone(),
            seqno: group.seqno,
        });
        apply::proven(reader.get_ref(), claim, journal, joining)
            .and_then(|()| behind_the_label(claim, &disk.facts, whole))
    } else {
        Err("the disk's id is not the one that was claimed".into())
    };
    Found::Wreck {
        lacks: proofs.err(),
    }
}

/// Whether the data of the wreck of a claim, all of which had to be blank, speaks against erasing
/// the label. While it is being read nothing does; it is asked again before the first byte.
fn behind_the_label(claim: &Claim, facts: &DiskFacts, whole: &WholeReads) -> Result<(), String> {
    if claim.zeroes != RequireZeroed::Full {
        return Ok(());
    }
    match whole.ask(facts, DATA_START) {
        Whole::Blank | Whole::Reading(_) => Ok(()),
        Whole::NotZero(at) => Err(format!("its data area is not blank: byte {at}")),
        Whole::Unknown(why) => Err(why),
    }
}
