//! Volumes of pods on real LVM: made, grown under their pod, copied, kept over a restart of the driver, and gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::workloads::{self, NAMESPACE, list};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, images, snapshots};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(2);

/// See the module.
pub(in super::super) fn life(context: &Context) -> Result<()> {
    let crds = snapshots::crds(&context.workspace)?;
    in_cluster(context, |cluster| {
        let spec = context.spec(Backend::Uml, "n1").module("loop");
        let node = cluster.node(1, spec)?;
        let disk = node.guest().plug(Disk::new(8 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 6G -T vg/pool"
        )))?;
        snapshots::install(cluster, &crds)?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        let pods = Pods { context, cluster };
        pods.write_and_grow()?;
        pods.copy()?;
        pods.restart_the_driver()?;
        pods.too_large()?;
        pods.gone_without_grace()?;
        pods.delete()?;
        let left = Command::shell("lvm lvs --noheadings -o lv_name vg");
        cluster::until("the volumes are gone", SOON, || {
            Ok(node.guest().check(left.clone())? == "pool")
        })?;
        Ok(())
    })
}

/// Pods with volumes.
struct Pods<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
}

impl Pods<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.control.kubectl(args)
    }

    fn exec(&self, pod: &str, script: &str) -> Result<String> {
        workloads::exec(self.cluster, pod, script)
    }

    fn ready(&self, pod: &str) -> Result<()> {
        workloads::ready(self.cluster, pod)
    }

    fn until(&self, what: &str, holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
        cluster::until(what, SOON, holds)
    }

    /// Two file systems and a device, grown while they are used.
    fn write_and_grow(&self) -> Result<()> {
        let started = Instant::now();
        let claims = [("xfs", "xfs"), ("ext4", "ext4"), ("block", "xfs")];
        let claims =
            claims.map(|(name, class)| claim(name, class, "400Mi", name == "block", Value::Null));
        self.cluster.apply(&list(&claims))?;
        self.cluster
            .apply(&pod("writer", &["xfs", "ext4"], &["block"]).to_string())?;
        self.ready("writer")?;
        let ready = started.elapsed();
        self.exec(
            "writer",
            "for d in xfs ext4; do dd if=/dev/urandom of=/$d/file bs=1M count=8; done; sync; \
            dd if=/xfs/file of=/dev/block bs=1M",
        )?;
        let size = |name: &str| -> Result<u64> {
            let script = match name {
                "block" => "blockdev --getsize64 /dev/block".to_owned(),
                name => format!("set -- $(df -kP /{name} | tail -n 1); echo $2"),
            };
            Ok(self.exec("writer", &script)?.trim().parse()?)
        };
        let grow = r#"{"spec": {"resources": {"requests": {"storage": "800Mi"}}}}"#;
        for name in ["xfs", "ext4", "block"] {
            let before = size(name)?;
            self.kubectl(&["patch", "pvc", name, "--patch", grow])?;
            let took = self.until("the volume has grown", || Ok(size(name)? > before * 3 / 2))?;
            self.context.result(format!(
                "{name} grown under its pod after {:.1} s",
                took.as_secs_f32()
            ));
        }
        self.context.result(format!(
            "three claims and their pod ready after {:.1} s",
            ready.as_secs_f32()
        ));
        Ok(())
    }

    /// A snapshot keeps what was; restored and cloned volumes are their own.
    fn copy(&self) -> Result<()> {
        let sum = self.exec("writer", "sha256sum </xfs/file")?;
        self.cluster.apply(&json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "then"},
            "spec": {"volumeSnapshotClassName": "thin", "source": {"persistentVolumeClaimName": "xfs"}}
        }).to_string())?;
        let ready = "jsonpath={.status.readyToUse}";
        let took = self.until("the snapshot is ready", || {
            Ok(self.kubectl(&["get", "volumesnapshot", "then", "-o", ready])? == "true")
        })?;
        self.context
            .result(format!("snapshot ready after {:.1} s", took.as_secs_f32()));
        let noted = r"jsonpath={.items[*].metadata.annotations.basalt\.storage/volume-snapshot}";
        let noted = self.kubectl(&["get", "logicalvolumes", "-o", noted])?;
        ensure!(noted == "default/then", "it is said to be of {noted:?}");
        self.exec("writer", "echo later >/xfs/later; sync")?;
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "then"});
        let clone = json!({"kind": "PersistentVolumeClaim", "name": "xfs"});
        let claims = [
            claim("restored", "xfs", "900Mi", false, snapshot),
            claim("cloned", "xfs", "800Mi", false, clone),
        ];
        self.cluster.apply(&list(&claims))?;
        self.cluster
            .apply(&pod("reader", &["restored", "cloned"], &[]).to_string())?;
        self.ready("reader")?;
        for copy in ["restored", "cloned"] {
            let copied = self.exec("reader", &format!("sha256sum </{copy}/file"))?;
            ensure!(copied == sum, "{copy} has {copied}, its source {sum}");
        }
        self.exec(
            "reader",
            "[ ! -e /restored/later ]; [ -e /cloned/later ]; echo x >/cloned/own; sync",
        )?;
        self.exec("writer", "[ ! -e /xfs/own ]").map(drop)
    }

    /// Pods write on while the driver restarts, and the next pod gets its volume.
    fn restart_the_driver(&self) -> Result<()> {
        self.kubectl(&[
            "-n",
            NAMESPACE,
            "rollout",
            "restart",
            "daemonset/topolvm-node",
        ])?;
        self.exec(
            "writer",
            "for i in $(seq 5); do echo $i >>/xfs/log; sync; sleep 1; done",
        )?;
        self.kubectl(&[
            "-n",
            NAMESPACE,
            "rollout",
            "status",
            "daemonset/topolvm-node",
            "--timeout=180s",
        ])?;
        self.cluster
            .apply(&list(&[claim("next", "ext4", "64Mi", false, Value::Null)]))?;
        self.cluster
            .apply(&pod("next", &["next"], &[]).to_string())?;
        self.ready("next")?;
        let lines = self.exec("writer", "wc -l </xfs/log")?;
        ensure!(lines.trim() == "5", "{lines}");
        Ok(())
    }

    /// What no node can give stays Pending, and takes nothing.
    fn too_large(&self) -> Result<()> {
        self.cluster
            .apply(&list(&[claim("large", "xfs", "1Ti", false, Value::Null)]))?;
        self.cluster
            .apply(&pod("large", &["large"], &[]).to_string())?;
        let events = [
            "get",
            "events",
            "--field-selector=involvedObject.name=large,reason=FailedScheduling",
        ];
        self.until("the scheduler says why", || {
            Ok(self.kubectl(&events)?.contains("storage"))
        })?;
        let volumes = self.kubectl(&["get", "logicalvolumes", "-o", "name"])?;
        ensure!(volumes.lines().count() == 7, "{volumes}");
        Ok(())
    }

    /// A pod that writes is deleted from the API server at once, and its claim with it: kubelet ends and unmounts it a
    /// while later, and nobody tries to remove the volume again and again meanwhile.
    fn gone_without_grace(&self) -> Result<()> {
        let write = "dd if=/dev/urandom of=/next/x bs=1M count=16 conv=fsync";
        self.exec(
            "next",
            &format!("(while {write}; do :; done) >/dev/null 2>&1 &"),
        )?;
        let volume = ["get", "pvc", "next", "-o", "jsonpath={.spec.volumeName}"];
        let volume = self.kubectl(&volume)?;
        self.kubectl(&["delete", "pod", "next", "--force", "--grace-period=0"])?;
        self.kubectl(&["delete", "pvc", "next", "--timeout=120s"])?;
        let took = self.until("its volume is gone", || {
            let left = ["get", "pv,logicalvolumes", "-o", "name"];
            Ok(!self.kubectl(&left)?.contains(&volume))
        })?;
        let failed = [
            "get",
            "events",
            "-A",
            "-o",
            "json",
            "--field-selector=reason=CannotRemove",
        ];
        let failed: Value = serde_json::from_str(&self.kubectl(&failed)?)?;
        let failed = failed["items"].as_array().into_iter().flatten();
        let failed: u64 = failed
            .map(|e| {
                e["series"]["count"]
                    .as_u64()
                    .or(e["count"].as_u64())
                    .unwrap_or(1)
            })
            .sum();
        ensure!(failed <= 3, "it was tried {failed} times in vain");
        self.context.result(format!(
            "a pod deleted without grace while it wrote: its volume was gone {:.1} s after the claim, removal failed {failed} times",
            took.as_secs_f32()
        ));
        Ok(())
    }

    fn delete(&self) -> Result<()> {
        for what in ["pod", "volumesnapshot", "pvc"] {
            self.kubectl(&["delete", what, "--all", "--timeout=120s"])?;
        }
        let took = self.until("no LogicalVolume is left", || {
            Ok(self
                .kubectl(&["get", "logicalvolumes", "-o", "name"])?
                .is_empty())
        })?;
        self.context.result(format!(
            "all volumes gone {:.1} s after their claims",
            took.as_secs_f32()
        ));
        Ok(())
    }
}

/// A claim for a file system or a device, from `source` or from nothing.
pub(super) fn claim(name: &str, class: &str, size: &str, block: bool, source: Value) -> Value {
    let mut claim = workloads::claim(name, class, size);
    claim["spec"]["volumeMode"] = json!(if block { "Block" } else { "Filesystem" });
    claim["spec"]["dataSource"] = source;
    claim
}

fn pod(name: &str, mounts: &[&str], devices: &[&str]) -> Value {
    workloads::pod(name, ":", mounts, devices)
}

pub(super) fn values() -> Value {
    let class = |name: &str| {
        json!({"name": name, "storageClass": {"fsType": name, "allowVolumeExpansion": true,
            "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": "thin"}}})
    };
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"volumeSnapshotClasses": [{"name": "thin"}]},
        "lvmd": {"managed": false, "deviceClasses": [{
            "name": "thin", "volume-group": "vg", "default": true, "spare-gb": 0, "type": "thin",
            "thin-pool": {"name": "pool", "overprovision-ratio": 2.0},
        }]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [class("xfs"), class("ext4")],
    })
}
