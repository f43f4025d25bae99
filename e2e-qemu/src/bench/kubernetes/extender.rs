//! What kube-scheduler asks an extender about one pod: `/predicate`, then `/prioritize`. With all nodes whole; ours also with
//! their names alone.

use std::cell::OnceCell;
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
    connection: OnceCell<TcpStream>,
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
        let extender = Self {
            child,
            address,
            connection: OnceCell::new(),
        };
        cluster::until("the extender answers", Duration::from_secs(60), || {
            let there = TcpStream::connect(&extender.address).is_ok();
            Ok(there && extender.ask("/status", b"", &mut Answer::default()).is_ok())
        })?;
        Ok(extender)
    }

    /// Asks about a pod; how long both answers took, in milliseconds.
    fn ask_both(&self, question: &str, answers: &mut Answers) -> anyhow::Result<f64> {
        let started = Instant::now();
        self.ask("/predicate", question.as_bytes(), &mut answers.filtered)?;
        self.ask("/prioritize", question.as_bytes(), &mut answers.scored)?;
        Ok(started.elapsed().as_secs_f64() * 1000.0)
    }

    /// Over one connection and without waiting to fill packets, as kube-scheduler does: programs in Go have `TCP_NODELAY`.
    fn ask(&self, path: &str, body: &[u8], answer: &mut Answer) -> anyhow::Result<()> {
        let mut stream = match self.connection.get() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                self.connection.get_or_init(|| stream)
            }
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        answer.read(stream).with_context(|| path.to_owned())
    }
}

/// An answer, in memory that the next one comes in too: what the asking takes is no part of what is measured, and memory
/// that the kernel has to make takes long.
#[derive(Default)]
struct Answer {
    memory: Vec<u8>,
    /// How much of it is the answer, and of that the head, in bytes.
    length: usize,
    head: usize,
    /// Whether the body is in chunks (RFC 9112, section 7.1).
    chunks: bool,
}

impl Answer {
    /// How much memory there is more of each time, in bytes: nearly all answers fit.
    const STEP: usize = 16 << 20;

    fn read(&mut self, mut from: &TcpStream) -> anyhow::Result<()> {
        (self.length, self.head, self.chunks) = (0, 0, false);
        let mut end = None;
        loop {
            if self.length == self.memory.len() {
                self.memory.resize(self.length + Self::STEP, 0);
            }
            let more = from.read(&mut self.memory[self.length..])?;
            ensure!(more > 0, "the answer broke off");
            self.length += more;
            if self.head == 0 {
                end = self.begin()?;
            }
            // There is no line break in the body, but between chunks.
            let last = || self.memory[..self.length].ends_with(b"\r\n0\r\n\r\n");
            if end == Some(self.length) || self.chunks && last() {
                return Ok(());
            }
        }
    }

    /// Once the head is there; where the answer ends, if that is told.
    fn begin(&mut self) -> anyhow::Result<Option<usize>> {
        let answer = &self.memory[..self.length];
        let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        self.head = end + 4;
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        ensure!(head.split(' ').nth(1) == Some("200"), "{head}");
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let length = fields.find_map(|(name, value)| match name {
            "content-length" => Some(value.parse::<usize>().ok()),
            "transfer-encoding" => Some(None),
            _ => None,
        });
        let length = length.context("neither length nor chunks")?;
        self.chunks = length.is_none();
        Ok(length.map(|length| self.head + length))
    }

    fn json(&self) -> anyhow::Result<Value> {
        let mut rest = &self.memory[self.head..self.length];
        if !self.chunks {
            return Ok(serde_json::from_slice(rest)?);
        }
        let mut body = Vec::new();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\r');
            let (size, data) = rest.split_at(end.context("a chunk without a size")?);
            let size = usize::from_str_radix(std::str::from_utf8(size)?, 16)?;
            if size == 0 {
                return Ok(serde_json::from_slice(&body)?);
            }
            body.extend_from_slice(data.get(2..2 + size).context("a short chunk")?);
            rest = data.get(2 + size + 2..).context("a short chunk")?;
        }
    }
}

/// The answers about one pod.
#[derive(Default)]
struct Answers {
    filtered: Answer,
    scored: Answer,
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
    let mut answers = Answers::default();
    // The first is for the caches.
    for round in 0..=rounds {
        for (extender, took) in both.iter().zip(&mut took) {
            let elapsed = extender.ask_both(&question, &mut answers)?;
            if round == 0 {
                check(&answers, "/nodes/items", nodes)?;
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
    let (mut took, mut answers) = (Vec::new(), Answers::default());
    for round in 0..=rounds {
        let elapsed = extender.ask_both(&question, &mut answers)?;
        if round == 0 {
            check(&answers, "/nodenames", nodes)?;
        } else {
            took.push(elapsed);
        }
    }
    Ok(took)
}

/// Every second node has room, and all are scored. `fit` is where those stand that do.
fn check(answers: &Answers, fit: &str, nodes: usize) -> anyhow::Result<()> {
    let filtered = answers.filtered.json()?;
    let fits = filtered.pointer(fit).and_then(Value::as_array);
    let fits = fits.map_or(0, Vec::len);
    ensure!(fits == nodes.div_ceil(2), "{fits} of {nodes} nodes fit");
    let scores = answers.scored.json()?.as_array().map_or(0, Vec::len);
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
