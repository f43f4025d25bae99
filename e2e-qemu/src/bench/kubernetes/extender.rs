//! What kube-scheduler asks an extender about one pod: `/predicate`, then `/prioritize`. With all nodes whole; ours also with
//! their names alone.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e_qemu::cluster::{self, Cluster};
use e2e_qemu::host;
use extension::progress::Step;
use serde_json::{Value, json};

use super::cases::Cases;
use super::known::Known;
use super::lives::Measured;

const GIB: u64 = 1 << 30;

/// A running extender; it ends when it is dropped.
struct Extender {
    child: Child,
    address: String,
}

impl Extender {
    /// Starts the extender of a `hypertopolvm`, listening on a port of its own; one that is asked with names alone gets to
    /// know the nodes from an API server.
    fn start(program: &Path, dir: &Path, port: u16, known: Option<&Known>) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let config = dir.join(format!("extender-{port}.yaml"));
        let mut text = format!("listen: \"{address}\"\n");
        if known.is_some() {
            text.push_str("node-cache-capable: true\n");
        }
        std::fs::write(&config, text)?;
        let log = std::fs::File::create(dir.join(format!("extender-{port}.log")))?;
        let mut command = host::command(program);
        command
            .args(["topolvm-scheduler", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(known) = known {
            command.env("KUBECONFIG", known.kubeconfig(dir)?);
        }
        let child = host::die_with_caller(&mut command).spawn()?;
        let extender = Self { child, address };
        cluster::until("the extender answers", Duration::from_secs(60), || {
            let there = TcpStream::connect(&extender.address).is_ok();
            Ok(there && extender.ask("/status", b"").is_ok())
        })?;
        Ok(extender)
    }

    /// Asks about a pod; how long both answers took, in milliseconds, and their bodies.
    fn ask_both(&self, question: &str) -> anyhow::Result<(f64, Vec<u8>, Vec<u8>)> {
        let started = Instant::now();
        let filtered = self.ask("/predicate", question.as_bytes())?;
        let scored = self.ask("/prioritize", question.as_bytes())?;
        let elapsed = started.elapsed().as_secs_f64() * 1000.0;
        Ok((elapsed, filtered, scored))
    }

    /// The answer's body.
    fn ask(&self, path: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address)?;
        // Of version 1.0, so that the answer is not in chunks.
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let body = answer.split_off(end.context("no HTTP")? + 4);
        let head = String::from_utf8_lossy(&answer);
        ensure!(head.split(' ').nth(1) == Some("200"), "{path}: {head}");
        Ok(body)
    }
}

impl Drop for Extender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// About how many nodes an extender is asked, whole; the last ones with names alone too, for which upstream's answer about
/// whole ones stands, as it cannot be asked otherwise.
const NODES: [(&str, usize); 2] = [("extender-1000", 1000), (WHOLE, 5000)];
const WHOLE: &str = "extender-5000";
const NAMES: (&str, usize) = ("extender-5000-names", 5000);
/// How often each is asked for one round of the other cases: it takes half a second, and one answer may be late by chance.
const OFTEN: u32 = 3;

/// Measures our extender and upstream's.
pub(super) fn both(
    workspace: &Path,
    cluster: &Cluster,
    rounds: u32,
    cases: &Cases,
) -> anyhow::Result<(Measured, Measured)> {
    let step = Step::start("measuring both extenders");
    let (mut own, mut peer) = (Measured::new(), Measured::new());
    let programs = [
        workspace.join("target/release/hypertopolvm"),
        cluster.binaries().path("hypertopolvm"),
    ];
    let [ours, upstreams] = [0, 1].map(|at: usize| programs[at].as_path());
    let rounds = rounds * OFTEN;
    for (case, nodes) in NODES {
        let for_names = case == WHOLE && cases.has(NAMES.0);
        if cases.has(case) || for_names {
            let [ours, peers] = measure([ours, upstreams], cluster.dir(), nodes, rounds)?;
            println!("{case}: {ours:.1?} {peers:.1?}");
            own.insert(case, ours);
            peer.insert(case, peers);
        }
    }
    if let (true, Some(peers)) = (cases.has(NAMES.0), peer.get(WHOLE).cloned()) {
        let ours = measure_names(ours, cluster.dir(), NAMES.1, rounds)?;
        println!("{}: {ours:.1?}", NAMES.0);
        own.insert(NAMES.0, ours);
        peer.insert(NAMES.0, peers);
    }
    step.done();
    Ok((own, peer))
}

/// How long each of two extenders takes for both questions about so many nodes: `rounds` times each, in turns, in
/// milliseconds.
fn measure(
    programs: [&Path; 2],
    dir: &Path,
    nodes: usize,
    rounds: u32,
) -> anyhow::Result<[Vec<f64>; 2]> {
    let both = [
        Extender::start(programs[0], dir, 9261, None)?,
        Extender::start(programs[1], dir, 9262, None)?,
    ];
    let question = question(nodes).to_string();
    let mut took = [Vec::new(), Vec::new()];
    // The first is for the caches.
    for round in 0..=rounds {
        for (extender, took) in both.iter().zip(&mut took) {
            let (elapsed, filtered, scored) = extender.ask_both(&question)?;
            if round == 0 {
                let filtered: Value = serde_json::from_slice(&filtered)?;
                check(&filtered["nodes"]["items"], &scored, nodes)?;
            } else {
                took.push(elapsed);
            }
        }
    }
    Ok(took)
}

/// The same of one extender that is asked with the nodes' names alone.
fn measure_names(
    program: &Path,
    dir: &Path,
    nodes: usize,
    rounds: u32,
) -> anyhow::Result<Vec<f64>> {
    let mut question = question(nodes);
    let whole = question["nodes"]["items"].take();
    let names = whole.as_array().into_iter().flatten();
    let names: Vec<_> = names.map(|node| node["metadata"]["name"].clone()).collect();
    question["nodenames"] = names.into();
    question["nodes"] = Value::Null;
    let known = Known::serve(&whole)?;
    let extender = Extender::start(program, dir, 9263, Some(&known))?;
    let question = question.to_string();
    let mut took = Vec::new();
    for round in 0..=rounds {
        let (elapsed, filtered, scored) = extender.ask_both(&question)?;
        if round == 0 {
            let filtered: Value = serde_json::from_slice(&filtered)?;
            check(&filtered["nodenames"], &scored, nodes)?;
        } else {
            took.push(elapsed);
        }
    }
    Ok(took)
}

/// Every second node has room, and all are scored.
fn check(filtered: &Value, scored: &[u8], nodes: usize) -> anyhow::Result<()> {
    let fits = filtered.as_array().map_or(0, Vec::len);
    ensure!(fits == nodes.div_ceil(2), "{fits} of {nodes} nodes fit");
    let scored: Value = serde_json::from_slice(scored)?;
    let scores = scored.as_array().map_or(0, Vec::len);
    ensure!(scores == nodes, "{scores} of {nodes} nodes are scored");
    Ok(())
}

/// A pod that wants 8 GiB, and nodes with 4 and 64. Each node is 1.6 KiB long, less than a real one: upstream takes no
/// more than 10 MiB at once.
fn question(nodes: usize) -> Value {
    let node = |n: usize| {
        let room = if n.is_multiple_of(2) {
            64 * GIB
        } else {
            4 * GIB
        };
        let images: Vec<_> = (0..8)
            .map(|image| json!({"names": [format!("registry.example/team/service-{image}@sha256:{n:064x}")], "sizeBytes": n}))
            .collect();
        json!({"metadata": {
            "name": format!("node-{n:05}"),
            "labels": {"kubernetes.io/hostname": format!("node-{n:05}"), "topology.topolvm.io/node": format!("node-{n:05}")},
            "annotations": {"capacity.topolvm.io/00default": room.to_string(), "capacity.topolvm.io/ssd": room.to_string()}},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {"capacity": {"cpu": "64", "memory": "263824520Ki", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "images": images}})
    };
    json!({
        "pod": {"metadata": {"name": "p", "namespace": "default",
            "annotations": {"capacity.topolvm.io/ssd": (8 * GIB).to_string()}}, "spec": {"containers": []}},
        "nodes": {"metadata": {}, "items": (0..nodes).map(node).collect::<Vec<_>>()}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_takes_five_thousand_nodes_at_once() {
        let length = question(5000).to_string().len();
        assert!(length < 10 << 20, "{length}");
        assert!(length > 6 << 20, "{length}");
    }
}
