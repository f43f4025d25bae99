//! The objects of an adopted LV, as controller, node and external-provisioner would have
//! written them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    ObjectReference, PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;
use lvmd::names;

use super::claim::Bound;
use crate::capability::BLOCK;
use crate::kubernetes::logical_volume::{LogicalVolume, LogicalVolumeSpec};
use crate::kubernetes::size::Size;
use crate::plugin::strays::Found;

/// Who could delete its volume, should its policy become Delete.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Annotations that say what a LogicalVolume of these was made for.
pub const PURPOSES: [&str; 2] = [names::ANNOTATION_ADOPTED, names::ANNOTATION_REMOVAL];

/// The LogicalVolume, for one of [`PURPOSES`]. It is given up, which upstream's node heeds too: between its making and
/// its status a node would make an LV for it. While it is, no node takes a finalizer away, so it has none: who deletes it
/// then ends what was begun, and the LV stays.
pub fn volume(found: &Found, name: &str, purpose: &'static str) -> LogicalVolume {
    let stray = &found.stray;
    let annotations = [
        (purpose, format!("{}/{}", stray.vg_uuid, stray.lv)),
        (names::ANNOTATION_PENDING_DELETION, "true".to_owned()),
    ];
    LogicalVolume {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(map([(
                names::LABEL_CREATED_BY,
                names::CREATED_BY.to_owned(),
            )])),
            annotations: Some(map(annotations)),
            ..ObjectMeta::default()
        },
        spec: LogicalVolumeSpec {
            name: name.to_owned(),
            node_name: found.node.clone(),
            size: Size::from(stray.size()),
            device_class: stray.class().to_owned(),
            lvcreate_option_class: String::new(),
            source: String::new(),
            access_type: String::new(),
        },
        status: None,
    }
}

/// The same, saying whose it is.
pub(super) fn noted(mut volume: LogicalVolume, bound: &Bound, content: &str) -> LogicalVolume {
    let annotations = volume.metadata.annotations.get_or_insert_default();
    annotations.extend(map([
        (
            names::ANNOTATION_CLAIM,
            format!("{}/{}", bound.namespace, bound.name),
        ),
        (names::ANNOTATION_CONTENT, content.to_owned()),
    ]));
    volume
}

/// The PersistentVolume. It is kept when its claim goes, until a person decides.
pub(super) fn persistent(
    found: &Found,
    name: &str,
    content: &str,
    bound: &Bound,
) -> PersistentVolume {
    let stray = &found.stray;
    let is_block = content == BLOCK;
    let on_node = NodeSelectorRequirement {
        key: names::TOPOLOGY_NODE.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![found.node.clone()]),
    };
    let attributes = Some(bound.attributes.clone()).filter(|all| !all.is_empty());
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(map([(PROVISIONED_BY, names::DRIVER.to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: Some(bound.modes.clone()),
            capacity: Some(BTreeMap::from([(
                "storage".to_owned(),
                Quantity(Size::from(stray.size()).to_string()),
            )])),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: Some(bound.namespace.clone()),
                name: Some(bound.name.clone()),
                uid: bound.uid.clone(),
                ..ObjectReference::default()
            }),
            csi: Some(CSIPersistentVolumeSource {
                driver: names::DRIVER.to_owned(),
                volume_handle: stray.lv.clone(),
                fs_type: (!is_block).then(|| content.to_owned()),
                volume_attributes: attributes,
                ..CSIPersistentVolumeSource::default()
            }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector {
                    node_selector_terms: vec![NodeSelectorTerm {
                        match_expressions: Some(vec![on_node]),
                        ..NodeSelectorTerm::default()
                    }],
                }),
            }),
            persistent_volume_reclaim_policy: Some("Retain".to_owned()),
            storage_class_name: Some(bound.class.clone()),
            volume_mode: Some(if is_block { "Block" } else { "Filesystem" }.to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

fn map<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Whether a PersistentVolume that outlived its LogicalVolume can be taken as it is.
pub(super) fn may_stay(pv: &PersistentVolume, node: &str) -> Result<(), String> {
    let name = pv.metadata.name.as_deref().unwrap_or_default();
    if pv.metadata.deletion_timestamp.is_some() {
        return Err(format!(
            "PersistentVolume {name} is being deleted: wait until it is gone"
        ));
    }
    let spec = pv.spec.as_ref();
    let deletes =
        spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    let phase = pv
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if deletes && matches!(phase, Some("Released" | "Failed")) {
        return Err(format!(
            "PersistentVolume {name} is {}, and its policy deletes the LV as soon as it can be found: set \
             persistentVolumeReclaimPolicy: Retain first",
            phase.unwrap_or_default()
        ));
    }
    let terms = spec
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref())
        .map(|required| required.node_selector_terms.as_slice())
        .unwrap_or_default();
    let wanted = terms
        .iter()
        .flat_map(|term| term.match_expressions.iter().flatten())
        .filter(|one| one.key == names::TOPOLOGY_NODE)
        .flat_map(|one| one.values.iter().flatten());
    let wanted: Vec<&String> = wanted.collect();
    if !wanted.is_empty() && !wanted.iter().any(|one| *one == node) {
        return Err(format!(
            "PersistentVolume {name} is for node {}, and the LV is on {node}: delete the PersistentVolume, with Retain, or bring \
             the disk back there",
            wanted[0]
        ));
    }
    Ok(())
}
