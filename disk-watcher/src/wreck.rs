//! Whether a half-written PV is our own, which is when its label may be erased.
//!
//! A vgcreate or vgextend that was cut leaves a disk that no lvm command takes again: its label says
//! that it belongs to a group, and no group is committed. Nor does one take a disk of which a
//! power cut kept the label that pvcreate wrote, and lost the metadata area. A vgreduce that was cut at its
//! last write, or a member whose metadata area was lost, looks much the same, and that is
//! somebody's data. So all of [`proven`] must hold; one that does not is named.

use crate::content::DATA_START;
use crate::journal::{Claim, Stage};
use crate::probe::LvmLabel;
use crate::probe::lvm::only_text;
use lvmd::names;

/// The unit in which a wreck is erased, in bytes.
pub(crate) const BLOCK: usize = 4096;
/// Where pvcreate puts the label, in bytes: the second sector.
const LABEL: std::ops::Range<usize> = 512..1024;
/// Where it puts the metadata area, up to the data, in bytes.
const AREA: std::ops::RangeFrom<usize> = BLOCK..;

/// What we were making when the disk was cut off.
#[derive(Debug, Clone)]
pub struct Making<'a> {
    /// Our value of the owner's tag.
    pub owner: &'a str,
    /// The PVs that the class has claimed, this one among them.
    pub pv_uuids: Vec<&'a str>,
    /// The group it was to join, when there is one: whole, ours, and it does not list the PV.
    pub joining: Option<Joining>,
    /// The heads of this PV that were kept when its erasure began, if it ever did.
    pub kept: Vec<Vec<u8>>,
}

/// A group that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// Its UUID.
    pub uuid: String,
    /// How often it was changed.
    pub seqno: u64,
}

/// The proofs that lie in the journal and before the data: `head` is the disk's first MiB,
/// `label` the one label on it. That the data is blank, the disk the same and nobody else's,
/// and no group known that lists it, is for the caller to show.
///
/// # Errors
/// The proof that is missing.
pub fn proven(
    claim: &Claim,
    making: &Making<'_>,
    label: &LvmLabel,
    head: &[u8],
) -> Result<(), String> {
    let lacks = |what: &str| Err(what.to_owned());
    if claim.stage >= Stage::Grouped || claim.vg_uuid.is_some() {
        return lacks("the journal says that it was in a group");
    }
    if label.pv_uuid != claim.pv_uuid {
        return lacks("it is not the PV that was claimed");
    }
    if label.device_size != claim.size.0 || label.sector != 1 {
        return lacks("its label was written for another disk, or not by our pvcreate");
    }
    let starts: Vec<u64> = label.data_areas.iter().map(|area| area.offset).collect();
    let areas: Vec<(u64, u64)> = label
        .mdas
        .iter()
        .map(|mda| (mda.area.offset, mda.area.size))
        .collect();
    let area = AREA.start as u64;
    if starts != [DATA_START] || areas != [(area, DATA_START - area)] {
        return lacks("its areas are not laid out as our pvcreate does");
    }
    if head.len() as u64 != DATA_START {
        return lacks("its first MiB was not read");
    }
    if making.kept.iter().any(|kept| is_partly_erased(head, kept)) {
        return Ok(());
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !label.used {
        // A pvcreate of which only the label reached the disk.
        return if is_zero(&head[..LABEL.start]) && is_zero(&head[LABEL.end..]) {
            Ok(())
        } else {
            lacks("it is in no group, and its metadata area is damaged")
        };
    }
    if !label.committed_nothing() {
        return lacks("its metadata area is damaged, or something was committed to it");
    }
    if !is_zero(&head[..LABEL.start]) || !is_zero(&head[LABEL.end..AREA.start]) {
        return lacks("something stands around its label");
    }
    let Some(vg) = only_text(&head[AREA])? else {
        return Ok(());
    };
    let ours = names::tag_value(&vg.tags, names::TAG_OWNER) == Some(making.owner)
        && names::tag_value(&vg.tags, names::TAG_CLASS) == Some(&claim.class);
    if vg.name != claim.volume_group || !ours {
        return Err(format!(
            "its metadata area tells of group {}, which is not the one we were making",
            vg.name
        ));
    }
    let claimed = vg
        .pvs
        .iter()
        .all(|pv| making.pv_uuids.contains(&pv.uuid.as_str()));
    let begun = match &making.joining {
        // The next change of the group, or one that was cut before others were made.
        Some(group) => vg.uuid == group.uuid && vg.seqno <= group.seqno + 1,
        None => vg.seqno == 1 && vg.lvs.is_empty(),
    };
    if !begun || !claimed {
        return lacks("its metadata area tells of a group that was in use");
    }
    Ok(())
}

/// Whether `head` is what was kept with some of it zeroed, the label not yet.
fn is_partly_erased(head: &[u8], kept: &[u8]) -> bool {
    let blocks = || head.chunks(BLOCK).zip(kept.chunks(BLOCK));
    let mut pairs = blocks();
    let label_stands = pairs.next().is_some_and(|(now, then)| now == then);
    label_stands
        && kept.len() >= head.len()
        && pairs.all(|(now, then)| now == then || now.iter().all(|byte| *byte == 0))
}
