//! Disks that have to be blank to their last byte are read in the background.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::faults::status::{codes, entry, looked_twice};
use crate::harness::{CLASS, Watcher, clean, disks, is_ready, run, stage, wait_for};
use crate::scsi::Bench;

const ADDRESS: &str = "127.0.0.1:9110";

/// A byte that neither the ends nor the samples nor a probe of a disk of 512 MiB see.
const FAR: u64 = (200 << 20) + 12_345;

/// Takes one of the guest's own disks, once all of it was read.
fn blank() -> String {
    CLASS.replace("HeadAndTail", "Full")
}

/// The same, and large slow disks, without a word about how much of them has to be blank.
fn with_slow_ones() -> String {
    let slow = CLASS
        .replace("fast", "slow")
        .replace("transport: [ubd]", "transport: [scsi_debug]")
        .replace(", requireZeroed: HeadAndTail", "");
    format!("{}---\n{slow}", blank())
}

/// The first line of the answer to a question for health.
fn health() -> String {
    let mut stream = TcpStream::connect(ADDRESS).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page.lines().next().unwrap_or_default().to_owned()
}

fn is_read(dir: &Path, name: &str) -> bool {
    codes(dir, name).contains(&"BeingRead".to_owned())
}

fn percent(dir: &Path, name: &str) -> Option<u64> {
    entry(dir, name)["reading"]["percent"].as_u64()
}

/// Writes one byte to a disk, past the page cache of everybody else.
fn put(disk: &str, at: u64, byte: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(disk).unwrap();
    file.write_all_at(&[byte], at).unwrap();
    file.sync_all().unwrap();
}

fn log_says(dir: &Path, what: &str) -> usize {
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    log.matches(what).count()
}

#[test]
fn a_slow_disk_is_read_whole_while_another_is_taken_and_until_it_is_pulled() {
    clean();
    // Its size is one thing and its memory another: what stands behind 16 MiB is the same again.
    let bench = Bench::with(&["dev_size_mb=16", "virtual_gb=32", "ndelay=3000000"]);
    let slow = bench.add();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let begun = Instant::now();
    let watcher = Watcher::with(dir, &with_slow_ones(), &["--metrics-bind-address", ADDRESS]);
    let name = slow.name();
    wait_for(dir, "the slow one is being read", || {
        is_read(dir, &name) && entry(dir, &name)["state"] == "Candidate"
    });
    wait_for(dir, "the other one is Ready", || is_ready(dir));
    let taken = begun.elapsed();
    wait_for(dir, "progress", || percent(dir, &name) > Some(1));
    let read = percent(dir, &name).unwrap();
    println!(
        "result: a disk taken after {taken:.1?} while another is read, then {read} % of 32 GiB"
    );
    assert!(health().contains("200"), "{}", health());

    // A zero: the disk is as blank as before, and that is not known any more.
    put(&slow.node().display().to_string(), 7 << 30, 0);
    wait_for(dir, "it begins anew", || {
        percent(dir, &name).is_some_and(|now| now < read)
    });
    assert!(is_read(dir, &name));

    slow.pull();
    wait_for(dir, "it is gone", || entry(dir, &name).is_null());
    let begun_to_read = log_says(dir, "reading all of it");
    wait_for(dir, "nobody reads it", || {
        log_says(dir, "its reading ended") == begun_to_read
    });

    slow.plug();
    let name = slow.name();
    wait_for(dir, "it is read again", || percent(dir, &name).is_some());
    let asked = Instant::now();
    watcher.terminate();
    let ended = asked.elapsed();
    println!("result: ended {ended:.1?} after SIGTERM");
    // Reading it to its end takes longer than this.
    assert!(ended < Duration::from_secs(20), "{ended:?}");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
fn one_byte_far_in_the_middle_is_found_and_a_cut_claim_is_read_again() {
    clean();
    let disk = &disks()[0];
    let name = disk.trim_start_matches("/dev/").to_owned();
    put(disk, FAR, 1);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let only = blank().replace(
        "select: {",
        &format!("select: {{cel: 'disk.dev_path == \"{disk}\"', allowUnstableNames: true, "),
    );
    let watcher = Watcher::start(dir, &only);
    wait_for(dir, "NotZeroed", || {
        codes(dir, &name).contains(&"NotZeroed".to_owned())
    });
    let reasons = entry(dir, &name)["reasons"].to_string();
    assert!(
        reasons.contains(&format!("byte {FAR} is not zero")),
        "{reasons}"
    );
    looked_twice(dir);
    assert_eq!(stage(dir), None);

    put(disk, FAR, 0);
    drop(watcher);
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let watcher = Watcher::start(dir, &only);
        wait_for(dir, "Claimed", || stage(dir).is_some());
        watcher.kill();
        let cut = stage(dir);
        let readings = log_says(dir, "reading all of it");
        let watcher = Watcher::start(dir, &only);
        wait_for(dir, "Ready", || is_ready(dir));
        run("lvm", &["vgck", "fast"]);
        let more = log_says(dir, "reading all of it") - readings;
        println!("result: killed at {cut:?}, read {readings} times, then {more} more");
        drop(watcher);
        run("lvm", &["vgremove", "-q", "-y", "fast"]);
        clean();
        if cut.as_deref() == Some("Claimed") {
            assert!(more > 0, "a claim that was cut is read again");
            return;
        }
    }
    panic!("it was never killed before its label");
}
