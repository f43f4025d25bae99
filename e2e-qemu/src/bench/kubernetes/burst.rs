//! Fifty volumes claimed at once on one node, and as many made there by lvm alone.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use e2e_qemu::cluster::{Cluster, Node};
use e2e_qemu::{Command, Disk, Guest, Spec};
use serde_json::{Value, json};

use super::lives::{bound, claim, volume};
use super::watch::Watch;
use super::{LIMIT, SOON};

/// How many are claimed at once.
pub(super) const CLAIMS: usize = 50;
/// How often.
const ROUNDS: u32 = 3;
/// How long they may take.
const LONG: Duration = Duration::from_mins(20);
/// The size of each.
const SIZE: &str = "200Mi";

/// A node with two processors and a volume group for the driver, as [`super::nodes`] makes them.
pub(super) fn two_processors(
    workspace: &Path,
    cluster: &Cluster,
    number: u8,
) -> anyhow::Result<Node> {
    let name = format!("n{number}");
    let console = cluster.dir().join(format!("{name}.console.log"));
    let spec = Spec::qemu().processors(2).name(&name).workspace(workspace);
    let node = cluster.node(number, spec.limit(LIMIT).console(console))?;
    group(node.guest())?;
    // The drivers' controllers are elsewhere.
    cluster.control.kubectl(&["cordon", &name])?;
    Ok(node)
}

/// A disk, a volume group on it and a thin pool in that.
pub(super) fn group(guest: &Guest) -> anyhow::Result<()> {
    let disk = guest.plug(Disk::new(24 << 30))?.path();
    let make = format!("lvm vgcreate vg {disk} && lvm lvcreate -y -L 16G -T vg/pool");
    guest.check(Command::shell(make).timeout(SOON))?;
    Ok(())
}

/// How long so many raw lvcreates take, one after the other, in seconds.
pub(super) fn raw(node: &Node) -> anyhow::Result<f64> {
    let all = format!(
        "for i in $(seq {CLAIMS}); do lvm lvcreate -qq -y -V 200M -T vg/pool -n raw$i; done"
    );
    let started = Instant::now();
    node.guest().check(Command::shell(all).timeout(SOON))?;
    let took = started.elapsed();
    let remove = "lvm lvremove -qq -y -S lv_name=~^raw";
    node.guest().check(Command::shell(remove).timeout(SOON))?;
    Ok(took.as_secs_f64())
}

/// Claims volumes on the node at once, of a class that waits for no pod; how long until all are bound, in seconds, for each
/// time. They are deleted again.
pub(super) fn bursts(cluster: &Cluster, node: &Node) -> anyhow::Result<Vec<f64>> {
    let class = format!("now-{}", node.name());
    cluster.apply(&storage_class(&class, &node.name()).to_string())?;
    let claims = Watch::start(cluster, "persistentvolumeclaims")?;
    let volumes = Watch::start(cluster, "persistentvolumes")?;
    // What the first one finds cold is not what is measured.
    at_once(cluster, (&claims, &volumes), &class, &["warm".to_owned()])?;
    let mut took = Vec::new();
    for round in 1..=ROUNDS {
        let names = (1..=CLAIMS).map(|n| format!("burst-{round}-{n}"));
        let names: Vec<_> = names.collect();
        let burst = at_once(cluster, (&claims, &volumes), &class, &names)?;
        took.push(burst.as_secs_f64());
    }
    cluster.control.kubectl(&["delete", "sc", &class])?;
    Ok(took)
}

/// Claims them, waits until all are bound, deletes them; from the first claim to the last one bound.
fn at_once(
    cluster: &Cluster,
    (claims, volumes): (&Watch, &Watch),
    class: &str,
    names: &[String],
) -> anyhow::Result<Duration> {
    let all = names
        .iter()
        .map(|name| claim(name, &Value::Null, SIZE, class).to_string());
    cluster.apply(&all.collect::<Vec<_>>().join("\n---\n"))?;
    let mut first = None;
    let mut last = None;
    for name in names {
        let (made, done) = (
            claims.when(name, SOON, |_| true)?,
            claims.when(name, LONG, bound)?,
        );
        first = first.into_iter().chain([made]).min();
        last = last.max(Some(done));
    }
    let mut delete = vec!["delete", "pvc", "--wait=false"];
    delete.extend(names.iter().map(String::as_str));
    cluster.control.kubectl(&delete)?;
    for name in names {
        volumes.gone(&volume(claims, name)?, LONG)?;
    }
    let (first, last) = first.zip(last).context("nothing was claimed")?;
    Ok(last - first)
}

fn storage_class(name: &str, node: &str) -> Value {
    let here = json!({"key": "topology.topolvm.io/node", "values": [node]});
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "topolvm.io", "volumeBindingMode": "Immediate",
        "parameters": {"csi.storage.k8s.io/fstype": "ext4", "topolvm.io/device-class": "thin"},
        "allowedTopologies": [{"matchLabelExpressions": [here]}]})
}
