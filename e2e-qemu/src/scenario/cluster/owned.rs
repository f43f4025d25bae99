//! Volumes that belong to pods: those that come and go with their pod, and one that is for a single pod at a time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::kinds::{self, sized};
use super::workloads::{NAMESPACE, exec, list, pod, ready};
use super::{Context, TOPOLVM};
use crate::cluster::{self, Cluster, Node};
use crate::command::Command;

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// The size of each.
const MIB: u64 = 400;

/// A generic ephemeral volume comes and goes with its pod.
pub(super) fn of_its_pod(context: &Context, cluster: &Cluster, node: &Node) -> Result<()> {
    let mut pod = pod("scratch", "echo x >/tmp-data/x", &["tmp-data"], &[]);
    let mut template = sized("template", "xfs", MIB, Value::Null);
    for key in ["apiVersion", "kind", "metadata"] {
        template.as_object_mut().map(|claim| claim.remove(key));
    }
    pod["spec"]["volumes"] =
        json!([{"name": "tmp-data", "ephemeral": {"volumeClaimTemplate": template}}]);
    cluster.apply(&pod.to_string())?;
    ready(cluster, "scratch")?;
    let written = exec(cluster, "scratch", "cat /tmp-data/x")?;
    ensure!(written == "x", "{written}");
    let owner = "jsonpath={.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}";
    let owner = cluster
        .control
        .kubectl(&["get", "pvc", "scratch-tmp-data", "-o", owner])?;
    ensure!(owner == "Pod/scratch", "it belongs to {owner}");
    cluster
        .control
        .kubectl(&["delete", "pod", "scratch", "--timeout=120s"])?;
    let started = Instant::now();
    kinds::only_the_pool_is_left(node)?;
    cluster::until("claim and LogicalVolume are gone", SOON, || {
        let left = cluster
            .control
            .kubectl(&["get", "pvc,logicalvolumes", "-o", "name"])?;
        Ok(left.is_empty())
    })?;
    context.result(format!(
        "an ephemeral volume was gone {:.1} s after its pod",
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// A volume that a pod's own specification asks for: no object tells of it, its data outlives a kubelet's and a driver's
/// restart, and it goes with the pod. One that is too large is refused, with the reason in the pod's Events.
pub(super) fn inline(context: &Context, cluster: &Cluster, node: &mut Node) -> Result<()> {
    let asks = |name: &str, size: &str| {
        let mut pod = pod(name, "echo x >/tmp-data/x; sync", &["tmp-data"], &[]);
        pod["spec"]["volumes"] = json!([{"name": "tmp-data", "csi": {"driver": "topolvm.io", "fsType": "xfs",
            "volumeAttributes": {"topolvm.io/device-class": "thin", "basalt.storage/size": size}}}]);
        pod
    };
    let kubectl = |args: &[&str]| cluster.control.kubectl(args);
    cluster.apply(&asks("inline", "400Mi").to_string())?;
    ready(cluster, "inline")?;
    let left = kubectl(&["get", "pvc,logicalvolumes", "-o", "name"])?;
    ensure!(left.is_empty(), "there is {left}");
    let tags = "lvm lvs --noheadings -o lv_tags -S lv_name=~^csi- vg";
    let tags = node.guest().check(Command::shell(tags))?;
    ensure!(tags.contains("basalt.ephemeral=default/inline"), "{tags}");
    node.restart_kubelet(&cluster.control)?;
    kubectl(&["-n", NAMESPACE, "rollout", "restart", "daemonset"])?;
    cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
    let written = exec(cluster, "inline", "cat /tmp-data/x")?;
    ensure!(written == "x", "{written}");
    cluster.apply(&asks("large", "1Gi").to_string())?;
    cluster::until("the pod's Events say why it waits", SOON, || {
        let said = kubectl(&[
            "get",
            "events",
            "--field-selector=involvedObject.name=large",
        ])?;
        Ok(said.contains("the most for an inline volume is 512Mi"))
    })?;
    kubectl(&["delete", "pod", "large", "--timeout=120s"])?;
    let started = Instant::now();
    kubectl(&["delete", "pod", "inline", "--timeout=120s"])?;
    kinds::only_the_pool_is_left(node)?;
    context.result(format!(
        "an inline volume outlived kubelet and driver, and was gone {:.1} s after its pod's end was asked for",
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// ReadWriteOncePod: a second pod waits until the first is gone, and finds its data.
pub(super) fn for_one_pod(context: &Context, cluster: &Cluster) -> Result<()> {
    let mut alone = sized("alone", "ext4", MIB, Value::Null);
    alone["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    cluster.apply(&list(&[
        alone,
        pod("first", "echo first >/alone/x; sync", &["alone"], &[]),
    ]))?;
    ready(cluster, "first")?;
    cluster.apply(&pod("second", ":", &["alone"], &[]).to_string())?;
    let events = [
        "get",
        "events",
        "--field-selector=involvedObject.name=second,reason=FailedScheduling",
    ];
    cluster::until("the scheduler says why the second waits", SOON, || {
        Ok(cluster
            .control
            .kubectl(&events)?
            .contains("ReadWriteOncePod"))
    })?;
    let started = Instant::now();
    cluster
        .control
        .kubectl(&["delete", "pod", "first", "--timeout=120s"])?;
    ready(cluster, "second")?;
    let found = exec(cluster, "second", "cat /alone/x")?;
    ensure!(found == "first", "{found}");
    context.result(format!(
        "a ReadWriteOncePod volume: the second pod waited, and had the data {:.1} s after the first was deleted",
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}
