//! Our driver beside upstream's, by their own charts in one cluster, one after the other.

mod extender;
mod lives;
mod node;
mod rows;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use comfy_table::Table;
use e2e_qemu::cluster::{self, Cluster, Node, images, snapshots, upstream};
use e2e_qemu::{Command, Disk, Spec, host};
use extension::progress::Step;
use serde_json::{Value, json};

use lives::{CLAIMS, Lives, Measured};
use node::Processes;
use rows::{Row, median};

/// How long the cluster may live; all takes half of it on a machine with other work.
const LIMIT: Duration = Duration::from_mins(60);
const NAMESPACE: &str = "topolvm-system";
/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(5);
/// About how many nodes an extender is asked.
const NODES: [(&str, usize); 2] = [("extender-1000", 1000), ("extender-5000", 5000)];

/// The cases, in the order of the table, with their units.
const CASES: [(&str, &str); 12] = [
    ("pvc-bound", "s"),
    ("pod-ready", "s"),
    ("expand", "s"),
    ("snapshot-ready", "s"),
    ("restore-bound", "s"),
    ("delete", "s"),
    ("burst-50-bound", "s"),
    ("extender-1000", "ms"),
    ("extender-5000", "ms"),
    ("node-rss", "MiB"),
    ("controller-rss", "MiB"),
    ("lvm-per-volume-life", "processes"),
];

/// Measures, prints the table and writes `target/bench/kubernetes.json`.
pub(super) fn run(workspace: &Path, rounds: u32) -> anyhow::Result<()> {
    let programs = programs(workspace)?;
    let binaries = cluster::prepare(workspace, cluster::Minor::Newest)?;
    let crds = snapshots::crds(workspace)?;
    let dir = workspace.join("target/bench/kubernetes");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let (rows, raw) = cluster::within(|| {
        let mut cluster = Cluster::start_with(workspace, Some(&programs), binaries, &dir)?;
        let measured = beside(workspace, &mut cluster, &crds, rounds);
        // etcd's files and images are many and big.
        for folder in ["etcd", "upstream"] {
            let _ = fs::remove_dir_all(dir.join(folder));
        }
        for archive in fs::read_dir(&dir)?.flatten().map(|entry| entry.path()) {
            if archive
                .extension()
                .is_some_and(|extension| extension == "tar")
            {
                fs::remove_file(archive)?;
            }
        }
        measured
    })?;
    let file = workspace.join("target/bench/kubernetes.json");
    fs::write(&file, serde_json::to_string_pretty(&rows)? + "\n")
        .with_context(|| format!("write {}", file.display()))?;
    print(&rows);
    println!("{CLAIMS} times one raw lvcreate in the same node: {raw:.1} s");
    println!("{}", file.display());
    Ok(())
}

/// Builds the driver as it ships; a folder with it, and with what else is in its image and takes no part.
fn programs(workspace: &Path) -> anyhow::Result<PathBuf> {
    let step = Step::start("building the driver for release");
    let build = ["build", "--release", "--locked", "-p", "basalt-csi"];
    let mut cargo = host::command("cargo");
    cargo.args(build).args(["--bin", "hypertopolvm"]);
    host::capture(cargo.current_dir(workspace)).context("could not build the driver")?;
    step.done();
    let programs = workspace.join("target/bench/programs");
    fs::create_dir_all(&programs)?;
    for program in ["release/hypertopolvm", "debug/disk-watcher"] {
        let from = workspace.join("target").join(program);
        let name = from.file_name().context("no name")?;
        fs::copy(&from, programs.join(name))
            .with_context(|| format!("no {}: make build", from.display()))?;
    }
    Ok(programs)
}

/// Measures upstream's, ours, and how long raw lvcreates take.
fn beside(
    workspace: &Path,
    cluster: &mut Cluster,
    crds: &[PathBuf],
    rounds: u32,
) -> anyhow::Result<(Vec<Row>, f64)> {
    let extenders = extenders(workspace, cluster, rounds)?;
    cluster.add_upstream()?;
    let theirs = upstream::chart(workspace, cluster.dir())?;
    let ours = workspace.join("charts/topolvm");
    let spec = Spec::uml().name("n1").workspace(workspace).limit(LIMIT);
    let node = cluster.node(1, spec.console(cluster.dir().join("n1.console.log")))?;
    let disk = node.guest().plug(Disk::new(24 << 30))?.path();
    let make = format!("lvm vgcreate vg {disk} && lvm lvcreate -y -L 16G -T vg/pool");
    node.guest().check(Command::shell(make))?;
    snapshots::install(cluster, crds)?;
    cluster.apply(SNAPSHOT_CLASS)?;
    let raw = raw(&node)?;

    let step = Step::start("measuring upstream's driver");
    let mut peer = driver(cluster, &node, &theirs, upstream::chart_value(), rounds)?;
    peer.extend(extenders.1);
    step.done();
    let step = Step::start("measuring ours");
    let mut own = driver(cluster, &node, &ours, images::chart_value(true), rounds)?;
    own.extend(extenders.0);
    step.done();
    Ok((rows(&own, &peer)?, raw))
}

/// Measures our extender and upstream's.
fn extenders(
    workspace: &Path,
    cluster: &Cluster,
    rounds: u32,
) -> anyhow::Result<(Measured, Measured)> {
    let step = Step::start("measuring both extenders");
    let (mut own, mut peer) = (Measured::new(), Measured::new());
    let programs = [
        workspace.join("target/release/hypertopolvm"),
        cluster.binaries().path("hypertopolvm"),
    ];
    let programs = [programs[0].as_path(), programs[1].as_path()];
    for (case, nodes) in NODES {
        let [ours, peers] = extender::measure(programs, cluster.dir(), nodes, rounds)?;
        own.insert(case, ours);
        peer.insert(case, peers);
    }
    step.done();
    Ok((own, peer))
}

/// How long so many raw lvcreates take as a burst claims volumes, one after the other, in seconds.
fn raw(node: &Node) -> anyhow::Result<f64> {
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

/// Installs a driver by its chart, measures it, and takes it away again.
fn driver(
    cluster: &Cluster,
    node: &Node,
    chart: &Path,
    image: Value,
    rounds: u32,
) -> anyhow::Result<Measured> {
    let control = &cluster.control;
    let values = values(image);
    cluster.helm("install", chart, "topolvm", NAMESPACE, &[], &values)?;
    let runs = ["daemonset/topolvm-node", "deployment/topolvm-controller"];
    cluster.rolled_out(NAMESPACE, &runs)?;
    let known = [
        "get",
        "csinode",
        "n1",
        "-o",
        "jsonpath={.spec.drivers[*].name}",
    ];
    cluster::until("the kubelet knows the driver", SOON, || {
        Ok(control.kubectl(&known)?.contains("topolvm.io"))
    })?;
    let mut measured = Measured::new();
    let lvm = Processes::count_on(node, cluster)?;
    let lives = Lives::watch(cluster)?;
    // The first is for the caches.
    lives.live("first", true, &lvm, &mut Measured::new())?;
    for round in 1..=rounds {
        lives.live(&format!("full-{round}"), true, &lvm, &mut measured)?;
        lives.live(&format!("short-{round}"), false, &lvm, &mut measured)?;
    }
    measured.insert("burst-50-bound", vec![lives.burst()?]);
    for (case, component) in [("node-rss", "node"), ("controller-rss", "controller")] {
        let programs = node::memory(cluster, node, component)?;
        println!("{case}: {programs:.1?}");
        let all = programs.iter().map(|program| program.1).sum();
        measured.insert(case, vec![all]);
    }
    println!("{measured:.2?}");
    drop(lives);
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
    Ok(measured)
}

/// The same for both charts, but for the image.
fn values(image: Value) -> Value {
    let class = |name: &str, mode: &str| {
        json!({"name": name, "storageClass": {"fsType": "ext4", "volumeBindingMode": mode,
            "allowVolumeExpansion": true, "additionalParameters": {"topolvm.io/device-class": "thin"}}})
    };
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
        "storageClasses": [class("waits", "WaitForFirstConsumer"), class("now", "Immediate")],
    })
}

const SNAPSHOT_CLASS: &str = r#"{"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
    "metadata": {"name": "thin"}, "driver": "topolvm.io", "deletionPolicy": "Delete"}"#;

/// A row for each case.
fn rows(ours: &Measured, peer: &Measured) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (case, unit) in CASES {
        let of = |measured: &Measured| -> anyhow::Result<(f64, usize)> {
            let values = measured.get(case).map_or(&[][..], Vec::as_slice);
            let middle = median(values).with_context(|| format!("{case} was not measured"))?;
            Ok((middle, values.len()))
        };
        let ((ours, n), (peer, others)) = (of(ours)?, of(peer)?);
        ensure!(ours > 0.0, "{case} took nothing");
        rows.push(Row {
            case: case.to_owned(),
            ours,
            peer,
            unit: unit.to_owned(),
            n: u32::try_from(n.min(others))?,
        });
    }
    Ok(rows)
}

fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["case", "ours", "peer", "peer/ours", "n", "goal"]);
    let (mut wanted, mut met) = (0, 0);
    for row in rows {
        let goal = match row.missed() {
            None => "none".to_owned(),
            Some(missed) => {
                wanted += 1;
                met += u32::from(missed.is_empty());
                if missed.is_empty() {
                    "met".to_owned()
                } else {
                    format!("MISSED: {missed}")
                }
            }
        };
        table.add_row([
            row.case.clone(),
            format!("{:.2} {}", row.ours, row.unit),
            format!("{:.2} {}", row.peer, row.unit),
            format!("{:.1}", row.ratio()),
            row.n.to_string(),
            goal,
        ]);
    }
    println!("{table}");
    println!("medians; {met} of {wanted} goals met");
}
