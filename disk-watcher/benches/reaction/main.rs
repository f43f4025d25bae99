//! How fast the disk watcher answers: to a disk that is plugged in, to a pool that fills, to a
//! disk that is pulled. Run in a guest by `e2e-qemu bench`.
//!
//! One round is the life of one disk. The moments are those of the watcher's log and of this
//! program, on one clock. What is printed on stdout is a JSON list of medians.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement ends at the first surprise"
)]

#[expect(dead_code, reason = "guest tests use more of it")]
#[path = "../../tests/guest/harness.rs"]
mod harness;
mod round;
#[expect(dead_code, reason = "guest tests use more of it")]
#[path = "../../tests/guest/scsi.rs"]
mod scsi;
#[expect(dead_code, reason = "guest tests use more of it")]
#[path = "../../tests/guest/pools/writer.rs"]
mod writer;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

/// How many disks live, unless told otherwise.
const ROUNDS: usize = 5;

fn main() {
    if std::env::vars().any(|(key, _)| key == "BASALT_TRACE") {
        print!("{}", round::live().log);
        return;
    }
    let asked = std::env::vars().find(|(key, _)| key == "BASALT_ROUNDS");
    let rounds = asked.map_or(ROUNDS, |(_, n)| n.parse().expect("BASALT_ROUNDS"));
    let mut took: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for number in 1..=rounds {
        for (case, time) in round::live().took {
            eprintln!("round {number}: {case} {} ms", time.as_millis());
            took.entry(case).or_default().push(time);
        }
    }
    let rows: Vec<_> = round::CASES
        .iter()
        .map(|case| {
            let all = took.get_mut(case).unwrap();
            all.sort_unstable();
            let median = all[all.len() / 2].as_secs_f64() * 1e3;
            json!({"case": case, "ms": median, "n": all.len()})
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows).unwrap());
}
