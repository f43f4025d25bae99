//! The differential test: one script, two daemons, and a list of what may differ. Each
//! round of the script is a test of its own, so that rounds run in guests side by side.

use std::time::Instant;

use crate::compare::{Answer, surprise};
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

/// Plays one round on both and compares.
async fn play(name: &str) {
    let rounds = script::rounds();
    let round = rounds.iter().find(|round| round.round == name).unwrap();
    let (ids, calls) = script::ids(std::slice::from_ref(round));
    let mut reviewed = script::reviewed();
    reviewed.retain(|id, _| ids.contains(&id.as_str()));
    let started = Instant::now();
    let ours = ours(round).await;
    let ours_took = started.elapsed().as_secs();
    let started = Instant::now();
    let theirs = theirs(round).await;
    let theirs_took = started.elapsed().as_secs();
    println!(
        "{calls} calls, {} reviewed differences; ours took {ours_took} s, theirs {theirs_took} s",
        reviewed.len()
    );
    assert_eq!(ours.len(), ids.len(), "every step that has a name answers");
    assert_eq!(ours.len(), theirs.len());
    let surprises: String = ours
        .iter()
        .zip(&theirs)
        .filter_map(|(ours, theirs)| {
            assert_eq!(ours.id, theirs.id);
            surprise(ours, theirs, reviewed.get(&ours.id))
        })
        .collect();
    assert!(
        surprises.is_empty(),
        "differences.yaml does not say what is:\n{surprises}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn thick_volumes_are_created() {
    play("thick").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn volumes_with_options_grow_to_the_last_extent() {
    play("growth").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thin_volumes_keep_their_limits() {
    play("thin").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn snapshots_and_clones() {
    play("snapshots").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn another_lvm_changes_the_volume_group() {
    play("meanwhile").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn volumes_are_removed() {
    play("removal").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn a_volume_group_and_a_pool_go_and_come_back() {
    play("gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spare_space_and_no_default_class() {
    play("spare").await;
}
