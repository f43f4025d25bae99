//! Writers at full speed while the pool grows under them.

use std::time::Duration;

use super::stage::{Stage, extensions};
use super::writer;
use crate::harness::all;

#[test]
fn a_writer_at_full_speed_sees_no_error_while_the_pool_grows_under_it() {
    // A short horizon, so that it grows in steps and not once to its largest size.
    let stage = Stage::new(
        "size: 20%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {data: {horizon: 1s}}",
    );
    fill(&stage, 700, 460);
}

#[test]
#[ignore = "long: 8 GiB"]
fn eight_gibibytes_at_full_speed_see_no_error_on_large_disks() {
    let stage = Stage::large("size: 10%, autoExtend: {data: {horizon: 10s}}");
    fill(&stage, 10 << 10, 8 << 10);
}

#[test]
#[ignore = "long: 8 GiB"]
fn eight_gibibytes_have_the_metadata_grow_before_it_is_full_on_large_disks() {
    const PIECE: u64 = 1 << 10;
    // The data has room for all of it and leaves some to the metadata, in whose 4 MiB each chunk of 64 KiB is a mapping
    // of its own.
    let stage = Stage::large(
        "size: 85%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {data: {maxSize: 85%}}",
    );
    let volume = stage.volume("v", "8g");
    let pieces: Vec<_> = (0..8)
        .map(|piece| {
            let written = writer::write(&volume, piece * PIECE, PIECE).expect("no write fails");
            println!("\nresult: {written}");
            // LVM makes none in a pool that is over its threshold of 70 % and does not grow, as this one is in the end.
            if piece < 7 {
                stage.snapshot("v", &format!("s{piece}"));
            }
            written
        })
        .collect();
    for (piece, written) in (0..).zip(&pieces) {
        assert!(writer::is_there(&volume, piece * PIECE, written));
        // The snapshot that was taken right after it has it too.
        let snapshot = format!("/dev/fast/s{piece}");
        assert!(piece == 7 || writer::is_there(&snapshot, piece * PIECE, written));
    }
    let pool = stage.wait("the metadata grew", |pool| {
        !extensions(pool, "Metadata").is_empty()
    });
    println!(
        "result: the metadata grew {} times, to {} bytes, of which {} are used",
        extensions(&pool, "Metadata").len(),
        pool["metadataSize"],
        pool["metadataUsed"]
    );
    assert!(
        pool["needsCheck"] != true && pool["state"] != "ReadOnly",
        "{pool:#}"
    );
    grew_soundly(&stage);
}

#[test]
#[ignore = "long: 4 GiB"]
fn a_pool_grows_no_further_than_its_chunk_can_address_on_large_disks() {
    // 64 bytes for each chunk of 64 KiB: 4 MiB of metadata, which may not grow, are for 4 GiB of data.
    let stage = Stage::large(
        "size: 30%, metadata: {size: 4Mi}, chunkSize: 64Ki, \
         autoExtend: {data: {horizon: 10s}, metadata: {maxSize: 4Mi}}",
    );
    let size = |pool: &serde_json::Value| pool["size"].as_u64().unwrap() >> 20;
    let before = size(&stage.pool());
    let volume = stage.volume("v", "6g");
    let written = writer::write(&volume, 0, 3900).expect("no write fails");
    let pool = stage.wait("it can grow no more", |pool| {
        super::stage::condition(pool, "Extendable")["status"] == false
    });
    let why = super::stage::condition(&pool, "Extendable");
    println!(
        "\nresult: {written}; from {before} MiB it grew to {}, and no further: {}",
        size(&pool),
        why["message"]
    );
    assert!(before < 4096, "{before}");
    assert_eq!(size(&pool), 4096, "{pool:#}");
    assert_eq!(why["reason"], "ChunkTooSmall", "{why}");
    assert!(writer::is_there(&volume, 0, &written));
    grew_soundly(&stage);
}

/// Fills a volume up to 69 % of its pool, then with `mib` MiB more, and reads all of it.
fn fill(stage: &Stage, volume_mib: u64, mib: u64) {
    let before = stage.pool()["size"].as_u64().unwrap();
    let volume = stage.volume("v", &format!("{volume_mib}m"));
    let first = (before * 69 / 100) >> 20;
    let start = writer::write(&volume, 0, first).expect("no write fails");
    let written = writer::write(&volume, first, mib).expect("no write fails");
    println!("\nresult: {written}");
    assert!(writer::is_there(&volume, 0, &start), "every byte is there");
    assert!(
        writer::is_there(&volume, first, &written),
        "every byte is there"
    );
    let pool = stage.wait("it grew", |pool| extensions(pool, "Data").len() >= 2);
    let (data, metadata) = (
        extensions(&pool, "Data").len(),
        extensions(&pool, "Metadata").len(),
    );
    println!(
        "result: the data grew {data} times, from {before} to {} bytes, the metadata {metadata} times",
        pool["size"]
    );
    grew_soundly(stage);
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_storm_of_snapshots_at_full_speed_has_the_metadata_grow_before_it_is_full() {
    /// What of the volume is written, in MiB, and how far apart it is written again after each
    /// snapshot: with 64 KiB chunks, each place takes a block of metadata of its own.
    const WRITTEN: u64 = 480;
    const APART: u64 = 8;
    let stage = Stage::new(
        "size: 60%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {metadata: {threshold: 50%}}",
    );
    let volume = stage.volume("v", "480m");
    writer::write(&volume, 0, WRITTEN).expect("no write fails");
    let places: Vec<u64> = (0..WRITTEN / APART).map(|n| n * APART).collect();
    let mut longest = Duration::ZERO;
    let rounds = if all() { 72 } else { 14 };
    for round in 1..=rounds {
        stage.snapshot("v", &format!("s{round}"));
        let spots = writer::Spots::open(&volume);
        for place in &places {
            let took = spots.write(*place, round).expect("no write fails");
            longest = longest.max(took);
        }
    }
    // What each snapshot has is what the volume had then: the marks of the round before.
    for round in 2..=rounds {
        let spots = writer::Spots::open(&format!("/dev/fast/s{round}"));
        assert!(places.iter().all(|place| spots.has(*place, round - 1)));
    }
    let spots = writer::Spots::open(&volume);
    assert!(places.iter().all(|place| spots.has(*place, rounds)));
    let pool = stage.wait("the metadata grew", |pool| {
        !extensions(pool, "Metadata").is_empty()
    });
    let grown = extensions(&pool, "Metadata").len();
    println!(
        "\nresult: {rounds} snapshots: the metadata grew {grown} times, to {} bytes, of which {} are used; longest write {} ms",
        pool["metadataSize"],
        pool["metadataUsed"],
        longest.as_millis()
    );
    assert!(
        pool["needsCheck"] != true && pool["state"] != "ReadOnly",
        "{pool:#}"
    );
    grew_soundly(&stage);
}

/// No extension failed.
fn grew_soundly(stage: &Stage) {
    let log = stage.log();
    assert!(!log.contains("could not be extended"), "{log}");
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn writers_of_a_full_pool_wait_and_go_on_when_a_disk_joins() {
    let [one, two] =
        super::stage::one_then_two("size: 80%, metadata: {size: 4Mi}, chunkSize: 64Ki");
    let stage = Stage::of(one);
    let volume = stage.volume("v", "1g");
    let size = stage.pool()["size"].as_u64().unwrap() >> 20;
    // More than its disk holds.
    let blocks = 640;
    assert!(size < blocks, "{size} MiB");
    let writer = std::thread::spawn({
        let volume = volume.clone();
        move || writer::write(&volume, 0, blocks)
    });
    let pool = stage.wait("it is full", |pool| pool["state"] == "OutOfSpace");
    assert_eq!(
        super::stage::condition(&pool, "Extendable")["status"],
        false
    );
    let full = std::time::Instant::now();
    std::fs::write(stage.dir.path().join("config.yaml"), two).unwrap();
    let written = writer.join().unwrap().expect("no write fails");
    println!(
        "\nresult: {written}, of which it waited {:.1?} for the disk",
        full.elapsed()
            .min(written.longest_write.max(written.longest_fsync))
    );
    stage.wait("it has room", |pool| pool["state"] != "OutOfSpace");
    assert!(
        writer::is_there(&volume, 0, &written),
        "every byte is there"
    );
}
