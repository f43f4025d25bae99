//! How classes and requests stand on this node, for their status. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::compose::{Refusal, Verdict};
use super::conditions::condition;
use super::written::Kind;
use crate::status::{DiskState, NodeDisk, NodeStatus, RequestState};

/// How often the progress of a request is written at most.
pub(super) const PROGRESS: Duration = Duration::from_secs(5);

/// A class or request, and what this node says of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: String,
    /// What is said: of a class, this node's entry.
    pub(super) status: Value,
}

impl Target {
    /// The part of a status that this node writes.
    pub(super) fn part(&self, status: &Value, node: &str) -> Value {
        if self.kind != Kind::Class {
            return status.clone();
        }
        let mut nodes = status["nodes"].as_array().into_iter().flatten();
        nodes
            .find(|entry| entry["name"] == node)
            .cloned()
            .unwrap_or_default()
    }

    /// What is applied for a part.
    pub(super) fn whole(&self, part: Value) -> Value {
        match self.kind {
            Kind::Class => json!({"nodes": [part]}),
            Kind::Removal | Kind::Wipe => part,
        }
    }
}

/// What this node says of each object that is for it.
pub(super) fn targets(node: &str, verdicts: &[Verdict], status: &NodeStatus) -> Vec<Target> {
    verdicts
        .iter()
        .filter_map(|verdict| {
            let said = match verdict.kind {
                Kind::Class => class(node, verdict, status),
                Kind::Removal | Kind::Wipe => request(verdict, status)?,
            };
            Some(Target {
                kind: verdict.kind,
                name: verdict.name.clone(),
                status: said,
            })
        })
        .collect()
}

fn class(node: &str, verdict: &Verdict, status: &NodeStatus) -> Value {
    let mut valid = match &verdict.refusal {
        None => condition("Valid", true, "InUse", ""),
        Some(Refusal { reason, message }) => condition("Valid", false, reason, message),
    };
    valid.observed_generation = Some(verdict.generation);
    let named = Some(verdict.name.as_str());
    let disks: Vec<_> = (status.disks.iter())
        .filter(|disk| disk.class.as_deref() == named)
        .collect();
    let ready = disks.iter().filter(|d| d.state == DiskState::Ready).count();
    let (is, reason) = match (ready, disks.len()) {
        (_, 0) => (false, "NoDisks"),
        (ready, all) if ready == all => (true, "AllReady"),
        _ => (false, "NotAllReady"),
    };
    let message = format!("{ready} of {} disks are Ready", disks.len());
    let ready = condition("Ready", is, reason, &message);
    let moving = |disk: &&&NodeDisk| {
        use DiskState::{Claimed, Draining, Grouped, Labelled, Wiping};
        matches!(disk.state, Claimed | Labelled | Grouped | Draining | Wiping)
    };
    let moving = disks.iter().filter(moving).count();
    let message = format!("{moving} of {} disks are on their way", disks.len());
    let reason = if moving > 0 { "DisksChange" } else { "AtRest" };
    let progressing = condition("Progressing", moving > 0, reason, &message);
    let tied = disks.iter().find(|disk| disk.state == DiskState::Conflict);
    let conflict = match (&verdict.refusal, tied) {
        (Some(refusal), _) if refusal.reason == "Conflict" => {
            condition("Conflict", true, "ClassConflict", &refusal.message)
        }
        (_, Some(disk)) => condition("Conflict", true, "DiskConflict", &disk.summary()),
        _ => condition("Conflict", false, "None", ""),
    };
    json!({"name": node, "conditions": [valid, progressing, ready, conflict]})
}

/// `None` while nothing is known yet.
fn request(verdict: &Verdict, status: &NodeStatus) -> Option<Value> {
    let (state, message, disk) = match &verdict.refusal {
        Some(refusal) => (RequestState::Refused, refusal.message.clone(), None),
        None => {
            let mut all = status.requests.iter();
            let found = all.find(|r| r.kind == verdict.kind.name() && r.name == verdict.name)?;
            let disk = found.disk.as_ref().map(ToString::to_string);
            (found.state, found.message.clone(), disk)
        }
    };
    let word = format!("{state:?}");
    let mut complete = condition("Complete", state == RequestState::Done, &word, &message);
    complete.observed_generation = Some(verdict.generation);
    let mut said = json!({"state": word, "message": message, "conditions": [complete]});
    if let Some(disk) = disk {
        said["disk"] = json!(disk);
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::view::tests::disk;
    use crate::status::NodeRequest;

    fn verdict(kind: Kind, refusal: Option<Refusal>) -> Verdict {
        Verdict {
            kind,
            name: "a".into(),
            generation: 2,
            refusal,
        }
    }

    #[test]
    fn a_refused_object_says_why_in_its_status() {
        let refusal = Refusal {
            reason: "Invalid",
            message: "spec.select: no".into(),
        };
        let of = |kind| {
            let verdicts = [verdict(kind, Some(refusal.clone()))];
            targets("n1", &verdicts, &NodeStatus::default())
                .remove(0)
                .status
        };
        let class = of(Kind::Class);
        assert_eq!(class["name"], "n1");
        assert_eq!(class["conditions"][0]["status"], "False");
        assert_eq!(class["conditions"][0]["message"], "spec.select: no");
        assert_eq!(class["conditions"][0]["observedGeneration"], 2);
        let removal = of(Kind::Removal);
        assert_eq!(removal["state"], "Refused");
        assert_eq!(removal["message"], "spec.select: no");
    }

    #[test]
    fn a_class_says_whether_its_disks_change_and_whether_another_wants_them() {
        let of = |state| {
            let mut verdict = verdict(Kind::Class, None);
            verdict.name = "fast".into();
            let status = NodeStatus {
                disks: vec![disk("sda", None, state)],
                ..NodeStatus::default()
            };
            let said = targets("n1", &[verdict], &status).remove(0).status;
            let all = said["conditions"].as_array().unwrap().iter();
            let good = all.filter(|c| c["status"] == "True");
            let good = good.map(|c| c["type"].as_str().unwrap().to_owned());
            good.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(DiskState::Ready), "Valid Ready");
        assert_eq!(of(DiskState::Labelled), "Valid Progressing");
        assert_eq!(of(DiskState::Conflict), "Valid Conflict");
    }

    #[test]
    fn a_request_stands_as_the_node_says_once_it_says_anything() {
        let verdicts = [verdict(Kind::Removal, None)];
        assert_eq!(targets("n1", &verdicts, &NodeStatus::default()), []);
        let status = NodeStatus {
            requests: vec![NodeRequest {
                kind: "DiskRemovalRequest",
                name: "a".into(),
                disk: None,
                state: RequestState::Done,
                message: "out".into(),
            }],
            ..NodeStatus::default()
        };
        let said = targets("n1", &verdicts, &status).remove(0).status;
        assert_eq!(
            (&said["state"], &said["conditions"][0]["status"]),
            (&json!("Done"), &json!("True"))
        );
    }
}
