//! The path from the bare disk: charts/disk-watcher takes a disk that is plugged into a node to a group and a pool.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::charts::GUIDE;
use super::workloads::{NAMESPACE, ready};
use super::{Context, TOPOLVM, in_cluster, in_cluster_of, runs_again_after_power_cut};
use crate::cluster::{self, Cluster, Minor, Node, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

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

/// A blank disk is plugged into a node and becomes topolvm_vg with topolvm_thin.
pub(in super::super) fn disk(context: &Context, chosen: Chosen) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        plug(context, cluster, &node, chosen)
    })
}

/// The whole path: disk, pool, the values of TrueCharts' guide, a claim, a pod that writes; then the node loses its
/// power, and the pod finds its data without anybody's help.
pub(in super::super) fn guide(context: &Context, minor: Minor) -> Result<()> {
    in_cluster_of(context, minor, |cluster| {
        let version = cluster.control.kubectl(&["version"])?;
        let version = version.lines().find(|line| line.starts_with("Server"));
        context.result(format!("Kubernetes, {}", version.unwrap_or("no version")));
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        plug(context, cluster, &node, Chosen::Path)?;
        let control = &cluster.control;
        cluster.helm_install("topolvm", NAMESPACE, &[GUIDE], &installed_here())?;
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
    })
}

/// What this cluster needs on top of the guide's values.
fn installed_here() -> Value {
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"enabled": false},
    })
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
fn plug(context: &Context, cluster: &Cluster, node: &Node, chosen: Chosen) -> Result<()> {
    let name = node.name();
    cluster
        .control
        .kubectl(&["label", "node", &name, "basalt.test/storage=yes"])?;
    cluster.helm_install("disk-watcher", WATCHER, &[], &values(&name, chosen))?;
    cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
    let disk = match chosen {
        // disk-config asks for a disk that says who it is.
        Chosen::DiskConfig => node.guest().plug_scsi_debug(512)?,
        // Sparse; the guide keeps 10 GiB of it free.
        _ => node.guest().plug(Disk::new(24 << 30))?.path(),
    };
    let pool = Command::shell("lvm lvs --noheadings -o lv_attr topolvm_vg/topolvm_thin");
    let took = cluster::until("topolvm_vg/topolvm_thin is there", POOL, || {
        let out = node.guest().run(pool.clone())?;
        Ok(out.status.success() && out.text().starts_with("twi-a"))
    });
    let took = took.with_context(|| status(cluster))?;
    context.result(format!(
        "{chosen:?}: {disk} became topolvm_vg/topolvm_thin {:.1} s after it was there",
        took.as_secs_f32()
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
    let mut values = json!({"image": images::chart_value(false), "nodeSelector": {"basalt.test/storage": "yes"}});
    let select = match chosen {
        Chosen::NodeLabel => json!({"transport": ["ubd"], "size": {"min": "256Mi", "max": "30Gi"}}),
        Chosen::Path => json!({"transport": ["ubd"], "size": {"min": "256Mi"},
            "paths": ["/dev/disk/by-path/platform-uml-blkdev.2"]}),
        Chosen::DiskConfig => {
            values["configmap"] =
                json!({"disk-config": {"data": {"disk-config": format!("{node}: /dev/sda\n")}}});
            values["compat"] = json!({"mode": "Enforce"});
            return values;
        }
    };
    // A user-mode kernel's disks have neither serial number nor WWN.
    values["classes"] = json!([{"name": "main", "spec": {
        "mode": "Enforce",
        "select": select,
        "limits": {"settle": "1s"},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "topolvm_vg"},
        "thinPool": {"name": "topolvm_thin", "size": "80%", "metadata": {"min": "4Mi"}},
    }}]);
    values
}
