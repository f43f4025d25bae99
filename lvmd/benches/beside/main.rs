//! lvmd beside upstream's lvmd and beside one raw lvm command. Run in a guest by `e2e-qemu bench`.
//!
//! Each round does every case once with each of the three, in turn, on two VGs that hold a
//! number of other volumes; the one that has its turn runs alone, the others are stopped, and
//! before each step udevd has nothing left to do. A read is asked several times in a row: the
//! first one after a rest tells how long the guest takes to wake up. Each answer of a read is
//! checked. What is printed on stdout is a JSON list.

#![allow(unreachable_pub, reason = "a program has no outside")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement ends at the first surprise"
)]

mod actor;
mod cases;
mod daemon;
#[expect(dead_code, reason = "guest tests use more of it")]
#[path = "../../tests/guest/harness/host.rs"]
mod host;
mod processes;
mod trace;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use actor::{Actor, Answers};
use cases::{CASES, Case};
use daemon::Daemons;

/// The variable of this name.
fn asked(name: &str) -> Option<String> {
    let mut all = std::env::vars();
    all.find(|(key, _)| key == name).map(|(_, value)| value)
}

// One thread: what its own threads cost each other is not what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    if asked("BASALT_TRACE").is_some() {
        cases::make_groups();
        return trace::trace().await;
    }
    let rounds = asked("BASALT_ROUNDS").and_then(|n| n.parse().ok());
    let rounds = rounds.expect("BASALT_ROUNDS: use `e2e-qemu bench`");
    let volumes = asked("BASALT_VOLUMES").expect("BASALT_VOLUMES: use `e2e-qemu bench`");
    let mut rows = Vec::new();
    cases::make_groups();
    let mut there = 0;
    for volumes in volumes.split(',').map(|n| n.parse().expect("a number")) {
        cases::add_volumes(there..volumes);
        there = volumes;
        eprintln!("beside {volumes} other volumes");
        let took = measure(rounds, &Answers::now(volumes)).await;
        let processes = processes::count().await;
        for case in CASES {
            let median = |actor: Actor| took.get(&(case, actor)).map(|all| milliseconds(all));
            let counted = |actor: Actor| processes[&(case, actor)];
            rows.push(json!({
                "case": case.name(),
                "volumes": volumes,
                "ours_ms": median(Actor::Ours),
                "raw_ms": median(Actor::Raw),
                "peer_ms": median(Actor::Peer),
                "ours_processes": counted(Actor::Ours),
                "peer_processes": counted(Actor::Peer),
                "n": took[&(case, Actor::Ours)].len(),
            }));
        }
    }
    println!("{}", serde_json::to_string_pretty(&rows).unwrap());
}

type Took = BTreeMap<(Case, Actor), Vec<Duration>>;

/// How long each case took each, in each of the rounds.
async fn measure(rounds: usize, answers: &Answers) -> Took {
    let daemons = Daemons::start(None).await;
    let mut took = Took::new();
    // The first round fills caches: of the kernel, and of the daemons.
    for round in 0..=rounds {
        for turn in 0..Actor::ALL.len() {
            let actor = Actor::ALL[(round + turn) % Actor::ALL.len()];
            daemons.only(actor).await;
            for (case, duration) in actor.round(&daemons, answers).await {
                if round > 0 {
                    took.entry((case, actor)).or_default().push(duration);
                }
            }
        }
    }
    took
}

/// The median, in milliseconds with three digits behind the point.
fn milliseconds(all: &[Duration]) -> f64 {
    let mut all = all.to_vec();
    all.sort();
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    ((low + high) / 2).as_micros() as f64 / 1000.0
}
