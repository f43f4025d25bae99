//! Our driver beside upstream's, by their own charts in one cluster, one after the other.

mod burst;
mod calls;
mod cases;
mod driver;
mod events;
mod extender;
mod known;
mod lives;
mod node;
mod rows;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use comfy_table::Table;
use e2e_qemu::cluster::upstream::Release;
use e2e_qemu::cluster::{self, Cluster, Node, images, snapshots};
use e2e_qemu::{Spec, host};
use extension::progress::Step;

use burst::CLAIMS;
use cases::{BURST, BURST_ON_ONE, CASES, Cases};
use driver::Driver;
use lives::Measured;
use rows::{Row, median};

/// How long the cluster may live; all takes half of it on a machine with other work.
const LIMIT: Duration = Duration::from_mins(60);
/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(5);

/// Measures, prints the table and writes `target/bench/kubernetes.json`.
/// Of some `cases` alone it prints the table.
pub(super) fn run(workspace: &Path, rounds: u32, cases: &[String]) -> anyhow::Result<()> {
    let cases = Cases::of(cases)?;
    let programs = programs(workspace)?;
    let binaries = cluster::prepare(workspace, cluster::Minor::Newest)?;
    let crds = snapshots::crds(workspace)?;
    let dir = workspace.join("target/bench/kubernetes");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let (rows, raws) = cluster::within(|| {
        let audited = Some(calls::POLICY);
        let mut cluster =
            Cluster::start_audited(workspace, Some(&programs), binaries, &dir, audited)?;
        let measured = beside(workspace, &mut cluster, &crds, rounds, &cases);
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
    print(&rows);
    for (case, raw) in raws {
        println!("{case}: {CLAIMS} times one raw lvcreate in the same node: {raw:.1} s");
    }
    if cases.all() {
        let file = workspace.join("target/bench/kubernetes.json");
        fs::write(&file, serde_json::to_string_pretty(&rows)? + "\n")
            .with_context(|| format!("write {}", file.display()))?;
        println!("{}", file.display());
    }
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

/// Measures upstream's and ours; and how long as many raw lvcreates take as a burst claims volumes, where one is wanted.
fn beside(
    workspace: &Path,
    cluster: &mut Cluster,
    crds: &[PathBuf],
    rounds: u32,
    cases: &Cases,
) -> anyhow::Result<(Vec<Row>, Vec<Raw>)> {
    let (mut own, mut peer) = extender::both(workspace, cluster, rounds, cases)?;
    let mut raws = Vec::new();
    if !cases.drivers() {
        return Ok((rows(&own, &peer, cases)?, raws));
    }
    let release = Release::newest(workspace)?;
    cluster.add_upstream(&release)?;
    let theirs = release.chart(cluster.dir())?;
    let ours = workspace.join("charts/topolvm");
    let theirs = (
        "upstream's",
        Driver {
            chart: &theirs,
            image: release.chart_value(),
        },
    );
    let ours = (
        "ours",
        Driver {
            chart: &ours,
            image: images::chart_value(true),
        },
    );
    let nodes = nodes(workspace, cluster, cases)?;
    snapshots::install(cluster, crds)?;
    cluster.apply(SNAPSHOT_CLASS)?;
    if cases.lives() {
        if cases.has(BURST_ON_ONE) {
            raws.push((BURST_ON_ONE, burst::raw(&nodes[0])?));
        }
        for ((name, driver), measured) in [(&theirs, &mut peer), (&ours, &mut own)] {
            let step = Step::start(format!("measuring {name}"));
            let all: Vec<_> = nodes.iter().collect();
            measured.extend(driver.with(cluster, &all, || {
                let mut measured = driver::measure(cluster, &nodes, rounds, cases)?;
                if cases.has(BURST_ON_ONE) {
                    let bursts = burst::bursts(cluster, &nodes[0])?;
                    measured.insert(BURST_ON_ONE, bursts);
                }
                Ok(measured)
            })?);
            step.done();
        }
    }
    if cases.has(BURST) {
        let node = burst::two_processors(workspace, cluster, 4)?;
        raws.push((BURST, burst::raw(&node)?));
        for ((name, driver), measured) in [(&ours, &mut own), (&theirs, &mut peer)] {
            let step = Step::start(format!("measuring a burst with {name}"));
            let bursts = || burst::bursts(cluster, &node);
            measured.insert(BURST, driver.with(cluster, &[&node], bursts)?);
            step.done();
        }
    }
    Ok((rows(&own, &peer, cases)?, raws))
}

/// The node that volumes are on; and where watches of more are counted two others, on which the driver runs and that take no pods.
fn nodes(workspace: &Path, cluster: &Cluster, cases: &Cases) -> anyhow::Result<Vec<Node>> {
    let count = match cases.has("watch-events-per-volume") {
        true => 3,
        false => 1,
    };
    let mut nodes = Vec::new();
    for number in 1..=count {
        let name = format!("n{number}");
        let console = cluster.dir().join(format!("{name}.console.log"));
        let spec = Spec::uml().name(&name).workspace(workspace).limit(LIMIT);
        let node = cluster.node(number, spec.console(console))?;
        burst::group(node.guest())?;
        if number > 1 {
            cluster.control.kubectl(&["cordon", &name])?;
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// The case of a burst, and how long as many raw lvcreates take on its node, in seconds.
type Raw = (&'static str, f64);

const SNAPSHOT_CLASS: &str = r#"{"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
    "metadata": {"name": "thin"}, "driver": "topolvm.io", "deletionPolicy": "Delete"}"#;

/// A row for each case that is wanted.
fn rows(ours: &Measured, peer: &Measured, cases: &Cases) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (case, unit) in CASES.into_iter().filter(|(case, _)| cases.has(case)) {
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
