//! Every kind of volume on a real Kubernetes: ext4, xfs, btrfs and raw block, grown under a pod and between two pods,
//! restored and cloned; volumes that live as long as their pod, and those that are for one pod alone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::volumes::claim;
use super::workloads::{NAMESPACE, exec, list, pod, ready};
use super::{Context, TOPOLVM, in_cluster, owned};
use crate::cluster::{self, Cluster, Node, images, snapshots};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
const KINDS: [&str; 4] = ["ext4", "xfs", "btrfs", "block"];
/// Sizes in MiB: at first, grown under a pod, grown while no pod is there, restored.
const SIZES: [u64; 4] = [400, 800, 1200, 1600];

/// See the module.
pub(in super::super) fn each(context: &Context) -> Result<()> {
    let crds = snapshots::crds(&context.workspace)?;
    in_cluster(context, |cluster| {
        let spec = context.spec(Backend::Uml, "n1").module("loop");
        let mut node = cluster.node(1, spec)?;
        let disk = node.guest().plug(Disk::new(16 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 14G -T vg/pool"
        )))?;
        snapshots::install(cluster, &crds)?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        let kinds = Kinds { context, cluster };
        let sums = kinds.written()?;
        kinds.grows_in_use()?;
        node.restart_kubelet(&cluster.control)?;
        kinds.grows_unused()?;
        kinds.has_kept("writer", "", &sums)?;
        kinds.copies(&sums)?;
        cluster.control.kubectl(&[
            "delete",
            "pod,volumesnapshot,pvc",
            "--all",
            "--timeout=180s",
        ])?;
        owned::of_its_pod(context, cluster, &node)?;
        owned::inline(context, cluster, &mut node)?;
        owned::for_one_pod(context, cluster)?;
        cluster
            .control
            .kubectl(&["delete", "pod,pvc", "--all", "--timeout=180s"])?;
        only_the_pool_is_left(&node)
    })
}

struct Kinds<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
}

impl Kinds<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.control.kubectl(args)
    }

    fn use_all(&self, pod_name: &str, suffix: &str) -> Result<()> {
        let names = KINDS.map(|kind| format!("{kind}{suffix}"));
        let names = names.each_ref().map(String::as_str);
        let (devices, mounts): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| is_block(name));
        self.cluster
            .apply(&pod(pod_name, ":", &mounts, &devices).to_string())?;
        ready(self.cluster, pod_name)
    }

    /// Eight random MiB on each; their sums.
    fn written(&self) -> Result<Vec<String>> {
        let claims = KINDS.map(|kind| sized(kind, kind, SIZES[0], Value::Null));
        self.cluster.apply(&list(&claims))?;
        self.use_all("writer", "")?;
        for kind in KINDS {
            let write = format!(
                "dd if=/dev/urandom of={} bs=1M count=8 conv=fsync",
                place(kind)
            );
            exec(self.cluster, "writer", &write)?;
        }
        KINDS.iter().map(|kind| self.sum("writer", kind)).collect()
    }

    fn sum(&self, pod: &str, name: &str) -> Result<String> {
        let sum = format!("head -c 8388608 {} | sha256sum", place(name));
        exec(self.cluster, pod, &sum)
    }

    fn has_kept(&self, pod: &str, suffix: &str, sums: &[String]) -> Result<()> {
        for (kind, sum) in KINDS.iter().zip(sums) {
            let name = format!("{kind}{suffix}");
            let now = self.sum(pod, &name)?;
            ensure!(now == *sum, "{name} has {now} and had {sum}");
        }
        Ok(())
    }

    /// Whether the pod sees that many MiB, but for what a file system needs itself.
    fn has_size(&self, pod: &str, name: &str, mib: u64) -> Result<bool> {
        let ask = if is_block(name) {
            format!("echo $(($(blockdev --getsize64 /dev/{name}) >> 20))")
        } else {
            format!("set -- $(df -kP /{name} | tail -n 1); echo $(($2 >> 10))")
        };
        let has: u64 = exec(self.cluster, pod, &ask)?.parse()?;
        Ok(has <= mib && has > mib * 4 / 5)
    }

    fn want(&self, mib: u64) -> Result<()> {
        let size = json!({"spec": {"resources": {"requests": {"storage": format!("{mib}Mi")}}}});
        for kind in KINDS {
            self.kubectl(&["patch", "pvc", kind, "--patch", &size.to_string()])?;
        }
        Ok(())
    }

    fn grows_in_use(&self) -> Result<()> {
        let started = Instant::now();
        self.want(SIZES[1])?;
        for kind in KINDS {
            cluster::until(&format!("{kind} has grown under its pod"), SOON, || {
                self.has_size("writer", kind, SIZES[1])
            })?;
        }
        self.context.result(format!(
            "{} grown under their pod after {:.1} s",
            KINDS.join(", "),
            started.elapsed().as_secs_f32()
        ));
        // The node grew the file systems; kubelet was not waited for.
        let grown = "jsonpath={.items[*].status.conditions[?(@.type==\"FileSystemGrown\")].status}";
        let grown = self.kubectl(&["get", "logicalvolumes", "-o", grown])?;
        ensure!(grown == "True True True", "grown by their node: {grown:?}");
        Ok(())
    }

    /// The pod goes, by a kubelet that did not mount its volumes; they grow; the next pod finds them grown.
    fn grows_unused(&self) -> Result<()> {
        let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
        let restarts = self.kubectl(&["get", "pod", "writer", "-o", restarts])?;
        ensure!(restarts == "0", "the pod's container did not run through");
        self.kubectl(&["delete", "pod", "writer", "--timeout=120s"])?;
        let started = Instant::now();
        self.want(SIZES[2])?;
        let wanted = format!("{}Mi", SIZES[2]);
        cluster::until("the volumes have grown without a pod", SOON, || {
            let sizes = self.kubectl(&[
                "get",
                "logicalvolumes",
                "-o",
                "jsonpath={.items[*].status.currentSize}",
            ])?;
            Ok(sizes.split(' ').filter(|size| *size == wanted).count() == KINDS.len())
        })?;
        self.use_all("writer", "")?;
        for kind in KINDS {
            ensure!(
                self.has_size("writer", kind, SIZES[2])?,
                "{kind} has not grown before the pod had it"
            );
        }
        self.context.result(format!(
            "the kubelet restarted, the pod went, all grew: the next pod had them after {:.1} s",
            started.elapsed().as_secs_f32()
        ));
        Ok(())
    }

    /// Snapshots restored to more, and clones: they have the data, and are their own.
    fn copies(&self, sums: &[String]) -> Result<()> {
        let snapshot = |kind: &str| {
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": kind},
                "spec": {"volumeSnapshotClassName": "thin", "source": {"persistentVolumeClaimName": kind}}
            })
        };
        let started = Instant::now();
        self.cluster.apply(&list(&KINDS.map(snapshot)))?;
        let usable = "jsonpath={.items[*].status.readyToUse}";
        cluster::until("the snapshots are ready", SOON, || {
            Ok(self.kubectl(&["get", "volumesnapshots", "-o", usable])? == "true true true true")
        })?;
        let restored = |kind: &str| {
            let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": kind});
            sized(&format!("{kind}-restored"), kind, SIZES[3], source)
        };
        let cloned = |kind: &str| {
            let source = json!({"kind": "PersistentVolumeClaim", "name": kind});
            sized(&format!("{kind}-cloned"), kind, SIZES[2], source)
        };
        self.cluster.apply(&list(&KINDS.map(restored)))?;
        self.cluster.apply(&list(&KINDS.map(cloned)))?;
        for (suffix, mib) in [("-restored", SIZES[3]), ("-cloned", SIZES[2])] {
            let reader = format!("reader{suffix}");
            self.use_all(&reader, suffix)?;
            self.has_kept(&reader, suffix, sums)?;
            for kind in KINDS {
                let name = format!("{kind}{suffix}");
                ensure!(
                    self.has_size(&reader, &name, mib)?,
                    "{name} is not of {mib} MiB"
                );
                let other = format!(
                    "dd if=/dev/zero of={} bs=1M count=8 conv=fsync,notrunc",
                    place(&name)
                );
                exec(self.cluster, &reader, &other)?;
            }
            self.has_kept("writer", "", sums)?;
        }
        self.context.result(format!(
            "restored larger and cloned, each of {}, beside their sources: {:.1} s",
            KINDS.join(", "),
            started.elapsed().as_secs_f32()
        ));
        Ok(())
    }
}

pub(super) fn only_the_pool_is_left(node: &Node) -> Result<()> {
    let left = Command::shell("lvm lvs --noheadings -o lv_name vg");
    cluster::until("the volumes are gone", SOON, || {
        Ok(node.guest().check(left.clone())? == "pool")
    })?;
    Ok(())
}

fn is_block(name: &str) -> bool {
    name.starts_with("block")
}

/// Where a pod has the data.
pub(super) fn place(name: &str) -> String {
    if is_block(name) {
        format!("/dev/{name}")
    } else {
        format!("/{name}/file")
    }
}

/// A claim of that many MiB for a file system of that kind, or a device.
pub(super) fn sized(name: &str, kind: &str, mib: u64, source: Value) -> Value {
    let class = if is_block(kind) { "xfs" } else { kind };
    claim(name, class, &format!("{mib}Mi"), is_block(kind), source)
}

fn values() -> Value {
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
            "thin-pool": {"name": "pool", "overprovision-ratio": 5.0},
        }]},
        "node": {"lvmdEmbedded": true, "inlineVolumes": {"classes": {"thin": "512Mi"}}},
        "storageClasses": [class("ext4"), class("xfs"), class("btrfs")],
    })
}
