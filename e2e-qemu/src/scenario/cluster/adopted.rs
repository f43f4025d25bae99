//! The objects of volumes are lost, as with etcd, and the LVs are not: they are reported, by an lvmd in the node's pod and by
//! one in its own, adopted, and pods read what they wrote.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::trouble::LVMD;
use super::workloads::{NAMESPACE, exec, list, pod, ready};
use super::{Context, TOPOLVM, in_cluster, kinds, volumes};
use crate::cluster::{self, Cluster, Node};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// What a pod reads of its two volumes, a file system and a device.
const SUMS: &str = "sha256sum </data/file; dd if=/dev/raw bs=1M count=8 2>/dev/null | sha256sum";

/// See the module.
pub(in super::super) fn after_loss(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1").module("loop"))?;
        let disk = node.guest().plug(Disk::new(8 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 6G -T vg/pool"
        )))?;
        let mut values = volumes::values();
        values["snapshot"] = json!({"enabled": false});
        cluster.helm_install("topolvm", NAMESPACE, &[], &values)?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        let data = volumes::claim("data", "xfs", "400Mi", false, Value::Null);
        let raw = volumes::claim("raw", "ext4", "64Mi", true, Value::Null);
        let user = |name: &str| pod(name, ":", &["data"], &["raw"]);
        cluster.apply(&list(&[data, raw.clone(), user("writer")]))?;
        ready(cluster, "writer")?;
        let write = "dd if=/dev/urandom of=/data/file bs=1M count=16; \
                     dd if=/dev/urandom of=/dev/raw bs=1M count=8 conv=fsync; sync";
        exec(cluster, "writer", write)?;
        let sums = exec(cluster, "writer", SUMS)?;
        ensure!(sums.lines().count() == 2, "{sums}");
        let made = lvs(&node)?;

        lose(cluster)?;
        let asked = || topolvm(context, cluster, &["orphans"]);
        let took = cluster::until("both are reported", SOON, || {
            Ok(asked().is_ok_and(|said| said.matches("made for default/").count() == 2))
        });
        let took = took.with_context(|| format!("{:?}", asked()))?;
        let counted = metrics(cluster)?;
        let sample = "topolvm_orphaned_volumes{node=\"n1\",device_class=\"thin\"} 2";
        ensure!(counted.contains(sample), "{counted}");
        values["lvmd"]["managed"] = json!(true);
        values["node"]["lvmdEmbedded"] = json!(false);
        cluster.helm_upgrade("topolvm", NAMESPACE, &values)?;
        cluster.rolled_out(NAMESPACE, &[TOPOLVM[0], TOPOLVM[1], LVMD])?;
        cluster::until("both are counted by the lvmd of its own", SOON, || {
            Ok(metrics(cluster).is_ok_and(|page| page.contains(sample)))
        })?;
        cluster::until("it is told that there are no others", SOON, || {
            Ok(asked().is_ok_and(|said| !said.contains("cannot tell")))
        })?;
        let still = asked()?;
        ensure!(still.matches("made for default/").count() == 2, "{still}");
        ensure!(lvs(&node)? == made, "LVs were made or removed");

        let uuid = Command::shell("lvm vgs --noheadings -o vg_uuid vg");
        let group = format!("--vg-uuid={}", node.guest().check(uuid)?.trim());
        // One claim is left and has lost its volume; the other is made anew, and waits for its own.
        let phase = ["get", "pvc", "data", "-o", "jsonpath={.status.phase}"];
        let phase = || cluster.control.kubectl(&phase);
        ensure!(phase()? == "Lost", "{}", phase()?);
        cluster.apply(&list(&[raw]))?;
        let shown = topolvm(context, cluster, &["adopt", &group])?;
        ensure!(shown.matches("would be adopted").count() == 2, "{shown}");
        ensure!(objects(cluster)?.is_empty(), "{}", objects(cluster)?);
        topolvm(context, cluster, &["adopt", &group, "--all", "--yes"])?;
        let again = topolvm(context, cluster, &["adopt", &group, "--all", "--yes"])?;
        ensure!(again.matches("was adopted before").count() == 2, "{again}");
        cluster.apply(&list(&[user("reader")]))?;
        ready(cluster, "reader")?;
        ensure!(phase()? == "Bound", "{}", phase()?);
        let read = exec(cluster, "reader", SUMS)?;
        ensure!(read == sums, "the volumes have\n{read}\nand had\n{sums}");
        ensure!(lvs(&node)? == made, "LVs were made or removed");
        context.result(format!(
            "a file system and a device whose objects were lost: reported {:.0} s after the driver was back, and again by \
             an lvmd with a pod of its own, adopted by the claim that was Lost and by one made anew, the same sha256",
            took.as_secs_f32()
        ));
        cleaned_up(context, cluster, &node, &made)
    })
}

/// As `kubectl topolvm` is run by a person.
pub(super) fn topolvm(context: &Context, cluster: &Cluster, args: &[&str]) -> Result<String> {
    let program = context.workspace.join("target/debug/kubectl-topolvm");
    let mut command = crate::host::command(program);
    let config = cluster.dir().join("admin.conf");
    command.arg("--kubeconfig").arg(config).args(args);
    Ok(String::from_utf8(crate::host::capture(&mut command)?)?)
}

/// The names of all LVs, and the pool's.
fn lvs(node: &Node) -> Result<Vec<String>> {
    let ask = Command::shell("lvm lvs --noheadings -o lv_name,lv_uuid vg");
    let said = node.guest().check(ask)?;
    let mut all: Vec<String> = said.lines().map(|line| line.trim().to_owned()).collect();
    all.sort();
    Ok(all)
}

/// What there is of volumes in the cluster but claims.
fn objects(cluster: &Cluster) -> Result<String> {
    let all = ["get", "logicalvolumes,pv", "-o", "name"];
    cluster.control.kubectl(&all)
}

/// What the node's page of metrics has.
fn metrics(cluster: &Cluster) -> Result<String> {
    let select = "app.kubernetes.io/component=node";
    let name = "jsonpath={.items[0].metadata.name}";
    let pod = ["-n", NAMESPACE, "get", "pods", "-l", select, "-o", name];
    let pod = cluster.control.kubectl(&pod)?;
    let page = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics");
    cluster.control.kubectl(&["get", "--raw", &page])
}

/// Takes pods, one claim and all objects of volumes away while nobody is there to act on it, and lets the driver come back.
fn lose(cluster: &Cluster) -> Result<()> {
    let kubectl = |args: &[&str]| cluster.control.kubectl(args);
    kubectl(&["delete", "pod", "writer", "--timeout=120s"])?;
    let [nodes, controller] = TOPOLVM;
    let nowhere =
        r#"{"spec": {"template": {"spec": {"nodeSelector": {"basalt.test/nowhere": "yes"}}}}}"#;
    let back = r#"[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]"#;
    let in_place = ["-n", NAMESPACE];
    kubectl(&[&in_place[..], &["patch", nodes, "-p", nowhere]].concat())?;
    kubectl(&[&in_place[..], &["scale", controller, "--replicas=0"]].concat())?;
    cluster::until("the driver is gone", SOON, || {
        let pods = [&in_place[..], &["get", "pods", "-o", "name"]].concat();
        Ok(kubectl(&pods)?.is_empty())
    })?;
    for object in objects(cluster)?.lines() {
        let free = r#"{"metadata": {"finalizers": null}}"#;
        kubectl(&["patch", object, "--type=merge", "-p", free])?;
        kubectl(&["delete", object, "--wait=false", "--ignore-not-found"])?;
        // Kubernetes' own comes back while there is a claim.
        kubectl(&["patch", object, "--type=merge", "-p", free]).ok();
    }
    kubectl(&["delete", "pvc", "raw", "--timeout=120s"])?;
    cluster::until("the objects are gone", SOON, || {
        Ok(objects(cluster)?.is_empty())
    })?;
    kubectl(&[&in_place[..], &["patch", nodes, "--type=json", "-p", back]].concat())?;
    kubectl(&[&in_place[..], &["scale", controller, "--replicas=1"]].concat())?;
    cluster.rolled_out(NAMESPACE, &TOPOLVM)
}

/// Adopted volumes are kept when their claims go, until a person gives them up.
fn cleaned_up(context: &Context, cluster: &Cluster, node: &Node, made: &[String]) -> Result<()> {
    let kubectl = |args: &[&str]| cluster.control.kubectl(args);
    kubectl(&["delete", "pod", "reader", "--timeout=120s"])?;
    kubectl(&["delete", "pvc", "--all", "--timeout=120s"])?;
    cluster::until("both are kept", SOON, || {
        let said = topolvm(context, cluster, &["orphans"])?;
        Ok(said.matches("it is kept (Retain)").count() == 2)
    })?;
    ensure!(lvs(node)? == made, "LVs were made or removed");
    let give_up = r#"{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}"#;
    for pv in kubectl(&["get", "pv", "-o", "name"])?.lines() {
        kubectl(&["patch", pv, "-p", give_up])?;
    }
    cluster::until("their objects are gone", SOON, || {
        Ok(objects(cluster)?.is_empty())
    })?;
    kinds::only_the_pool_is_left(node)
}
