//! What happens to pods while they write: the driver is replaced by another version, a disk is pulled.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::workloads::{NAMESPACE, all_kept, claim, exec, list, pod, ready, writing, written};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// The tag of the image that comes later.
const NEXT: &str = "next";
/// lvmd, where it has pods of its own.
pub(super) const LVMD: &str = "daemonset/topolvm-lvmd-0";

/// Node, driver and a pod that writes all the time on the healthy disk.
fn with_writer(
    context: &Context,
    work: impl FnOnce(&Cluster, &Node, &str) -> Result<()> + Send,
) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        let disk = node.guest().plug(Disk::new(8 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 6G -T vg/pool"
        )))?;
        let weak = node.guest().plug_scsi_debug(512)?;
        let make = format!("lvm vgcreate weak {weak}");
        node.guest().check(Command::shell(make))?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        cluster.apply(&list(&[
            claim("data", "thin", "3Gi"),
            pod("writer", &writing("data", 2000, 1, "0.2"), &["data"], &[]),
        ]))?;
        ready(cluster, "writer")?;
        work(cluster, &node, &weak)?;
        all_kept(cluster, "writer", "data")
    })
}

/// The node's plugin and the controller are replaced while a pod writes and others come: by a later image, by one whose
/// lvmd has a pod of its own, and by one that has it in the node's pod again.
pub(in super::super) fn upgrade(context: &Context) -> Result<()> {
    with_writer(context, |cluster, node, _| {
        let mut values = values();
        let image = &values["image"];
        let repository = image["repository"].as_str().context("no repository")?;
        let old = image["reference"].as_str().context("no tag")?.to_owned();
        let of = |tag: &str| format!("{repository}:{tag}");
        let (old, next) = (of(&old), of(NEXT));
        node.tag(&old, &next)?;
        values["image"]["reference"] = json!(NEXT);
        replaced(context, cluster, "a later image", &values, &TOPOLVM)?;
        let used = "jsonpath={.items[*].spec.containers[*].image}";
        let used = (cluster.control).kubectl(&["get", "pods", "-n", NAMESPACE, "-o", used])?;
        ensure!(used.contains(&next) && !used.contains(&old), "{used}");

        let mut apart = values.clone();
        apart["lvmd"]["managed"] = json!(true);
        apart["node"]["lvmdEmbedded"] = json!(false);
        let runs = [TOPOLVM[0], TOPOLVM[1], LVMD];
        replaced(context, cluster, "lvmd apart", &apart, &runs)?;
        replaced(context, cluster, "lvmd embedded", &values, &TOPOLVM)?;
        let left =
            (cluster.control).kubectl(&["get", "-n", NAMESPACE, LVMD, "--ignore-not-found"])?;
        ensure!(left.is_empty(), "lvmd keeps a pod of its own: {left}");
        Ok(())
    })
}

/// Upgrades the release to these values; claims and pods that come at that moment are served, and the writer goes on.
fn replaced(
    context: &Context,
    cluster: &Cluster,
    by: &str,
    values: &Value,
    runs: &[&str],
) -> Result<()> {
    let before = written(cluster, "writer")?;
    let started = Instant::now();
    cluster.helm_upgrade("topolvm", NAMESPACE, values)?;
    let names = (1..=6).map(|n| format!("{}{n}", by.replace(' ', "-")));
    let names: Vec<String> = names.collect();
    for name in &names {
        cluster.apply(&list(&[
            claim(name, "thin", "64Mi"),
            pod(name, &format!("echo x >/{name}/x"), &[name], &[]),
        ]))?;
    }
    for name in &names {
        ready(cluster, name)?;
    }
    let all = started.elapsed();
    cluster.rolled_out(NAMESPACE, runs)?;
    cluster::until("the writer goes on", SOON, || {
        Ok(written(cluster, "writer")? > before + 5)
    })?;
    context.result(format!(
        "{by}: {} pods with new claims were ready {:.1} s after the upgrade began; the writer wrote {} files \
         meanwhile, and no write failed",
        names.len(),
        all.as_secs_f32(),
        written(cluster, "writer")? - before
    ));
    Ok(())
}

/// A disk is pulled while one pod writes to it and another to another disk.
pub(in super::super) fn pulled(context: &Context) -> Result<()> {
    with_writer(context, |cluster, node, weak| {
        cluster.apply(&list(&[
            claim("risk", "weak", "200Mi"),
            pod("risk", &writing("risk", 100, 1, "1"), &["risk"], &[]),
        ]))?;
        ready(cluster, "risk")?;
        cluster::until("something is on it", SOON, || {
            Ok(written(cluster, "risk")? >= 3)
        })?;
        node.guest().pull_scsi_debug(weak)?;
        let before = written(cluster, "writer")?;
        let failed = cluster::until("the pod on it is told", SOON, || {
            Ok(exec(cluster, "risk", "[ -e /tmp/errors ]").is_ok())
        })?;
        let room = "jsonpath={.metadata.annotations.capacity\\.topolvm\\.io/weak}";
        let said = cluster::until("nothing more is given to the class", SOON, || {
            let room = (cluster.control).kubectl(&["get", "node", "n1", "-o", room])?;
            Ok(room == "0")
        })?;
        context.result(format!(
            "the disk is pulled: a write fails after {:.1} s, its class gives 0 bytes after {:.1} s",
            failed.as_secs_f32(),
            said.as_secs_f32()
        ));
        // All the others go on.
        let started = Instant::now();
        cluster.apply(&list(&[
            claim("other", "thin", "64Mi"),
            pod("other", "echo x >/other/x", &["other"], &[]),
        ]))?;
        ready(cluster, "other")?;
        let took = started.elapsed();
        cluster::until("the writer goes on", SOON, || {
            Ok(written(cluster, "writer")? > before + 5)
        })?;
        context.result(format!(
            "meanwhile a new claim and its pod on the other disk were ready after {:.1} s",
            took.as_secs_f32()
        ));
        comes_back(context, cluster, node)
    })
}

/// The pod goes, the disk comes back, and a pod finds what was synced.
fn comes_back(context: &Context, cluster: &Cluster, node: &Node) -> Result<()> {
    let healthy = "jsonpath={.items[?(@.spec.deviceClass==\"weak\")].status.conditions[?(@.type==\"Healthy\")].status}";
    let is = |wanted: &str| -> Result<bool> {
        let said = (cluster.control).kubectl(&["get", "logicalvolumes", "-o", healthy])?;
        Ok(said == wanted)
    };
    let said = cluster::until("the LogicalVolume says it", SOON, || {
        Ok(!is("")? && !is("True")?)
    })?;
    let synced = written(cluster, "risk")?;
    let delete = ["delete", "pod/risk", "--timeout=120s"];
    cluster.control.kubectl(&delete)?;
    node.guest().replug_scsi_debug()?;
    let back = Instant::now();
    cluster.apply(&list(&[pod("risk", ":", &["risk"], &[])]))?;
    ready(cluster, "risk")?;
    let took = back.elapsed();
    let check = "cd /risk && sha256sum -c sums >/dev/null && wc -l <sums";
    let files: u32 = exec(cluster, "risk", check)?.trim().parse()?;
    ensure!(files >= synced, "{files} of {synced} files are there");
    cluster::until("the LogicalVolume says that it is well", SOON, || {
        is("True")
    })?;
    context.result(format!(
        "its LogicalVolume said so {:.1} s later; the disk back, a pod had the {files} files that were synced after {:.1} s",
        said.as_secs_f32(),
        took.as_secs_f32()
    ));
    Ok(())
}

fn values() -> Value {
    let class = |name: &str| {
        json!({"name": name, "storageClass": {"fsType": "ext4", "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": name}}})
    };
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"enabled": false},
        "lvmd": {"managed": false, "deviceClasses": [
            {"name": "thin", "volume-group": "vg", "default": true, "spare-gb": 0, "type": "thin",
             "thin-pool": {"name": "pool", "overprovision-ratio": 2.0}},
            {"name": "weak", "volume-group": "weak", "spare-gb": 0},
        ]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [class("thin"), class("weak")],
    })
}
