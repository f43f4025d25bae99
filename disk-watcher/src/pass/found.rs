//! Which disk is the disk of a claim, and what stands on it now.

use std::fs::File;
use std::path::Path;

use lvmd::lvm::devices::read_label;

use super::Judged;
use crate::config::RequireZeroed;
use crate::content;
use crate::facts::{DiskFacts, DiskId, Identified};
use crate::journal::Claim;
use crate::resume::Found;

/// The disk's id. One that says nothing of itself, where its class allows that, has one
/// until it is unplugged or the machine reboots; once labelled, its PV's UUID tells it.
pub(super) fn id_of(facts: &DiskFacts) -> Option<DiskId> {
    match facts.identify() {
        Identified::As(id) => Some(id),
        Identified::Junk(_) => None,
        Identified::Missing => {
            let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            Some(DiskId::for_session(&boot_id, facts.diskseq?))
        }
    }
}

/// Whether this is the disk of the claim: by the label it carries, else by its id.
pub(super) fn is_disk_of(claim: &Claim, judged: &Judged) -> bool {
    match judged.reading.as_ref().and_then(|r| r.label.as_ref()) {
        Some(label) => label.pv_uuid == claim.pv_uuid,
        None => id_of(&judged.facts).as_ref() == Some(&claim.disk),
    }
}

/// What stands on the disk of a claim now; the label is read anew.
pub(super) fn found(claim: &Claim, judged: &[Judged]) -> Found {
    let Some(disk) = judged.iter().find(|j| is_disk_of(claim, j)) else {
        return Found::Gone;
    };
    let path = disk.facts.node();
    match read_label(Path::new(&path)) {
        Err(error) => return Found::Unknown(error.to_string()),
        Ok(None) => return Found::NoLabel,
        Ok(Some((label, _))) if label.pv_uuid != claim.pv_uuid => {
            return Found::Unknown(format!("it carries PV {}", label.pv_uuid));
        }
        Ok(Some(_)) => {}
    }
    let reading = File::open(&path).map_err(|e| e.to_string()).and_then(|_| {
        let reader = crate::probe::aligned::DirectReader::open(Path::new(&path))
            .map_err(|e| e.to_string())?;
        let reading = content::read(reader.get_ref(), claim.disk.as_str(), RequireZeroed::None)?;
        Ok((reading, reader))
    });
    let (reading, reader) = match reading {
        Ok(both) => both,
        Err(why) => return Found::Unknown(why),
    };
    let Some(label) = &reading.label else {
        return Found::Unknown("its label is not understood".into());
    };
    if let Some(vg) = label.committed().first() {
        return Found::InGroup {
            vg_uuid: vg.uuid.clone(),
        };
    }
    if !label.used {
        return Found::Orphan;
    }
    let data_blank = content::is_blank_behind(reader.get_ref(), content::DATA_START, claim.zeroes);
    Found::Wreck {
        data_blank: data_blank == Ok(true),
    }
}
