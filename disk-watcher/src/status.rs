//! What `disk-watcher status` shows: every disk, the state it is in, and why. A view;
//! it decides nothing.

pub mod asked;
mod condition;
mod file;
mod group;
mod pool;
mod pool_text;
mod request;
mod text;

use lvmd::units::Bytes;
use serde::Serialize;

pub use self::condition::Condition;
pub use self::file::{FileState, NodeFile};
pub use self::group::{GroupPool, GroupPv, NodeVolumeGroup, groups};
pub use self::pool::{NodeThinPool, PoolState};
pub use self::pool_text::pool_table;
pub use self::request::{NodeRequest, RequestState};
pub use self::text::{json, table};
use crate::facts::{DiskFacts, DiskId, Transport};
use crate::rules::{Judgement, Progress, Reason, Verdict};
use crate::select::{Answer, Explanation};

/// Where a disk stands on its way (the disk state machine of the reference, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum DiskState {
    /// Seen, and no class picks it.
    Discovered,
    /// A rule denies it.
    Rejected,
    /// Picked, and it has to wait: for quiet, or for more disks.
    Candidate,
    /// Picked, and a person has to agree.
    AwaitingApproval,
    /// It would be taken; the class only plans.
    Planned,
    /// Our intent is on record.
    Claimed,
    /// It has our PV label.
    Labelled,
    /// It is in its group; the pool is not done.
    Grouped,
    /// All is done.
    Ready,
    /// What is on it is being moved away, or it is on its way out of its group.
    Draining,
    /// It is being wiped, as a person asked.
    Wiping,
    /// It works, and not as it should.
    Degraded,
    /// It is a PV of ours and not there.
    Missing,
    /// It came back with old metadata.
    Stale,
    /// Another disk is in its place.
    Replaced,
    /// Several classes or groups want it.
    Conflict,
    /// Nothing is done until a person looks.
    Frozen,
}

/// What has to hold before anything is changed on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeCheck {
    /// Its name: `LockDirectory` (the host's lvm locks with us), `Tools` (lvm is recent enough and thin_check is there),
    /// `ThinPools` (the kernel has them; asked only where a class wants one), or one of those of [`Self::keeps_pools`].
    pub check: &'static str,
    /// Why it does not hold.
    pub problem: Option<String>,
}

impl NodeCheck {
    /// The files of the configuration can be used.
    pub(crate) const CONFIGURATION: &'static str = "Configuration";
    /// The journal can.
    pub(crate) const JOURNAL: &'static str = "Journal";
    /// This is the disk-watcher that acts on the node.
    pub(crate) const ACTS: &'static str = "Acts";

    pub(crate) fn new(check: &'static str, problem: Option<String>) -> Self {
        Self { check, problem }
    }

    /// Whether pools are cared for although it does not hold: it is about ourselves, not about
    /// the host.
    pub(crate) fn keeps_pools(&self) -> bool {
        [Self::CONFIGURATION, Self::JOURNAL, Self::ACTS].contains(&self.check)
    }
}

/// The node, as status shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NodeStatus {
    /// How often its disks were looked at since the daemon started; 0 while nothing else here
    /// is known.
    pub looks: u64,
    /// What has to hold before anything is changed on it.
    pub preflight: Vec<NodeCheck>,
    /// Its disks.
    pub disks: Vec<NodeDisk>,
    /// Its volume groups; empty while they are not known, which each disk then says.
    pub groups: Vec<NodeVolumeGroup>,
    /// The files that stand in for disks.
    pub files: Vec<NodeFile>,
    /// What became of requests about single disks.
    pub requests: Vec<NodeRequest>,
    /// Its thin pools; only the daemon looks at them.
    pub pools: Vec<NodeThinPool>,
}

/// One disk, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDisk {
    /// Its kernel name; `None` while it is missing.
    pub name: Option<String>,
    /// Its id, where it has one.
    pub id: Option<DiskId>,
    /// Its links under `/dev`.
    pub links: Vec<String>,
    /// Its size, in bytes.
    pub size: Option<Bytes>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// How it is attached.
    pub transport: Option<Transport>,
    /// The class that picks it or has it.
    pub class: Option<String>,
    /// Its state.
    pub state: DiskState,
    /// Everything that speaks against it.
    pub reasons: Vec<Reason>,
    /// How far the reading of all of it is, while that goes on.
    pub reading: Option<Progress>,
    /// What each class says.
    pub selection: Vec<Explanation>,
    /// The UUID of its PV, where it is ours.
    pub pv_uuid: Option<String>,
    /// The name of its group, where it is ours.
    pub volume_group: Option<String>,
    /// The commands that would run, where the class only plans.
    pub plan: Vec<String>,
    /// The `spec` of a DiskWipeRequest for it as it is now, where one may be asked for; it
    /// lacks the confirmation.
    pub wipe: Option<String>,
    /// The line of `spec.approved` with which a person agrees, where one has to.
    pub approve: Option<String>,
}

impl NodeDisk {
    /// A disk as it was judged. What the journal and the group add (claim, membership,
    /// plan) is for the caller to set; a disk of ours is `Labelled` until it does.
    pub fn judged(facts: &DiskFacts, judgement: &Judgement) -> Self {
        let class = match &judgement.selection {
            crate::select::Selection::Class(class) => Some(class.clone()),
            _ => None,
        };
        Self {
            name: Some(facts.name.clone()),
            id: judgement.id.id().cloned(),
            links: facts.links().to_vec(),
            size: facts.size,
            model: facts.model.clone(),
            serial: facts.serial.clone(),
            transport: facts.transport,
            class,
            state: state(judgement),
            reasons: judgement.reasons.clone(),
            reading: None,
            selection: judgement.explanations.clone(),
            pv_uuid: None,
            volume_group: None,
            plan: Vec::new(),
            approve: None,
            wipe: None,
        }
    }

    /// The reasons on one line: their codes, and in full when there is only one. A disk
    /// that no class picks says so first.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.state == DiskState::Discovered {
            parts.push(self.why_not_picked());
        }
        match self.reasons.as_slice() {
            [] => {}
            [only] if parts.is_empty() => parts.push(only.to_string()),
            many => {
                let mut codes: Vec<String> = Vec::new();
                for reason in many {
                    let code = reason.code.to_string();
                    if !codes.contains(&code) {
                        codes.push(code);
                    }
                }
                parts.push(codes.join(", "));
            }
        }
        parts.join("; ")
    }

    /// The same, and how far the reading of all of it is.
    pub fn why(&self) -> String {
        match self.reading {
            Some(progress) => format!("{}; {progress}", self.summary()),
            None => self.summary(),
        }
    }

    fn why_not_picked(&self) -> String {
        let excluded = self.selection.iter().find_map(|e| match &e.answer {
            Answer::Excluded(miss) => Some(format!("excluded by {}: {}", e.class, miss.detail)),
            _ => None,
        });
        excluded.unwrap_or_else(|| "no class picks it".to_owned())
    }
}

fn state(judgement: &Judgement) -> DiskState {
    let has = |code: &str| judgement.reasons.iter().any(|r| r.code.as_str() == code);
    match &judgement.verdict {
        Verdict::Ours => DiskState::Labelled,
        Verdict::NotSelected => DiskState::Discovered,
        Verdict::Rejected if has("ClassConflict") => DiskState::Conflict,
        Verdict::Rejected => DiskState::Rejected,
        Verdict::Waiting if has("AwaitingApproval") => DiskState::AwaitingApproval,
        Verdict::Waiting => DiskState::Candidate,
        Verdict::Cleared { .. } => DiskState::Planned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Code;

    #[test]
    fn a_verdict_and_its_reasons_are_a_state() {
        let class = || "fast".to_owned();
        for (verdict, code, wanted) in [
            (
                Verdict::Cleared { class: class() },
                None,
                DiskState::Planned,
            ),
            (Verdict::Ours, Some(Code::Busy), DiskState::Labelled),
            (
                Verdict::NotSelected,
                Some(Code::NotADisk),
                DiskState::Discovered,
            ),
            (Verdict::Rejected, Some(Code::Busy), DiskState::Rejected),
            (
                Verdict::Rejected,
                Some(Code::ClassConflict),
                DiskState::Conflict,
            ),
            (
                Verdict::Waiting,
                Some(Code::NotSettled),
                DiskState::Candidate,
            ),
            (
                Verdict::Waiting,
                Some(Code::AwaitingApproval),
                DiskState::AwaitingApproval,
            ),
        ] {
            let judgement = Judgement {
                disk: "sda".to_owned(),
                id: crate::facts::Identified::Missing,
                explanations: Vec::new(),
                selection: crate::select::Selection::Class(class()),
                reasons: code
                    .into_iter()
                    .map(|code| Reason {
                        code,
                        detail: String::new(),
                    })
                    .collect(),
                verdict,
            };
            assert_eq!(state(&judgement), wanted, "{judgement:?}");
        }
    }
}
