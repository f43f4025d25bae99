//! Objects that nothing refers to any more, and LVs that no object names. Each is named with
//! the reason, and none touched unasked: it may be the last copy of somebody's data.

pub mod deletion;
pub mod users;

use anyhow::{Context, bail};
use kube::ResourceExt;
use kube::core::DynamicObject;
use lvmd::names;
use lvmd::units::Bytes;
use serde::Serialize;

use super::adopt::{self, Plan};
use super::cluster::{Seen, contents, handle, size_of};
use super::strays::{self, Found};
use super::table::{Row, size};
use super::volumes::{id, persistent};
use crate::kubernetes::logical_volume::LogicalVolume;
use users::{Doomed, Users};

/// One of them.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// `LogicalVolume`, `PersistentVolume` or `LV`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The node, if that is known.
    pub node: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Why it is here.
    pub why: String,
}

impl Row for Orphan {
    const COLUMNS: &'static [&'static str] = &["KIND", "NAME", "NODE", "SIZE", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.to_owned(),
            self.name.clone(),
            self.node.clone(),
            size(Bytes(self.size_bytes)),
            self.why.clone(),
        ]
    }
}

/// All of them.
///
/// # Errors
/// What a node reports cannot be read.
pub fn rows(seen: &Seen) -> anyhow::Result<Vec<Orphan>> {
    let volumes = seen.volumes.iter().filter_map(|volume| {
        Some(Orphan {
            kind: "LogicalVolume",
            name: volume.name_any(),
            node: volume.spec.node_name.clone(),
            size_bytes: size_of(volume).0,
            why: volume_why(seen, volume)?.to_owned(),
        })
    });
    let persistent = seen.persistent.iter().filter_map(|pv| {
        let made = seen
            .volumes
            .iter()
            .find(|volume| handle(pv) == Some(id(volume)));
        let phase = pv
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let why = match (made, phase) {
            (None, _) => "its LogicalVolume is gone: pods that use it cannot start",
            (Some(_), Some("Released")) => "its claim is gone and it is kept (Retain)",
            (Some(_), Some("Failed")) => "it could not be deleted",
            _ => return None,
        };
        Some(Orphan {
            kind: "PersistentVolume",
            name: pv.name_any(),
            node: made
                .map(|volume| volume.spec.node_name.clone())
                .unwrap_or_default(),
            size_bytes: made.map_or(0, |volume| size_of(volume).0),
            why: why.to_owned(),
        })
    });
    let reported = strays::of(seen)?;
    let orphans = reported
        .found
        .iter()
        .filter(|found| found.stray.is_orphan());
    let more = reported.more.iter().map(|(node, more)| Orphan {
        kind: "LV",
        name: format!("{more} more"),
        node: node.clone(),
        size_bytes: 0,
        why: "its node reports them when these have objects".to_owned(),
    });
    let blind = reported.blind.iter().map(|(node, why)| Orphan {
        kind: "LV",
        name: "unknown".to_owned(),
        node: node.clone(),
        size_bytes: 0,
        why: format!("its node cannot tell which LVs no LogicalVolume names: {why}"),
    });
    let objects = volumes.chain(persistent);
    let lvs = orphans.map(lv).chain(more).chain(blind);
    Ok(objects.chain(lvs).collect())
}

fn lv(found: &Found) -> Orphan {
    let stray = &found.stray;
    let claim = stray.tag(names::TAG_PVC);
    let claim = claim.map(|claim| format!(", made for {claim}"));
    let snapshot = stray.tag(names::TAG_SNAPSHOT);
    let snapshot = snapshot.map(|snapshot| format!(", VolumeSnapshot {snapshot}"));
    let pod = stray.tag(names::TAG_EPHEMERAL);
    let pod = pod.map(|pod| format!(", inline volume of pod {pod} that is not mounted"));
    Orphan {
        kind: "LV",
        name: stray.lv.clone(),
        node: found.node.clone(),
        size_bytes: stray.size_bytes,
        why: format!(
            "no LogicalVolume names it{}; group {} {}{}",
            match found.untold {
                Some(_) => ", as its node told before",
                None => "",
            },
            stray.vg,
            stray.vg_uuid,
            claim.or(snapshot).or(pod).unwrap_or_default()
        ),
    }
}

/// What has an orphaned LV removed by its node, and what it is.
///
/// # Errors
/// It is no orphan, it is open, its name is another's too, a PersistentVolume or VolumeSnapshotContent names it, or somebody may use it.
pub fn removal(seen: &Seen, users: &Users, name: &str) -> anyhow::Result<(Plan, Orphan)> {
    let reported = strays::of(seen)?;
    let mut all = reported.found.iter();
    let found = all.find(|found| found.stray.lv == name && found.stray.is_orphan());
    let found = found.with_context(|| {
        let but = reported.blind(None);
        let but = but.map_or_else(String::new, |blind| format!("; {blind}"));
        format!("{name} is no LV that a cluster's driver made and no LogicalVolume names{but}")
    })?;
    found.is_told().map_err(anyhow::Error::msg)?;
    if found.stray.open {
        bail!(
            "somebody on node {} has {} open, and it would go as soon as they let go of it: end that first (lsof, findmnt); the node \
             looks once a minute",
            found.node,
            found.place()
        );
    }
    if let Some(twin) = reported.twins(found).next() {
        bail!(
            "there is an LV {name} in {} and in {}, and one may be the copy that is needed: give one another name with lvrename",
            found.place(),
            twin.place()
        );
    }
    if let Some(pv) = seen.persistent.iter().find(|pv| handle(pv) == Some(name)) {
        bail!(
            "PersistentVolume {} refers to LV {name}: delete that first, or adopt the LV",
            pv.name_any()
        );
    }
    if let Some(content) = snapshot_content(seen, name) {
        bail!(
            "VolumeSnapshotContent {} refers to LV {name}: delete that first, with deletionPolicy Retain",
            content.name_any()
        );
    }
    let own = adopt::name(found).context("its name cannot be one of Kubernetes' objects")?;
    let doomed = Doomed {
        name: &own,
        lv: name,
        node: &found.node,
        claim: found.stray.tag(names::TAG_PVC),
        pod: found.stray.tag(names::TAG_EPHEMERAL),
    };
    if let Some(user) = users.of(seen, &doomed) {
        bail!("{user}");
    }
    let volume = adopt::objects::volume(found, &own, names::ANNOTATION_REMOVAL);
    if let Some(there) = seen.volumes.iter().find(|there| there.name_any() == own) {
        adopt::begun(there, &volume).map_err(anyhow::Error::msg)?;
    }
    let plan = Plan {
        volume,
        made: (name.to_owned(), found.stray.size()),
        persistent: None,
        content: None,
    };
    let mut row = lv(found);
    row.why = format!("would be removed, with its data: --yes; {}", row.why);
    Ok((plan, row))
}

/// The VolumeSnapshotContent that names a snapshot.
fn snapshot_content<'a>(seen: &'a Seen, id: &str) -> Option<&'a DynamicObject> {
    let mut all = seen.snapshots.iter();
    all.find(|content| contents::handles(content).any(|handle| handle == id))
}

fn volume_why(seen: &Seen, volume: &LogicalVolume) -> Option<&'static str> {
    if !seen
        .nodes
        .iter()
        .any(|node| node.name_any() == volume.spec.node_name)
    {
        return Some("its Node is gone");
    }
    let id = id(volume);
    if id.is_empty() || volume.metadata.deletion_timestamp.is_some() {
        // It is being made, or goes.
        return None;
    }
    if snapshot_content(seen, id).is_some() || persistent(seen, volume).is_some() {
        return None;
    }
    if volume.annotations().contains_key(names::ANNOTATION_REMOVAL) {
        return Some("its removal was asked for and cut off: delete it, and its LV goes");
    }
    Some(match volume.spec.access_type.as_str() {
        "ro" => "no VolumeSnapshotContent refers to it",
        _ => "no PersistentVolume refers to it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    /// Nodes with an orphaned LV each, in a group with this UUID.
    fn cluster(all: &[(&str, &str, &str)]) -> Seen {
        let node = |(node, group, lv): &(&str, &str, &str)| {
            let stray = json!({"vg": "vg", "vgUuid": group, "lv": lv, "classes": ["thin"],
                "sizeBytes": 1u64 << 30, "whole": true, "open": false, "tags": ["basalt.lv=pvc-a"]});
            let strays = json!({"strays": [stray]}).to_string();
            object(
                json!({"metadata": {"name": node, "annotations": {"basalt.storage/strays": strays}}}),
            )
        };
        Seen {
            nodes: all.iter().map(node).collect(),
            ..Seen::default()
        }
    }

    fn refused(seen: &Seen, why: &[&str]) {
        let error = removal(seen, &Users::default(), "a")
            .unwrap_err()
            .to_string();
        for part in why {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn what_an_object_still_names_is_not_removed() {
        let mut seen = cluster(&[("n1", "g1", "a")]);
        assert!(removal(&seen, &Users::default(), "a").is_ok());
        seen.persistent = vec![object(json!({"metadata": {"name": "kept"},
            "spec": {"persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "topolvm.io", "volumeHandle": "a"}},
            "status": {"phase": "Released"}}))];
        refused(&seen, &["PersistentVolume kept"]);
        seen.persistent.clear();
        for named in [
            json!({"spec": {"source": {"volumeHandle": "x"}, "deletionPolicy": "Retain"},
                "status": {"snapshotHandle": "a"}}),
            json!({"spec": {"source": {"snapshotHandle": "a"}}}),
        ] {
            let mut content = named;
            content["metadata"] = json!({"name": "content"});
            seen.snapshots = vec![object(content)];
            refused(&seen, &["VolumeSnapshotContent content"]);
        }
    }

    #[test]
    fn a_node_that_cannot_tell_is_named_and_what_it_told_before_is_not_removed() {
        let mut seen = cluster(&[("n1", "g1", "a"), ("n2", "g2", "b")]);
        let annotations = seen.nodes[0].metadata.annotations.as_mut().unwrap();
        let text = annotations.get_mut("basalt.storage/strays").unwrap();
        let mut said: Value = serde_json::from_str(text).unwrap();
        said["unknown"] = json!("set node.lvmdEmbedded: true");
        *text = said.to_string();
        let rows = rows(&seen).unwrap();
        let lvs: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.node.as_str()))
            .collect();
        assert_eq!(lvs, [("a", "n1"), ("b", "n2"), ("unknown", "n1")]);
        assert!(rows[0].why.contains("as its node told before"), "{rows:?}");
        assert!(!rows[1].why.contains("before"), "{rows:?}");
        assert!(rows[2].why.contains("node.lvmdEmbedded: true"), "{rows:?}");
        refused(&seen, &["cannot tell now", "node.lvmdEmbedded: true"]);
        assert!(
            removal(&seen, &Users::default(), "b").is_ok(),
            "of another node"
        );
        let error = removal(&seen, &Users::default(), "c")
            .unwrap_err()
            .to_string();
        assert!(error.contains("node n1 cannot tell"), "{error}");
        // Its name may be that of an LV which is there still.
        seen.nodes[1] = cluster(&[("n2", "g2", "a")]).nodes.remove(0);
        assert!(removal(&seen, &Users::default(), "a").is_err());
    }

    #[test]
    fn the_lv_of_a_lost_claim_and_of_a_pod_that_waits_for_it_is_not_removed() {
        let mut seen = cluster(&[("n1", "g1", "a")]);
        let lost = json!({"metadata": {"namespace": "ns", "name": "data", "uid": "1"},
            "spec": {"volumeName": "pvc-a"}, "status": {"phase": "Lost"}});
        let mut users = Users {
            claims: vec![object(lost)],
            ..Users::default()
        };
        let why = |seen: &Seen, users: &Users| removal(seen, users, "a").unwrap_err().to_string();
        let text = why(&seen, &users);
        for part in ["ns/data", "its volume is pvc-a", "delete the claim first"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        // Its tags name the claim that the pod is to have.
        users.claims.clear();
        let pod = json!({"metadata": {"namespace": "ns", "name": "db"}, "spec": {"nodeName": "n1", "containers": [],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}});
        users.pods = vec![object(pod)];
        assert!(removal(&seen, &users, "a").is_ok(), "no tag names it");
        let annotations = seen.nodes[0].metadata.annotations.as_mut().unwrap();
        for text in annotations.values_mut() {
            *text = text.replace(
                "\"basalt.lv=pvc-a\"",
                "\"basalt.lv=pvc-a\", \"basalt.pvc=ns/data\"",
            );
        }
        assert!(why(&seen, &users).contains("pod ns/db is on its node"));
    }

    #[test]
    fn an_lv_that_somebody_has_open_is_not_removed() {
        let mut seen = cluster(&[("n1", "g1", "a")]);
        let annotations = seen.nodes[0].metadata.annotations.as_mut().unwrap();
        for text in annotations.values_mut() {
            *text = text.replace("\"open\":false", "\"open\":true");
        }
        refused(&seen, &["node n1", "open", "findmnt"]);
    }

    #[test]
    fn of_two_lvs_with_one_name_none_is_removed() {
        let seen = cluster(&[("n1", "g1", "a"), ("n2", "g2", "a")]);
        refused(&seen, &["vg (g1) of node n1", "vg (g2) of node n2"]);
    }

    #[test]
    fn a_removal_goes_on_after_its_own_beginning_and_joins_no_adoption() {
        let mut seen = cluster(&[("n1", "g1", "a")]);
        let begun = removal(&seen, &Users::default(), "a").unwrap().0.volume;
        seen.volumes = vec![begun.clone()];
        assert!(removal(&seen, &Users::default(), "a").is_ok());
        let found = &strays::of(&seen).unwrap().found[0];
        let adoption = adopt::objects::volume(found, "pvc-a", names::ANNOTATION_ADOPTED);
        assert!(
            adopt::begun(&begun, &adoption).is_err(),
            "nor the other way round"
        );
        // As it is when it was cut off before its last step.
        let mut heeded = begun;
        let annotations = heeded.metadata.annotations.as_mut().unwrap();
        annotations.remove(names::ANNOTATION_PENDING_DELETION);
        heeded.status = object(json!({"volumeID": "a"}));
        seen.volumes = vec![heeded];
        let rows = rows(&seen).unwrap();
        assert!(
            rows[0].why.contains("its removal was asked for"),
            "{rows:?}"
        );
        seen.volumes = vec![adoption];
        refused(
            &seen,
            &["an adoption of LV g1/a has begun", "kubectl delete"],
        );
    }
}
