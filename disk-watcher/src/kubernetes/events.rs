//! Events: what was decided and done, on the object that it is about and on the Node.
//!
//! They come of the difference between what an object said and what it says, so a restart
//! repeats none. Those that cannot be delivered wait, the oldest 256 of them.

use std::collections::VecDeque;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use serde_json::Value;
use tracing::warn;

use super::object::Object;
use super::requests::Target;
use super::view::Kind;
use super::written;

/// How many wait at most.
const WAITING: usize = 256;
/// What an Event's note may hold, in bytes.
const NOTE: usize = 1000;

/// See the module.
pub(super) struct Events {
    recorder: Recorder,
    node: ObjectReference,
    waiting: VecDeque<(Event, ObjectReference)>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({} waiting)", self.waiting.len())
    }
}

impl Events {
    pub(super) fn new(client: &Client, node: &str) -> Self {
        let reporter = Reporter {
            controller: "basalt.storage/disk-watcher".to_owned(),
            instance: Some(node.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            node: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
            waiting: VecDeque::new(),
        }
    }

    /// An object of this node changed.
    pub(super) fn of_object(&mut self, kind: Kind, object: &Object, was: &Value, is: &Value) {
        for (trouble, reason, note) in said(kind, was, is) {
            self.add(trouble, reason, note, object);
        }
    }

    /// A class or request changed.
    pub(super) fn of_request(&mut self, target: &Target, object: &Object, was: &Value, is: &Value) {
        let (trouble, reason, note) = match target.kind {
            written::Kind::Class => {
                let valid = |status: &Value| {
                    let conditions = status["conditions"].as_array().into_iter().flatten();
                    let mut valid = conditions.filter(|c| c["type"] == "Valid");
                    let c = valid.next().cloned().unwrap_or_default();
                    (c["status"].clone(), text(&c["message"]))
                };
                let ((before, old), (now, why)) = (valid(was), valid(is));
                if (&before, &old) == (&now, &why) {
                    return;
                }
                match now == "True" {
                    true => (
                        false,
                        "ClassInUse".to_owned(),
                        "it is used on this node".to_owned(),
                    ),
                    false => (true, "ClassRefused".to_owned(), why),
                }
            }
            written::Kind::Removal | written::Kind::Wipe => {
                if was["state"] == is["state"] {
                    return;
                }
                let what = match target.kind {
                    written::Kind::Wipe => "Wipe",
                    _ => "Removal",
                };
                let state = text(&is["state"]);
                (
                    state == "Refused",
                    format!("{what}{state}"),
                    text(&is["message"]),
                )
            }
        };
        self.add(trouble, reason, note, object);
    }

    fn add(&mut self, trouble: bool, reason: String, note: String, object: &Object) {
        if self.waiting.len() == WAITING {
            return;
        }
        let mut note = note;
        while note.len() > NOTE {
            note.pop();
        }
        let event = Event {
            type_: if trouble {
                EventType::Warning
            } else {
                EventType::Normal
            },
            action: reason.clone(),
            reason,
            note: Some(note).filter(|note| !note.is_empty()),
            secondary: Some(self.node.clone()),
        };
        let types = object.types.clone().unwrap_or_default();
        let about = ObjectReference {
            api_version: Some(types.api_version),
            kind: Some(types.kind),
            name: object.metadata.name.clone(),
            namespace: object.meta().namespace.clone(),
            uid: object.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.waiting.push_back((event, about));
    }

    /// Delivers those that wait, as far as the API server takes them.
    pub(super) async fn deliver(&mut self) {
        while let Some((event, about)) = self.waiting.front() {
            if let Err(error) = self.recorder.publish(event, about).await {
                let refused = matches!(&error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429);
                warn!(%error, "an event is not delivered");
                if !refused {
                    return;
                }
            }
            self.waiting.pop_front();
        }
    }
}

/// What is said of a change: whether it is trouble, the reason, the note.
fn said(kind: Kind, was: &Value, is: &Value) -> Vec<(bool, String, String)> {
    let mut all = Vec::new();
    let state = text(&is["state"]);
    let codes = |status: &Value| -> Vec<Value> {
        let reasons = status["reasons"].as_array().into_iter().flatten();
        reasons.map(|reason| reason["code"].clone()).collect()
    };
    match kind {
        Kind::Disk => {
            let rejected = state == "Rejected" && codes(was) != codes(is);
            if was["state"] != is["state"] || rejected {
                let trouble = [
                    "Conflict", "Frozen", "Missing", "Stale", "Replaced", "Degraded",
                ];
                let place = is["device"].as_str().unwrap_or("(not there)");
                let note = format!("{place}: {}", text(&is["summary"]));
                all.push((
                    trouble.contains(&state.as_str()),
                    format!("Disk{state}"),
                    note,
                ));
            }
        }
        Kind::Group => {
            let ready = |status: &Value| status.pointer("/conditions/0/status").cloned();
            if was.is_null() && is["class"].is_string() {
                all.push((false, "VGSeen".to_owned(), text(&is["name"])));
            }
            if !was.is_null() && ready(was) != ready(is) {
                let frozen = ready(is) != Some("True".into());
                let why = is
                    .pointer("/conditions/0/message")
                    .map(text)
                    .unwrap_or_default();
                let reason = if frozen { "VGFrozen" } else { "VGReady" };
                all.push((frozen, reason.to_owned(), why));
            }
            let backup = |status: &Value| {
                let conditions = status["conditions"].as_array().into_iter().flatten();
                let mut backup = conditions.filter(|c| c["type"] == "BackedUp");
                backup.next().cloned().unwrap_or_default()
            };
            let (before, now) = (backup(was), backup(is));
            if now.is_object() && before["status"] != now["status"] {
                let kept = now["status"] == "True";
                let reason = if kept { "BackupStored" } else { "BackupFailed" };
                all.push((!kept, reason.to_owned(), text(&now["message"])));
            }
        }
        Kind::Pool => {
            if was["state"] != is["state"] {
                let trouble = !matches!(state.as_str(), "Active" | "LowSpace" | "MetadataLow");
                all.push((trouble, format!("Pool{state}"), text(&is["name"])));
            }
            let at = |entry: &Value| entry["at"].as_u64().unwrap_or_default();
            let entries =
                |status: &Value| status["history"].as_array().cloned().unwrap_or_default();
            let seen = entries(was).iter().map(at).max();
            // Of a pool that was never shown, its history is old.
            let Some(seen) = seen.or((!was.is_null()).then_some(0)) else {
                return all;
            };
            for entry in entries(is).iter().filter(|entry| at(entry) > seen) {
                let what = match entry["part"] == "Metadata" {
                    true => "Metadata",
                    false => "Pool",
                };
                let failed = entry["result"] != "Done";
                let reason = if failed { "ExtendFailed" } else { "Extended" };
                let note = format!(
                    "from {} to {} bytes {}",
                    entry["from"],
                    entry["to"],
                    text(&entry["why"])
                );
                all.push((
                    failed,
                    format!("{what}{reason}"),
                    note.trim_end().to_owned(),
                ));
            }
        }
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reasons(kind: Kind, was: &Value, is: &Value) -> Vec<String> {
        said(kind, was, is)
            .into_iter()
            .map(|(_, reason, _)| reason)
            .collect()
    }

    #[test]
    fn a_change_is_an_event_and_what_stays_is_none() {
        let disk = |state: &str, code: &str| json!({"state": state, "reasons": [{"code": code}]});
        let rejected = disk("Rejected", "Busy");
        assert_eq!(
            reasons(Kind::Disk, &Value::Null, &rejected),
            ["DiskRejected"]
        );
        assert_eq!(reasons(Kind::Disk, &rejected, &rejected), [""; 0]);
        assert_eq!(
            reasons(Kind::Disk, &rejected, &disk("Rejected", "Mounted")),
            ["DiskRejected"]
        );
        assert_eq!(
            reasons(Kind::Disk, &rejected, &disk("Ready", "Busy")),
            ["DiskReady"]
        );
        let group =
            |ready: &str| json!({"class": "a", "conditions": [{"type": "Ready", "status": ready}]});
        assert_eq!(
            reasons(Kind::Group, &group("True"), &group("False")),
            ["VGFrozen"]
        );
        let with = |more: Value| {
            let ready = json!({"type": "Ready", "status": "True"});
            json!({"class": "a", "conditions": [ready, more]})
        };
        let backup = |is: &str| with(json!({"type": "BackedUp", "status": is}));
        let none = with(json!({"type": "Complete", "status": "True"}));
        let steps = [("True", "BackupStored"), ("False", "BackupFailed")];
        for (status, event) in steps {
            assert_eq!(reasons(Kind::Group, &none, &backup(status)), [event]);
        }
        assert_eq!(
            reasons(Kind::Group, &backup("True"), &backup("True")),
            [""; 0]
        );
    }

    #[test]
    fn extensions_that_nobody_was_told_of_are_told_in_order() {
        let pool = |entries: &[(u64, &str, &str)]| {
            let history: Vec<_> = entries
                .iter()
                .map(|(at, part, result)| json!({"at": at, "part": part, "from": 1, "to": 2, "result": result}))
                .collect();
            json!({"state": "Active", "history": history})
        };
        let first = (1, "Data", "Done");
        let was = pool(&[first]);
        let is = pool(&[first, (2, "Metadata", "Done"), (3, "Data", "Failed")]);
        assert_eq!(
            reasons(Kind::Pool, &was, &is),
            ["MetadataExtended", "PoolExtendFailed"]
        );
        assert_eq!(
            reasons(Kind::Pool, &Value::Null, &is),
            ["PoolActive"],
            "an old history is not news"
        );
    }
}
