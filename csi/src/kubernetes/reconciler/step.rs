//! What a LogicalVolume needs done next, from the object alone.

use kube::ResourceExt;
use lvmd::engine::EngineError;
use lvmd::lvm::valid;
use lvmd::names;
use lvmd::units::Bytes;
use lvmd::volumes::{Access, Create, SnapshotOf, VolumeError};
use tonic::Code;

use crate::error::Error;
use crate::kubernetes::logical_volume::{AccessType, LogicalVolume};
use crate::store::Kind;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is another node's, given up, as wanted, or waits for the controller.
    Nothing,
    /// It gets the finalizer and the label.
    Claim,
    /// Its volume is made.
    Make(Create),
    /// Its volume is made as a copy of another object's.
    Copy {
        /// The object.
        source: String,
        /// What the copy is for.
        access: AccessType,
    },
    /// Its volume is grown.
    Grow {
        /// The volume.
        id: String,
        /// To this many bytes.
        size: Bytes,
    },
    /// Its volume is removed, and then the finalizer.
    Remove {
        /// The volume.
        id: String,
        /// Whether it was ever shown to exist.
        made: bool,
    },
    /// The finalizer is taken away, and its volume stays: an adoption that was never done ends.
    Release,
    /// It cannot be done, now or later.
    Refuse(Refusal),
}

/// Why something cannot be done, now or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its gRPC code.
    pub(super) code: Code,
    /// In words.
    pub(super) message: String,
}

impl Refusal {
    fn invalid(message: String) -> Self {
        Self {
            code: Code::InvalidArgument,
            message,
        }
    }
}

/// The next step of `object` on node `me`.
pub(super) fn next(object: &LogicalVolume, me: &str) -> Step {
    if object.spec.node_name != me {
        return Step::Nothing;
    }
    if object.is_given_up() {
        // Whoever else gives an object up takes the finalizer away.
        let adopted = object.annotations().contains_key(names::ANNOTATION_ADOPTED);
        return match adopted && object.is_leaving() && object.has_finalizer() {
            true => Step::Release,
            false => Step::Nothing,
        };
    }
    let Some(uid) = object.uid() else {
        return Step::Nothing;
    };
    let made = object.volume_id();
    if object.is_leaving() {
        return match object.has_finalizer() {
            true => Step::Remove {
                id: made.unwrap_or(&uid).to_owned(),
                made: made.is_some(),
            },
            false => Step::Nothing,
        };
    }
    if !object.has_finalizer() || !object.labels().contains_key(names::LABEL_CREATED_BY) {
        return Step::Claim;
    }
    if made.is_none() && object.failure().is_some() {
        // The controller takes it back.
        return Step::Nothing;
    }
    let size = match object.spec.size.bytes() {
        Ok(size) => size,
        Err(error) if made.is_none() => return Step::Refuse(Refusal::invalid(error.to_string())),
        Err(_) => return Step::Nothing,
    };
    match made {
        Some(id) if object.current_size().is_none_or(|now| now < size) => Step::Grow {
            id: id.to_owned(),
            size,
        },
        Some(_) => Step::Nothing,
        None if object.spec.source.is_empty() => Step::Make(Create {
            name: uid,
            class: object.spec.device_class.clone(),
            option_class: object.spec.lvcreate_option_class.clone(),
            size,
            tags: tags(object),
        }),
        None => match AccessType::read(&object.spec.access_type) {
            Some(access) => Step::Copy {
                source: object.spec.source.clone(),
                access,
            },
            None => Step::Refuse(Refusal::invalid(format!(
                "accessType is {:?}: a copy is \"ro\" or \"rw\"",
                object.spec.access_type
            ))),
        },
    }
}

/// Why a volume that is no copy is not made here: where its group or pool is away, another node may have room, so that is
/// said for good and not waited for.
pub(super) fn elsewhere(error: Error) -> Error {
    match error {
        Error::Volume(
            away @ (VolumeError::Engine(EngineError::Missing(_)) | VolumeError::PoolMissing { .. }),
        ) => Error::NoSpace(away.to_string()),
        error => error,
    }
}

/// Whether this node has said that it cannot make it, and nobody has asked for more.
pub(super) fn was_refused(object: &LogicalVolume) -> bool {
    let has = |key: &str| object.annotations().contains_key(key);
    object.volume_id().is_none()
        && object.failure().is_some()
        && !has(names::ANNOTATION_ADOPTED)
        && !has(names::ANNOTATION_REMOVAL)
}

/// The copy that `object` wants of `source`.
///
/// # Errors
/// It cannot be one.
pub(super) fn copy_of(
    object: &LogicalVolume,
    source: Option<&LogicalVolume>,
    access: AccessType,
) -> Result<SnapshotOf, Refusal> {
    let name = &object.spec.source;
    let source = source.ok_or_else(|| Refusal {
        code: Code::NotFound,
        message: format!("the source, LogicalVolume {name}, is not there"),
    })?;
    let id = source.volume_id().ok_or_else(|| Refusal {
        code: Code::FailedPrecondition,
        message: format!("the source, LogicalVolume {name}, has no volume yet"),
    })?;
    if source.spec.node_name != object.spec.node_name {
        return Err(Refusal::invalid(format!(
            "the source, LogicalVolume {name}, is on node {}, and a copy is where its source is",
            source.spec.node_name
        )));
    }
    let size = object
        .spec
        .size
        .bytes()
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    if let Some(least) = source.current_size().filter(|least| size < *least) {
        return Err(Refusal {
            code: Code::OutOfRange,
            message: format!("the size {size} is less than that of the source, {least}"),
        });
    }
    Ok(SnapshotOf {
        source: id.to_owned(),
        name: object.uid().unwrap_or_default(),
        class: object.spec.device_class.clone(),
        size,
        access: match access {
            AccessType::ReadOnly => Access::ReadOnly,
            AccessType::ReadWrite => Access::ReadWrite,
        },
        tags: tags(object),
    })
}

/// What its objects can be made again from when they are lost. All are optional to whoever
/// reads them, so one that LVM does not take (1024 bytes, few letters) is left out; names of
/// Kubernetes always fit.
fn tags(object: &LogicalVolume) -> Vec<String> {
    let noted = |key: &str| object.annotations().get(key).cloned();
    let class = Some(object.spec.device_class.clone()).filter(|class| !class.is_empty());
    let snapshot = object.is_snapshot().then(|| Kind::Snapshot.name());
    let all = [
        (names::TAG_LV, Some(object.name_any())),
        (names::TAG_PVC, noted(names::ANNOTATION_CLAIM)),
        (names::TAG_CONTENT, noted(names::ANNOTATION_CONTENT)),
        (names::TAG_DEVICE_CLASS, class),
        (names::TAG_KIND, snapshot.map(str::to_owned)),
        (names::TAG_SNAPSHOT, noted(names::ANNOTATION_SNAPSHOT)),
        (
            names::TAG_SOURCE,
            snapshot.and_then(|_| noted(names::ANNOTATION_SOURCE)),
        ),
    ];
    let tags = all
        .into_iter()
        .filter_map(|(key, value)| Some(names::tag(key, &value?)));
    tags.filter(|tag| valid::tag(tag).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(change: Value) -> LogicalVolume {
        let mut json = json!({
            "apiVersion": "topolvm.io/v1", "kind": "LogicalVolume",
            "metadata": {
                "name": "pvc-1", "uid": "uid-1",
                "finalizers": ["topolvm.io/logicalvolume"],
                "labels": {"app.kubernetes.io/created-by": "topolvm-controller"}
            },
            "spec": {"name": "pvc-1", "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"}
        });
        merge(&mut json, change);
        serde_json::from_value(json).unwrap()
    }

    fn merge(into: &mut Value, change: Value) {
        match (into, change) {
            (Value::Object(into), Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, change) => *into = change,
        }
    }

    fn step(change: Value) -> Step {
        next(&object(change), "n1")
    }

    #[test]
    fn a_new_object_is_claimed_made_and_left_alone() {
        assert_eq!(step(json!({"metadata": {"finalizers": []}})), Step::Claim);
        assert_eq!(step(json!({"metadata": {"labels": null}})), Step::Claim);
        assert_eq!(
            step(json!({})),
            Step::Make(Create {
                name: "uid-1".into(),
                class: "ssd".into(),
                option_class: String::new(),
                size: Bytes(1 << 30),
                tags: vec!["basalt.lv=pvc-1".into(), "basalt.device-class=ssd".into()],
            })
        );
        let made = json!({"status": {"volumeID": "uid-1", "currentSize": "1Gi"}});
        assert_eq!(step(made), Step::Nothing);
        let refused = json!({"status": {"code": 8, "message": "full"}});
        assert_eq!(step(refused), Step::Nothing);
    }

    #[test]
    fn a_volume_bears_what_its_objects_can_be_made_again_from() {
        let long = |length| "n".repeat(length);
        let tags = |claim: &str| {
            tags(&object(json!({"metadata": {"annotations": {
                "basalt.storage/claim": claim, "basalt.storage/content": "block"}}})))
        };
        // The longest names of Kubernetes.
        let claim = format!("{}/{}", long(63), long(253));
        assert_eq!(
            tags(&claim),
            [
                "basalt.lv=pvc-1".to_owned(),
                format!("basalt.pvc={claim}"),
                "basalt.content=block".into(),
                "basalt.device-class=ssd".into(),
            ]
        );
        let snapshot = object(json!({"metadata": {"name": "snapshot-1", "annotations": {
            "basalt.storage/volume-snapshot": "ns/before", "basalt.storage/source": "volume/uid-0"}},
            "spec": {"source": "pvc-1", "accessType": "ro"}}));
        assert_eq!(
            super::tags(&snapshot),
            [
                "basalt.lv=snapshot-1",
                "basalt.device-class=ssd",
                "basalt.kind=snapshot",
                "basalt.snapshot=ns/before",
                "basalt.source=volume/uid-0"
            ]
        );
        // Somebody's own writing keeps no volume from being made.
        assert_eq!(tags("a b").len(), 3);
        assert_eq!(tags(&long(1025)).len(), 3);
    }

    #[test]
    fn what_is_another_nodes_or_given_up_is_never_touched() {
        for change in [
            json!({"spec": {"nodeName": "n2"}}),
            json!({"metadata": {"annotations": {"topolvm.io/pendingdeletion": "true"}}}),
            json!({"metadata": {"uid": null}}),
        ] {
            assert_eq!(step(change.clone()), Step::Nothing);
            let mut leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
            merge(&mut leaving, change);
            assert_eq!(step(leaving), Step::Nothing);
        }
    }

    #[test]
    fn an_adoption_that_was_never_done_goes_when_it_is_deleted_and_its_volume_stays() {
        let mut begun = json!({"metadata": {"annotations": {
            "topolvm.io/pendingdeletion": "true", "basalt.storage/adopted": "vg/lv"}},
            "status": {"volumeID": "lv"}});
        assert_eq!(step(begun.clone()), Step::Nothing);
        merge(
            &mut begun,
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        );
        assert_eq!(step(begun.clone()), Step::Release);
        merge(&mut begun, json!({"spec": {"nodeName": "n2"}}));
        assert_eq!(step(begun), Step::Nothing);
    }

    #[test]
    fn a_volume_grows_and_never_shrinks_and_an_unknown_size_is_asked_for() {
        let grow = |bytes| Step::Grow {
            id: "uid-1".into(),
            size: Bytes(bytes),
        };
        let status = |size: Value| json!({"status": {"volumeID": "uid-1", "currentSize": size}});
        assert_eq!(step(status(json!("512Mi"))), grow(1 << 30));
        assert_eq!(step(status(json!(null))), grow(1 << 30));
        assert_eq!(step(status(json!("2Gi"))), Step::Nothing);
        // It failed before: the object is the only memory, so it is tried again.
        let mut failed = status(json!("512Mi"));
        merge(&mut failed, json!({"status": {"code": 8}}));
        assert_eq!(step(failed), grow(1 << 30));
    }

    #[test]
    fn a_volume_is_removed_by_the_id_it_was_published_under() {
        let leaving = |change| {
            let mut all = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
            merge(&mut all, change);
            step(all)
        };
        let remove = |id: &str, made| Step::Remove {
            id: id.into(),
            made,
        };
        assert_eq!(
            leaving(json!({"status": {"volumeID": "old-uid"}})),
            remove("old-uid", true)
        );
        // It may have been made although nobody heard of it.
        assert_eq!(
            leaving(json!({"status": {"code": 13}})),
            remove("uid-1", false)
        );
        let others = json!({"metadata": {"finalizers": ["someone.else/x"]}});
        assert_eq!(leaving(others), Step::Nothing);
    }

    #[test]
    fn what_can_never_be_is_said_at_once() {
        let copy = |change: Value| {
            let mut all = json!({"spec": {"source": "snap", "accessType": "rw"}});
            merge(&mut all, change);
            object(all)
        };
        let source = object(json!({
            "metadata": {"name": "snap"},
            "status": {"volumeID": "uid-0", "currentSize": "1Gi"}
        }));
        let made = copy_of(&copy(json!({})), Some(&source), AccessType::ReadWrite).unwrap();
        assert_eq!(
            (made.source.as_str(), made.name.as_str()),
            ("uid-0", "uid-1")
        );
        assert_eq!(
            (made.size, made.access),
            (Bytes(1 << 30), Access::ReadWrite)
        );
        let refused = |object: LogicalVolume, source: Option<&LogicalVolume>| {
            copy_of(&object, source, AccessType::ReadWrite)
                .unwrap_err()
                .code
        };
        assert_eq!(refused(copy(json!({})), None), Code::NotFound);
        let small = copy(json!({"spec": {"size": "512Mi"}}));
        assert_eq!(refused(small, Some(&source)), Code::OutOfRange);
        let far = object(json!({"spec": {"nodeName": "n2"}, "status": {"volumeID": "x"}}));
        assert_eq!(refused(copy(json!({})), Some(&far)), Code::InvalidArgument);
        let pending = object(json!({}));
        assert_eq!(
            refused(copy(json!({})), Some(&pending)),
            Code::FailedPrecondition
        );
        for bad in [
            json!({"spec": {"source": "snap", "accessType": "wr"}}),
            json!({"spec": {"size": "much"}}),
        ] {
            assert!(matches!(step(bad), Step::Refuse(_)));
        }
    }
}
