//! Rules about the volume group the disk would join, or is found in.

use std::collections::BTreeMap;

use lvmd::names::{TAG_CLASS, tag_value};

use super::{Code, Content, Evidence, LvmView, Reasons, VgView};
use crate::config::DiskClass;

pub(super) fn the_group_is_sound(
    evidence: &Evidence<'_>,
    class: Option<&DiskClass>,
    reasons: &mut Reasons,
) {
    // That LVM's view is not known is the host's fault and said there.
    let Ok(view) = evidence.lvm else { return };
    let pv = match &evidence.content {
        Content::Probed(content) => content.pv.as_ref(),
        Content::Unknown(_) => None,
    };
    let targets: Vec<&VgView> = view
        .vgs
        .iter()
        .filter(|vg| class.is_some_and(|class| class.volume_group.name == vg.name))
        .collect();
    let own = view
        .vgs
        .iter()
        .find(|vg| pv.is_some_and(|pv| pv.vg_uuid.as_ref() == Some(&vg.uuid)));
    let mut concerned = targets.clone();
    if let Some(own) = own.filter(|own| !targets.iter().any(|vg| vg.uuid == own.uuid)) {
        concerned.push(own);
    }
    for vg in concerned {
        flags(view, vg, reasons);
    }
    if let Some(class) = class {
        name_is_ours(evidence, class, &targets, reasons);
        for vg in targets.iter().filter(|vg| vg.missing_pvs > 0) {
            reasons.add(
                Code::VGPartial,
                format!("group {} misses {} of its PVs", vg.name, vg.missing_pvs),
            );
        }
    }
    let mine = pv.map(|pv| pv.uuid.as_str());
    let groups: Vec<&str> = targets.iter().map(|vg| vg.uuid.as_str()).collect();
    duplicates(view, mine, &groups, reasons);
}

fn flags(view: &LvmView, vg: &VgView, reasons: &mut Reasons) {
    let name = &vg.name;
    let system_id = vg.system_id.as_deref().filter(|id| !id.is_empty());
    if let Some(id) = system_id.filter(|id| Some(*id) != view.system_id.as_deref()) {
        reasons.add(
            Code::ForeignSystemID,
            format!("group {name} belongs to system id {id:?}"),
        );
    }
    if vg.exported {
        reasons.add(Code::Exported, format!("group {name} is exported"));
    }
    if vg.clustered {
        reasons.add(Code::Clustered, format!("group {name} is clustered"));
    }
    if vg.shared {
        reasons.add(
            Code::Shared,
            format!("group {name} is shared through lvmlockd"),
        );
    }
}

fn name_is_ours(
    evidence: &Evidence<'_>,
    class: &DiskClass,
    targets: &[&VgView],
    reasons: &mut Reasons,
) {
    if targets.len() > 1 {
        let uuids: Vec<&str> = targets.iter().map(|vg| vg.uuid.as_str()).collect();
        reasons.add(
            Code::DuplicateVGName,
            format!(
                "{} groups are named {}: {}",
                targets.len(),
                class.volume_group.name,
                uuids.join(", ")
            ),
        );
    }
    for vg in targets {
        if !evidence.ours.owns_tags(&vg.tags) {
            reasons.add(
                Code::DuplicateVGName,
                format!("group {} ({}) exists and is not ours", vg.name, vg.uuid),
            );
        } else if tag_value(&vg.tags, TAG_CLASS) != Some(class.name.as_str()) {
            reasons.add(
                Code::DuplicateVGName,
                format!(
                    "group {} ({}) was made for class {}",
                    vg.name,
                    vg.uuid,
                    tag_value(&vg.tags, TAG_CLASS).unwrap_or("(none)")
                ),
            );
        }
    }
}

/// A PV on several devices concerns its own disks and every disk that would join its
/// group.
fn duplicates(view: &LvmView, mine: Option<&str>, groups: &[&str], reasons: &mut Reasons) {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pv in &view.pvs {
        let devices = seen.entry(&pv.uuid).or_default();
        devices.push(pv.device.as_deref().unwrap_or("(missing)"));
    }
    for pv in &view.pvs {
        let devices = seen.get(pv.uuid.as_str()).map_or(&[][..], Vec::as_slice);
        let in_group = pv.vg_uuid.as_deref().is_some_and(|vg| groups.contains(&vg));
        let concerns = mine == Some(pv.uuid.as_str()) || in_group;
        if concerns && (pv.duplicate || devices.len() > 1) {
            reasons.add(
                Code::DuplicatePV,
                format!("PV {} is on {}", pv.uuid, devices.join(", ")),
            );
        }
    }
}
