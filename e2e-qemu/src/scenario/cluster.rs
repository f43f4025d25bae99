//! A real Kubernetes: what a person does with it, from the bare disk to the pod's data.

pub(super) mod adopted;
pub(super) mod away;
pub(super) mod copied;
pub(super) mod extender;
pub(super) mod full;
pub(super) mod installed;
pub(super) mod kinds;
pub(super) mod migration;
pub(super) mod moved;
pub(super) mod objects;
mod owned;
pub(super) mod path;
pub(super) mod placement;
pub(super) mod released;
pub(super) mod sanity;
pub(super) mod slips;
mod source;
pub(super) mod specs;
mod theirs;
pub(super) mod trouble;
pub(super) mod twins;
pub(super) mod versions;
pub(super) mod volumes;
pub(super) mod wire;
mod workloads;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Context;
use crate::cluster::{self, Cluster, Minor, Node, images};
use crate::spec::Backend;

/// What topolvm's chart runs.
const TOPOLVM: [&str; 2] = ["daemonset/topolvm-node", "deployment/topolvm-controller"];
const READY: &str = "--timeout=180s";

/// A node boots, runs a pod, loses its power, and runs it again.
pub(super) fn node(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        let pod = format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "p"}}, "spec": {{
                "terminationGracePeriodSeconds": 1, "containers": [{{"name": "c", "image": "{}",
                "imagePullPolicy": "Never", "command": ["sh", "-c", "trap exit TERM; sleep 1d & wait"]}}]}}}}"#,
            images::BUSYBOX
        );
        cluster.apply(&pod)?;
        let control = &cluster.control;
        control.kubectl(&["wait", "--for=condition=Ready", "pod/p", READY])?;
        let (node, took) = runs_again_after_power_cut(cluster, node, "p")?;
        control.kubectl(&["wait", "--for=condition=Ready", "pod/p", READY])?;
        context.result(format!(
            "the pod ran again {:.0} s after its node {}'s kubelet did",
            took.as_secs_f32(),
            node.name()
        ));
        Ok(())
    })
}

/// Cuts the node's power and boots it again; how long after its kubelet answered the pod's container ran again.
fn runs_again_after_power_cut(
    cluster: &Cluster,
    node: Node,
    pod: &str,
) -> Result<(Node, Duration)> {
    let control = &cluster.control;
    let start = "jsonpath={.status.containerStatuses[0].state.running.startedAt}";
    let starts = || control.kubectl(&["get", "pod", pod, "-o", start]);
    let before = starts()?;
    let node = node.power_cycle(control)?;
    let took = cluster::until("the pod runs again", Duration::from_mins(3), || {
        let now = starts()?;
        Ok(now != before && !now.is_empty())
    })?;
    Ok((node, took))
}

/// Brings up a control plane, with its logs in the scenario's folder.
fn in_cluster(
    context: &Context,
    work: impl FnOnce(&mut Cluster) -> Result<()> + Send,
) -> Result<()> {
    in_cluster_of(context, Minor::Newest, work)
}

/// The same with that version of Kubernetes.
fn in_cluster_of(
    context: &Context,
    minor: Minor,
    work: impl FnOnce(&mut Cluster) -> Result<()> + Send,
) -> Result<()> {
    let programs = context.workspace.join("target/debug");
    in_cluster_with(context, minor, Some(&programs), work)
}

/// The same with these programs in our image; without any, nodes do not have it.
fn in_cluster_with(
    context: &Context,
    minor: Minor,
    programs: Option<&Path>,
    work: impl FnOnce(&mut Cluster) -> Result<()> + Send,
) -> Result<()> {
    let dir = context.empty_artifacts()?;
    let binaries = cluster::prepare(&context.workspace, minor)?;
    cluster::within(|| {
        let mut cluster = Cluster::start_with(&context.workspace, programs, binaries, &dir)?;
        let done = work(&mut cluster).inspect_err(|_| diagnose(&cluster));
        // etcd's files and images are many and big, and say nothing that the logs do not.
        for entry in std::fs::read_dir(&dir)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else if path.extension().is_some_and(|ext| ext == "tar") {
                std::fs::remove_file(path)?;
            }
        }
        done
    })
}

/// Keeps what the cluster knows of a failure beside the logs: `state.txt`, `pods.log`.
fn diagnose(cluster: &Cluster) {
    let ask = |args: &[&str]| {
        let said = cluster.control.kubectl(args);
        said.unwrap_or_else(|error| format!("{error:#}"))
    };
    let lists = [
        "get nodes,pods,pvc,pv,csinodes,csistoragecapacities,logicalvolumes -A -o wide",
        "get nodes,pods,pvc,logicalvolumes -A -o yaml",
        "get events -A --sort-by=.lastTimestamp",
    ];
    let state = lists.map(|list| ask(&list.split(' ').collect::<Vec<_>>()));
    let _ = std::fs::write(cluster.dir().join("state.txt"), state.join("\n\n"));
    let pods = ask(&[
        "get",
        "pods",
        "-A",
        "-o",
        "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{\"\\n\"}{end}",
    ]);
    let logs = pods.lines().filter_map(|line| {
        let (namespace, name) = line.split_once(' ')?;
        let flags = ["--all-containers", "--prefix", "--tail=500", "-n"];
        Some(ask(&[&["logs"], &flags[..], &[namespace, name]].concat()))
    });
    let _ = std::fs::write(
        cluster.dir().join("pods.log"),
        logs.collect::<Vec<_>>().join("\n"),
    );
}
