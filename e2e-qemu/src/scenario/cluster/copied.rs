//! Thick volumes whose snapshots are copies, by pods: a snapshot keeps what was when it was taken although the pod writes on
//! while it is copied, and restores and clones of it are their own.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::kinds::{only_the_pool_is_left, place};
use super::volumes::claim;
use super::workloads::{NAMESPACE, exec, list, pod, ready};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, images, snapshots};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// A file system and a device.
const NAMES: [&str; 2] = ["files", "block"];
/// Sizes: of the volumes and their clones, and of what is restored.
const SIZE: &str = "160Mi";
const LARGER: &str = "240Mi";
/// How many MiB are written and summed.
const DATA: u32 = 96;

/// See the module.
pub(in super::super) fn keep_their_data(context: &Context) -> Result<()> {
    let crds = snapshots::crds(&context.workspace)?;
    in_cluster(context, |cluster| {
        // The kubelet holds a pod's device by a loop device.
        let spec = context.spec(Backend::Uml, "n1").module("loop");
        let node = cluster.node(1, spec)?;
        let disk = node.guest().plug(Disk::new(4 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 64M -T vg/pool"
        )))?;
        snapshots::install(cluster, &crds)?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        let thick = Thick { context, cluster };
        let before = thick.written()?;
        let after = thick.snapshots()?;
        ensure!(
            before.iter().zip(&after).all(|(then, now)| then != now),
            "the pod wrote the same again"
        );
        thick.copies("restored", LARGER, &before, &after)?;
        thick.copies("cloned", SIZE, &after, &after)?;
        let everything = ["delete", "pod,volumesnapshot,pvc", "--all"];
        (cluster.control).kubectl(&[&everything[..], &["--timeout=180s"]].concat())?;
        only_the_pool_is_left(&node)
    })
}

struct Thick<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
}

impl Thick<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.control.kubectl(args)
    }

    /// Random data on each volume of the pod, synced; their sums.
    fn write(&self, pod: &str, names: [&str; 2]) -> Result<Vec<String>> {
        for name in names {
            let write = format!(
                "dd if=/dev/urandom of={} bs=1M count={DATA} conv=fsync,notrunc",
                place(name)
            );
            exec(self.cluster, pod, &write)?;
        }
        self.sums(pod, names)
    }

    fn sums(&self, pod: &str, names: [&str; 2]) -> Result<Vec<String>> {
        let sum = |name: &str| {
            let sum = format!("head -c {} {} | sha256sum", DATA << 20, place(name));
            exec(self.cluster, pod, &sum)
        };
        names.into_iter().map(sum).collect()
    }

    fn written(&self) -> Result<Vec<String>> {
        let claims = NAMES.map(|name| claim(name, "thick", SIZE, name == "block", Value::Null));
        self.cluster.apply(&list(&claims))?;
        let writer = pod("writer", ":", &["files"], &["block"]);
        self.cluster.apply(&writer.to_string())?;
        ready(self.cluster, "writer")?;
        self.write("writer", NAMES)
    }

    /// Takes a snapshot of each, and has the pod write all anew once they are taken, whether they are ready or not.
    fn snapshots(&self) -> Result<Vec<String>> {
        let snapshot = |name: &str| {
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name},
                "spec": {"volumeSnapshotClassName": "copies", "source": {"persistentVolumeClaimName": name}}
            })
        };
        let all_say = |field: &str| -> Result<Vec<String>> {
            let ask = format!("jsonpath={{.items[*].status.{field}}}");
            let said = self.kubectl(&["get", "volumesnapshots", "-o", &ask])?;
            Ok(said.split_whitespace().map(str::to_owned).collect())
        };
        let started = Instant::now();
        self.cluster.apply(&list(&NAMES.map(snapshot)))?;
        let taken = cluster::until("the snapshots are taken", SOON, || {
            Ok(all_say("creationTime")?.len() == NAMES.len())
        })?;
        let is_ready = all_say("readyToUse")?;
        let after = self.write("writer", NAMES)?;
        cluster::until("the snapshots are ready", SOON, || {
            Ok(all_say("readyToUse")? == ["true", "true"])
        })?;
        self.context.result(format!(
            "snapshots of two thick volumes were taken after {:.1} s (ready to use then: {}), and whole after {:.1} s; \
             the pod wrote all anew meanwhile",
            taken.as_secs_f32(),
            is_ready.join(", "),
            started.elapsed().as_secs_f32()
        ));
        Ok(after)
    }

    /// Makes volumes of the snapshots or of the claims: they have the `expected` data, and what a pod writes to them changes
    /// nothing in their sources, which have `source`.
    fn copies(&self, how: &str, size: &str, expected: &[String], source: &[String]) -> Result<()> {
        let names = NAMES.map(|name| format!("{name}-{how}"));
        let names = names.each_ref().map(String::as_str);
        let of = |name: &str| match how {
            "restored" => {
                json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name})
            }
            _ => json!({"kind": "PersistentVolumeClaim", "name": name}),
        };
        let [files, block] = names;
        let started = Instant::now();
        self.cluster.apply(&list(&[
            claim(files, "thick", size, false, of("files")),
            claim(block, "thick", size, true, of("block")),
            pod(how, ":", &[files], &[block]),
        ]))?;
        ready(self.cluster, how)?;
        let took = started.elapsed();
        let found = self.sums(how, names)?;
        ensure!(
            found == expected,
            "{how}: the data is {found:?} and should be {expected:?}"
        );
        self.write(how, names)?;
        let kept = self.sums("writer", NAMES)?;
        ensure!(
            kept == source,
            "writing to what was {how} changed the source: {kept:?} for {source:?}"
        );
        self.context.result(format!(
            "{how} to {size}, a file system and a device: their pod had the same sha256 of {DATA} MiB after {:.1} s",
            took.as_secs_f32()
        ));
        Ok(())
    }
}

fn values() -> Value {
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"volumeSnapshotClasses": [{"name": "copies"}]},
        "lvmd": {"managed": false, "deviceClasses": [
            {"name": "thick", "volume-group": "vg", "default": true, "spare-gb": 0, "thick-snapshots": "copy"},
        ]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [{"name": "thick", "storageClass": {"fsType": "ext4", "allowVolumeExpansion": true,
            "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": "thick"}}}],
    })
}
