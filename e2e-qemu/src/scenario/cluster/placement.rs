//! Two nodes: pods go where there is room, also when the scheduler chose the other one, wait where there is none, and the
//! second controller takes over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::workloads::{
    self, NAMESPACE, claim, exec, list, nodes_with_group, preferring, room_is_known, runs_on, said,
    thick_values,
};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, Node};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);

/// See the module.
pub(in super::super) fn two_nodes(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let nodes = nodes_with_group(context, cluster, [8, 4])?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;

        moves(context, cluster, &nodes)?;
        waits(context, cluster)?;
        only_what_is_wanted(cluster, &nodes)?;
        fail_over(context, cluster)
    })
}

/// Three pods at once would rather be on the node that has room for two: the scheduler sends all of them there, as what
/// it knows of the room is from before the first. The one that found none is sent to the other.
fn moves(context: &Context, cluster: &Cluster, nodes: &[Node; 2]) -> Result<()> {
    room_is_known(cluster, "thick")?;
    let started = Instant::now();
    let names = ["a", "b", "c"];
    let claims = names.map(|name| claim(name, "thick", "3Gi"));
    let pods = names.map(|name| {
        let script = format!("echo {name} >/{name}/x; sync");
        preferring(workloads::pod(name, &script, &[name], &[]), "n1")
    });
    cluster.apply(&list(&[claims, pods].concat()))?;
    let mut on_second = Vec::new();
    for name in names {
        if runs_on(cluster, name)? == "n2" {
            on_second.push(name);
        }
    }
    let took = started.elapsed();
    let [moved] = on_second[..] else {
        bail!("{on_second:?} run on n2, and n1 has room for two");
    };
    ensure!(exec(cluster, moved, &format!("cat /{moved}/x"))? == moved);
    let refused = said(
        cluster,
        "PersistentVolumeClaim",
        moved,
        "ProvisioningFailed",
    )?;
    ensure!(
        refused.contains("ResourceExhausted"),
        "its claim says: {refused}"
    );
    let sent = said(cluster, "Pod", moved, "FailedScheduling")?;
    ensure!(sent.contains("provisioning failed"), "the pod says: {sent}");
    only_what_is_wanted(cluster, nodes)?;
    context.result(format!(
        "three pods at once on a node with room for two: one moved to the other, all were ready after {:.1} s; its claim \
         says: {}; the pod says: {}",
        took.as_secs_f32(),
        refused.trim(),
        sent.trim()
    ));
    Ok(())
}

/// A pod that no node has room for says so, and runs when there is room.
fn waits(context: &Context, cluster: &Cluster) -> Result<()> {
    let control = &cluster.control;
    cluster.apply(&pod("late", "3Gi"))?;
    let mut why = String::new();
    cluster::until("the scheduler says why it waits", SOON, || {
        why = said(cluster, "Pod", "late", "FailedScheduling")?;
        Ok(why.contains("did not have enough free storage"))
    })?;
    for kind in ["pod", "pvc"] {
        let phase = ["get", kind, "late", "-o", "jsonpath={.status.phase}"];
        let phase = control.kubectl(&phase)?;
        ensure!(phase == "Pending", "the {kind} is {phase}");
    }
    let first = "jsonpath={.items[?(@.spec.nodeName==\"n1\")].metadata.name}";
    let first = control.kubectl(&["get", "pods", "-o", first])?;
    let first = first.split_whitespace().next().context("none is on n1")?;
    let (pod, claim) = (format!("pod/{first}"), format!("pvc/{first}"));
    let started = Instant::now();
    control.kubectl(&["delete", &pod, &claim, "--timeout=120s"])?;
    ensure!(runs_on(cluster, "late")? == "n1");
    context.result(format!(
        "a fourth of 3 GiB waited ({}), and ran {:.1} s after one of them began to be deleted",
        why.trim(),
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// Each node has the volumes of its LogicalVolumes, and each claim has one: nothing else is left.
fn only_what_is_wanted(cluster: &Cluster, nodes: &[Node; 2]) -> Result<()> {
    let control = &cluster.control;
    let volumes = ["get", "logicalvolumes", "-o", "json"];
    let claims = ["get", "pvc", "-o", "name"];
    let mut last = String::new();
    // What a deleted claim had is overwritten first.
    cluster::until("only what is wanted is there", SOON, || {
        let volumes: Value = serde_json::from_str(&control.kubectl(&volumes)?)?;
        let volumes = volumes["items"].as_array().context("no list")?;
        let mut same = volumes.len() == control.kubectl(&claims)?.lines().count();
        last = format!("{} LogicalVolumes", volumes.len());
        for node in nodes {
            let of_node = volumes
                .iter()
                .filter(|volume| volume["spec"]["nodeName"] == node.name());
            let wanted: BTreeSet<&str> = of_node
                .filter_map(|volume| volume["status"]["volumeID"].as_str())
                .collect();
            let lvs = node.guest().shell("lvm lvs --noheadings -o lv_name vg")?;
            same &= wanted == lvs.split_whitespace().collect();
            last = format!("{last}; {} has {lvs} for {wanted:?}", node.name());
        }
        Ok(same)
    })
    .with_context(|| last.clone())?;
    Ok(())
}

/// The controller that leads is killed with its node's word that it is gone; claims go on.
fn fail_over(context: &Context, cluster: &Cluster) -> Result<()> {
    let control = &cluster.control;
    let leader = || -> Result<String> {
        let holders =
            "jsonpath={range .items[*]}{.metadata.name} {.spec.holderIdentity}{\"\\n\"}{end}";
        let leases = control.kubectl(&["get", "lease", "-n", NAMESPACE, "-o", holders])?;
        let pods = control.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "name"])?;
        let of = |pod: &&str| {
            let name = pod.trim_start_matches("pod/");
            name.starts_with("topolvm-controller") && leases.contains(name)
        };
        let found = pods.lines().find(of);
        found
            .map(str::to_owned)
            .with_context(|| format!("no controller leads: {leases}"))
    };
    let before = leader()?;
    let started = Instant::now();
    control.kubectl(&[
        "delete",
        &before,
        "-n",
        NAMESPACE,
        "--grace-period=0",
        "--force",
    ])?;
    cluster.apply(&pod("next", "512Mi"))?;
    let node = runs_on(cluster, "next")?;
    context.result(format!(
        "{before} was killed, {} leads: a new claim's pod ran on {node} {:.1} s after",
        leader()?,
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

fn values() -> Value {
    let mut values = thick_values();
    values["controller"] = json!({"replicaCount": 2});
    values
}

/// A pod and its claim.
fn pod(name: &str, size: &str) -> String {
    let script = format!("echo x >/{name}/x");
    list(&[
        claim(name, "thick", size),
        workloads::pod(name, &script, &[name], &[]),
    ])
}
