//! Rules about the node as a whole, and about whether and when the disk is wanted.

use std::time::Duration;

use lvmd::units::Bytes;

use super::{ClassUsage, Code, Evidence, Reasons};
use crate::config::DiskClass;
use crate::facts::HostProof;
use crate::select::{Answer, Selection};

pub(super) fn host_is_ready(evidence: &Evidence<'_>, reasons: &mut Reasons) {
    for what in evidence.preflight {
        reasons.add(Code::HostNotReady, what.clone());
    }
    let host = evidence.host;
    if let HostProof::Unproven(found) = &host.proof {
        reasons.add(
            Code::HostNotReady,
            format!("/proc/1 is not proven to be the host's: {found}"),
        );
    }
    if let Err(why) = &host.mounts {
        reasons.add(Code::HostNotReady, format!("mounts are not known: {why}"));
    }
    if let Err(why) = &host.swaps {
        reasons.add(Code::HostNotReady, format!("swap is not known: {why}"));
    }
    for problem in &host.problems {
        reasons.add(Code::HostNotReady, problem.clone());
    }
    if let Err(why) = evidence.lvm {
        reasons.add(
            Code::HostNotReady,
            format!("LVM's state is not known: {why}"),
        );
    }
    if evidence.ours.owner.is_none() {
        reasons.add(
            Code::HostNotReady,
            "our own id (basalt.owner) is not known yet",
        );
    }
}

pub(super) fn it_is_wanted_now(
    evidence: &Evidence<'_>,
    selection: &Selection,
    class: Option<&DiskClass>,
    reasons: &mut Reasons,
) {
    match selection {
        Selection::Conflict(classes) => reasons.add(
            Code::ClassConflict,
            format!("classes {} pick it; none gets it", classes.join(", ")),
        ),
        Selection::BySizeOnly(explanations) => {
            for explanation in explanations {
                match &explanation.answer {
                    Answer::TooSmall(miss) => reasons.add(Code::TooSmall, miss.detail.clone()),
                    Answer::TooLarge(miss) => reasons.add(Code::TooLarge, miss.detail.clone()),
                    Answer::Selected | Answer::Excluded(_) | Answer::Missed(_) => {}
                }
            }
        }
        Selection::Nobody | Selection::Class(_) => {}
    }
    if let Some(owner) = &evidence.native_owner {
        reasons.add(Code::NativeOwner, format!("{owner} claims it"));
    }
    if let Some(claim) = &evidence.claimed {
        reasons.add(Code::ClassConflict, claim.clone());
    }
    if let Some(request) = evidence.removal {
        reasons.add(
            Code::RemovalRequested,
            format!("DiskRemovalRequest {request} wants it out"),
        );
    }
    settled(evidence, class, reasons);
    let Some(class) = class else { return };
    if let Some(why) = class.recalled {
        reasons.add(
            Code::ClassNotInForce,
            format!("class {}: {why}", class.name),
        );
    }
    match &evidence.usage {
        Some(usage) => {
            limits(
                class,
                usage,
                evidence.facts.size.unwrap_or_default(),
                reasons,
            );
            super::approval::a_person_agrees(evidence, class, reasons);
        }
        None => reasons.add(
            Code::LimitReached,
            format!("what class {} already has is not known", class.name),
        ),
    }
}

fn settled(evidence: &Evidence<'_>, class: Option<&DiskClass>, reasons: &mut Reasons) {
    let disk = evidence.facts;
    let both = [&disk.udev, &disk.whole().udev];
    if disk.udev_running && both.iter().any(|udev| !udev.initialized) {
        reasons.add(Code::NotSettled, "udev is not done with it");
    }
    let Some(class) = class else { return };
    let wanted = class.limits.settle;
    match evidence.quiet_for {
        Some(quiet) if quiet >= wanted => {}
        Some(quiet) => reasons.add(
            Code::NotSettled,
            format!("quiet for {}s of {}s", quiet.as_secs(), seconds(wanted)),
        ),
        None => reasons.add(Code::NotSettled, "how long it has been quiet is not known"),
    }
}

fn seconds(duration: Duration) -> u64 {
    duration
        .as_millis()
        .div_ceil(1000)
        .try_into()
        .unwrap_or(u64::MAX)
}

fn limits(class: &DiskClass, usage: &ClassUsage, size: Bytes, reasons: &mut Reasons) {
    let limits = &class.limits;
    let name = &class.name;
    if let Some(max) = limits.max_disks.filter(|max| usage.disks >= *max) {
        reasons.add(
            Code::LimitReached,
            format!(
                "class {name} has {} disks of at most {max} (maxDisks)",
                usage.disks
            ),
        );
    }
    if usage.closed {
        reasons.add(
            Code::LimitReached,
            format!(
                "group {} was not made by disk-watcher, so no disk is added to it; add it with vgextend",
                class.volume_group.name
            ),
        );
    }
    let total = Bytes(usage.size.0.saturating_add(size.0));
    if let Some(max) = limits.max_total.filter(|max| total > *max) {
        reasons.add(
            Code::LimitReached,
            format!("class {name} would have {total} of at most {max} (maxTotal)"),
        );
    }
    let ready = usage.disks.saturating_add(usage.candidates);
    if !usage.group_exists && ready < limits.min_disks {
        reasons.add(
            Code::LimitReached,
            format!(
                "class {name} waits for {} disks and has {ready} (minDisks)",
                limits.min_disks
            ),
        );
    }
}
