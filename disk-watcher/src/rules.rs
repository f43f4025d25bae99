//! The safety rules: which reasons speak against taking a disk. Pure; no device is
//! read here.
//!
//! Every rule runs and every reason is reported. A rule that lacks what it needs to
//! know denies: unknown means no. Only [`Verdict::Cleared`] lets a disk be planned or
//! taken, and a disk with any LVM label on it never gets that one.

mod approval;
mod code;
mod content;
mod device;
mod evidence;
mod group;
mod identity;
mod member;
mod policy;
mod usage;

use serde::Serialize;

pub use self::approval::Consent;
pub use self::code::{Code, Reason};
pub(crate) use self::content::is_system_partition;
pub use self::device::is_no_disk;
pub use self::evidence::{
    ClaimSeen, ClassUsage, Content, ContentReport, Evidence, LvmView, Opener, Ours, PartitionSeen,
    Peer, Progress, PvSeen, PvView, SignatureSeen, VgView,
};
pub(crate) use self::usage::used_by_the_host;
use crate::config::DiskClass;
use crate::facts::Identified;
use crate::select::{self, Explanation, Selection};

/// What the rules make of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The disk's kernel name.
    pub disk: String,
    /// Which disk it is.
    pub id: Identified,
    /// What each class says.
    pub explanations: Vec<Explanation>,
    /// What the classes say together.
    pub selection: Selection,
    /// Everything that speaks against it, in the order of the rules.
    pub reasons: Vec<Reason>,
    /// The outcome.
    pub verdict: Verdict,
}

/// The outcome for one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It carries a PV that we assigned, or one of a group with our tag: it goes on from
    /// there, it is not taken anew.
    Ours,
    /// No class picks it; the reasons say what would speak against it if one did.
    NotSelected,
    /// At least one reason denies it.
    Rejected,
    /// Nothing denies it, but it is not its turn yet.
    Waiting,
    /// The class that picks it may have it. What is done with it is up to the mode of
    /// the class, which is not looked at here.
    Cleared {
        /// The class.
        class: String,
    },
}

/// What stands against our label on a claimed disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Against {
    /// For people.
    pub why: String,
    /// Whether it is said of this disk, and neither of its node nor of the time.
    pub of_the_disk: bool,
}

impl Judgement {
    /// The first reason that stands against a change of a PV that is ours on this disk.
    pub fn against_a_member(&self) -> Option<&Reason> {
        let natural = |reason: &&Reason| reason.code.is_natural_of_a_member();
        self.reasons.iter().find(|reason| !natural(reason))
    }

    /// What stands against our label on this disk, which was claimed for the class and carries none yet: it is read anew
    /// before, and whether the class may have one more disk was asked when it was claimed.
    pub fn against_its_label(&self, class: &str) -> Option<Against> {
        if self.selection != Selection::Class(class.to_owned()) {
            return Some(Against {
                why: format!(
                    "class {class} does not pick it any more; a DiskRemovalRequest takes the claim back"
                ),
                of_the_disk: true,
            });
        }
        let asked = [
            Code::NotZeroed,
            Code::BeingRead,
            Code::LimitReached,
            Code::AwaitingApproval,
        ];
        let mut reasons = self.reasons.iter();
        let against = reasons.find(|reason| !asked.contains(&reason.code))?;
        Some(Against {
            why: format!("{}: {}", against.code.as_str(), against.detail),
            of_the_disk: !against.code.only_waits() && against.code != Code::HostNotReady,
        })
    }
}

/// Judges one disk against every rule.
pub fn judge(classes: &[DiskClass], evidence: &Evidence<'_>) -> Judgement {
    let explanations = select::explain(classes, evidence.facts);
    let selection = select::decide(&explanations);
    let class = match &selection {
        Selection::Class(name) => classes.iter().find(|class| class.name == *name),
        _ => None,
    };
    let mut reasons = Reasons(Vec::new());
    policy::host_is_ready(evidence, &mut reasons);
    device::is_a_whole_healthy_disk(evidence, class, &mut reasons);
    usage::nobody_uses_it(evidence, &mut reasons);
    content::it_is_blank(evidence, class, &mut reasons);
    identity::it_is_one_of_a_kind(evidence, class, &mut reasons);
    group::the_group_is_sound(evidence, class, &mut reasons);
    member::it_is_a_sound_member(evidence, &mut reasons);
    policy::it_is_wanted_now(evidence, &selection, class, &mut reasons);
    let reasons = reasons.0;
    Judgement {
        disk: evidence.facts.name.clone(),
        id: evidence.facts.identify(),
        verdict: verdict(evidence, &selection, &reasons),
        explanations,
        selection,
        reasons,
    }
}

fn verdict(evidence: &Evidence<'_>, selection: &Selection, reasons: &[Reason]) -> Verdict {
    if let Content::Probed(content) = &evidence.content
        && let Some(pv) = &content.pv
        && evidence.ours.owns(pv)
    {
        return Verdict::Ours;
    }
    let denied = reasons.iter().any(|reason| !reason.code.only_waits());
    match selection {
        Selection::Nobody => Verdict::NotSelected,
        _ if denied => Verdict::Rejected,
        Selection::Class(class) if reasons.is_empty() => Verdict::Cleared {
            class: class.clone(),
        },
        Selection::Class(_) => Verdict::Waiting,
        // Both come with a reason that denies; should that ever be lost, still no.
        Selection::Conflict(_) | Selection::BySizeOnly(_) => Verdict::Rejected,
    }
}

/// Reasons as they are found.
#[derive(Debug, Default)]
struct Reasons(Vec<Reason>);

impl Reasons {
    fn add(&mut self, code: Code, detail: impl Into<String>) {
        let detail = detail.into();
        let reason = Reason { code, detail };
        if !self.0.contains(&reason) {
            self.0.push(reason);
        }
    }
}

#[cfg(test)]
mod tests;
