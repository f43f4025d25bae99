//! What is wrong with this node's volumes, as a condition of their LogicalVolumes and as Events: a disk that is gone, a
//! pool that is full, a device that cannot be used. kubelet shows it to nobody but its metrics.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tracing::warn;

use super::status::with;
use super::{MANAGER, Reconciler};
use crate::kubernetes::local::{FileSystems, Local};
use crate::kubernetes::logical_volume::{HEALTHY, LogicalVolume};

/// What a look at a volume came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// This is wrong with it.
    Sick(String),
    /// It could not be told, for this reason.
    Unknown(String),
}

impl Health {
    /// Status, reason and message of the condition.
    fn words(&self) -> (&'static str, &'static str, &str) {
        match self {
            Self::Well => ("True", "Well", "nothing is known to be wrong with it"),
            Self::Sick(why) => ("False", "Sick", why),
            Self::Unknown(why) => ("Unknown", "CannotTell", why),
        }
    }
}

impl<L: Local, F: FileSystems> Reconciler<L, F> {
    /// Looks at each volume once. Gives what is said of them now: upstream's CRD keeps no conditions, and its objects do
    /// not tell.
    pub(super) async fn say_health(
        &self,
        objects: &Store<LogicalVolume>,
        said: BTreeMap<String, Health>,
    ) -> BTreeMap<String, Health> {
        let mut now = BTreeMap::new();
        for object in objects.state() {
            let status = object.status.as_ref();
            let id = status.map_or("", |status| &status.volume_id);
            let ends = object.metadata.deletion_timestamp.is_some();
            if object.spec.node_name != self.node || id.is_empty() || ends {
                continue;
            }
            let health = match self.local.wrong(id).await {
                Ok(None) => Health::Well,
                Ok(Some(why)) => Health::Sick(why),
                Err(error) => Health::Unknown(error.to_string()),
            };
            let name = object.name_any();
            let keeps_none = status.is_none_or(|status| status.conditions.is_empty());
            let is_said = keeps_none && said.get(&name) == Some(&health);
            if is_said || self.write(&object, &health).await {
                now.insert(name, health);
            }
        }
        now
    }

    /// Whether it stands there now.
    async fn write(&self, object: &LogicalVolume, health: &Health) -> bool {
        let Some(patch) = patch(object, health, Timestamp::now()) else {
            return true;
        };
        let (_, reason, message) = health.words();
        let name = object.name_any();
        let params = PatchParams::apply(MANAGER);
        let patch = Patch::Merge(&patch);
        match self.api.patch_status(&name, &params, &patch).await {
            Ok(_) => {}
            // Somebody else wrote meanwhile, or it is gone: the next look sees it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return false,
            Err(error) => {
                warn!(volume = name, %error, reason, "the condition {HEALTHY} is not written yet");
                return false;
            }
        }
        let kind = match health {
            Health::Well => EventType::Normal,
            Health::Sick(_) | Health::Unknown(_) => EventType::Warning,
        };
        self.event(object, kind, &format!("Volume{reason}"), message)
            .await;
        true
    }
}

/// The patch (RFC 7386) of `object`'s status, good for this version of it only; `None` when it says so already.
fn patch(object: &LogicalVolume, health: &Health, now: Timestamp) -> Option<Value> {
    let conditions = object.status.as_ref().map(|status| &status.conditions[..]);
    let conditions = conditions.unwrap_or_default();
    let (status, reason, message) = health.words();
    let was = conditions
        .iter()
        .find(|condition| condition.type_ == HEALTHY);
    let says =
        |was: &Condition| was.status == status && was.reason == reason && was.message == message;
    if was.map_or(*health == Health::Well, says) {
        return None;
    }
    let condition = Condition {
        type_: HEALTHY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: object.meta().generation,
        last_transition_time: Time(now),
    };
    Some(json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": {"conditions": with(conditions, condition)},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(conditions: &Value) -> LogicalVolume {
        serde_json::from_value(json!({
            "apiVersion": "topolvm.io/v1", "kind": "LogicalVolume",
            "metadata": {"name": "pvc-1", "resourceVersion": "7"},
            "spec": {"name": "pvc-1", "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"},
            "status": {"volumeID": "u1", "conditions": conditions},
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_volume_that_was_always_well_has_no_condition() {
        assert_eq!(patch(&object(&json!([])), &Health::Well, at(1)), None);
    }

    #[test]
    fn what_is_wrong_is_said_once_and_beside_what_else_is_said() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "Made", "message": "the volume has 1Gi",
            "lastTransitionTime": "1970-01-01T00:00:00Z"});
        let sick = Health::Sick("a PV is missing".to_owned());
        let first = patch(&object(&json!([ready])), &sick, at(1)).unwrap();
        assert_eq!(first["metadata"]["resourceVersion"], "7");
        let conditions = &first["status"]["conditions"];
        assert_eq!(conditions[0]["type"], "Ready");
        assert_eq!(
            (
                &conditions[1]["type"],
                &conditions[1]["status"],
                &conditions[1]["message"]
            ),
            (
                &json!("Healthy"),
                &json!("False"),
                &json!("a PV is missing")
            )
        );
        assert_eq!(patch(&object(conditions), &sick, at(2)), None);
        let well = patch(&object(conditions), &Health::Well, at(3)).unwrap();
        let well = &well["status"]["conditions"][1];
        assert_eq!(
            (&well["status"], &well["lastTransitionTime"]),
            (&json!("True"), &json!("1970-01-01T00:00:03Z"))
        );
    }
}
