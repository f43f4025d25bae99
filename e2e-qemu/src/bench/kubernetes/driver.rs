//! One driver in the cluster: installed by its chart, measured, and taken away again.

use std::path::Path;

use e2e_qemu::cluster::{self, Cluster, Node};
use e2e_qemu::host;
use serde_json::{Value, json};

use super::SOON;
use super::calls::Log;
use super::cases::Cases;
use super::events::Mirrors;
use super::lives::{Lives, Measured};
use super::node::{self, Processes};

const NAMESPACE: &str = "topolvm-system";

/// A driver, by its chart and the image that its value names.
pub(super) struct Driver<'a> {
    pub chart: &'a Path,
    pub image: Value,
}

impl Driver<'_> {
    /// Installs it, has `work` done with it on these nodes, and takes it away again.
    pub(super) fn with<T>(
        &self,
        cluster: &Cluster,
        nodes: &[&Node],
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let control = &cluster.control;
        let values = values(&self.image);
        cluster.helm("install", self.chart, "topolvm", NAMESPACE, &[], &values)?;
        let runs = ["daemonset/topolvm-node", "deployment/topolvm-controller"];
        cluster.rolled_out(NAMESPACE, &runs)?;
        for node in nodes {
            let name = node.name();
            let drivers = "jsonpath={.spec.drivers[*].name}";
            cluster::until("the kubelet knows the driver", SOON, || {
                let known = control.kubectl(&["get", "csinode", &name, "-o", drivers])?;
                Ok(known.contains("topolvm.io"))
            })?;
        }
        let done = work()?;
        let left = ["get", "pv,logicalvolumes", "-o", "name"];
        cluster::until("no volume is left", SOON, || {
            Ok(control.kubectl(&left)?.is_empty())
        })?;
        let mut helm = host::command(cluster.binaries().path("helm"));
        helm.env("KUBECONFIG", cluster.dir().join("admin.conf"));
        host::capture(helm.args(["uninstall", "topolvm", "--namespace", NAMESPACE, "--wait"]))?;
        let pods = ["get", "pods", "--namespace", NAMESPACE, "-o", "name"];
        cluster::until("its pods are gone", SOON, || {
            Ok(control.kubectl(&pods)?.is_empty())
        })?;
        Ok(done)
    }
}

/// Measures the driver that runs, on the first of these nodes; all but bursts.
pub(super) fn measure(
    cluster: &Cluster,
    nodes: &[Node],
    rounds: u32,
    cases: &Cases,
) -> anyhow::Result<Measured> {
    let node = &nodes[0];
    let mut measured = Measured::new();
    let log = Log::of(cluster);
    let lives = Lives::watch(cluster, Processes::count_on(node, cluster)?, &log)?;
    // The first is for the caches.
    lives.live("first", true, &mut Measured::new())?;
    lives.hear_quiet()?;
    let mut mirrors = match cases.has("watch-events-per-volume") {
        true => Some(Mirrors::of(cluster, &log)?),
        false => None,
    };
    for round in 1..=rounds {
        if cases.full() {
            lives.live(&format!("full-{round}"), true, &mut measured)?;
        }
        lives.counted(&format!("short-{round}"), mirrors.as_mut(), &mut measured)?;
    }
    drop(mirrors);
    for (case, component) in [("node-rss", "node"), ("controller-rss", "controller")] {
        let programs = node::memory(cluster, node, component)?;
        println!("{case}: {programs:.1?}");
        let all = programs.iter().map(|program| program.1).sum();
        measured.insert(case, vec![all]);
    }
    println!("{measured:.2?}");
    Ok(measured)
}

/// The same for both charts, but for the image.
fn values(image: &Value) -> Value {
    let class = json!({"name": "waits", "storageClass": {"fsType": "ext4",
        "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
        "additionalParameters": {"topolvm.io/device-class": "thin"}}});
    // A user-mode kernel on a busy machine is slow; upstream's programs are given a second to answer.
    let patient = json!({"failureThreshold": 100});
    json!({
        "image": image,
        "controller": {"replicaCount": 1},
        "livenessProbe": {"topolvm_node": patient, "topolvm_controller": patient},
        "lvmd": {"managed": false, "deviceClasses": [{
            "name": "thin", "volume-group": "vg", "default": true, "spare-gb": 0, "type": "thin",
            "thin-pool": {"name": "pool", "overprovision-ratio": 5.0},
        }]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [class],
    })
}
