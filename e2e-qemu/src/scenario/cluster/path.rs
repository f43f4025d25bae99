//! The path from the bare disk: charts/disk-watcher takes a disk that is plugged into a node to a group and a pool.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::charts::GUIDE;
use super::source::Source;
use super::workloads::{NAMESPACE, ready};
use super::{Context, TOPOLVM, in_cluster_of, runs_again_after_power_cut};
use crate::attached::Attached;
use crate::cluster::{self, Cluster, Minor, Node, images};
use crate::command::Command;
use crate::spec::{Backend, Bus, Disk};

pub(super) const WATCHER: &str = "lvm-disk-watcher";
/// Ten times what it takes on a machine with nothing else to do, from the plugged disk to the pool.
const POOL: Duration = Duration::from_mins(3);

/// How the disk is chosen.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Chosen {
    /// By the label of the node that the watcher runs on, and the disk's transport.
    NodeLabel,
    /// By its path.
    Path,
    /// By the file disk-config of TrueCharts' watcher, in Enforce.
    DiskConfig,
}

/// The whole path: disk, pool, the values of TrueCharts' guide, a claim, a pod that writes; then the node loses its
/// power, and the pod finds its data without anybody's help.
pub(in super::super) fn guide(context: &Context, minor: Minor, chosen: Chosen) -> Result<()> {
    in_cluster_of(context, minor, |cluster| {
        from_disk_to_data(context, cluster, &Source::imported(context), chosen)
    })
}

/// The same in this cluster, which has no node yet.
pub(super) fn from_disk_to_data(
    context: &Context,
    cluster: &Cluster,
    source: &Source,
    chosen: Chosen,
) -> Result<()> {
    let version = cluster.control.kubectl(&["version"])?;
    let version = version.lines().find(|line| line.starts_with("Server"));
    context.result(format!("Kubernetes, {}", version.unwrap_or("no version")));
    // disk-config wants disks that say who they are, and a user-mode kernel has none that survive its end.
    let backend = match chosen {
        Chosen::DiskConfig => Backend::Qemu,
        Chosen::NodeLabel | Chosen::Path => Backend::Uml,
    };
    let node = cluster.node(1, context.spec(backend, "n1"))?;
    plug(context, cluster, &node, source, chosen)?;
    let control = &cluster.control;
    source.install(cluster, "topolvm", NAMESPACE, &[GUIDE], installed_here())?;
    cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
    let started = Instant::now();
    cluster.apply(POD)?;
    let bound = "--for=jsonpath={.status.phase}=Bound";
    control.kubectl(&["wait", bound, "pvc/data", "--timeout=120s"])?;
    let bound = started.elapsed();
    ready(cluster, "writer")?;
    context.result(format!(
        "claim bound {:.1} s, pod ready {:.1} s after both were made",
        bound.as_secs_f32(),
        started.elapsed().as_secs_f32()
    ));
    let written = || control.kubectl(&["exec", "writer", "--", "sha256sum", "/data/file"]);
    let sum = written()?;
    let (node, took) = runs_again_after_power_cut(cluster, node, "writer")?;
    cluster::until("the pod can be asked", POOL, || Ok(written().is_ok()))?;
    ensure!(
        written()? == sum,
        "the data is {} and was {sum}",
        written()?
    );
    context.result(format!(
        "power cut of {}: the pod ran again after {:.1} s with the same sha256",
        node.name(),
        took.as_secs_f32()
    ));
    control.kubectl(&["delete", "pod/writer", "pvc/data", "--timeout=120s"])?;
    let left = Command::shell("lvm lvs --noheadings -o lv_name topolvm_vg");
    cluster::until("the volume is gone", POOL, || {
        Ok(node.guest().check(left.clone())? == "topolvm_thin")
    })?;
    Ok(())
}

/// What this cluster needs on top of the guide's values.
fn installed_here() -> Value {
    json!({"controller": {"replicaCount": 1}, "snapshot": {"enabled": false}})
}

/// It writes when it finds nothing, and never over what is there.
const POD: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: writer
      image: basalt.test/busybox:1
      imagePullPolicy: Never
      command:
        - sh
        - -c
        - |
          trap exit TERM
          [ -e /data/file ] || { dd if=/dev/urandom of=/data/new bs=1M count=16 && mv /data/new /data/file && sync; }
          touch /tmp/ready
          sleep 1d & wait
      readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"#;

/// Installs the watcher, plugs the disk, waits for the pool.
fn plug(
    context: &Context,
    cluster: &Cluster,
    node: &Node,
    source: &Source,
    chosen: Chosen,
) -> Result<()> {
    let name = node.name();
    let label = || {
        let label = ["label", "node", &name, "basalt.test/storage=yes"];
        cluster.control.kubectl(&label).map(drop)
    };
    if !matches!(chosen, Chosen::NodeLabel) {
        label()?;
    }
    let values = values(&name, chosen);
    source.install(cluster, "disk-watcher", WATCHER, &[], values)?;
    cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
    // Sparse; the guide keeps 10 GiB of the pool free. disk-config has all of it read first.
    let (size, limit) = match chosen {
        Chosen::DiskConfig => (14, 4 * POOL),
        Chosen::NodeLabel | Chosen::Path => (24, POOL),
    };
    let disk = Disk::new(size << 30);
    let mut others = Vec::new();
    let (disk, begun) = match chosen {
        Chosen::Path => (node.guest().plug(disk)?, Instant::now()),
        Chosen::NodeLabel => {
            let mut class = class(chosen);
            class["spec"]["nodeSelector"] = json!({"matchLabels": {"basalt.test/storage": "yes"}});
            cluster.apply(&class.to_string())?;
            let disk = node.guest().plug(disk)?;
            let shown = format!(
                "jsonpath={{.items[?(@.status.sizeBytes=={})].status.state}}",
                24_u64 << 30
            );
            cluster::until("the disk is shown", POOL, || {
                let state = cluster
                    .control
                    .kubectl(&["get", "nodedisks", "-o", &shown])?;
                ensure!(
                    state.is_empty() || state == "Discovered",
                    "without the label it is {state}"
                );
                Ok(!state.is_empty())
            })
            .with_context(|| status(cluster))?;
            label()?;
            (disk, Instant::now())
        }
        Chosen::DiskConfig => {
            // `all` is none that is small, and none that somebody may carry away.
            for other in [Disk::new(9 << 30), Disk::new(24 << 30).bus(Bus::Usb)] {
                others.push(node.guest().plug(other)?);
            }
            (node.guest().plug(disk.bus(Bus::Scsi))?, Instant::now())
        }
    };
    let pool = Command::shell("lvm lvs --noheadings -o lv_attr topolvm_vg/topolvm_thin");
    cluster::until("topolvm_vg/topolvm_thin is there", limit, || {
        let out = node.guest().run(pool.clone())?;
        Ok(out.status.success() && out.text().starts_with("twi-a"))
    })
    .with_context(|| status(cluster))?;
    context.result(format!(
        "{chosen:?}: {} became topolvm_vg/topolvm_thin {:.1} s after it could be",
        disk.path(),
        begun.elapsed().as_secs_f32()
    ));
    if matches!(chosen, Chosen::DiskConfig) {
        as_truecharts(context, node, &disk, &others)?;
    }
    Ok(())
}

/// The group is on that disk alone, the pool has 80 % of it in chunks of 256 KiB, and nothing was written to the others.
fn as_truecharts(
    context: &Context,
    node: &Node,
    disk: &Attached,
    others: &[Attached],
) -> Result<()> {
    let ask = |script: &str| node.guest().check(Command::shell(script));
    let disks = ask("lvm pvs --noheadings -o pv_name")?;
    ensure!(
        disks.trim() == disk.path(),
        "PVs are {disks}, and not {}",
        disk.path()
    );
    let numbers = "lvm lvs --noheadings --nosuffix --units b --separator ' ' -o lv_size,vg_size,chunk_size \
                   topolvm_vg/topolvm_thin";
    let numbers = ask(numbers)?;
    let read: Vec<u64> = numbers
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let [size, group, chunk] = read[..] else {
        anyhow::bail!("lvm says {numbers}");
    };
    ensure!(chunk == 256 << 10, "the chunk is {chunk}");
    ensure!(
        (78..=80).contains(&(size * 100 / group)),
        "{size} of {group}"
    );
    for other in others {
        let name = other.path().replace("/dev/", "");
        let written = ask(&format!("awk '{{print $7}}' /sys/block/{name}/stat"))?;
        ensure!(
            written.trim() == "0",
            "{written} sectors of {name} were written"
        );
    }
    context.result(format!(
        "disk-config `all`: {size} of {group} bytes in chunks of {chunk}; {} other disks were not written to",
        others.len()
    ));
    Ok(())
}

/// What the watcher says of its node, or why it does not.
pub(super) fn status(cluster: &Cluster) -> String {
    let ask = ["exec", "ds/disk-watcher", "--", "/disk-watcher", "status"];
    let ask = [&["--namespace", WATCHER][..], &ask].concat();
    let said = cluster.control.kubectl(&ask);
    said.unwrap_or_else(|error| format!("{error:#}"))
}

pub(super) fn values(node: &str, chosen: Chosen) -> Value {
    let mut values = json!({"image": images::chart_value(false)});
    match chosen {
        Chosen::NodeLabel => values["kubernetes"] = json!({"enabled": true}),
        Chosen::Path => {
            let class = class(chosen);
            values["nodeSelector"] = json!({"basalt.test/storage": "yes"});
            values["classes"] = json!([{"name": "main", "spec": class["spec"]}]);
        }
        Chosen::DiskConfig => {
            values["configmap"] =
                json!({"disk-config": {"data": {"disk-config": format!("{node}: all\n")}}});
            values["compat"] = json!({"mode": "Enforce"});
        }
    }
    values
}

/// The class that takes the disk, as an object.
pub(super) fn class(chosen: Chosen) -> Value {
    let select = match chosen {
        Chosen::Path => json!({"transport": ["ubd"], "size": {"min": "256Mi"},
            "paths": ["/dev/disk/by-path/platform-uml-blkdev.2"]}),
        _ => json!({"transport": ["ubd"], "size": {"min": "256Mi", "max": "30Gi"}}),
    };
    // A user-mode kernel's disks have neither serial number nor WWN.
    json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskClass", "metadata": {"name": "main"}, "spec": {
        "mode": "Enforce",
        "select": select,
        "limits": {"settle": "1s"},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "topolvm_vg"},
        "thinPool": {"name": "topolvm_thin", "size": "80%", "metadata": {"min": "4Mi"}},
    }})
}
