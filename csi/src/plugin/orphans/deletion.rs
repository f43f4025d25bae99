//! The deletion of a LogicalVolume that nothing refers to: mostly one whose kept
//! PersistentVolume was deleted. Its node then removes the LV, so whoever may still want the
//! data is looked for first, and the object is deleted only as it was seen here.

use anyhow::{Context, bail};
use kube::ResourceExt;
use lvmd::names;

use super::users::{Doomed, Users};
use super::{Orphan, volume_why};
use crate::kubernetes::logical_volume::LogicalVolume;
use crate::plugin::cluster::{Seen, size_of};
use crate::plugin::strays;
use crate::plugin::volumes::id;

/// The LogicalVolume that is to be deleted, as it was seen, and what goes with it.
///
/// # Errors
/// There is none of this name; something refers to it, or may again; its LV would stay.
pub fn judge(seen: &Seen, users: &Users, name: &str) -> anyhow::Result<(LogicalVolume, Orphan)> {
    let mut all = seen.volumes.iter();
    let volume = all.find(|volume| volume.name_any() == name);
    let volume = volume.with_context(|| format!("there is no LogicalVolume {name}"))?;
    let reported = strays::of(seen)?;
    if reported.found.iter().any(|found| found.stray.lv == name) {
        bail!(
            "{name} is the name of a LogicalVolume and of an LV that none names: give the LV another with lvrename"
        );
    }
    if volume.is_leaving() {
        bail!("LogicalVolume {name} is being deleted already");
    }
    if volume.is_given_up() {
        bail!(
            "LogicalVolume {name} is given up, so no node would remove its LV: `kubectl delete logicalvolume {name}` deletes the \
             object, and the LV becomes an orphan"
        );
    }
    let node = &volume.spec.node_name;
    if !seen.nodes.iter().any(|there| there.name_any() == *node) {
        bail!(
            "Node {node} is gone, and nobody else can remove the LV of LogicalVolume {name}: bring the Node back, or take the \
             finalizer {} off and delete the object, which leaves the LV",
            names::FINALIZER_LV
        );
    }
    let why = volume_why(seen, volume).with_context(|| {
        format!("LogicalVolume {name} is none that nothing refers to; `kubectl topolvm orphans` lists those")
    })?;
    let doomed = Doomed {
        name,
        lv: id(volume),
        node,
        claim: claim_of(volume),
        pod: None,
    };
    if let Some(user) = users.of(seen, &doomed) {
        bail!("{user}");
    }
    let snapshot = volume.annotations().get(names::ANNOTATION_SNAPSHOT);
    let made_for = claim_of(volume).or(snapshot.map(String::as_str));
    let made_for = made_for.map(|made_for| format!(", made for {made_for}"));
    let row = Orphan {
        kind: "LogicalVolume",
        name: name.to_owned(),
        node: node.clone(),
        size_bytes: size_of(volume).0,
        why: format!(
            "would be deleted, and LV {} with its data: --yes; {why}{}",
            id(volume),
            made_for.unwrap_or_default()
        ),
    };
    Ok((volume.clone(), row))
}

/// The claim it was made for, as the controller or an adoption noted.
fn claim_of(volume: &LogicalVolume) -> Option<&str> {
    let noted = volume.annotations().get(names::ANNOTATION_CLAIM);
    noted.map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    fn volume(name: &str, id: &str) -> LogicalVolume {
        object(
            json!({"apiVersion": "topolvm.io/v1", "kind": "LogicalVolume",
            "metadata": {"name": name, "annotations": {"basalt.storage/claim": "ns/data"}},
            "spec": {"name": name, "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"},
            "status": {"volumeID": id, "currentSize": "2Gi"}}),
        )
    }

    /// A volume on `n1` that nothing refers to.
    fn cluster(name: &str) -> Seen {
        Seen {
            nodes: vec![object(json!({"metadata": {"name": "n1"}}))],
            volumes: vec![volume(name, "id-1")],
            ..Seen::default()
        }
    }

    fn refused(seen: &Seen, users: &Users, why: &str) {
        let name = seen.volumes[0].name_any();
        let error = judge(seen, users, &name).unwrap_err().to_string();
        assert!(error.contains(why), "{why:?} is not in {error}");
    }

    #[test]
    fn what_goes_with_it_is_said() {
        let (_, row) = judge(&cluster("pvc-1"), &Users::default(), "pvc-1").unwrap();
        assert_eq!((row.node.as_str(), row.size_bytes), ("n1", 2 << 30));
        assert_eq!(
            row.why,
            "would be deleted, and LV id-1 with its data: --yes; no PersistentVolume refers to it, made for ns/data"
        );
    }

    #[test]
    fn a_snapshot_that_no_content_refers_to_says_whose_it_was() {
        let mut seen = cluster("snapshot-1");
        seen.volumes[0].spec.access_type = "ro".into();
        seen.volumes[0].metadata.annotations =
            Some([("basalt.storage/volume-snapshot".into(), "ns/before".into())].into());
        let (_, row) = judge(&seen, &Users::default(), "snapshot-1").unwrap();
        let end = "no VolumeSnapshotContent refers to it, made for ns/before";
        assert!(row.why.ends_with(end), "{row:?}");
    }

    #[test]
    fn what_an_object_refers_to_is_kept() {
        let none = Users::default();
        let mut seen = cluster("pvc-1");
        seen.persistent = vec![object(json!({"metadata": {"name": "of-another-name"},
            "spec": {"csi": {"driver": "topolvm.io", "volumeHandle": "id-1"}}}))];
        refused(&seen, &none, "none that nothing refers to");
        let mut seen = cluster("snapshot-1");
        seen.volumes[0].spec.access_type = "ro".into();
        seen.snapshots = vec![object(json!({"metadata": {"name": "x"},
            "spec": {"source": {"snapshotHandle": "id-1"}}}))];
        refused(&seen, &none, "none that nothing refers to");
        // Its snapshot is just being taken.
        seen.snapshots = vec![object(json!({"metadata": {"name": "snapcontent-1"},
            "spec": {"source": {"volumeHandle": "x"}}}))];
        refused(&seen, &none, "VolumeSnapshotContent snapcontent-1");
        let mut seen = cluster("pvc-1");
        seen.volumes.push(volume("pvc-2", ""));
        seen.volumes[1].spec.source = "pvc-1".into();
        refused(&seen, &none, "pvc-2 is being made of pvc-1");
        seen.volumes[1] = volume("pvc-2", "id-2");
        seen.volumes[1].spec.source = "pvc-1".into();
        assert!(judge(&seen, &none, "pvc-1").is_ok(), "that copy is whole");
    }

    #[test]
    fn the_volume_of_a_claim_that_waits_or_lost_its_persistent_volume_is_kept() {
        let claim = |change: Value| {
            let mut claim =
                json!({"metadata": {"namespace": "ns", "name": "data", "uid": "2"}, "spec": {}});
            let change = change.as_object().unwrap().clone();
            claim.as_object_mut().unwrap().extend(change);
            Users {
                claims: vec![object(claim)],
                ..Users::default()
            }
        };
        let made = json!({"metadata": {"namespace": "ns", "name": "other", "uid": "1"}});
        for (mine, name) in [
            (claim(json!({"spec": {"volumeName": "pvc-1"}})), "ns/data"),
            (claim(made), "ns/other"),
        ] {
            refused(
                &cluster("pvc-1"),
                &mine,
                &format!("PersistentVolumeClaim {name}"),
            );
        }
        let follower = claim(json!({"spec": {"volumeName": "pvc-2"}}));
        assert!(judge(&cluster("pvc-1"), &follower, "pvc-1").is_ok());
    }

    #[test]
    fn what_is_in_use_is_kept() {
        let attached = |source: Value| Users {
            attachments: vec![object(json!({"metadata": {"name": "csi-1"},
                "spec": {"attacher": "topolvm.io", "nodeName": "n1", "source": source}}))],
            ..Users::default()
        };
        let spec = json!({"csi": {"driver": "topolvm.io", "volumeHandle": "id-1"}});
        for source in [
            json!({"persistentVolumeName": "pvc-1"}),
            json!({"inlineVolumeSpec": spec}),
        ] {
            refused(
                &cluster("pvc-1"),
                &attached(source),
                "VolumeAttachment csi-1",
            );
        }
        let pod = |node: &str, phase: &str| Users {
            pods: vec![object(
                json!({"metadata": {"namespace": "ns", "name": "db"},
                "spec": {"nodeName": node, "containers": [], "volumes": [
                    {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
                "status": {"phase": phase}}),
            )],
            ..Users::default()
        };
        refused(&cluster("pvc-1"), &pod("n1", "Running"), "pod ns/db");
        for other in [pod("n2", "Running"), pod("n1", "Succeeded")] {
            assert!(judge(&cluster("pvc-1"), &other, "pvc-1").is_ok());
        }
        // The pod's claim was made again, and has another volume.
        let mut again = pod("n1", "Running");
        again.claims = vec![object(
            json!({"metadata": {"namespace": "ns", "name": "data", "uid": "2"},
            "spec": {"volumeName": "pvc-2"}}),
        )];
        refused(&cluster("pvc-1"), &again, "pod ns/db");
        let mut seen = cluster("pvc-1");
        seen.persistent = vec![object(json!({"metadata": {"name": "pvc-2"},
            "spec": {"csi": {"driver": "topolvm.io", "volumeHandle": "id-2"}}}))];
        assert!(judge(&seen, &again, "pvc-1").is_ok());
    }

    #[test]
    fn what_no_node_would_remove_is_kept() {
        let none = Users::default();
        let mut seen = cluster("pvc-1");
        seen.nodes.clear();
        refused(&seen, &none, "Node n1 is gone");
        let mut seen = cluster("pvc-1");
        let annotations = seen.volumes[0].metadata.annotations.get_or_insert_default();
        annotations.insert("topolvm.io/pendingdeletion".into(), "true".into());
        refused(&seen, &none, "is given up");
        assert!(judge(&cluster("pvc-1"), &none, "pvc-2").is_err());
    }
}
