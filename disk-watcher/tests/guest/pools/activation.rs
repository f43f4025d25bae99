//! A pool after a boot: activated when it is shown to be sound, and by nobody twice.
//!
//! A boot is made by deactivating everything and forgetting that it was active.

use std::path::Path;

use super::stage::{Stage, class};
use crate::harness::{output, run, sum, wait_for};

/// What stands in for thin_check while it lives.
struct Instead;

impl Instead {
    fn of(what: &Path) -> Self {
        run("mount", &["--bind", what.to_str().unwrap(), THIN_CHECK]);
        Self
    }

    fn script(dir: &Path, text: &str) -> Self {
        let path = dir.join("thin_check");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        run("chmod", &["+x", path.to_str().unwrap()]);
        Self::of(&path)
    }
}

impl Drop for Instead {
    fn drop(&mut self) {
        output("umount", &[THIN_CHECK]);
    }
}

const THIN_CHECK: &str = "/usr/sbin/thin_check";

fn watched(extra: &str) -> Stage {
    let group = format!("volumeGroup: {{name: fast, {extra}}}");
    let class =
        class("size: 40%, metadata: {min: 4Mi}").replace("volumeGroup: {name: fast}", &group);
    Stage::of(class)
}

/// A volume that is full, and its sum.
fn written(stage: &Stage) -> (String, String) {
    let volume = stage.volume("data", "24M");
    let dd = format!("if=/dev/urandom of={volume} bs=1M count=24 oflag=direct status=none");
    run("dd", &dd.split(' ').collect::<Vec<_>>());
    let sum = sum(&volume);
    (volume, sum)
}

/// The watcher runs again, and the pool and that volume are active.
fn comes_back(stage: &mut Stage) {
    stage.start_with(&[]);
    stage.wait("active", |pool| pool["state"] == "Active");
    wait_for(stage.dir.path(), "its volume is active", || {
        is_active("fast/data")
    });
    run("udevadm", &["settle"]);
}

/// Nothing is active, as after a boot.
fn boot(stage: &Stage) {
    run("lvm", &["vgchange", "-q", "-an", "fast"]);
    std::fs::remove_file(stage.dir.path().join("journal/active/fast.json")).unwrap();
}

fn is_active(lv: &str) -> bool {
    run("lvm", &["lvs", "--noheadings", "-o", "lv_active", lv]) == "active"
}

fn reason(pool: &serde_json::Value) -> String {
    let ready = super::stage::condition(pool, "Ready");
    ready["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_pool_is_activated_after_a_boot_only_when_thin_check_says_in_time_that_it_is_sound() {
    let mut stage = watched("activation: Watcher");
    let auto = run(
        "lvm",
        &["vgs", "--noheadings", "-o", "autoactivation", "fast"],
    );
    assert_eq!(auto, "", "nobody else is to activate it");
    let (volume, before) = written(&stage);
    stage.stop();
    boot(&stage);
    let scripts = tempfile::tempdir().unwrap();
    let missing = || Instead::of(Path::new("/dev/null"));
    let damaged = || Instead::script(scripts.path(), "echo bad node >&2; exit 1");
    let hanging = || Instead::script(scripts.path(), "trap '' TERM; while :; do sleep 1; done");
    let cases: [(&str, &dyn Fn() -> Instead); 3] = [
        ("ThinCheckMissing", &missing),
        ("ThinCheckFailed", &damaged),
        ("ThinCheckTimedOut", &hanging),
    ];
    for (code, instead) in cases {
        let instead = instead();
        stage.start_with(&["--thin-check-limit", "2"]);
        let pool = stage.wait(code, |pool| reason(pool) == code);
        println!(
            "result: {}",
            super::stage::condition(&pool, "Ready")["message"]
        );
        stage.stop();
        assert!(!is_active("fast/pool0"), "{code}");
        let left = run("dmsetup", &["ls"]);
        assert!(!left.contains("fast-"), "{code}: {left}");
        drop(instead);
    }
    // What an activation leaves that is killed.
    let table = "0 8192 zero";
    let field = |name: &str, lv: &str| run("lvm", &["lvs", "-a", "--noheadings", "-o", name, lv]);
    let ids = [
        run("lvm", &["vgs", "--noheadings", "-o", "vg_uuid", "fast"]),
        field("lv_uuid", "fast/pool0_tmeta"),
    ];
    let uuid = format!("LVM-{}-tmeta", ids.concat().replace('-', ""));
    let half = [
        "create",
        "fast-pool0_tmeta",
        "--uuid",
        &uuid,
        "--table",
        table,
    ];
    run("dmsetup", &half);
    comes_back(&mut stage);
    assert_eq!(sum(&volume), before);
    let log = stage.log();
    assert!(log.contains("its parts are removed"), "{log}");

    // A person deactivates it: it stays so, also when the watcher is started again.
    run("lvm", &["vgchange", "-q", "-an", "fast"]);
    stage.wait("told", |pool| reason(pool) == "Deactivated");
    stage.stop();
    stage.start_with(&[]);
    stage.wait("told again", |pool| reason(pool) == "Deactivated");
    assert!(!is_active("fast/pool0"));
}

/// lvm alone cannot: it reads the metadata before the mirror of the pvmove has its table, and goes on with no move of what
/// is not active.
#[test]
fn a_pool_whose_metadata_was_moving_when_the_power_went_is_activated() {
    let mut stage = watched("activation: Watcher");
    let (volume, before) = written(&stage);
    stage.stop();
    let metadata = [
        "lvs",
        "-a",
        "--noheadings",
        "-o",
        "devices",
        "fast/pool0_tmeta",
    ];
    let on = run("lvm", &metadata);
    let disk = on.split('(').next().unwrap();
    // Begun, and never looked at.
    let begun = format!("timeout -s KILL 3 lvm pvmove -i +3600 -n pool0_tmeta {disk}");
    output("sh", &["-c", &begun]);
    assert!(run("lvm", &metadata).starts_with("pvmove0"), "it moves");
    boot(&stage);
    output("lvm", &["pvmove", "--abort"]);
    assert!(run("lvm", &metadata).starts_with("pvmove0"), "it stays");
    let alone = output("lvm", &["lvchange", "-a", "y", "--poll", "n", "fast/pool0"]);
    let why = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(why.contains("Input/output error"), "{why}");

    comes_back(&mut stage);
    assert_eq!(sum(&volume), before);
    let checked = ["table", "fast-pvmove0"];
    assert!(run("dmsetup", &checked).contains("mirror"));
    run("lvm", &["pvmove", "--abort"]);
    assert_eq!(run("lvm", &metadata), on, "it is where it was");
    assert_eq!(sum(&volume), before);
}

#[test]
fn what_nobody_has_open_is_deactivated_at_the_end_where_that_is_asked_for() {
    let mut stage = watched("activation: Watcher, deactivateOnExit: true");
    let used = stage.volume("used", "24M");
    stage.volume("unused", "24M");
    run("mkfs.ext4", &["-q", &used]);
    let mountpoint = tempfile::tempdir().unwrap();
    let at = mountpoint.path().to_str().unwrap().to_owned();
    run("mount", &[&used, &at]);
    stage.terminate();
    let left = run("dmsetup", &["ls"]);
    assert!(
        left.contains("fast-pool0-tpool") && is_active("fast/used"),
        "{left}"
    );
    assert!(!is_active("fast/unused"));
    run("umount", &[&at]);
    stage.start_with(&[]);
    stage.wait("seen", |pool| pool["state"] == "Active");
    stage.terminate();
    let left = run("dmsetup", &["ls"]);
    assert!(!left.contains("fast-"), "{left}");
    // It was ours to deactivate, so it is ours to activate.
    stage.start_with(&[]);
    stage.wait("active again", |pool| pool["state"] == "Active");
}
