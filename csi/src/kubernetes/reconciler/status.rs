//! What the node says of a LogicalVolume, as a patch of its status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use lvmd::units::Bytes;
use serde_json::{Value, json};
use tonic::Code;

use crate::kubernetes::logical_volume::{FILE_SYSTEM, LogicalVolume};
use crate::kubernetes::size::Size;

/// The condition: the volume is there, with the size that is wanted.
pub(super) const READY: &str = "Ready";

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// The volume is there and has this size.
    Is {
        /// Its id.
        id: String,
        /// Its size.
        size: Bytes,
        /// Whether its file system was grown with it.
        file_system: bool,
    },
    /// It could not be done; whoever asked for it decides what becomes of it.
    Failed(Code, String),
    /// It is not done yet, and is tried again.
    NotYet(Code, String),
}

/// The patch (RFC 7386) of `object`'s status; `None` when it says so already.
pub(super) fn patch(object: &LogicalVolume, said: &Said, now: Timestamp) -> Option<Value> {
    let was = object.status.clone().unwrap_or_default();
    let mut is = was.clone();
    let (ready, reason, message) = match said {
        Said::Is { id, size, .. } => {
            is.volume_id.clone_from(id);
            is.current_size = Some(Size::from(*size));
            is.code = 0;
            is.message.clear();
            let enough = object.spec.size.bytes().is_ok_and(|wanted| *size >= wanted);
            (
                enough,
                if enough { "Made" } else { "Growing" }.to_owned(),
                format!("the volume has {size}"),
            )
        }
        Said::Failed(code, message) => {
            is.code = i32::from(*code);
            is.message.clone_from(message);
            (false, format!("{code:?}"), message.clone())
        }
        Said::NotYet(code, message) => (false, format!("{code:?}"), message.clone()),
    };
    let condition = Condition {
        type_: READY.to_owned(),
        status: if ready { "True" } else { "False" }.to_owned(),
        reason,
        message,
        observed_generation: object.meta().generation,
        last_transition_time: Time(now),
    };
    is.conditions = with(&was.conditions, condition);
    match said {
        Said::Is {
            file_system: true,
            size,
            ..
        } => {
            let grown = Condition {
                type_: FILE_SYSTEM.to_owned(),
                status: "True".to_owned(),
                reason: "Grown".to_owned(),
                message: format!("grown with the volume to {size}, mounted"),
                observed_generation: object.meta().generation,
                last_transition_time: Time(now),
            };
            is.conditions = with(&is.conditions, grown);
        }
        Said::Is { .. } => is.conditions.retain(|one| one.type_ != FILE_SYSTEM),
        Said::Failed(..) | Said::NotYet(..) => {}
    }
    if is == was {
        return None;
    }
    // What is to be gone has to be named.
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(json!({"status": {
        "volumeID": text(&is.volume_id),
        "currentSize": is.current_size,
        "code": (is.code != 0).then_some(is.code),
        "message": text(&is.message),
        "conditions": is.conditions,
    }}))
}

/// The conditions with this one in them. Its time stands still while its status does.
pub(super) fn with(conditions: &[Condition], mut new: Condition) -> Vec<Condition> {
    let mut all = conditions.to_vec();
    match all
        .iter_mut()
        .find(|condition| condition.type_ == new.type_)
    {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => all.push(new),
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::logical_volume::LogicalVolumeSpec;

    fn object() -> LogicalVolume {
        LogicalVolume::new(
            "pvc-1",
            LogicalVolumeSpec {
                name: "pvc-1".into(),
                node_name: "n1".into(),
                size: Size::from(Bytes(1 << 30)),
                device_class: String::new(),
                lvcreate_option_class: String::new(),
                source: String::new(),
                access_type: String::new(),
            },
        )
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn applied(mut object: LogicalVolume, patch: &Value) -> LogicalVolume {
        let mut status = patch["status"].as_object().unwrap().clone();
        status.retain(|_, value| !value.is_null());
        object.status = serde_json::from_value(Value::Object(status)).unwrap();
        object
    }

    #[test]
    fn what_is_said_is_read_by_upstreams_controller_and_said_once() {
        let is = Said::Is {
            id: "uid-1".into(),
            size: Bytes(1 << 30),
            file_system: false,
        };
        let first = patch(&object(), &is, at(1)).unwrap();
        assert_eq!(first["status"]["volumeID"], "uid-1");
        assert_eq!(first["status"]["currentSize"], "1Gi");
        assert!(first["status"]["code"].is_null() && first["status"]["message"].is_null());
        let object = applied(object(), &first);
        assert_eq!(patch(&object, &is, at(2)), None);
        let failed = Said::Failed(Code::ResourceExhausted, "full".into());
        let second = patch(&object, &failed, at(3)).unwrap();
        assert_eq!(second["status"]["code"], 8);
        assert_eq!(
            second["status"]["volumeID"], "uid-1",
            "it is there as before"
        );
        let object = applied(object, &second);
        let third = patch(&object, &is, at(4)).unwrap();
        assert!(
            third["status"]["code"].is_null(),
            "a failure that is over is not read again"
        );
    }

    #[test]
    fn a_file_system_that_was_grown_is_told_of_until_more_is_wanted() {
        let mut object = object();
        object.metadata.generation = Some(4);
        let is = |file_system| Said::Is {
            id: "uid-1".into(),
            size: Bytes(1 << 30),
            file_system,
        };
        let alone = applied(object.clone(), &patch(&object, &is(false), at(1)).unwrap());
        assert!(!alone.has_grown_file_system());
        let mut grown = applied(object.clone(), &patch(&object, &is(true), at(1)).unwrap());
        assert!(grown.has_grown_file_system());
        let not = applied(grown.clone(), &patch(&grown, &is(false), at(2)).unwrap());
        assert!(!not.has_grown_file_system());
        grown.metadata.generation = Some(5);
        assert!(!grown.has_grown_file_system());
        grown.metadata.generation = None;
        assert!(!grown.has_grown_file_system());
    }

    #[test]
    fn a_condition_keeps_the_time_of_its_last_change() {
        let not_yet = |words: &str| Said::NotYet(Code::Unavailable, words.into());
        let object = applied(object(), &patch(&object(), &not_yet("a"), at(1)).unwrap());
        assert_eq!(
            object.failure(),
            None,
            "it is tried again, so nobody takes it back"
        );
        let later = applied(
            object.clone(),
            &patch(&object, &not_yet("b"), at(9)).unwrap(),
        );
        let condition = &later.status.as_ref().unwrap().conditions[0];
        assert_eq!(
            (condition.last_transition_time.0, condition.message.as_str()),
            (at(1), "b")
        );
        let small = Said::Is {
            id: "uid-1".into(),
            size: Bytes(1 << 29),
            file_system: false,
        };
        let growing = applied(later.clone(), &patch(&later, &small, at(10)).unwrap());
        assert_eq!(growing.status.unwrap().conditions[0].reason, "Growing");
    }
}
