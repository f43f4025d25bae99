//! How classes and requests stand on this node, for their status. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::compose::{Refusal, Verdict};
use super::view::condition;
use super::written::Kind;
use crate::status::{DiskState, NodeStatus, RequestState};

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
    json!({"name": node, "conditions": [valid, ready]})
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
