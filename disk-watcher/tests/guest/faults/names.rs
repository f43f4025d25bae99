//! Disks whose kernel names, ids or serial numbers are not what they were.

use std::path::Path;

use super::status::{commands, entry};
use crate::harness::{Watcher, run, stages, wait_for};
use crate::scsi::{Bench, Disk, class};

/// Two disks in one group, and the watcher gone.
fn onboarded(bench: &Bench, dir: &Path, config: &str) -> [Disk; 2] {
    let disks = [bench.add(), bench.add()];
    let watcher = Watcher::start(dir, config);
    // As status shows them: the journal knows it before the look has ended.
    wait_for(dir, "both are Ready", || {
        disks
            .iter()
            .all(|disk| entry(dir, &disk.name())["state"] == "Ready")
    });
    drop(watcher);
    disks
}

fn two() -> String {
    class("HeadAndTail", 2).replace("maxDisks: 2", "minDisks: 2, maxDisks: 2")
}

#[test]
fn two_disks_that_change_names_over_a_reboot_are_who_they_were() {
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = onboarded(&bench, dir.path(), &self::two());
    let (first, second) = (one.name(), two.name());
    let ids = [&first, &second].map(|name| entry(dir.path(), name)["id"].clone());
    let sums = [one.sum(), two.sum()];
    let before = commands(dir.path());

    // As after a reboot: nothing runs, and the disks come up in another order.
    one.pull();
    two.pull();
    two.plug();
    one.plug();
    assert_eq!([two.name(), one.name()], [first.clone(), second.clone()]);
    println!("result: {first} and {second} have changed places");
    let watcher = Watcher::start(dir.path(), &self::two());
    wait_for(dir.path(), "both are Ready under their new names", || {
        let now = [&second, &first].map(|name| entry(dir.path(), name));
        now.iter()
            .zip(&ids)
            .all(|(disk, id)| disk["id"] == *id && disk["state"] == "Ready")
    });
    drop(watcher);
    assert_eq!([one.sum(), two.sum()], sums, "nothing was written");
    assert_eq!(commands(dir.path()), before, "nothing was run");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
fn a_disk_whose_serial_number_changes_keeps_its_place_by_the_uuid_of_its_pv() {
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = onboarded(&bench, dir.path(), &self::two());
    // The same bytes on a disk that calls itself otherwise, as after an update of a kernel or of
    // the firmware of an adapter.
    let copy = dir.path().join("copy");
    let copied = format!("of={}", copy.display());
    let node = format!("if={}", two.node().display());
    run("dd", &[&node, &copied, "bs=1M", "status=none"]);
    let id = entry(dir.path(), &two.name())["id"].clone();
    two.pull();
    let three = bench.add();
    let node = format!("of={}", three.node().display());
    let copied = format!("if={}", copy.display());
    run(
        "dd",
        &[&copied, &node, "bs=1M", "oflag=direct", "status=none"],
    );
    run("udevadm", &["settle"]);
    let sums = [one.sum(), three.sum()];
    let (before, third) = (commands(dir.path()), three.name());

    let watcher = Watcher::start(dir.path(), &self::two());
    wait_for(dir.path(), "both are Ready", || {
        [&one.name(), &third]
            .iter()
            .all(|name| entry(dir.path(), name)["state"] == "Ready")
    });
    assert_ne!(entry(dir.path(), &third)["id"], id, "its id is another");
    drop(watcher);
    assert_eq!([one.sum(), three.sum()], sums, "nothing was written");
    assert_eq!(commands(dir.path()), before, "nothing was run");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
fn of_disks_with_one_serial_number_none_is_taken() {
    // Every adapter says that it is the same.
    let bench = Bench::with(&["dev_size_mb=64", "vpd_use_hostno=0"]);
    let disks = [bench.add(), bench.add()];
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), &class("HeadAndTail", 2));
    let codes = |disk: &Disk| entry(dir.path(), &disk.name())["reasons"].to_string();
    wait_for(dir.path(), "both are refused for it", || {
        disks.iter().all(|disk| {
            ["DuplicateId", "MultipathSuspect"]
                .iter()
                .any(|code| codes(disk).contains(code))
        })
    });
    drop(watcher);
    for disk in &disks {
        println!("result: {}: {}", disk.name(), codes(disk));
        assert_eq!(disk.written(), [0; 4], "nothing was written");
    }
    assert_eq!(stages(dir.path()), [""; 0], "nothing was claimed");
}
