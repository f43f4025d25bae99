//! The watcher's objects: a DiskClass takes disks of nodes with a label, NodeDisks show it, a request empties one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::path::{WATCHER, status};
use super::{Context, in_cluster};
use crate::cluster::{self, Cluster, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);

/// A local volume for whoever wants it.
fn local_volume(device: &str) -> Value {
    let here =
        json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]);
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "theirs"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Block",
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "theirs", "local": {"path": device},
            "nodeAffinity": {"required": {"nodeSelectorTerms": here}}}})
}

/// See the module.
pub(in super::super) fn from_class_to_removal(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let spec = context.spec(Backend::Uml, "n1").module("dm_mirror");
        let node = cluster.node(1, spec)?;
        let control = &cluster.control;
        let values = json!({"image": images::chart_value(false), "kubernetes": {"enabled": true}});
        cluster.helm_install("disk-watcher", WATCHER, &[], &values)?;
        cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
        cluster.apply(&class().to_string())?;
        // The first is another system's.
        let theirs = node.guest().plug(Disk::new(1 << 30))?.path();
        cluster.apply(&local_volume(&theirs).to_string())?;
        node.guest().plug(Disk::new(1 << 30))?;
        let mine = |disks: &[Value], state: &str| {
            let is = |disk: &&Value| disk["status"]["state"] == state;
            disks
                .iter()
                .filter(is)
                .filter(|d| d["status"]["class"] == "fast")
                .count()
        };
        cluster::until("the disks are shown", SOON, || {
            let blank = |d: &&Value| d["status"]["sizeBytes"] == 1_u64 << 30;
            Ok(disks(cluster)?.iter().filter(blank).count() == 2)
        })
        .with_context(|| status(cluster))?;
        ensure!(
            mine(&disks(cluster)?, "Ready") == 0,
            "the node has no label"
        );
        let labelled = Instant::now();
        control.kubectl(&["label", "node", "n1", "disks=fast"])?;
        let who = format!("PersistentVolume theirs ({theirs}) claims it");
        cluster::until("the class wants both, and one is claimed", SOON, || {
            let disks = disks(cluster)?;
            let claimed = disks
                .iter()
                .filter(|disk| disk["status"].to_string().contains(&who));
            let claimed: Vec<_> = claimed.map(|disk| &disk["status"]["state"]).collect();
            Ok(claimed == ["Rejected"] && mine(&disks, "Candidate") == 1)
        })
        .with_context(|| status(cluster))?;
        control.kubectl(&["delete", "pv", "theirs"])?;
        cluster::until("both disks are Ready", SOON, || {
            Ok(mine(&disks(cluster)?, "Ready") == 2)
        })
        .with_context(|| status(cluster))?;
        context.result(format!(
            "two disks were Ready {:.1} s after their node had the label that a DiskClass selects; the first not before a local PersistentVolume on it was deleted",
            labelled.elapsed().as_secs_f32()
        ));
        let owner = disks(cluster)?[0]["metadata"]["ownerReferences"][0]["kind"].clone();
        ensure!(owner == "Node", "a NodeDisk belongs to {owner}");
        let conditions =
            "jsonpath={.status.nodes[?(@.name==\"n1\")].conditions[?(@.type==\"Valid\")].status}";
        let valid = control.kubectl(&["get", "diskclass", "fast", "-o", conditions])?;
        ensure!(valid == "True", "the class is {valid:?} on n1");

        let lvm = |script: &str| node.guest().check(Command::shell(script));
        lvm("lvm lvcreate -qq -y -V 160M -T fast/pool0 -n data && \
             dd if=/dev/urandom of=/dev/fast/data bs=1M count=160 conv=fsync status=none")?;
        let sum = lvm("sha256sum </dev/fast/data")?;
        let fullest =
            lvm("lvm pvs --noheadings -o pv_uuid -O -pv_used -S vg_name=fast | head -n 1")?;
        let started = Instant::now();
        cluster.apply(&removal("out", fullest.trim()).to_string())?;
        cluster::until("the request is done", SOON, || {
            let state = [
                "get",
                "diskremovalrequest",
                "out",
                "-n",
                WATCHER,
                "-o",
                "jsonpath={.status.state}",
            ];
            Ok(control.kubectl(&state)? == "Done")
        })
        .with_context(|| status(cluster))?;
        let left = lvm("lvm pvs --noheadings -o pv_uuid -S vg_name=fast")?;
        ensure!(
            left.lines().count() == 1 && left.trim() != fullest.trim(),
            "the PVs are {left}"
        );
        ensure!(
            lvm("sha256sum </dev/fast/data")? == sum,
            "the volume changed"
        );
        context.result(format!(
            "a removal request emptied the fuller disk in {:.1} s; the volume kept its sha256",
            started.elapsed().as_secs_f32()
        ));

        control.kubectl(&["delete", "diskclass", "fast"])?;
        // Nobody looks after its pool any more.
        cluster::until("the class is out of force", SOON, || {
            let pools = control.kubectl(&["get", "nodethinpools", "-o", "name"])?;
            Ok(pools.is_empty())
        })?;
        ensure!(
            lvm("sha256sum </dev/fast/data")? == sum,
            "the volume changed"
        );
        lvm("lvm vgck fast")?;
        let events = ["get", "events", "-A", "-o", "jsonpath={.items[*].reason}"];
        let events = control.kubectl(&events)?;
        for reason in ["DiskReady", "ClassInUse", "RemovalDone"] {
            ensure!(events.contains(reason), "no event {reason}: {events}");
        }
        Ok(())
    })
}

/// All NodeDisks.
pub(super) fn disks(cluster: &Cluster) -> Result<Vec<Value>> {
    let list = cluster
        .control
        .kubectl(&["get", "nodedisks", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Takes the disks that are plugged in, on nodes with a label.
fn class() -> Value {
    json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskClass", "metadata": {"name": "fast"}, "spec": {
        "mode": "Enforce",
        "discovery": "Continuous",
        "nodeSelector": {"matchLabels": {"disks": "fast"}},
        "select": {"transport": ["ubd"], "size": {"min": "512Mi", "max": "2Gi"}},
        "limits": {"settle": "1s", "minDisks": 2},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "fast"},
        "thinPool": {"name": "pool0", "size": "30%", "metadata": {"size": "4Mi"}, "autoExtend": {"enabled": false}},
    }})
}

/// Asks that a PV of the first node leaves its group.
pub(super) fn removal(name: &str, pv: &str) -> Value {
    json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskRemovalRequest",
        "metadata": {"name": name, "namespace": WATCHER}, "spec": {"node": "n1", "pvUUID": pv}})
}
