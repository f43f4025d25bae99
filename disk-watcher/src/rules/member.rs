//! Rules about a disk that is ours already: it has the size of its PV, and its group knows it.

use lvmd::units::Bytes;

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
