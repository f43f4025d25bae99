//! What the controller holds, as objects.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use kube::ResourceExt;
use kube::core::ObjectMeta;
use lvmd::names;

use crate::kubernetes::logical_volume::{AccessType, LogicalVolume, LogicalVolumeSpec};
use crate::kubernetes::size::Size;
use crate::store::{Held, Kind, New, Source};

/// What an object holds. `named` finds the object that a copy's source is by its name.
pub(super) fn held(object: &LogicalVolume, named: impl Fn(&str) -> Option<LogicalVolume>) -> Held {
    let asked = object.spec.size.bytes().unwrap_or_default();
    let kind = |object: &LogicalVolume| {
        if object.is_snapshot() {
            Kind::Snapshot
        } else {
            Kind::Volume
        }
    };
    let created = object.metadata.creation_timestamp.as_ref();
    let seconds = created.and_then(|time| u64::try_from(time.0.as_second()).ok());
    let source = Some(&object.spec.source).filter(|name| !name.is_empty());
    let source = source.map(|name| {
        let noted = object.annotations().get(names::ANNOTATION_SOURCE);
        noted.and_then(|text| read_source(text)).unwrap_or_else(|| {
            // Upstream notes the source's name alone, and it may be gone.
            let found = named(name);
            Source {
                kind: found.as_ref().map_or(Kind::Volume, kind),
                id: found
                    .as_ref()
                    .and_then(LogicalVolume::volume_id)
                    .unwrap_or(name)
                    .to_owned(),
            }
        })
    });
    Held {
        id: object.id().unwrap_or_default().to_owned(),
        name: object.spec.name.clone(),
        kind: kind(object),
        node: object.spec.node_name.clone(),
        class: object.spec.device_class.clone(),
        asked,
        size: object.current_size().unwrap_or(asked),
        source,
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or_default()),
        whole: object.volume_id().is_some(),
    }
}

fn read_source(text: &str) -> Option<Source> {
    let (kind, id) = text.split_once('/')?;
    let kind = [Kind::Volume, Kind::Snapshot]
        .into_iter()
        .find(|known| known.name() == kind)?;
    Some(Source {
        kind,
        id: id.to_owned(),
    })
}

/// The object of something to be made. Its finalizer is there from the beginning: what
/// the node does first is to make the volume.
pub(super) fn object(name: &str, new: &New) -> LogicalVolume {
    let access = new.source.as_ref().map(|_| match new.kind {
        Kind::Snapshot => AccessType::ReadOnly,
        Kind::Volume => AccessType::ReadWrite,
    });
    let source = new.source.as_ref();
    let noted = source.map(|source| format!("{}/{}", source.kind.name(), source.id));
    let claim = new.purpose.claim.as_ref();
    let snapshot = new.purpose.snapshot.as_ref();
    let annotations: BTreeMap<String, String> = [
        (names::ANNOTATION_SOURCE, noted),
        (
            names::ANNOTATION_CLAIM,
            claim.map(|(namespace, name)| format!("{namespace}/{name}")),
        ),
        (
            names::ANNOTATION_SNAPSHOT,
            snapshot.map(|(namespace, name)| format!("{namespace}/{name}")),
        ),
        (
            names::ANNOTATION_CONTENT,
            new.purpose.content.map(str::to_owned),
        ),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect();
    LogicalVolume {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            finalizers: Some(vec![names::FINALIZER_LV.to_owned()]),
            labels: Some(BTreeMap::from([(
                names::LABEL_CREATED_BY.to_owned(),
                names::CREATED_BY.to_owned(),
            )])),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            ..ObjectMeta::default()
        },
        spec: LogicalVolumeSpec {
            name: name.to_owned(),
            node_name: new.node.clone(),
            size: Size::from(new.size),
            device_class: new.class.clone(),
            lvcreate_option_class: new.option_class.clone(),
            source: source
                .map(|source| source.name.to_lowercase())
                .unwrap_or_default(),
            access_type: access
                .map(|access| access.text().to_owned())
                .unwrap_or_default(),
        },
        status: None,
    }
}

/// Whether two objects ask for the same.
pub(super) fn same(a: &LogicalVolume, b: &LogicalVolume) -> bool {
    let asked = |lv: &LogicalVolume| {
        let size = lv.spec.size.bytes().ok();
        let spec = lv.spec.clone();
        (
            (spec.name, spec.node_name, spec.device_class, size),
            (spec.lvcreate_option_class, spec.source, spec.access_type),
        )
    };
    asked(a) == asked(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Purpose;
    use lvmd::units::Bytes;
    use serde_json::json;

    fn new(kind: Kind, source: Option<Held>) -> New {
        New {
            name: "Pvc-1".into(),
            kind,
            node: "n1".into(),
            class: "ssd".into(),
            option_class: String::new(),
            size: Bytes(1 << 30),
            source,
            purpose: Purpose::default(),
        }
    }

    #[test]
    fn what_a_volume_is_for_stands_on_its_object() {
        let mut wanted = new(Kind::Volume, None);
        assert_eq!(object("pvc-1", &wanted).metadata.annotations, None);
        wanted.purpose = Purpose {
            claim: Some(("ns".into(), "data".into())),
            snapshot: None,
            content: Some("xfs"),
        };
        let made = object("pvc-1", &wanted);
        assert_eq!(made.annotations()["basalt.storage/claim"], "ns/data");
        assert_eq!(made.annotations()["basalt.storage/content"], "xfs");
    }

    #[test]
    fn an_object_is_what_upstreams_controller_would_have_written() {
        let volume = object("pvc-1", &new(Kind::Volume, None));
        let json = serde_json::to_value(&volume).unwrap();
        assert_eq!(
            json["spec"],
            json!({"name": "pvc-1", "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"})
        );
        let source = held(&volume, |_| None);
        let snapshot = object("snapshot-1", &new(Kind::Snapshot, Some(source)));
        assert_eq!(snapshot.spec.access_type, "ro");
        assert_eq!(snapshot.spec.source, "pvc-1");
        assert!(same(&volume, &volume.clone()) && !same(&volume, &snapshot));
    }

    #[test]
    fn what_a_copy_is_of_is_known_although_its_source_is_gone() {
        let mut volume = object("pvc-1", &new(Kind::Volume, None));
        volume.status = serde_json::from_value(json!({"volumeID": "uid-1"})).unwrap();
        let source = held(&volume, |_| None);
        let copy = object("pvc-2", &new(Kind::Volume, Some(source)));
        let expected = Some(Source {
            kind: Kind::Volume,
            id: "uid-1".into(),
        });
        assert_eq!(held(&copy, |_| None).source, expected);
        // Upstream's object, while the source is there.
        let mut theirs = copy;
        theirs.metadata.annotations = None;
        assert_eq!(held(&theirs, |_| Some(volume.clone())).source, expected);
    }

    #[test]
    fn a_snapshot_whose_source_is_frozen_has_its_id_and_is_not_whole() {
        let mut object = object("snapshot-1", &new(Kind::Snapshot, None));
        object.spec.access_type = "ro".into();
        let frozen = BTreeMap::from([(names::ANNOTATION_FROZEN.to_owned(), "uid-1".to_owned())]);
        object.metadata.annotations = Some(frozen);
        let told = |object: &LogicalVolume| {
            let held = held(object, |_| None);
            (held.id, held.whole)
        };
        assert_eq!(told(&object), ("uid-1".into(), false));
        let mut volume = object.clone();
        volume.spec.access_type = "rw".into();
        assert_eq!(told(&volume), (String::new(), false), "nobody may use it");
        object.status = serde_json::from_value(json!({"volumeID": "uid-1"})).unwrap();
        assert_eq!(told(&object), ("uid-1".into(), true));
    }

    #[test]
    fn what_is_not_made_yet_has_no_id() {
        let pending = object("pvc-1", &new(Kind::Volume, None));
        let held = held(&pending, |_| None);
        assert_eq!(
            (held.id.as_str(), held.asked, held.size),
            ("", Bytes(1 << 30), Bytes(1 << 30))
        );
    }
}
