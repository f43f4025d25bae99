//! A pod fills a pool while the API server is away: it writes on, the pool grows, and all goes on when it is back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::path::{self, Chosen};
use super::theirs::Theirs;
use super::workloads::{NAMESPACE, all_kept, claim, exec, list, pod, ready, writing};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// Files of 16 MiB that the pod writes.
const FILES: u32 = 90;

/// See the module. Nobody answers for so long, about as long as the pod writes when it rests for `pause` seconds after
/// each file.
pub(in super::super) fn pool_fills(context: &Context, away: Duration, pause: u32) -> Result<()> {
    let limit = 2 * away + Duration::from_mins(20);
    in_cluster(context, |cluster| {
        let mut node = cluster.node(1, context.spec(Backend::Uml, "n1").limit(limit))?;
        let theirs = Theirs::with_data(&node, 600)?;
        // With classes as objects, whose watch breaks with the API server.
        let watcher = path::values(&node.name(), Chosen::NodeLabel);
        cluster.helm_install("disk-watcher", path::WATCHER, &[], &watcher)?;
        cluster.rolled_out(path::WATCHER, &["daemonset/disk-watcher"])?;
        let mut class = path::class(Chosen::NodeLabel);
        // Smaller than what is written.
        class["spec"]["thinPool"]["size"] = json!("1Gi");
        class["spec"]["select"]["size"]["min"] = json!("4Gi");
        cluster.apply(&class.to_string())?;
        node.guest().plug(Disk::new(8 << 30))?;
        let pool = || size(&node);
        cluster::until("the pool is there", SOON, || Ok(pool().is_ok()))
            .with_context(|| path::status(cluster))?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        cluster.apply(&writer(pause))?;
        ready(cluster, "writer")?;

        let before = pool()?;
        let files = written(cluster)?;
        cluster.control.stop_api_server();
        let stopped = Instant::now();
        let mut asked = stopped;
        let grew = cluster::until("the pool grew without the API server", away, || {
            // Asking is work for the node, which has other work.
            if asked.elapsed() < away / 60 {
                return Ok(false);
            }
            asked = Instant::now();
            Ok(pool()? > before)
        })?;
        cluster::until("the API server was away long enough", away, || {
            Ok(stopped.elapsed() >= away)
        })?;
        cluster.control.start_api_server()?;
        context.result(format!(
            "{:.0} s without the API server: the pool grew from {before} to {} bytes, first after {:.0} s",
            stopped.elapsed().as_secs_f32(),
            pool()?,
            grew.as_secs_f32()
        ));
        told(context, cluster, pool()?)?;
        node.restart_kubelet(&cluster.control)?;
        // One that was just started hears of its pods a moment later, and knows none till then.
        cluster::until(
            "the pod can be asked",
            SOON,
            || Ok(written(cluster).is_ok()),
        )?;
        cluster::until("all is written", away, || Ok(written(cluster)? == FILES))?;
        ensure!(files < FILES, "it had written all before");
        all_kept(cluster, "writer", "data")?;
        context.result(format!(
            "{} files, {files} of them before; no write failed, all sums hold, the container ran through a restart \
             of the kubelet",
            FILES
        ));
        let started = Instant::now();
        cluster.apply(&another())?;
        ready(cluster, "another")?;
        context.result(format!(
            "a new claim and its pod: ready after {:.1} s",
            started.elapsed().as_secs_f32()
        ));
        theirs.check(&node)
    })
}

/// What happened while nobody could be told is told once the API server is back.
fn told(context: &Context, cluster: &Cluster, size: u64) -> Result<()> {
    let back = Instant::now();
    let control = &cluster.control;
    let events = ["get", "events", "-A", "-o", "jsonpath={.items[*].reason}"];
    cluster::until("the Events of the growth are there", SOON, || {
        Ok(control.kubectl(&events)?.contains("PoolExtended"))
    })
    .with_context(|| path::status(cluster))?;
    let shown = [
        "get",
        "nodethinpools",
        "-o",
        "jsonpath={.items[*].status.sizeBytes}",
    ];
    cluster::until("the object shows the pool as it is", SOON, || {
        // It may have grown again since it was asked.
        Ok(control.kubectl(&shown)?.parse().unwrap_or(0) >= size)
    })?;
    context.result(format!(
        "Events of the growth and the NodeThinPool's size were there {:.1} s after the API server",
        back.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// The pool's size, in bytes.
fn size(node: &Node) -> Result<u64> {
    let ask = "lvm lvs --noheadings --nosuffix --units b -o lv_size topolvm_vg/topolvm_thin";
    Ok(node.guest().check(Command::shell(ask))?.trim().parse()?)
}

/// How many files are there, whole.
fn written(cluster: &Cluster) -> Result<u32> {
    Ok(exec(cluster, "writer", "cat /data/sums 2>/dev/null | wc -l")?.parse()?)
}

fn values() -> Value {
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"enabled": false},
        "lvmd": {"managed": false, "deviceClasses": [{
            "name": "thin", "volume-group": "topolvm_vg", "default": true, "spare-gb": 0, "type": "thin",
            "thin-pool": {"name": "topolvm_thin", "overprovision-ratio": 10.0},
        }]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [{"name": "thin", "storageClass": {"fsType": "xfs",
            "isDefaultClass": true, "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": "thin"}}}],
    })
}

/// It writes all the time, and notes what was written and what could not be.
fn writer(pause: u32) -> String {
    let script = writing("data", FILES, 16, &pause.to_string());
    list(&[
        claim("data", "thin", "4Gi"),
        pod("writer", &script, &["data"], &[]),
    ])
}

fn another() -> String {
    list(&[
        claim("another", "thin", "4Gi"),
        pod("another", "echo >/another/x", &["another"], &[]),
    ])
}
