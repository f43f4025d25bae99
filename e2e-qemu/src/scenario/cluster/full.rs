//! A pool that is full gives no more volumes: that is shown as capacity 0, claims wait and say why, and go on when it has
//! room again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::moved;
use super::path::{self, Chosen, WATCHER};
use super::theirs::Theirs;
use super::volumes;
use super::workloads::{NAMESPACE, claim, exec, list, pod, ready};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, Node};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do; the provisioner looks for room once a minute.
const SOON: Duration = Duration::from_mins(3);
/// The provisioner waits longer and longer between two tries.
const RETRIED: Duration = Duration::from_mins(6);
/// How long the guest may live.
const LIMIT: Duration = Duration::from_mins(20);
/// To how many percent the pool is filled. It takes no more volumes from 95 on, and no write waits for room.
const FULL: u64 = 97;
const MIB: u64 = 1 << 20;
/// What the class takes.
const DISK: u64 = 640 * MIB;

/// See the module.
pub(in super::super) fn shows_capacity_0(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let spec = context.spec(Backend::Uml, "n1").limit(LIMIT);
        let node = cluster.node(1, spec.module("loop"))?;
        let theirs = [Theirs::with_data(&node, 700)?, Theirs::blank(&node, 300)?];
        let watcher = path::values(&node.name(), Chosen::NodeLabel);
        cluster.helm_install("disk-watcher", WATCHER, &[], &watcher)?;
        cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
        let mut class = path::class(Chosen::NodeLabel);
        class["spec"]["select"]["size"] = json!({"min": "512Mi", "max": "2Gi"});
        class["spec"]["discovery"] = json!("Continuous");
        cluster.apply(&class.to_string())?;
        node.guest().plug(Disk::new(DISK))?;
        cluster::until("the pool is there", SOON, || Ok(used(&node).is_ok()))
            .with_context(|| path::status(cluster))?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        cluster.apply(&list(&[
            volumes::claim("kept", "thin", "1200Mi", true, Value::Null),
            pod("kept", ":", &[], &["kept"]),
        ]))?;
        ready(cluster, "kept")?;

        let shown = Shown { cluster };
        cluster::until("its class shows room", SOON, || {
            Ok(!["", "0"].contains(&shown.of_node()?.as_str())
                && shown.of_cluster()?.iter().any(|room| room != "0"))
        })?;
        let mut written = 0;
        cluster::until("it is full and its node shows capacity 0", 2 * SOON, || {
            let more = top_up(cluster, &node, written)?;
            written += more;
            // Before it has grown to its end it is open again soon.
            Ok(more == 0 && shown.of_pool("Extendable")? == "False" && shown.of_node()? == "0")
        })
        .with_context(|| path::status(cluster))?;
        let took = cluster::until("the cluster shows capacity 0", SOON, || {
            let rooms = shown.of_cluster()?;
            Ok(!rooms.is_empty() && rooms.iter().all(|room| room == "0"))
        })?;
        cluster::until("the pool says that it takes no volumes", SOON, || {
            Ok(shown.of_pool("TakesVolumes")? == "False")
        })?;
        let (size, bytes) = used(&node)?;
        context.result(format!(
            "{bytes} of {size} bytes used and nothing to grow by: the node shows capacity 0, and the cluster {:.0} s later",
            took.as_secs_f32()
        ));
        let sum = format!("head -c {} /dev/kept | sha256sum", written * MIB);
        let sum = || exec(cluster, "kept", &sum);
        let before = sum()?;
        waits(context, cluster)?;

        node.guest().plug(Disk::new(DISK))?;
        let joined = Instant::now();
        cluster::until("there is room again", SOON, || Ok(shown.of_node()? != "0"))
            .with_context(|| path::status(cluster))?;
        let room = joined.elapsed();
        cluster::until("both claims are bound", RETRIED, || {
            Ok(phase(cluster, "waits")? == "Bound" && phase(cluster, "now")? == "Bound")
        })?;
        ready(cluster, "waits")?;
        context.result(format!(
            "a disk joined: room again after {:.1} s, both claims bound and the pod ready after {:.1} s",
            room.as_secs_f32(),
            joined.elapsed().as_secs_f32()
        ));
        cluster::until("the pool says that it takes volumes", SOON, || {
            Ok(shown.of_pool("TakesVolumes")? == "True")
        })?;
        ensure!(
            sum()? == before,
            "the volume is {} and was {before}",
            sum()?
        );
        theirs.iter().try_for_each(|disk| disk.check(&node))?;
        context.result(format!(
            "the volume's {written} MiB kept their sha256, and so did {} disks that are not ours",
            theirs.len()
        ));
        Ok(())
    })
}

/// A claim that waits for its pod, and one that does not, say why they are Pending, and nothing is made for them.
fn waits(context: &Context, cluster: &Cluster) -> Result<()> {
    let control = &cluster.control;
    cluster.apply(&list(&[
        claim("waits", "thin", "64Mi"),
        pod("waits", "echo x >/waits/x", &["waits"], &[]),
        claim("now", "now", "64Mi"),
    ]))?;
    let said = |of: &str, reason: &str| {
        let of = format!("--field-selector=involvedObject.name={of},reason={reason}");
        control.kubectl(&["get", "events", &of, "-o", "jsonpath={.items[*].message}"])
    };
    cluster::until("the scheduler says why the pod waits", SOON, || {
        Ok(said("waits", "FailedScheduling")?.contains("enough free storage"))
    })?;
    let mut why = String::new();
    cluster::until("the claim says why it waits", SOON, || {
        why = said("now", "ProvisioningFailed")?;
        Ok(why.contains("takes no new volumes"))
    })?;
    for name in ["waits", "now"] {
        let phase = phase(cluster, name)?;
        ensure!(phase == "Pending", "the claim {name} is {phase}");
    }
    let volumes = control.kubectl(&["get", "pv", "-o", "name"])?;
    ensure!(volumes.lines().count() == 1, "{volumes}");
    context.result(format!(
        "a pod and its claim wait (FailedScheduling: enough free storage), and so does a claim without a pod: {why}"
    ));
    Ok(())
}

fn phase(cluster: &Cluster, claim: &str) -> Result<String> {
    let phase = ["get", "pvc", claim, "-o", "jsonpath={.status.phase}"];
    cluster.control.kubectl(&phase)
}

/// Where people and schedulers read how much there is.
struct Shown<'a> {
    cluster: &'a Cluster,
}

impl Shown<'_> {
    fn of_node(&self) -> Result<String> {
        let room = "jsonpath={.metadata.annotations.capacity\\.topolvm\\.io/thin}";
        let ask = ["get", "node", "n1", "-o", room];
        self.cluster.control.kubectl(&ask)
    }

    /// The CSIStorageCapacity objects.
    fn of_cluster(&self) -> Result<Vec<String>> {
        let room = "jsonpath={.items[*].capacity}";
        let ask = ["get", "csistoragecapacities", "-A", "-o", room];
        let rooms = self.cluster.control.kubectl(&ask)?;
        Ok(rooms.split_whitespace().map(str::to_owned).collect())
    }

    /// A condition of the NodeThinPool.
    fn of_pool(&self, kind: &str) -> Result<String> {
        let status =
            format!("jsonpath={{.items[0].status.conditions[?(@.type==\"{kind}\")].status}}");
        let ask = ["get", "nodethinpools", "-o", &status];
        self.cluster.control.kubectl(&ask)
    }
}

/// Writes after the first `written` MiB of the volume what the pool lacks to be full; how many MiB.
fn top_up(cluster: &Cluster, node: &Node, written: u64) -> Result<u64> {
    let (size, used) = used(node)?;
    let more = (size * FULL / 100).saturating_sub(used) / MIB;
    if more > 0 {
        let fill = format!(
            "dd if=/dev/urandom of=/dev/kept bs=1M seek={written} count={more} conv=fsync,notrunc"
        );
        exec(cluster, "kept", &fill)?;
    }
    Ok(more)
}

/// The pool's size, and how much of it is used, in bytes.
fn used(node: &Node) -> Result<(u64, u64)> {
    let ask = "lvm lvs --noheadings --nosuffix --units b -o lv_size,data_percent --separator ' ' \
               topolvm_vg/topolvm_thin";
    let said = node.guest().check(Command::shell(ask))?;
    let (size, percent) = said.trim().split_once(' ').context("no pool")?;
    // It says hundredths of a percent.
    let (size, hundredths): (u64, u64) = (size.parse()?, percent.replace('.', "").parse()?);
    Ok((size, size / 10_000 * hundredths))
}

fn values() -> Value {
    let mut values = moved::values();
    // What it promises is not what keeps it from giving more.
    values["lvmd"]["deviceClasses"][0]["thin-pool"]["overprovision-ratio"] = json!(10.0);
    let mut now = values["storageClasses"][0].clone();
    now["name"] = json!("now");
    now["storageClass"]["volumeBindingMode"] = json!("Immediate");
    let classes = values["storageClasses"].as_array_mut();
    classes.into_iter().for_each(|all| all.push(now.clone()));
    values
}
