//! Where the time of one thin create goes: lvm's own debug lines, stamped as they come.
//!
//! A line is written before what it tells of, so the time until the next belongs to it. The
//! lines cost time themselves; what counts is the share.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::actor::{Actor, Step};
use crate::cases::settle;
use crate::daemon::Daemons;
use crate::host::{disks, lvm};

/// How many creates stand behind a share.
const TIMES: usize = 9;

/// Creates thin volumes with the lvm.conf lvmd generates, and with lvm's defaults.
pub async fn trace() {
    let daemons = Daemons::start(None).await;
    daemons.only(Actor::Ours).await;
    let mut calls = Vec::new();
    for _ in 0..TIMES {
        settle();
        calls.push(Actor::Ours.step(&daemons, Step::Create("thin"), None).await);
        settle();
        Actor::Ours
            .step(&daemons, Step::Remove("thin", "x"), None)
            .await;
    }
    drop(daemons);
    println!("CreateLV of lvmd: {:.1} ms", crate::milliseconds(&calls));
    for (what, system_dir) in [
        ("with lvmd's lvm.conf", Some("/run/topolvm/lvm/lvmd/thin")),
        ("with lvm's defaults", None),
    ] {
        let mut runs = Vec::new();
        for _ in 0..TIMES {
            settle();
            runs.push(one(system_dir));
            settle();
            lvm(&["lvremove", "-y", "thin/t"]);
        }
        print(what, &runs);
    }
}

/// What took how long, in the order of its first time.
type Run = Vec<(String, Duration)>;

fn one(system_dir: Option<&str>) -> Run {
    #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
    let mut command = std::process::Command::new("lvm");
    command.args(["lvcreate", "-vvvv", "-y", "-W", "y", "-V", "8M", "-n", "t"]);
    command.args(["-T", "thin/pool"]);
    if let Some(dir) = system_dir {
        command.env("LVM_SYSTEM_DIR", dir);
        command.args(["--devices", &disks()[1]]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut took = Run::new();
    let (mut since, mut what) = (started, "start of the process".to_owned());
    for line in BufReader::new(child.stderr.take().unwrap()).split(b'\n') {
        let (now, line) = (Instant::now(), line.unwrap());
        add(&mut took, &what, now - since);
        (since, what) = (now, subject(&String::from_utf8_lossy(&line)));
    }
    assert!(child.wait().unwrap().success());
    add(&mut took, "end of the process", since.elapsed());
    took
}

fn add(took: &mut Run, what: &str, time: Duration) {
    match took.iter_mut().find(|(known, _)| known == what) {
        Some((_, sum)) => *sum += time,
        None => took.push((what.to_owned(), time)),
    }
}

/// The device-mapper command that a line tells of, or the source file it comes from.
fn subject(line: &str) -> String {
    let mut words = line.split_whitespace();
    let file = words.find(|word| word.contains(".c:"));
    let file = file.and_then(|word| word.split(':').next());
    match (words.next(), words.next()) {
        (Some("dm"), Some(command)) => format!("dm {command}"),
        _ => file.unwrap_or("other lines").to_owned(),
    }
}

/// The medians of what takes a hundredth or more.
fn print(what: &str, runs: &[Run]) {
    let mut all: HashMap<&str, Vec<Duration>> = HashMap::new();
    for (subject, time) in runs.iter().flatten() {
        all.entry(subject).or_default().push(*time);
    }
    let totals: Vec<Duration> = runs
        .iter()
        .map(|run| run.iter().map(|(_, time)| *time).sum())
        .collect();
    let total = crate::milliseconds(&totals);
    println!("\nlvm lvcreate -vvvv {what}: {total:.1} ms");
    let mut rows: Vec<_> = all
        .iter()
        .map(|(subject, times)| (crate::milliseconds(times), *subject))
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (ms, subject) in rows.iter().filter(|(ms, _)| *ms >= total / 100.0) {
        println!("{ms:8.1} ms  {:3.0} %  {subject}", 100.0 * ms / total);
    }
}
