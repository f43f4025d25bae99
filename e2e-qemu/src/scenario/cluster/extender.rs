//! How pods with volumes are placed on two nodes: kube-scheduler scores the room that CSIStorageCapacity objects say, or asks
//! the chart's extender, which the chart's webhook told what pods want.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::workloads::{
    self, NAMESPACE, claim, exec, list, nodes_with_group, preferring, room_is_known, runs_on, said,
    thick_values,
};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);

/// What the chart runs here.
const EXTENDER: &str = "daemonset/topolvm-scheduler";

/// The node with little room, which pods would rather be on; the extender is there too.
const SMALL: &str = "n1";

/// The node with much room.
const LARGE: &str = "n2";

/// See the module. With whole nodes in its questions, then with names.
pub(in super::super) fn decides(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let _nodes = nodes_with_group(context, cluster, [4, 64])?;
        let master = "node-role.kubernetes.io/control-plane=";
        cluster.control.kubectl(&["label", "node", SMALL, master])?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &without())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        ensure!(
            placed(cluster, "plain")? == SMALL,
            "a pod is not where it would rather be without the extender"
        );

        scored_by_capacity(context, cluster)?;
        for names in [false, true] {
            cluster.helm_upgrade("topolvm", NAMESPACE, &values(names))?;
            cluster.rolled_out(NAMESPACE, &[&TOPOLVM[..], &[EXTENDER]].concat())?;
            let asks = asking(context, cluster, names)?;
            cluster.control.restart_scheduler(&asks, &[])?;
            decided(context, cluster, if names { "names" } else { "nodes" })?;
        }
        left_alone(cluster)?;
        back(context, cluster)
    })
}

/// Without the extender: kube-scheduler's own gate has the node with more room chosen.
fn scored_by_capacity(context: &Context, cluster: &mut Cluster) -> Result<()> {
    let mut values = without();
    values["controller"]["storageCapacityTracking"] = json!({"enabled": true});
    cluster.helm_upgrade("topolvm", NAMESPACE, &values)?;
    cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
    room_is_known(cluster, "thick")?;
    ensure!(
        placed(cluster, "unscored")? == SMALL,
        "a pod is not where it would rather be without the gate"
    );
    let config = configuration(context, "capacity-scoring.yaml")?;
    let gate = "StorageCapacityScoring";
    cluster.control.restart_scheduler(&config, &[gate])?;
    ensure!(
        placed(cluster, "scored")? == LARGE,
        "the room did not count"
    );
    context.result(format!(
        "with {gate} a pod that preferred the node with 4 GiB ran on the one with 64 GiB, and without it on the other"
    ));
    Ok(())
}

/// The node with more room is chosen, and the one with too little left out.
fn decided(context: &Context, cluster: &Cluster, kind: &str) -> Result<()> {
    let control = &cluster.control;
    let started = Instant::now();
    ensure!(
        placed(cluster, kind)? == LARGE,
        "the extender's score did not count"
    );
    let took = started.elapsed();
    let wants = r"jsonpath={.metadata.annotations.capacity\.topolvm\.io/thick} {.spec.containers[0].resources.limits.topolvm\.io/capacity}";
    let wants = control.kubectl(&["get", "pod", kind, "-o", wants])?;
    ensure!(
        wants == "1073741824 1",
        "the webhook wrote {wants:?} into the pod"
    );

    let big = format!("big-{kind}");
    let mut pod = workloads::pod(&big, "true", &[&big], &[]);
    pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": SMALL});
    cluster.apply(&list(&[claim(&big, "thick", "8Gi"), pod]))?;
    let mut why = String::new();
    cluster::until("the scheduler says why it waits", SOON, || {
        why = said(cluster, "Pod", &big, "FailedScheduling")?;
        Ok(why.contains("out of VG free space"))
    })
    .with_context(|| why.clone())?;
    let (pod, claim) = (format!("pod/{big}"), format!("pvc/{big}"));
    control.kubectl(&["delete", &pod, &claim, "--timeout=120s"])?;
    context.result(format!(
        "asked with {kind}: a pod that preferred the node with 4 GiB ran on the one with 64 GiB after {:.1} s; one of \
         8 GiB that may only be on the other waits: {}",
        took.as_secs_f32(),
        why.trim()
    ));
    Ok(())
}

/// A claim that wants no class is nobody's business here: its pod stays as it was made.
fn left_alone(cluster: &Cluster) -> Result<()> {
    let pod = workloads::pod("classless", "true", &["classless"], &[]);
    cluster.apply(&list(&[claim("classless", "", "1Gi"), pod]))?;
    let limits = "jsonpath={.spec.containers[0].resources}";
    let limits = ["get", "pod", "classless", "-o", limits];
    let limits = cluster.control.kubectl(&limits)?;
    ensure!(limits == "{}", "the webhook wrote {limits}");
    Ok(())
}

/// While the extender is away pods with claims wait, and run when it is back.
fn back(context: &Context, cluster: &Cluster) -> Result<()> {
    let gone = [
        "delete",
        "pod",
        "-n",
        NAMESPACE,
        "-l",
        "app.kubernetes.io/component=scheduler",
        "--grace-period=0",
        "--force",
    ];
    cluster.control.kubectl(&gone)?;
    let started = Instant::now();
    ensure!(placed(cluster, "later")? == LARGE);
    context.result(format!(
        "the extender was killed: a pod made then ran after {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// The node that a new pod with a claim runs on; it would rather be on the small one, and reads what it wrote.
fn placed(cluster: &Cluster, name: &str) -> Result<String> {
    let script = format!("echo {name} >/{name}/x; sync");
    let pod = preferring(workloads::pod(name, &script, &[name], &[]), SMALL);
    cluster.apply(&list(&[claim(name, "thick", "1Gi"), pod]))?;
    let node = runs_on(cluster, name)?;
    ensure!(exec(cluster, name, &format!("cat /{name}/x"))? == name);
    Ok(node)
}

/// docs' configuration of kube-scheduler of that name, with where things are here.
fn configuration(context: &Context, name: &str) -> Result<Value> {
    let docs = context.workspace.join("docs/scheduler").join(name);
    let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(docs)?)?;
    config["leaderElection"]["leaderElect"] = json!(false);
    config["clientConnection"]["kubeconfig"] = json!("scheduler.conf");
    Ok(config)
}

/// The one that asks the extender.
fn asking(context: &Context, cluster: &Cluster, names: bool) -> Result<Value> {
    let mut config = configuration(context, "kube-scheduler.yaml")?;
    let address = r#"jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#;
    let address = ["get", "node", SMALL, "-o", address];
    let address = cluster.control.kubectl(&address)?;
    config["extenders"][0]["urlPrefix"] = json!(format!("http://{address}:9251"));
    config["extenders"][0]["nodeCacheCapable"] = json!(names);
    // Pods' preference counts for up to 200 at the kube-scheduler, a point of the extender's for 10 times this.
    config["extenders"][0]["weight"] = json!(10);
    Ok(config)
}

/// Nobody tells the scheduler how much room there is.
fn without() -> Value {
    let mut values = thick_values();
    values["controller"] =
        json!({"replicaCount": 1, "storageCapacityTracking": {"enabled": false}});
    values
}

fn values(names: bool) -> Value {
    let mut values = without();
    values["scheduler"] =
        json!({"enabled": true, "nodeCacheCapable": names, "options": {"listen": {"host": ""}}});
    values["webhook"] = json!({"certManager": false, "podMutatingWebhook": {"enabled": true}});
    values
}
