//! Disks whose kernel names, ids or serial numbers are not what they were.

use std::path::Path;

use super::status::{commands, entry, looked_twice};
use crate::harness::{Bystanders, Watcher, clean, output, run, stages, wait_for};
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
    clean();
    let others = Bystanders::beside(0);
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
    others.check();
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_disk_whose_serial_number_changes_keeps_its_place_by_the_uuid_of_its_pv() {
    clean();
    let others = Bystanders::beside(0);
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
    others.check();
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

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_name_in_disk_config_stays_with_its_disk_whatever_has_it_later() {
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk-config");
    let [one, two] = [bench.add(), bench.add()];
    let name = one.name();
    let line = format!("n1: /dev/{name}\n");
    let start = |mode: &str| {
        let (node, file) = (["--node-name", "n1"], file.to_str().unwrap());
        let compat = ["--compat-disk-config", file, "--compat-mode", mode];
        Watcher::with(dir.path(), "", &[node.as_slice(), &compat].concat())
    };
    let bound = || std::fs::read_to_string(dir.path().join("journal/names.json"));
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    std::fs::write(&file, &line).unwrap();
    let watcher = start("Plan");
    wait_for(dir.path(), "it would be taken", || {
        entry(dir.path(), &name)["state"] == "Planned"
    });
    let (id, names) = (entry(dir.path(), &name)["id"].clone(), bound().unwrap());
    watcher.terminate();

    // The other disk has the name, and the file is read while it is being written.
    one.pull();
    two.pull();
    two.plug();
    one.plug();
    assert_eq!(two.name(), name, "they have changed places");
    std::fs::write(&file, "").unwrap();
    let watcher = start("Enforce");
    wait_for(dir.path(), "the file is refused", || {
        log().contains("disk-config is empty")
    });
    looked_twice(dir.path());
    assert_eq!(bound().unwrap(), names, "the name is as it was bound");
    assert_eq!(stages(dir.path()), [""; 0], "nothing is taken meanwhile");
    std::fs::write(&file, &line).unwrap();
    wait_for(
        dir.path(),
        "the disk that was meant is in the group",
        || entry(dir.path(), &one.name())["volumeGroup"] == "topolvm_vg",
    );

    // And truncated while it runs.
    let refused = || log().matches("disk-config is empty").count();
    let before = refused();
    std::fs::write(&file, "").unwrap();
    wait_for(dir.path(), "the file is refused again", || {
        refused() > before
    });
    std::fs::write(&file, &line).unwrap();
    looked_twice(dir.path());
    drop(watcher);
    let watcher = start("Enforce");
    looked_twice(dir.path());
    assert_eq!(bound().unwrap(), names);
    assert_eq!(entry(dir.path(), &one.name())["id"], id);
    assert_eq!(entry(dir.path(), &name)["class"], serde_json::Value::Null);
    assert_eq!(two.written(), [0; 4], "nothing was written to the other");
    println!(
        "result: /dev/{name} was bound to the disk that is {} now",
        one.name()
    );
    drop(watcher);
    output("lvm", &["vgremove", "-q", "-y", "topolvm_vg"]);
}
