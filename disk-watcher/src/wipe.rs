//! Whether a disk is wiped because a person asked for it. Pure.
//!
//! The request names the disk by its id and by the digest of what stood on it when the
//! person looked; it is void when anything of that changed. No request wipes what is in
//! use, what is ours, a member of a volume group, or a disk of the operating system.

use std::collections::BTreeSet;

use crate::config::{DiskWipeRequest, Standing, WipeMethod};
use crate::content::Reading;
use crate::facts::{DiskFacts, DiskId};
use crate::rules::{Code, Judgement, Verdict};

/// The disk that a request names.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What sysfs says of it.
    pub facts: &'a DiskFacts,
    /// What the rules make of it.
    pub judgement: &'a Judgement,
    /// What stands on it; `None` when it could not be read.
    pub reading: Option<&'a Reading>,
    /// Whether a volume group lists the PV on it, or one on a partition of it.
    pub listed: bool,
    /// Whether the journal has a claim on it, or on a partition of it.
    pub claimed: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Not, and nothing was changed.
    Refused(String),
    /// Not yet: a person has to confirm what is said, or the disk is not quiet.
    Waiting(String),
    /// Now.
    Go,
}

/// What `confirm` has to say.
pub fn confirmation(node: &str, disk: &DiskId) -> String {
    format!("destroy {disk} on {node}")
}

/// Decides. `now` in seconds since 1970; `disks` are all that have the id.
pub fn decide(request: &DiskWipeRequest, now: u64, disks: &[Seen<'_>]) -> Answer {
    let refused = |why: String| Answer::Refused(why);
    let [disk] = disks else {
        return match disks.len() {
            0 => Answer::Waiting("no disk here has this id".into()),
            many => refused(format!("{many} disks have this id")),
        };
    };
    if disk.facts.part.is_some() {
        return refused(
            "it is a partition, and only whole disks are wiped on request; erase it by hand \
             (wipefs, blkdiscard -z), or remove it from the table"
                .into(),
        );
    }
    if now > request.not_after {
        return refused("it is void: notAfter is past".into());
    }
    let Some(reading) = disk.reading else {
        return refused("what stands on the disk cannot be read".into());
    };
    if reading.fingerprint != request.fingerprint {
        return refused(format!(
            "it is void: the disk's fingerprint is now sha256:{}",
            reading.fingerprint
        ));
    }
    let kinds = kinds(reading);
    if kinds != request.signatures {
        let list = |kinds: &BTreeSet<String>| kinds.iter().cloned().collect::<Vec<_>>().join(", ");
        return refused(format!(
            "it is void: it expects signatures [{}], and there are [{}]",
            list(&request.signatures),
            list(&kinds)
        ));
    }
    if disk.claimed || disk.judgement.verdict == Verdict::Ours {
        return refused(
            "the disk, or a partition of it, is ours; a DiskRemovalRequest takes it out".into(),
        );
    }
    let mut pvs = reading.report.pv.iter().chain(&reading.members);
    if disk.listed || pvs.any(|pv| pv.used || pv.committed) {
        return refused(
            "it, or a partition of it, is a PV of a volume group; vgreduce or vgremove is yours"
                .into(),
        );
    }
    if let Some(reason) = disk.judgement.reasons.iter().find(|r| !is_cured(&r.code)) {
        return match reason.code {
            Code::NotSettled | Code::BeingRead | Code::HostNotReady => {
                Answer::Waiting(reason.to_string())
            }
            _ => refused(reason.to_string()),
        };
    }
    let wanted = confirmation(&request.node, &request.disk);
    match &request.confirm {
        Some(words) if *words == wanted => Answer::Go,
        Some(words) => refused(format!("confirm says {words:?} where {wanted:?} belongs")),
        None => Answer::Waiting(format!(
            "{}; to have that done, add to the request: confirm: \"{wanted}\"",
            destroyed(request.method, disk.facts, reading)
        )),
    }
}

/// The names of the signatures on the disk.
pub fn kinds(reading: &Reading) -> BTreeSet<String> {
    let seen = reading.report.signatures.iter();
    seen.map(|signature| signature.kind.clone()).collect()
}

/// What would be destroyed, for people.
fn destroyed(method: WipeMethod, facts: &DiskFacts, reading: &Reading) -> String {
    let disk = format!(
        "{} ({}, {}, serial {})",
        facts.name,
        facts.size.unwrap_or_default(),
        facts.model.as_deref().unwrap_or("no model"),
        facts.serial.as_deref().unwrap_or("none")
    );
    let places: Vec<String> = reading
        .report
        .signatures
        .iter()
        .map(|s| format!("{} at byte {}", s.kind, s.offset))
        .collect();
    let found = if places.is_empty() {
        "no signature, but data".to_owned()
    } else {
        places.join(", ")
    };
    match method {
        WipeMethod::SignaturesOnly => format!("would erase the signatures on {disk}: {found}"),
        WipeMethod::Full => format!("would overwrite all of {disk} with zeroes; on it: {found}"),
    }
}

/// Whether the reason is what a wipe is for, or only says that the disk is not wanted.
fn is_cured(code: &Code) -> bool {
    matches!(
        code,
        Code::Signature(_)
            | Code::HasPartitions
            | Code::PhantomPartitions
            | Code::NotZeroed
            | Code::ForeignPV
            | Code::TooSmall
            | Code::TooLarge
            | Code::ClassConflict
            | Code::LimitReached
            | Code::AwaitingApproval
            | Code::ClassNotInForce
    )
}

/// The request that wipes this disk, but for the confirmation, where one could. `until`: its
/// notAfter.
pub fn offer(node: &str, id: &DiskId, disk: &Seen<'_>, until: &str) -> Option<String> {
    let reading = disk.reading?;
    let request = DiskWipeRequest {
        name: String::new(),
        node: node.to_owned(),
        disk: id.clone(),
        fingerprint: reading.fingerprint.clone(),
        signatures: kinds(reading),
        method: WipeMethod::Full,
        not_after: u64::MAX,
        confirm: None,
        standing: Standing::File,
    };
    let is_something = disk.judgement.reasons.iter().any(|r| {
        matches!(
            r.code,
            Code::Signature(_) | Code::NotZeroed | Code::ForeignPV
        )
    });
    if !is_something || !matches!(decide(&request, 0, &[*disk]), Answer::Waiting(_)) {
        return None;
    }
    let list: Vec<String> = request.signatures.into_iter().collect();
    Some(format!(
        "{{node: {node}, diskId: {id}, expect: {{fingerprint: \"sha256:{}\", signatures: [{}]}}, method: Full, notAfter: \"{until}\"}}",
        reading.fingerprint,
        list.join(", ")
    ))
}

#[cfg(test)]
mod tests;
