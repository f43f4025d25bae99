//! What people said about a disk: approvals, each bound to one disk as it was.

use super::{Code, Evidence, Reasons};
use crate::config::{Approval, Discovery, DiskClass};

/// What this node is called and what its disk looked like, as approvals name them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The digest of what stands on the disk; `None` when it could not be read.
    pub fingerprint: Option<&'a str>,
    /// The same when a name in disk-config was bound to the disk; `None` when none is.
    pub bound: Option<&'a str>,
}

/// What the approvals of a class say about a disk.
enum Said<'a> {
    Yes,
    /// One names the disk as it was; it is another now.
    Changed(&'a Approval),
    Nothing,
}

/// A class that is set up takes no more disks by itself, unless it is told to; and who
/// wrote a name meant the disk as it was then.
pub(super) fn a_person_agrees(evidence: &Evidence<'_>, class: &DiskClass, reasons: &mut Reasons) {
    let established = evidence.usage.is_some_and(|usage| usage.established);
    let Consent {
        fingerprint, bound, ..
    } = evidence.consent;
    let why = if class.discovery == Discovery::Once && established {
        format!("class {} is set up and its discovery is Once", class.name)
    } else if class.select.named.is_some() && bound.is_some() && bound != fingerprint {
        "its contents have changed since its name was bound to it".to_owned()
    } else {
        return;
    };
    match said(evidence, class) {
        Said::Yes => {}
        Said::Changed(approval) => reasons.add(
            Code::AwaitingApproval,
            format!(
                "its approval is void: it was given for fingerprint {}, and the disk has {}",
                approval.fingerprint,
                evidence.consent.fingerprint.unwrap_or("none that is known")
            ),
        ),
        Said::Nothing => reasons.add(Code::AwaitingApproval, why),
    }
}

fn said<'a>(evidence: &Evidence<'_>, class: &'a DiskClass) -> Said<'a> {
    let id = evidence.facts.identify();
    let mine: Vec<&Approval> = class
        .approved
        .iter()
        .filter(|a| a.node == evidence.consent.node && Some(&a.disk_id) == id.id())
        .collect();
    let now = evidence.consent.fingerprint;
    if mine.iter().any(|a| Some(a.fingerprint.as_str()) == now) {
        return Said::Yes;
    }
    mine.first().map_or(Said::Nothing, |a| Said::Changed(a))
}
