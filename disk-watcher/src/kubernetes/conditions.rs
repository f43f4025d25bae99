//! The conditions of disks and groups. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::status::{
    Condition as Said, DiskState, NodeDisk, NodeThinPool, NodeVolumeGroup, PoolState,
};

/// Of a disk: what its state means.
pub(super) fn of_disk(disk: &NodeDisk) -> Vec<Condition> {
    use DiskState::{
        AwaitingApproval, Candidate, Claimed, Conflict, Degraded, Discovered, Draining, Frozen,
        Grouped, Labelled, Missing, Planned, Ready, Rejected, Replaced, Stale, Wiping,
    };
    let state = disk.state;
    let member = matches!(
        state,
        Grouped | Ready | Draining | Degraded | Missing | Stale | Replaced | Frozen
    ) || disk.pv_uuid.is_some() && disk.volume_group.is_some() && state != Labelled;
    let safe = match state {
        Discovered | Rejected | Conflict | Wiping => disk.reasons.is_empty(),
        Candidate | AwaitingApproval | Planned | Claimed | Labelled | Grouped | Ready
        | Draining | Degraded | Missing | Stale | Replaced | Frozen => true,
    };
    let healthy = !matches!(
        state,
        Degraded | Missing | Stale | Replaced | Conflict | Frozen
    );
    let reason = format!("{state:?}");
    let is = |kind: &str, status: bool| condition(kind, status, &reason, &disk.summary());
    vec![
        is("Selected", disk.class.is_some()),
        is("Safe", safe),
        is("Claimed", member || matches!(state, Claimed | Labelled)),
        is("Member", member),
        is("Healthy", healthy),
        is("Present", disk.name.is_some()),
        is("Ready", state == Ready),
    ]
}

/// Of a group, with the pools that are cared for on the node.
pub(super) fn of_group(group: &NodeVolumeGroup, pools: &[NodeThinPool]) -> Vec<Condition> {
    let missing = group.pvs.iter().filter(|pv| pv.device.is_none()).count();
    let ready = match group.frozen.is_empty() {
        true => condition("Ready", true, "Changeable", ""),
        false => condition("Ready", false, "Frozen", &group.frozen.join("; ")),
    };
    let complete = match missing {
        0 => condition("Complete", true, "AllPresent", ""),
        missing => condition(
            "Complete",
            false,
            "DisksMissing",
            &format!("{missing} of its disks are not there"),
        ),
    };
    // A reason begins with its code.
    let twins = group.frozen.iter().find(|why| why.starts_with("Duplicate"));
    let unique = match twins {
        None => condition("Unique", true, "Unique", ""),
        Some(why) => condition("Unique", false, "Duplicate", why),
    };
    let reserved = match group.free >= group.reserved {
        true => condition("CapacityReserved", true, "Reserved", ""),
        false => condition(
            "CapacityReserved",
            false,
            "ReserveUsed",
            &format!(
                "{} are free and {} should be; add a disk",
                group.free, group.reserved
            ),
        ),
    };
    [ready, complete, unique, reserved]
        .into_iter()
        .chain(activated(group, pools))
        .chain(group.class_in_force.as_ref().map(said))
        .collect()
}

/// Whether the pools that are cared for in a group are active; `None` where there are none.
fn activated(group: &NodeVolumeGroup, pools: &[NodeThinPool]) -> Option<Condition> {
    let mut ours = pools
        .iter()
        .filter(|p| p.volume_group == group.name)
        .peekable();
    ours.peek()?;
    Some(match ours.find(|pool| pool.state == PoolState::Inactive) {
        None => condition("Activated", true, "PoolsActive", ""),
        Some(pool) => {
            let message = format!(
                "pool {} is not active; its NodeThinPool says why",
                pool.name
            );
            condition("Activated", false, "PoolInactive", &message)
        }
    })
}

/// A condition of ours, as of now.
pub(super) fn said(said: &Said) -> Condition {
    condition(said.kind, said.status, &said.reason, &said.message)
}

/// A condition, as of now.
pub(super) fn condition(kind: &str, status: bool, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: if reason.is_empty() { "Unknown" } else { reason }.to_owned(),
        message: message.chars().take(4096).collect(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::view::tests::disk;
    use crate::status::GroupPv;
    use lvmd::units::Bytes;

    #[test]
    fn a_state_of_a_disk_is_its_conditions() {
        let of = |state| good(of_disk(&disk("sda", None, state)));
        assert_eq!(
            of(DiskState::Ready),
            "Selected Safe Claimed Member Healthy Present Ready"
        );
        assert_eq!(
            of(DiskState::Labelled),
            "Selected Safe Claimed Healthy Present"
        );
        assert_eq!(of(DiskState::Planned), "Selected Safe Healthy Present");
        assert_eq!(
            of(DiskState::Missing),
            "Selected Safe Claimed Member Present"
        );
    }

    #[test]
    fn what_is_wrong_with_a_group_is_told_apart() {
        let whole = NodeVolumeGroup {
            name: "fast".into(),
            uuid: "u".into(),
            size: Bytes(100),
            free: Bytes(10),
            reserved: Bytes(10),
            seqno: 1,
            class: None,
            pvs: vec![GroupPv {
                uuid: "p".into(),
                device: Some("/dev/sda".into()),
            }],
            pools: vec![],
            frozen: vec![],
            class_in_force: None,
            secret_changes: 0,
            adopt: None,
        };
        let of = |group: &NodeVolumeGroup| good(of_group(group, &[]));
        assert_eq!(of(&whole), "Ready Complete Unique CapacityReserved");
        let mut twin = whole.clone();
        twin.frozen = vec!["DuplicateVGName: two groups have this name".into()];
        assert_eq!(of(&twin), "Complete CapacityReserved");
        let mut partial = whole.clone();
        partial.frozen = vec!["VGPartial: PVs are missing".into()];
        partial.pvs[0].device = None;
        assert_eq!(of(&partial), "Unique CapacityReserved");
        let mut used = whole;
        used.free = Bytes(9);
        assert_eq!(of(&used), "Ready Complete Unique");
    }

    fn good(conditions: Vec<Condition>) -> String {
        let good = conditions.into_iter().filter(|c| c.status == "True");
        good.map(|c| c.type_).collect::<Vec<_>>().join(" ")
    }
}
