//! What a disk that is ours, and is there, is called in status. Pure.

use crate::journal::{Claim, Stage};
use crate::rules::{Code, Judgement};
use crate::status::DiskState;

/// What is known of it besides its claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// What the rules say.
    pub(super) judgement: &'a Judgement,
    /// Another device carries the same PV.
    pub(super) has_twin: bool,
    /// Nothing is changed in its group, whatever the class's mode.
    pub(super) frozen: bool,
}

/// The state of a disk with a claim; the one that says most of what a person has to do.
pub(super) fn claimed(claim: &Claim, around: Around<'_>) -> DiskState {
    if claim.leaving.is_some() && !around.frozen {
        return DiskState::Draining;
    }
    let by_stage = match claim.stage {
        Stage::Claimed => DiskState::Claimed,
        Stage::Labelled => DiskState::Labelled,
        Stage::Grouped => DiskState::Grouped,
        Stage::Ready => DiskState::Ready,
    };
    member(by_stage, around)
}

/// The state of a disk in a group of ours that would be in `sound` if nothing were wrong.
pub(super) fn member(sound: DiskState, around: Around<'_>) -> DiskState {
    let has = |codes: &[Code]| {
        let mut reasons = around.judgement.reasons.iter();
        reasons.any(|reason| codes.contains(&reason.code))
    };
    if around.has_twin {
        DiskState::Conflict
    } else if has(&[Code::DiskStale]) {
        DiskState::Stale
    } else if around.frozen {
        DiskState::Frozen
    } else if has(&[
        Code::Offline,
        Code::ReadOnly,
        Code::Suspended,
        Code::ZeroSize,
        Code::ProbeFailed,
    ]) {
        DiskState::Degraded
    } else {
        sound
    }
}

/// The state of a disk of ours that is not there: `slot` are the links it had, `now` those
/// that other disks have.
pub(super) fn absent<'a>(slot: &[String], mut now: impl Iterator<Item = &'a String>) -> DiskState {
    if now.any(|link| slot.contains(link)) {
        DiskState::Replaced
    } else {
        DiskState::Missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Identified;
    use crate::rules::{Reason, Verdict};
    use crate::select::Selection;

    fn judged(codes: &[Code]) -> Judgement {
        let reason = |code: &Code| Reason {
            code: code.clone(),
            detail: String::new(),
        };
        Judgement {
            disk: "sda".into(),
            id: Identified::Missing,
            explanations: vec![],
            selection: Selection::Nobody,
            reasons: codes.iter().map(reason).collect(),
            verdict: Verdict::Ours,
        }
    }

    #[test]
    fn each_trouble_of_a_member_has_a_state_of_its_own() {
        let state = |codes: &[Code], has_twin, frozen| {
            let judgement = judged(codes);
            let around = Around {
                judgement: &judgement,
                has_twin,
                frozen,
            };
            member(DiskState::Ready, around)
        };
        assert_eq!(
            state(&[Code::Busy, Code::HasHolders], false, false),
            DiskState::Ready
        );
        assert_eq!(state(&[], true, true), DiskState::Conflict);
        assert_eq!(
            state(&[Code::DuplicatePV], false, true),
            DiskState::Frozen,
            "another disk of its group has a clone"
        );
        assert_eq!(
            state(&[Code::DiskStale, Code::VGPartial], false, true),
            DiskState::Stale
        );
        assert_eq!(state(&[Code::VGPartial], false, true), DiskState::Frozen);
        assert_eq!(state(&[Code::Offline], false, false), DiskState::Degraded);
        assert_eq!(state(&[Code::Offline], false, true), DiskState::Frozen);
    }

    #[test]
    fn another_disk_in_the_place_of_a_missing_one_is_told() {
        let links = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let slot = links(&["/dev/disk/by-path/a"]);
        let is = |now: &[&str]| absent(&slot, links(now).iter());
        assert_eq!(is(&["/dev/disk/by-path/b"]), DiskState::Missing);
        assert_eq!(
            is(&["/dev/disk/by-path/b", "/dev/disk/by-path/a"]),
            DiskState::Replaced
        );
    }
}
