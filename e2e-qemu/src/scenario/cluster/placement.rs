//! Two nodes: pods go where there is room, wait where there is none, and the second controller takes over.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::workloads::{self, NAMESPACE, claim, list, ready};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);

/// See the module.
pub(in super::super) fn two_nodes(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let mut nodes = Vec::new();
        for (number, gib) in [(1, 8), (2, 4)] {
            let name = format!("n{number}");
            let node = cluster.node(number, context.spec(Backend::Uml, &name))?;
            let disk = node.guest().plug(Disk::new(gib << 30))?.path();
            node.guest()
                .check(Command::shell(format!("lvm vgcreate vg {disk}")))?;
            nodes.push(node);
        }
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;

        // Only the large one has room for it.
        cluster.apply(&pod("large", "6Gi"))?;
        ensure!(runs_on(cluster, "large")? == "n1");
        // What is left there is less than this.
        cluster.apply(&pod("small", "3Gi"))?;
        ensure!(runs_on(cluster, "small")? == "n2");
        context.result("6 GiB went to the node with 8, 3 GiB then to the one with 4".to_owned());

        cluster.apply(&pod("third", "3Gi"))?;
        let events = [
            "get",
            "events",
            "--field-selector=involvedObject.name=third,reason=FailedScheduling",
        ];
        cluster::until("the scheduler says why it waits", SOON, || {
            Ok(cluster.control.kubectl(&events)?.contains("storage"))
        })?;
        let started = Instant::now();
        let delete = ["delete", "pod/large", "pvc/large", "--timeout=120s"];
        cluster.control.kubectl(&delete)?;
        ensure!(runs_on(cluster, "third")? == "n1");
        context.result(format!(
            "a third of 3 GiB waited, and ran {:.1} s after the first was deleted",
            started.elapsed().as_secs_f32()
        ));
        fail_over(context, cluster)
    })
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

/// The node that the pod runs on, once it is ready.
fn runs_on(cluster: &Cluster, name: &str) -> Result<String> {
    ready(cluster, name)?;
    let node = "jsonpath={.spec.nodeName}";
    cluster.control.kubectl(&["get", "pod", name, "-o", node])
}

fn values() -> Value {
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 2},
        "snapshot": {"enabled": false},
        "lvmd": {"managed": false, "deviceClasses": [
            {"name": "thick", "volume-group": "vg", "default": true, "spare-gb": 0}]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [{"name": "thick", "storageClass": {"fsType": "ext4",
            "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": "thick"}}}],
    })
}

/// A pod and its claim.
fn pod(name: &str, size: &str) -> String {
    let script = format!("echo x >/{name}/x");
    list(&[
        claim(name, "thick", size),
        workloads::pod(name, &script, &[name], &[]),
    ])
}
