//! Rules about a disk that is ours already: it has the size of its PV, and its group knows it.

use lvmd::units::Bytes;

use super::evidence::{PvView, VgView};
use super::{Code, Content, Evidence, Reasons};

pub(super) fn it_is_a_sound_member(evidence: &Evidence<'_>, reasons: &mut Reasons) {
    let Content::Probed(content) = &evidence.content else {
        return;
    };
    let Some(pv) = content.pv.as_ref().filter(|pv| evidence.ours.owns(pv)) else {
        return;
    };
    let (size, Ok(lvm)) = (evidence.facts.size.unwrap_or_default(), evidence.lvm) else {
        return;
    };
    let group = lvm
        .vgs
        .iter()
        .find(|vg| Some(&vg.uuid) == pv.vg_uuid.as_ref());
    let listed = |group: &VgView| {
        let same = |seen: &&PvView| seen.uuid == pv.uuid;
        let mut all = lvm.pvs.iter().filter(same);
        all.any(|seen| seen.vg_uuid.as_ref() == Some(&group.uuid))
    };
    if let Some(group) = group.filter(|group| !listed(group)) {
        let name = &group.name;
        reasons.add(
            Code::DiskStale,
            format!("PV {} says that it is in {name}, and was taken out of it while it was away; what is on it is not in use", pv.uuid),
        );
        return;
    }
    let Some(seen) = lvm.pvs.iter().find(|seen| seen.uuid == pv.uuid) else {
        return;
    };
    if seen.device.is_none() {
        reasons.add(
            Code::DiskStale,
            format!("PV {} is here, and its group counts it as missing", pv.uuid),
        );
    }
    // What the label says of the size is that of its making: pvresize does not change it.
    let end = pv.data_start.0.saturating_add(seen.extents.0);
    let has = format!("it has {size}, and its PV ends at {}", Bytes(end));
    if seen.shrunk {
        reasons.add(Code::DiskShrunk, has);
    } else if seen.extent.0 > 0 && size.0 >= end.saturating_add(seen.extent.0) {
        reasons.add(Code::DiskGrown, has);
    }
}
