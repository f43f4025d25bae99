//! A host whose clock, udevd or file systems fail.

use std::path::Path;

use super::status::{codes, entry};
use crate::harness::{
    Bystanders, CLASS, Watcher, all, clean, disks, is_ready, output, run, stages, sum, wait_for,
};
use crate::metrics::{ADDRESS, page};
use crate::pools::stage::{Stage, extensions};
use crate::pools::writer;
use crate::scsi::{Bench, class};

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_clock_that_jumps_keeps_no_pool_from_growing() {
    let stage = Stage::new(
        "size: 20%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {data: {horizon: 1s}}",
    );
    let volume = stage.volume("v", "600m");
    let before = stage.pool()["size"].as_u64().unwrap();
    let (mut from, mut grown) = (0, 0);
    for jump in ["+10 years", "-20 years", "+10 years"] {
        run("date", &["-s", jump]);
        let now = run("date", &["+%F"]);
        // Over the threshold of what it has now.
        let size = stage.pool()["size"].as_u64().unwrap();
        let to = (size * 75 / 100) >> 20;
        writer::write(&volume, from, to - from).expect("no write fails");
        from = to;
        let pool = stage.wait("it grew", |pool| extensions(pool, "Data").len() > grown);
        grown = extensions(&pool, "Data").len();
        println!(
            "\nresult: on {now} it has grown {grown} times, to {}",
            pool["size"]
        );
        assert!(pool["size"].as_u64() > Some(before));
    }
    assert!(!stage.log().contains("panicked"), "{}", stage.log());
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_watcher_that_was_stopped_for_long_has_the_pool_grow_when_it_goes_on() {
    let stage = Stage::new("size: 20%, metadata: {size: 4Mi}, chunkSize: 64Ki");
    let volume = stage.volume("v", "400m");
    let size = stage.pool()["size"].as_u64().unwrap() >> 20;
    stage.signal("-STOP");
    writer::write(&volume, 0, size * 95 / 100).expect("it has room for this");
    run("sleep", &[if all() { "300" } else { "20" }]);
    assert!(
        extensions(&stage.pool(), "Data").is_empty(),
        "it is stopped"
    );
    stage.signal("-CONT");
    let gone_on = std::time::Instant::now();
    stage.wait("it grew", |pool| !extensions(pool, "Data").is_empty());
    println!(
        "\nresult: it grew {:.1?} after it went on",
        gone_on.elapsed()
    );
    writer::write(&volume, size * 95 / 100, 100).expect("no write fails");
}

/// A small file system of its own for the journal.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn new(path: &'a Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let at = path.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", at]);
        Self(path)
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        run("mount", &["-o", &how, self.0.to_str().unwrap()]);
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        output("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

#[test]
fn nothing_is_changed_while_the_journal_cannot_be_written() {
    clean();
    let before: Vec<String> = disks().iter().map(|disk| sum(disk)).collect();
    let untouched = |when: &str| {
        let now: Vec<String> = disks().iter().map(|disk| sum(disk)).collect();
        assert_eq!(now, before, "{when}: nothing was written");
    };
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let small = Small::new(&journal);
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();

    let filler = journal.join("somebody-elses");
    output(
        "dd",
        &[
            "if=/dev/zero",
            &format!("of={}", filler.display()),
            "bs=4k",
            "count=1000",
        ],
    );
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "it says why", || {
        log().contains("No space left")
    });
    untouched("full");
    drop(watcher);
    std::fs::remove_file(&filler).unwrap();
    println!("result: full: {}", last(&log(), "No space left"));

    small.remount("ro");
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "it says why", || {
        log().contains("Read-only file system")
    });
    untouched("read-only");
    drop(watcher);
    println!("result: read-only: {}", last(&log(), "Read-only"));

    small.remount("rw");
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

fn last<'a>(log: &'a str, with: &str) -> &'a str {
    log.lines()
        .rfind(|line| line.contains(with))
        .unwrap_or_default()
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_disk_is_not_taken_while_udevd_does_not_answer_and_is_in_a_storm_of_events() {
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), &class("HeadAndTail", 1));
    wait_for(dir.path(), "it looked", || {
        dir.path().join("status/status.json").exists()
    });
    // The kernel would have udevd load what drives the disk.
    run("modprobe", &["sd_mod"]);
    run("udevadm", &["settle"]);
    let udevd = run("ps", &["-o", "pid=", "-C", "systemd-udevd"]);
    let udevd = udevd.split_whitespace().next().unwrap().to_owned();
    run("kill", &["-STOP", &udevd]);
    let disk = bench.add();
    let name = disk.name();
    wait_for(dir.path(), "it waits for udevd", || {
        codes(dir.path(), &name).contains(&"NotSettled".to_owned())
    });
    run("sleep", &["15"]);
    assert_eq!(stages(dir.path()), [""; 0], "it is not taken");
    assert_eq!(disk.written(), [0; 4], "nothing was written");
    println!("result: udevd stopped: {:?}", codes(dir.path(), &name));

    // What waits in the kernel for udevd, and more than a socket takes.
    for _ in 0..10_000 {
        std::fs::write("/sys/class/mem/null/uevent", "change").unwrap();
    }
    run("kill", &["-CONT", &udevd]);
    let begun = std::time::Instant::now();
    wait_for(dir.path(), "Ready", || stages(dir.path()) == ["Ready"]);
    println!(
        "result: Ready {:.1?} after udevd went on with 10,000 events",
        begun.elapsed()
    );
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

/// Without CAP_NET_ADMIN the kernel keeps a few hundred events at most for it.
#[test]
#[ignore = "long: `make test-all` runs it"]
fn what_happened_while_events_were_lost_is_found_by_a_new_look() {
    clean();
    let others = Bystanders::beside(0);
    let bench = Bench::new(64, 512);
    let [_ours, other] = [bench.add(), bench.add()];
    let dir = tempfile::tempdir().unwrap();
    let starter = ["setpriv", "--bounding-set", "-net_admin"];
    let metrics = ["--metrics-bind-address", ADDRESS];
    let class = class("HeadAndTail", 1);
    let watcher = Watcher::inside(&starter, dir.path(), &class, &metrics);
    let name = other.name();
    wait_for(dir.path(), "both are seen", || {
        stages(dir.path()) == ["Ready"] && !entry(dir.path(), &name).is_null()
    });
    let looks = || {
        let page = page();
        let line = page
            .lines()
            .find(|l| l.starts_with("diskwatcher_resyncs_total"));
        line.and_then(|l| l.split(' ').nth(1)?.parse::<u64>().ok())
    };
    wait_for(dir.path(), "the first look is counted", || {
        looks().is_some()
    });
    let before = looks().unwrap();
    watcher.signal("-STOP");
    for _ in 0..2_000 {
        std::fs::write("/sys/class/mem/null/uevent", "change").unwrap();
    }
    other.pull();
    watcher.signal("-CONT");
    let begun = std::time::Instant::now();
    wait_for(dir.path(), "it is missed", || {
        entry(dir.path(), &name).is_null()
    });
    let missed = begun.elapsed();
    wait_for(dir.path(), "it looked anew", || looks() > Some(before));
    println!("\nresult: {name} was pulled while events were lost, and missed {missed:.1?} later");
    drop(watcher);
    others.check();
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
fn nothing_is_taken_before_the_kernel_has_thin_pools() {
    clean();
    let others = Bystanders::beside(1);
    run("modprobe", &["-r", "dm_thin_pool"]);
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), CLASS);
    let disk = disks().remove(0);
    let name = disk.trim_start_matches("/dev/");
    wait_for(dir.path(), "the host is not ready", || {
        codes(dir.path(), name).contains(&"HostNotReady".to_owned())
    });
    super::status::looked_twice(dir.path());
    assert!(stages(dir.path()).is_empty(), "nothing was claimed");
    let reasons = super::status::entry(dir.path(), name)["reasons"].to_string();
    assert!(reasons.contains("dm_thin_pool"), "{reasons}");
    run("modprobe", &["dm_thin_pool"]);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    println!("\nresult: waited for dm_thin_pool, Ready with it");
    drop(watcher);
    others.check();
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

/// As a pod with hostPID on Talos 1.14: /run is the host's, PID 1 is that of all containers.
#[test]
fn nothing_is_taken_where_not_every_process_is_seen() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    let disk = disks().remove(0);
    let before = sum(&disk);
    let name = disk.trim_start_matches("/dev/");
    let starter = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let watcher = Watcher::inside(&starter, dir.path(), CLASS, &[]);
    wait_for(dir.path(), "the host is not ready", || {
        codes(dir.path(), name).contains(&"HostNotReady".to_owned())
    });
    super::status::looked_twice(dir.path());
    let reasons = super::status::entry(dir.path(), name)["reasons"].to_string();
    assert!(reasons.contains("not all of the kernel's"), "{reasons}");
    assert!(stages(dir.path()).is_empty(), "nothing was claimed");
    assert_eq!(sum(&disk), before);
    println!("\nresult: HostNotReady, the disk's sum is as before");
    drop(watcher);
    // It was that alone.
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
