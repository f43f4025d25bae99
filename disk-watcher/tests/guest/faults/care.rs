//! What is wrong with the watcher itself: its file, its journal, a second one of it. The pool goes
//! on growing.

use std::path::Path;

use serde_json::Value;

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

/// A /run with no byte left, while it lives; the watcher's status is in it.
struct FullRun;

impl FullRun {
    const STATUS: &str = "/run/watcher-of-a-test";

    fn fill() -> Self {
        let full = Self;
        let used = run("df", &["-k", "--output=used", "/run"]);
        let used = used.lines().last().unwrap().trim().to_owned();
        run("mount", &["-o", &format!("remount,size={used}k"), "/run"]);
        // What is left of the last page.
        let filler = format!("of={}/filler", Self::STATUS);
        let dd = output("dd", &["if=/dev/zero", &filler, "bs=4k"]);
        assert!(!dd.status.success(), "it is full");
        full
    }
}

impl Drop for FullRun {
    fn drop(&mut self) {
        output("mount", &["-o", "remount,size=50%", "/run"]);
        output("rm", &["-f", &format!("{}/filler", Self::STATUS)]);
    }
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_pool_grows_and_its_status_is_answered_while_run_is_full() {
    let pool = "size: 20%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {data: {horizon: 1s, minStep: 32Mi}}";
    let mut stage = Stage::new(pool);
    assert_eq!(run("findmnt", &["-n", "-o", "FSTYPE", "/run"]), "tmpfs");
    let volume = stage.volume("v", "600m");
    stage.terminate();
    stage.start_with(&["--status-dir", FullRun::STATUS]);
    let status = Path::new(FullRun::STATUS).join("status.json");
    let program = env!("CARGO_BIN_EXE_disk-watcher");
    // Of the running watcher, through its socket.
    let shown = || {
        let asked = output(
            program,
            &["status", "-o", "json", "--status-dir", FullRun::STATUS],
        );
        let answer: Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
        answer["pools"][0].clone()
    };
    let grown = |pool: &Value| extensions(pool, "Data").len();
    let dir = stage.dir.path();
    wait_for(dir, "it is active", || shown()["state"] == "Active");
    let full = FullRun::fill();
    let size = shown()["size"].as_u64().unwrap() >> 20;
    writer::write(&volume, 0, size * 75 / 100).expect("no write fails");
    wait_for(dir, "it grew", || grown(&shown()) > 0);
    wait_for(dir, "it says that its file is old", || {
        stage.log().contains("the status cannot be kept")
    });
    println!(
        "\nresult: /run is full: it grew to {}, and status says so",
        shown()["size"]
    );
    drop(full);
    wait_for(dir, "the file is new again", || {
        let text = std::fs::read(&status).unwrap_or_default();
        let kept: Value = serde_json::from_slice(&text).unwrap_or_default();
        grown(&kept["pools"][0]) > 0
    });
    assert!(!stage.log().contains("panicked"), "{}", stage.log());
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
