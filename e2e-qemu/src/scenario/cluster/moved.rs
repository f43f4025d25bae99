//! A disk of one node is put into another, which has a group of the same name: it is left alone there, and the first
//! node goes on when it is back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::path::{WATCHER, status};
use super::workloads::{NAMESPACE, all_kept, claim, exec, list, pod, ready, writing};
use super::{Context, TOPOLVM, in_cluster, objects};
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::host;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// The kubelet waits longer and longer between two tries to publish a volume.
const RETRIED: Duration = Duration::from_mins(6);

/// See the module.
pub(in super::super) fn stays_theirs(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let control = &cluster.control;
        cluster.helm_install("disk-watcher", WATCHER, &[], &watcher())?;
        let mut nodes = Vec::new();
        for number in [1, 2] {
            let name = format!("n{number}");
            let node = cluster.node(number, context.spec(Backend::Uml, &name))?;
            for _ in 0..2 {
                node.guest().plug(Disk::new(1 << 30))?;
            }
            nodes.push(node);
        }
        let (Some(there), Some(home)) = (nodes.pop(), nodes.pop()) else {
            unreachable!("two nodes were booted");
        };
        for node in [&home, &there] {
            let pool = Command::shell("lvm lvs --noheadings -o lv_attr topolvm_vg/topolvm_thin");
            cluster::until("the node has its pool", SOON, || {
                let out = node.guest().run(pool.clone())?;
                Ok(out.status.success() && out.text().starts_with("twi-a"))
            })
            .with_context(|| status(cluster))?;
        }
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        cluster.apply(&list(&[
            claim("moved", "thin", "512Mi"),
            on(&home, pod("moved", WRITE_ONCE, &["moved"], &[])),
            claim("other", "thin", "1Gi"),
            on(
                &there,
                pod("other", &writing("other", 400, 1, "2"), &["other"], &[]),
            ),
        ]))?;
        ready(cluster, "moved")?;
        ready(cluster, "other")?;
        let sum = || exec(cluster, "moved", "sha256sum /moved/file");
        cluster::until("it has written", SOON, || Ok(sum().is_ok()))?;
        let before = sum()?;

        let data = "lvm lvs -a --noheadings -o devices topolvm_vg/topolvm_thin_tdata | head -n 1";
        let data = home.guest().shell(data)?;
        let mut disks = home.guest().disks().into_iter();
        let disk = disks.find(|disk| data.trim().starts_with(&format!("{}(", disk.path())));
        let disk = disk.with_context(|| format!("no disk of the node: {data}"))?;
        let image = cluster.dir().join("moved.img");
        let home = home.power_cycle_with(control, |guest| Ok(guest.take_out(&disk, &image)?))?;
        let moved = Instant::now();
        let visitor = there.guest().plug(Disk::copy_of(&image, disk.size()))?;
        cluster::until("the other node says whose it is", SOON, || {
            says(cluster, "n2", |disk| {
                disk["reasons"].to_string().contains("ForeignPV")
            })
        })
        .with_context(|| status(cluster))?;
        let refused = moved.elapsed();
        cluster::until("its node says that it is missing", SOON, || {
            Ok(says(cluster, "n1", |disk| disk["state"] == "Missing")?
                && says(cluster, "n1", |disk| disk["state"] == "Frozen")?)
        })
        .with_context(|| status(cluster))?;
        cluster::until("nothing more is given of the group", SOON, || {
            Ok(room(cluster, "n1")? == "0")
        })?;
        context.result(format!(
            "a disk with half of a pool is moved to a node with a group of the same name: refused there after {:.1} s \
             (ForeignPV), its own node has it missing and gives 0 bytes after {:.1} s",
            refused.as_secs_f32(),
            moved.elapsed().as_secs_f32()
        ));
        goes_on(cluster)?;
        ensure!(
            exec(cluster, "moved", ":").is_err(),
            "the pod runs without its disk"
        );
        same(&image, visitor.image())?;

        there.guest().pull(&visitor)?;
        home.guest().plug(Disk::copy_of(&image, disk.size()))?;
        let back = Instant::now();
        cluster::until("the pod has its data again", RETRIED, || Ok(sum().is_ok()))
            .with_context(|| status(cluster))?;
        ensure!(sum()? == before, "the data is {} and was {before}", sum()?);
        cluster::until("every disk is Ready", SOON, || {
            Ok(!says(cluster, "n1", |disk| disk["state"] == "Missing")?
                && !says(cluster, "n1", |disk| disk["state"] == "Frozen")?)
        })
        .with_context(|| status(cluster))?;
        cluster::until("room is given again", SOON, || {
            Ok(!["", "0"].contains(&room(cluster, "n1")?.as_str()))
        })?;
        context.result(format!(
            "not one byte of it was written there; back in its node, the pod had its data, with the same sha256, \
             after {:.1} s",
            back.elapsed().as_secs_f32()
        ));
        all_kept(cluster, "other", "other")?;
        for node in [&home, &there] {
            node.guest().shell("lvm vgck topolvm_vg")?;
        }
        Ok(())
    })
}

/// It writes when it finds nothing, and never over what is there.
const WRITE_ONCE: &str = "[ -e /moved/file ] || \
    { dd if=/dev/urandom of=/moved/new bs=1M count=64 conv=fsync && mv /moved/new /moved/file && sync; }";

/// Whether a NodeDisk of the node is so.
fn says(cluster: &Cluster, node: &str, is: impl Fn(&Value) -> bool) -> Result<bool> {
    let disks = objects::disks(cluster)?;
    let mut of_node = disks.iter().filter(|disk| disk["spec"]["nodeName"] == node);
    Ok(of_node.any(|disk| is(&disk["status"])))
}

/// What the class gives on a node, in bytes.
fn room(cluster: &Cluster, node: &str) -> Result<String> {
    let room = "jsonpath={.metadata.annotations.capacity\\.topolvm\\.io/thin}";
    cluster.control.kubectl(&["get", "node", node, "-o", room])
}

/// The pod on the other node writes on.
fn goes_on(cluster: &Cluster) -> Result<()> {
    let written = || -> Result<u32> { Ok(exec(cluster, "other", "wc -l </tmp/written")?.parse()?) };
    let before = written()?;
    cluster::until("the other pod writes on", SOON, || {
        Ok(written()? > before + 5)
    })?;
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<()> {
    let mut cmp = host::command("cmp");
    host::capture(cmp.arg(one).arg(other)).context("something was written to the moved disk")?;
    Ok(())
}

fn on(node: &Node, mut pod: Value) -> Value {
    pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node.name()});
    pod
}

fn watcher() -> Value {
    json!({"image": images::chart_value(false), "kubernetes": {"enabled": true}, "classes": [{"name": "main", "spec": {
        "mode": "Enforce",
        "select": {"transport": ["ubd"], "size": {"min": "512Mi", "max": "2Gi"}},
        "limits": {"settle": "1s", "minDisks": 2},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "topolvm_vg"},
        "thinPool": {"name": "topolvm_thin", "size": "80%", "metadata": {"min": "4Mi"}},
    }}]})
}

pub(super) fn values() -> Value {
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"enabled": false},
        "lvmd": {"managed": false, "deviceClasses": [{
            "name": "thin", "volume-group": "topolvm_vg", "default": true, "spare-gb": 0, "type": "thin",
            "thin-pool": {"name": "topolvm_thin", "overprovision-ratio": 2.0},
        }]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [{"name": "thin", "storageClass": {"fsType": "ext4",
            "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": "thin"}}}],
    })
}
