//! The differential test: one script, two daemons, and a list of what may differ.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::compare::{Answer, as_entry, difference};
use crate::harness::{Daemon, clean, disks, lvm};
use crate::script::{self, Round};
use crate::upstream::{Upstream, replay};

/// Makes the round's VGs and pools on blank disks.
fn lay_out(round: &Round) {
    clean();
    let disks = disks();
    for command in &round.layout {
        let words: Vec<&str> = command
            .iter()
            .map(|word| match word.strip_prefix('@') {
                Some(number) => disks[number.parse::<usize>().unwrap()].as_str(),
                None => word,
            })
            .collect();
        lvm(&words);
    }
}

async fn ours(round: &Round) -> Vec<Answer> {
    lay_out(round);
    let lvmd = Daemon::start(&round.config).await;
    let answers = replay(&lvmd.dir.path().join("lvmd.sock"), &round.steps);
    lvmd.stop();
    answers
}

async fn theirs(round: &Round) -> Vec<Answer> {
    lay_out(round);
    let lvmd = Upstream::start(&round.config).await;
    replay(&lvmd.socket(), &round.steps)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_differences_to_upstream_are_exactly_the_reviewed_ones() {
    let rounds = script::rounds();
    let (_, calls) = script::ids(&rounds);
    let mut reviewed = script::reviewed();
    let listed = reviewed.len();
    let mut wrong = String::new();
    let mut seconds = BTreeMap::from([("ours", 0.0), ("theirs", 0.0)]);
    for round in &rounds {
        let started = Instant::now();
        let ours = ours(round).await;
        *seconds.get_mut("ours").unwrap() += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let theirs = theirs(round).await;
        *seconds.get_mut("theirs").unwrap() += started.elapsed().as_secs_f64();
        assert_eq!(ours.len(), theirs.len(), "round {}", round.round);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.id, theirs.id);
            let found = difference(ours, theirs);
            let expected = reviewed.remove(&ours.id);
            if found == expected {
                continue;
            }
            let entry = |d| as_entry(&ours.id, d);
            wrong += &format!(
                "# {} as it is (ours: {:?}, theirs: {:?})\n{}",
                ours.call,
                ours.message,
                theirs.message,
                found
                    .as_ref()
                    .map_or_else(|| "  no difference\n".into(), entry)
            );
            wrong += &expected
                .as_ref()
                .map_or_else(String::new, |d| format!("# as it is listed\n{}", entry(d)));
        }
    }
    println!(
        "{calls} calls, {listed} reviewed differences; layouts included, ours took {:.0} s and theirs {:.0} s",
        seconds["ours"], seconds["theirs"]
    );
    assert!(reviewed.is_empty(), "listed, and not played: {reviewed:?}");
    assert!(
        wrong.is_empty(),
        "differences.yaml does not say what is:\n{wrong}"
    );
}
