//! Snapshots among the LVs: each gets its LogicalVolume and a VolumeSnapshotContent, as one that was
//! provisioned before its VolumeSnapshot.

use kube::ResourceExt;
use kube::core::DynamicObject;
use lvmd::names;
use serde_json::json;

use super::{Plan, Wish, begun, claim, name, objects};
use crate::kubernetes::logical_volume::AccessType;
use crate::plugin::cluster::{Seen, contents};
use crate::plugin::strays::Found;
use crate::store::Kind;

/// Whether our tags say that it is one. Thick snapshots of LVM's classic kind have none: they are no volumes of their own.
pub(super) fn is(found: &Found) -> bool {
    found.stray.is_orphan() && found.stray.tag(names::TAG_KIND) == Some(Kind::Snapshot.name())
}

/// The VolumeSnapshot it is for: what is asked for, what its content says, what its tag says.
pub(super) fn of(seen: &Seen, found: &Found, wish: &Wish) -> Option<(String, String)> {
    let stray = &found.stray;
    let kept = kept(seen, &stray.lv).and_then(reference);
    let tag = || claim::parse(stray.tag(names::TAG_SNAPSHOT)?).ok();
    wish.snapshot.clone().or(kept).or_else(tag)
}

/// The content that names it.
fn kept<'a>(seen: &'a Seen, lv: &str) -> Option<&'a DynamicObject> {
    let mut all = seen.snapshots.iter();
    all.find(|content| contents::handles(content).any(|handle| handle == lv))
}

/// Namespace and name of a content's VolumeSnapshot.
fn reference(content: &DynamicObject) -> Option<(String, String)> {
    let its = &content.data["spec"]["volumeSnapshotRef"];
    let part = |key: &str| its[key].as_str().map(str::to_owned);
    part("namespace").zip(part("name"))
}

/// The objects for a snapshot.
pub(super) fn plan(seen: &Seen, found: &Found, wish: &Wish) -> Result<Plan, String> {
    let stray = &found.stray;
    if wish.claim.is_some() {
        return Err(
            "it is a snapshot, which no claim can have: --snapshot NAMESPACE/NAME".to_owned(),
        );
    }
    if stray.size_bytes == 0 {
        return Err("its size is not known".to_owned());
    }
    let name = name(found).ok_or("its name cannot be one of Kubernetes' objects")?;
    let mut volume = objects::volume(found, &name, names::ANNOTATION_ADOPTED);
    AccessType::ReadOnly
        .text()
        .clone_into(&mut volume.spec.access_type);
    // Its source may be gone, and is named all the same: CSI says of each snapshot what it is of.
    if let Some(source) = stray.tag(names::TAG_SOURCE) {
        let id = source.split_once('/').map_or(source, |(_, id)| id);
        let there = seen
            .volumes
            .iter()
            .find(|there| there.volume_id() == Some(id));
        volume.spec.source = there.map_or_else(|| id.to_owned(), ResourceExt::name_any);
        let annotations = volume.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ANNOTATION_SOURCE.to_owned(), source.to_owned());
    }
    if let Some(there) = seen.volumes.iter().find(|there| there.name_any() == name) {
        begun(there, &volume)?;
    }
    let mut plan = Plan {
        volume,
        made: (stray.lv.clone(), stray.size()),
        persistent: None,
        content: None,
    };
    if let Some(content) = kept(seen, &stray.lv) {
        if content.metadata.deletion_timestamp.is_some() {
            return Err(format!(
                "VolumeSnapshotContent {} is being deleted: wait until it is gone",
                content.name_any()
            ));
        }
        return Ok(plan);
    }
    let (namespace, snapshot) = of(seen, found, wish)
        .ok_or("no tag says which VolumeSnapshot it is for: --lv with --snapshot NAMESPACE/NAME")?;
    let mut all = seen.snapshots.iter();
    let taken =
        all.find(|content| reference(content) == Some((namespace.clone(), snapshot.clone())));
    if let Some(content) = taken {
        return Err(format!(
            "VolumeSnapshotContent {} is for this VolumeSnapshot: --lv with --snapshot names another",
            content.name_any()
        ));
    }
    let own = content_name(&name);
    if seen
        .snapshots
        .iter()
        .any(|content| content.name_any() == own)
    {
        return Err(format!(
            "VolumeSnapshotContent {own} is there and is another one's"
        ));
    }
    if let Some(annotations) = &mut plan.volume.metadata.annotations {
        let of = format!("{namespace}/{snapshot}");
        annotations.insert(names::ANNOTATION_SNAPSHOT.to_owned(), of);
    }
    plan.content = Some(content(&own, &stray.lv, &namespace, &snapshot));
    Ok(plan)
}

/// As external-snapshotter names it, which gives its snapshots the same end.
fn content_name(volume: &str) -> String {
    match volume.strip_prefix("snapshot-") {
        Some(uid) => format!("snapcontent-{uid}"),
        None => volume.to_owned(),
    }
}

/// The content. It is kept when its VolumeSnapshot goes, until a person decides.
fn content(name: &str, lv: &str, namespace: &str, snapshot: &str) -> DynamicObject {
    let mut content = DynamicObject::new(name, &contents::resource());
    content.data = json!({"spec": {
        "deletionPolicy": "Retain",
        "driver": names::DRIVER,
        "source": {"snapshotHandle": lv},
        "volumeSnapshotRef": {
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "namespace": namespace, "name": snapshot,
        },
    }});
    content
}
