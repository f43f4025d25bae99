//! A half-done move: TopoLVM's controller with our node, and ours with TopoLVM's node, each under either CRD. A volume
//! lives its whole life through both, and what cannot be made is refused.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::kinds::only_the_pool_is_left;
use super::workloads::{NAMESPACE, claim, exec, list, pod, ready};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::upstream::Release;
use crate::cluster::{self, Cluster, Node, images, snapshots};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(5);
/// How long the node may live: several times what all takes.
const LIMIT: Duration = Duration::from_mins(60);

/// See the module.
pub(in super::super) fn each_with_the_other(context: &Context) -> Result<()> {
    let crds = snapshots::crds(&context.workspace)?;
    in_cluster(context, |cluster| {
        let release = Release::newest(&context.workspace)?;
        cluster.add_upstream(&release)?;
        let chart = release.chart(cluster.dir())?;
        let theirs = Driver::render(cluster, &chart, release.chart_value())?;
        let chart = context.workspace.join("charts/topolvm");
        let ours = Driver::render(cluster, &chart, images::chart_value(true))?;
        let node = cluster.node(1, context.spec(Backend::Uml, "n1").limit(LIMIT))?;
        let disk = node.guest().plug(Disk::new(8 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 6G -T vg/pool"
        )))?;
        snapshots::install(cluster, &crds)?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        cluster.apply(&list(&[namespace, snapshot_class()]))?;
        let mut before = Vec::new();
        // Each step changes as little as it can: it is what an upgrade that stops half-way leaves.
        for (words, controller, its_node, crd) in [
            (
                "TopoLVM's controller, our node, TopoLVM's CRD",
                &theirs,
                &ours,
                &theirs,
            ),
            (
                "TopoLVM's controller, our node, our CRD",
                &theirs,
                &ours,
                &ours,
            ),
            (
                "our controller, TopoLVM's node, our CRD",
                &ours,
                &theirs,
                &ours,
            ),
            (
                "our controller, TopoLVM's node, TopoLVM's CRD",
                &ours,
                &theirs,
                &theirs,
            ),
        ] {
            let parts = [&controller.controller, &its_node.node, &crd.crd];
            let objects: Vec<Value> = parts.into_iter().flatten().cloned().collect();
            put(cluster, &before, &objects).context(words)?;
            before = objects;
            life(context, cluster, &node, words).context(words)?;
        }
        Ok(())
    })
}

/// What a chart makes, by whose it is.
struct Driver {
    controller: Vec<Value>,
    node: Vec<Value>,
    crd: Vec<Value>,
}

impl Driver {
    fn render(cluster: &Cluster, chart: &Path, image: Value) -> Result<Self> {
        let all = cluster.helm_template(chart, "topolvm", NAMESPACE, &values(image))?;
        let (crd, rest): (Vec<Value>, Vec<Value>) = all
            .into_iter()
            .partition(|object| object["kind"] == "CustomResourceDefinition");
        let is_nodes = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            name.contains("node") || name.contains("lvmd")
        };
        let (node, controller) = rest.into_iter().partition(is_nodes);
        Ok(Self {
            controller,
            node,
            crd,
        })
    }
}

/// Applies `objects`, deletes those of `before` that are not among them, and waits until all runs.
fn put(cluster: &Cluster, before: &[Value], objects: &[Value]) -> Result<()> {
    let key = |object: &Value| {
        let of = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or(NAMESPACE)
                .to_owned()
        };
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        (kind, of("namespace"), of("name"))
    };
    let now: Vec<_> = objects.iter().map(key).collect();
    cluster.apply(&list(objects))?;
    for (kind, namespace, name) in before.iter().map(key).filter(|old| !now.contains(old)) {
        let delete = ["delete", &kind, &name, "-n", &namespace, "--timeout=120s"];
        cluster.control.kubectl(&delete)?;
    }
    let lvmd = now
        .iter()
        .filter(|(kind, _, name)| kind == "DaemonSet" && name.contains("lvmd"));
    let lvmd = lvmd.map(|(_, _, name)| format!("daemonset/{name}"));
    let runs: Vec<_> = lvmd.chain(TOPOLVM.map(str::to_owned)).collect();
    let runs: Vec<_> = runs.iter().map(String::as_str).collect();
    cluster::until("the driver runs", SOON, || {
        Ok(cluster.rolled_out(NAMESPACE, &runs).is_ok())
    })?;
    let drivers = "jsonpath={.spec.drivers[*].name}";
    cluster::until("the kubelet knows the driver", SOON, || {
        let known = (cluster.control).kubectl(&["get", "csinode", "n1", "-o", drivers])?;
        Ok(known.contains("topolvm.io"))
    })?;
    Ok(())
}

/// Bound, written, grown under its pod, kept in a snapshot, restored, and gone.
fn life(context: &Context, cluster: &Cluster, node: &Node, words: &str) -> Result<()> {
    let kubectl = |args: &[&str]| cluster.control.kubectl(args);
    let started = Instant::now();
    cluster.apply(&list(&[
        claim("data", "thin", "256Mi"),
        pod("writer", ":", &["data"], &[]),
    ]))?;
    ready(cluster, "writer")?;
    let bound = started.elapsed();
    let write = "dd if=/dev/urandom of=/data/file bs=1M count=32 conv=fsync";
    exec(cluster, "writer", write)?;
    let sum = |pod: &str, folder: &str| exec(cluster, pod, &format!("sha256sum </{folder}/file"));
    let written = sum("writer", "data")?;

    let room = || -> Result<u64> { Ok(exec(cluster, "writer", "stat -f -c %b /data")?.parse()?) };
    let had = room()?;
    let asked = Instant::now();
    let grow = r#"{"spec": {"resources": {"requests": {"storage": "512Mi"}}}}"#;
    kubectl(&["patch", "pvc", "data", "--patch", grow])?;
    cluster::until("it has grown under its pod", SOON, || {
        Ok(room()? > had * 3 / 2)
    })?;
    let grown = asked.elapsed();

    let asked = Instant::now();
    cluster.apply(&snapshot().to_string())?;
    let usable = "jsonpath={.status.readyToUse}";
    cluster::until("the snapshot is ready", SOON, || {
        Ok(kubectl(&["get", "volumesnapshot", "then", "-o", usable])? == "true")
    })?;
    let kept = asked.elapsed();
    exec(cluster, "writer", "echo later >/data/later; sync")?;
    let mut copy = claim("restored", "thin", "768Mi");
    copy["spec"]["dataSource"] = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot",
        "name": "then"});
    cluster.apply(&list(&[copy, pod("reader", ":", &["restored"], &[])]))?;
    ready(cluster, "reader")?;
    let restored = sum("reader", "restored")?;
    ensure!(
        restored == written,
        "restored {restored}, written {written}"
    );
    exec(
        cluster,
        "reader",
        "[ ! -e /restored/later ]; echo own >/restored/own; sync",
    )?;
    exec(cluster, "writer", "[ ! -e /data/own ]; [ -e /data/later ]")?;
    let now = sum("writer", "data")?;
    ensure!(
        now == written,
        "the source has {now}, written was {written}"
    );

    refused(cluster)?;
    for what in ["pod", "volumesnapshot", "pvc"] {
        kubectl(&["delete", what, "--all", "--timeout=180s"])?;
    }
    let left = ["get", "pv,logicalvolume", "-o", "name"];
    cluster::until("no volume is left", SOON, || Ok(kubectl(&left)?.is_empty()))?;
    only_the_pool_is_left(node)?;
    context.result(format!(
        "{words}: a pod wrote to its claim after {:.1} s, it grew in {:.1} s, its snapshot was ready in {:.1} s and had \
         its sha256 when restored; what does not fit was refused; nothing is left after {:.0} s",
        bound.as_secs_f32(),
        grown.as_secs_f32(),
        kept.as_secs_f32(),
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// What the node cannot make, the controller hears with the code that the scheduler acts on.
fn refused(cluster: &Cluster) -> Result<()> {
    cluster.apply(&claim("large", "thin-now", "1Ti").to_string())?;
    let events = [
        "get",
        "events",
        "--field-selector=involvedObject.name=large,reason=ProvisioningFailed",
        "-o",
        "jsonpath={.items[*].message}",
    ];
    cluster::until("it is said that it does not fit", SOON, || {
        Ok(cluster
            .control
            .kubectl(&events)?
            .contains("ResourceExhausted"))
    })?;
    let large = ["delete", "pvc", "large", "--timeout=120s"];
    cluster.control.kubectl(&large)?;
    // The next one is told by its own.
    cluster.control.kubectl(&["delete", "events", "--all"])?;
    Ok(())
}

/// The same for both charts, but for the image.
fn values(image: Value) -> Value {
    let class = |name: &str, when: &str| {
        json!({"name": name, "storageClass": {"fsType": "ext4", "allowVolumeExpansion": true,
            "volumeBindingMode": when, "additionalParameters": {"topolvm.io/device-class": "thin"}}})
    };
    // A user-mode kernel on a busy machine is slow; upstream's programs are given a second to answer.
    let patient = json!({"failureThreshold": 100});
    json!({
        "image": image,
        "controller": {"replicaCount": 1, "updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}},
        "livenessProbe": {"topolvm_node": patient, "topolvm_controller": patient, "lvmd": patient},
        "lvmd": {"managed": true, "deviceClasses": [
            {"name": "thin", "volume-group": "vg", "default": true, "spare-gb": 0, "type": "thin",
             "thin-pool": {"name": "pool", "overprovision-ratio": 2.0}},
        ]},
        "storageClasses": [class("thin", "WaitForFirstConsumer"), class("thin-now", "Immediate")],
    })
}

fn snapshot() -> Value {
    json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "then"},
        "spec": {"volumeSnapshotClassName": "thin", "source": {"persistentVolumeClaimName": "data"}}})
}

fn snapshot_class() -> Value {
    json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": "thin"},
        "driver": "topolvm.io", "deletionPolicy": "Delete"})
}
