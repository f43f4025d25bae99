//! Other disks in the place of ours.

use super::status::{codes, commands, entry, looked_twice};
use crate::harness::{Watcher, run, stages, wait_for};
use crate::scsi::{Bench, Disk, class};

/// Fills a disk with somebody's data.
fn fill(disk: &Disk) {
    let node = format!("of={}", disk.node().display());
    run(
        "sh",
        &[
            "-c",
            &format!("dd if=/dev/urandom {node} bs=1M oflag=direct status=none || :"),
        ],
    );
    run("udevadm", &["settle"]);
}

#[test]
fn a_disk_in_the_place_of_one_that_is_being_taken_is_left_alone() {
    for (cut, has_data) in [
        ("Claimed", true),
        ("Labelled", true),
        ("Claimed", false),
        ("Labelled", false),
    ] {
        let bench = Bench::new(64, 512);
        let ours = bench.add();
        let name = ours.name();
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let config = class("HeadAndTail", 1);
        let watcher = Watcher::start(dir, &config);
        wait_for(dir, cut, || {
            stages(dir)
                .iter()
                .any(|stage| stage == cut || stage == "Ready")
        });
        watcher.kill();
        let at = stages(dir);
        ours.pull();
        run("udevadm", &["settle"]);
        let other = bench.add();
        if has_data {
            fill(&other);
        }
        let before = (other.sum(), other.written());

        let watcher = Watcher::start(dir, &config);
        looked_twice(dir);
        let state = entry(dir, &other.name())["state"].clone();
        let against = codes(dir, &other.name());
        match has_data {
            true => assert_eq!(state, "Rejected", "{against:?}"),
            false => assert_eq!(against, ["LimitReached"], "the class has its one disk"),
        }
        assert_eq!(
            (other.sum(), other.written()),
            before,
            "nothing was written"
        );
        println!(
            "\nresult: cut at {at:?}, {name} replaced by {}: {state}",
            other.name()
        );
        other.pull();
        ours.plug();
        wait_for(dir, "ours is Ready", || {
            entry(dir, &ours.name())["state"] == "Ready"
        });
        drop(watcher);
        run("lvm", &["vgremove", "-q", "-y", "fast"]);
    }
}

#[test]
fn a_blank_disk_in_the_place_of_a_member_does_not_join_its_partial_group() {
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let config = class("HeadAndTail", 3)
        .replace("maxDisks: 3", "minDisks: 2, maxDisks: 3")
        .replace(
            "  mode: Enforce\n",
            "  mode: Enforce\n  discovery: Continuous\n",
        );
    let [one, two] = [bench.add(), bench.add()];
    let watcher = Watcher::start(dir, &config);
    let is_ready = |disk: &Disk| entry(dir, &disk.name())["state"] == "Ready";
    wait_for(dir, "both are Ready", || is_ready(&one) && is_ready(&two));
    let sum = two.sum();
    let ran = commands(dir);
    two.pull();
    wait_for(dir, "it is missed", || {
        entry(dir, &one.name())["state"] != "Ready"
    });
    let blank = bench.add();
    wait_for(dir, "the blank one is seen", || {
        !entry(dir, &blank.name()).is_null()
    });
    looked_twice(dir);
    let (state, against) = (
        entry(dir, &blank.name())["state"].clone(),
        codes(dir, &blank.name()),
    );
    println!("\nresult: the blank one is {state}: {against:?}");
    assert!(
        against.iter().any(|code| code == "VGPartial"),
        "{against:?}"
    );
    assert_eq!(blank.written(), [0; 4], "nothing was written to it");
    assert_eq!(commands(dir), ran, "nothing was run");

    two.plug();
    wait_for(dir, "all three are Ready", || {
        [&one, &two, &blank].into_iter().all(is_ready)
    });
    assert_eq!(commands(dir) - ran, 2, "pvcreate and vgextend");
    drop(watcher);
    let names = run(
        "lvm",
        &[
            "vgs",
            "--noheadings",
            "-o",
            "pv_count,vg_missing_pv_count",
            "fast",
        ],
    );
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), ["3", "0"]);
    assert_ne!(sum, two.sum(), "its metadata knows of the third");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
