//! What is wrong with the watcher itself: its file, its journal, a second one of it. The pool goes
//! on growing.

use std::path::Path;

use super::status::status;
use crate::harness::{Watcher, output, run, stages, wait_for};
use crate::pools::stage::{Stage, extensions};
use crate::pools::writer;

/// Waits until it is said that a check does not hold, and why.
fn said(dir: &Path, check: &str, why: &str) {
    wait_for(dir, &format!("{check}: {why}"), || {
        wrong(dir, check).is_some_and(|problem| problem.contains(why))
    });
}

/// Why a check of the watcher's own does not hold.
fn wrong(dir: &Path, check: &str) -> Option<String> {
    let status = status(dir);
    let all = status["preflight"].as_array()?;
    let found = all.iter().find(|c| c["check"] == check)?;
    Some(found["problem"].as_str()?.to_owned())
}

/// Fills the pool over its threshold, and waits until it grew.
fn grows(stage: &Stage, volume: &str, written: &mut u64, when: &str) {
    let pool = stage.wait(when, |pool| pool["state"] == "Active");
    let grown = extensions(&pool, "Data").len();
    let to = (pool["size"].as_u64().unwrap() * 75 / 100) >> 20;
    writer::write(volume, *written, to - *written).expect("no write fails");
    *written = to;
    let pool = stage.wait(&format!("it grew: {when}"), |pool| {
        extensions(pool, "Data").len() > grown
    });
    println!("result: {when}: it grew to {}", pool["size"]);
}

#[test]
fn a_pool_grows_while_the_file_or_the_journal_is_bad_and_when_another_watcher_takes_over() {
    let pool = "size: 20%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {data: {horizon: 1s, minStep: 32Mi}}";
    let mut stage = Stage::new(pool);
    let good = stage.class.clone();
    let dir = stage.dir.path().to_owned();
    let volume = stage.volume("v", "600m");
    let mut written = 0;

    stage.terminate();
    stage.class = good.replace("kind: DiskClass", "kind: DiskClas");
    stage.start_with(&[]);
    grows(&stage, &volume, &mut written, "with a bad file");
    // The pool may grow before the first look over the disks.
    said(&dir, "Configuration", "DiskClas");
    let text = output(
        env!("CARGO_BIN_EXE_disk-watcher"),
        &[
            "status",
            "--status-dir",
            dir.join("status").to_str().unwrap(),
        ],
    );
    assert!(text.status.success(), "what it shows is new");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("no disk is taken"), "{text}");
    std::fs::write(dir.join("config.yaml"), &good).unwrap();
    wait_for(&dir, "it is mended", || {
        wrong(&dir, "Configuration").is_none()
    });
    assert_eq!(stages(&dir), ["Ready", "Ready"]);

    stage.terminate();
    let asked = output(
        env!("CARGO_BIN_EXE_disk-watcher"),
        &[
            "status",
            "--status-dir",
            dir.join("status").to_str().unwrap(),
        ],
    );
    assert_eq!(asked.status.code(), Some(3), "nobody answers");
    let damaged = dir.join("journal/claims/x.json");
    std::fs::write(&damaged, "{").unwrap();
    stage.class = good;
    stage.start_with(&[]);
    grows(&stage, &volume, &mut written, "with a damaged journal");
    said(&dir, "Journal", "x.json");
    run("rm", &[damaged.to_str().unwrap()]);
    wait_for(&dir, "the journal is open", || {
        status(&dir)["preflight"].is_array() && wrong(&dir, "Journal").is_none()
    });

    let second = Watcher::start(&dir, &stage.class);
    wait_for(&dir, "the second waits", || {
        stage
            .log()
            .contains("another disk-watcher acts on this node")
    });
    grows(&stage, &volume, &mut written, "beside a second one");
    stage.stop();
    wait_for(&dir, "the second acts", || {
        stage.log().contains("the other disk-watcher has ended")
    });
    grows(&stage, &volume, &mut written, "by the second one");
    second.terminate();
}

#[test]
fn a_pvmove_that_was_cut_ends_although_the_file_is_bad() {
    let mut stage = Stage::new("size: 20%, metadata: {size: 4Mi}");
    let dir = stage.dir.path().to_owned();
    stage.terminate();
    let args = [
        "pvs",
        "--noheadings",
        "-o",
        "pv_uuid,pv_name",
        "-S",
        "pv_used>64m",
    ];
    let found = run("lvm", &args);
    let (uuid, device) = found.trim().split_once(' ').unwrap();
    // As the watcher leaves it whose machine lost its power.
    let claim = dir.join(format!("journal/claims/{uuid}.json"));
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&claim).unwrap()).unwrap();
    record["leaving"] = serde_json::json!({"Draining": 50});
    std::fs::write(&claim, record.to_string()).unwrap();
    let moving = "lvm lvs -a --noheadings -o name fast | grep -c pvmove";
    let cut = format!(
        "lvm pvmove -i 60 {} & moves=$!; until [ \"$({moving})\" -gt 0 ]; do sleep 0.1; done; sleep 1; kill -9 $moves",
        device.trim()
    );
    run("sh", &["-c", &cut]);
    let left = || !output("sh", &["-c", moving]).stdout.starts_with(b"0");
    assert!(left());

    stage.class = stage.class.replace("kind: DiskClass", "kind: DiskClas");
    stage.start_with(&[]);
    wait_for(&dir, "it has ended", || !left());
    said(&dir, "Configuration", "DiskClas");
    let pool = stage.wait("the pool can grow", |pool| {
        crate::pools::stage::condition(pool, "Extendable")["status"] == true
    });
    println!(
        "result: a pvmove that was left behind has ended, and the pool is {}",
        pool["state"]
    );
}
