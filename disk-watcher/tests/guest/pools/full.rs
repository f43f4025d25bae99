//! Pools with nothing left to grow by: what becomes of writes, and what the reserve is for.

use std::time::{Duration, Instant};

use nix::libc;

use super::made::bytes;
use super::stage::{Stage, class, condition, extensions, one_then_two};
use super::writer;
use crate::harness::output;

/// The kernel's table of the pool, from which it takes what becomes of writes.
fn table() -> String {
    let said = output("dmsetup", &["table", "fast-pool0-tpool"]);
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn writes_fail_at_once_where_nothing_is_left_and_go_on_when_a_disk_joined() {
    // A short horizon, so that it does not take all of the second disk at once.
    let pool = "size: 80%, metadata: {size: 4Mi}, chunkSize: 64Ki, whenFull: auto, \
        autoExtend: {data: {horizon: 1s}}";
    let [one, two] = one_then_two(pool);
    let stage = Stage::of(one);
    assert!(!table().contains("error_if_no_space"), "{}", table());
    let volume = stage.volume("v", "1g");
    let first = 380;
    let start = writer::write(&volume, 0, first).expect("there is room for it");
    stage.wait("there is nothing to grow by", |_| {
        table().contains("error_if_no_space")
    });
    // More than its disk holds.
    let begun = Instant::now();
    let refused = writer::write(&volume, first, 400).expect_err("there is no room for it");
    let (failed, code) = (Instant::now(), refused.raw_os_error());
    assert!(matches!(code, Some(libc::ENOSPC | libc::EIO)), "{refused}");
    let pool = stage.wait("it is full", |pool| pool["state"] == "OutOfSpace");
    println!(
        "\nresult: {refused}, after {:.1?}; shown {:.1?} later",
        failed - begun,
        failed.elapsed()
    );
    assert!(failed.elapsed() < Duration::from_secs(5));
    assert_eq!(condition(&pool, "Extendable")["status"], false, "{pool:#}");
    assert!(writer::is_there(&volume, 0, &start), "no byte is lost");
    std::fs::write(stage.dir.path().join("config.yaml"), two).unwrap();
    stage.wait("it has room, and writes wait again", |pool| {
        pool["state"] == "Active" && !table().contains("error_if_no_space")
    });
    let rest = writer::write(&volume, first, 260).expect("there is room again");
    assert!(writer::is_there(&volume, 0, &start), "every byte is there");
    assert!(writer::is_there(&volume, first, &rest), "and the others");
}

#[test]
fn the_reserve_is_left_to_the_metadata() {
    const SNAPSHOTS: u64 = 10;
    let stage = Stage::of(
        class(
            "size: 85%, metadata: {size: 4Mi}, chunkSize: 64Ki, \
             autoExtend: {data: {maxSize: 99%}, metadata: {threshold: 50%}}",
        )
        .replace(
            "{name: fast}\n  thinPool",
            "{name: fast, vgReserve: 5%}\n  thinPool",
        ),
    );
    let reserve = bytes("vgs", "vg_size", "fast") * 5 / 100;
    let volume = stage.volume("v", "800m");
    let start = writer::write(&volume, 0, 480).expect("no write fails");
    for n in 0..SNAPSHOTS {
        stage.snapshot("v", &format!("s{n}"));
    }
    let rest = writer::write(&volume, 480, 220).expect("no write fails");
    let pool = stage.wait("the data has nothing to grow by", |pool| {
        condition(pool, "Extendable")["reason"] == "GroupFull"
    });
    let data = pool["size"].as_u64().unwrap();
    assert!(bytes("vgs", "vg_free", "fast") >= reserve, "{pool:#}");
    let before = extensions(&pool, "Metadata").len();
    for n in 0..SNAPSHOTS {
        let spots = writer::Spots::open(&format!("/dev/fast/s{n}"));
        for place in (0..480).step_by(8) {
            spots.write(place, n).expect("no write fails");
        }
    }
    let pool = stage.wait("the metadata grew", |pool| {
        extensions(pool, "Metadata").len() > before
    });
    let free = bytes("vgs", "vg_free", "fast");
    println!(
        "\nresult: of a reserve of {reserve} bytes {free} are left; the data has {data}, the metadata {}",
        pool["metadataSize"]
    );
    assert!(free < reserve, "it came out of the reserve");
    assert_eq!(
        pool["size"].as_u64(),
        Some(data),
        "the data took none of it"
    );
    assert!(writer::is_there(&volume, 0, &start));
    assert!(writer::is_there(&volume, 480, &rest));
}
