//! A pool is what its class says when it is made, and what both daemons say of it is the same.

use std::sync::Arc;

use lvmd::args::ConfigSource;
use lvmd::config::Config;
use lvmd::metrics::Metrics;
use lvmd::run::Embedded;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, condition, one_then_two};
use crate::harness::{run, wait_for};

/// A field of `lvs` or `vgs`, in bytes where it is a size.
fn shown(command: &str, field: &str, what: &str) -> String {
    let args = [
        command,
        "--noheadings",
        "--nosuffix",
        "--units",
        "b",
        "--separator",
        ",",
        "-o",
        field,
        what,
    ];
    run("lvm", &args)
}

/// What this command of lvm reports of something, in bytes.
pub(super) fn bytes(command: &str, field: &str, what: &str) -> u64 {
    shown(command, field, what).parse().unwrap()
}

#[test]
fn a_pool_is_made_as_its_class_says_and_follows_its_group() {
    let pool = "size: 60%, zero: false, discards: nopassdown, expectedMaxSize: 2Ti, \
                metadata: {min: 4Mi, max: 8Mi}, followVG: true";
    let [one, two] = one_then_two(pool);
    let mut stage = Stage::of(one);
    assert_eq!(
        shown(
            "lvs",
            "zero,discards,chunk_size,lv_metadata_size",
            "fast/pool0"
        ),
        ",nopassdown,131072,8388608",
        "the chunk is for 2 TiB"
    );
    let share = |size: u64| size * 100 / bytes("vgs", "vg_size", "fast");
    let before = bytes("lvs", "lv_size", "fast/pool0");
    assert!((58..=60).contains(&share(before)), "{before}");

    stage.stop();
    stage.class = two;
    let stage = stage.started();
    wait_for(
        stage.dir.path(),
        "the pool has its share of two disks",
        || {
            bytes("vgs", "pv_count", "fast") == 2
                && share(bytes("lvs", "lv_size", "fast/pool0")) >= 58
        },
    );
    let after = bytes("lvs", "lv_size", "fast/pool0");
    assert!(share(after) <= 60, "{after}");
    println!("result: from {before} to {after} bytes when a disk joined, nothing written");
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_pool_leaves_the_room_of_a_disk_that_joined_to_one_that_is_to_leave() {
    let [one, two] = one_then_two("size: 60%, followVG: true");
    let mut stage = Stage::of(one);
    let before = bytes("lvs", "lv_size", "fast/pool0");
    let first = shown("vgs", "pv_uuid", "fast");
    let node = run("uname", &["-n"]);

    stage.stop();
    stage.class = format!(
        "{two}---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\n\
         spec: {{node: {node}, pvUUID: {first}}}\n"
    );
    let stage = stage.started();
    wait_for(stage.dir.path(), "one disk joined, the other left", || {
        bytes("vgs", "pv_count", "fast") == 1 && shown("vgs", "pv_uuid", "fast") != first
    });
    assert_eq!(bytes("lvs", "lv_size", "fast/pool0"), before);
    println!("result: a pool of {before} bytes moved from one disk to another that joined");
}

/// What lvmd, on its own, has to give of the pool, in bytes.
fn free_by_lvmd(stage: &Stage) -> u64 {
    let file = stage.dir.path().join("lvmd.yaml");
    let text = "device-classes:\n- {name: thin, volume-group: fast, default: true, spare-gb: 0, \
                type: thin, thin-pool: {name: pool0, overprovision-ratio: 5.0}}\n";
    std::fs::write(&file, text).unwrap();
    let config = ConfigSource::Fixed(Arc::new(Config::load(&file).unwrap()));
    let metrics = Metrics::register(&mut Registry::default(), None);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let free = runtime.block_on(async {
        let stop = CancellationToken::new();
        let lvmd = Embedded::new(config, "lvmd", metrics, &stop).unwrap();
        lvmd.volumes.free("thin").await.unwrap().0
    });
    runtime.shutdown_background();
    free
}

#[test]
fn both_daemons_say_in_the_same_moment_that_a_pool_takes_no_more_volumes() {
    let stage = Stage::new("size: 20%, autoExtend: {enabled: false}");
    let takes = |pool: &serde_json::Value| condition(pool, "TakesVolumes")["status"] == true;
    assert!(takes(&stage.pool()));
    let free = free_by_lvmd(&stage);
    assert!(free > 0);

    let size = bytes("lvs", "lv_size", "fast/pool0") >> 20;
    let volume = stage.volume("data", &format!("{size}M"));
    let fill = |from: u64, to: u64| {
        let (of, seek, count) = (
            format!("of={volume}"),
            format!("seek={from}"),
            format!("count={}", to - from),
        );
        let args = [
            "if=/dev/urandom",
            &of,
            &seek,
            &count,
            "bs=1M",
            "oflag=direct",
            "status=none",
        ];
        run("dd", &args);
    };
    fill(0, size * 90 / 100);
    stage.wait("90 % is seen", |pool| {
        pool["used"].as_u64() >= Some((size * 89 / 100) << 20)
    });
    assert!(
        takes(&stage.pool()) && free_by_lvmd(&stage) > 0,
        "below the gate"
    );
    fill(size * 90 / 100, size * 97 / 100);
    let pool = stage.wait("the gate", |pool| !takes(pool));
    assert_eq!(condition(&pool, "TakesVolumes")["reason"], "DataAtGate");
    assert_eq!(free_by_lvmd(&stage), 0);
    println!("result: {free} bytes, and 0 from the gate on, where TakesVolumes is false");

    run("blkdiscard", &["-f", &volume]);
    stage.wait("it is open again", takes);
    assert!(free_by_lvmd(&stage) > 0);
}
