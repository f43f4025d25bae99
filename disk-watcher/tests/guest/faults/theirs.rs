//! Groups of others that look like ours, and disks that go while they become ours.

use super::status::{codes, commands, entry, looked_twice};
use crate::harness::{
    Bystanders, CLASS, Watcher, clean, disks, is_ready, output, run, stage, stages, sum, wait_for,
};
use crate::scsi::{Bench, class};

/// Makes a group of this name and with these tags on a device, as somebody does who sees no
/// other device.
pub(crate) fn group_on(device: &str, tags: &str) {
    let only = ["--config", "devices/scan_lvs=1", "--devices", device];
    run("lvm", &[&["pvcreate", "-q"], &only[..], &[device]].concat());
    let mut make = [&["vgcreate", "-q"], &only[..]].concat();
    for tag in tags.split(',') {
        make.extend(["--addtag", tag]);
    }
    make.extend(["fast", device]);
    run("lvm", &make);
}

#[test]
fn the_group_of_a_guest_inside_a_volume_is_not_seen() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    let make = [
        "lvcreate",
        "-q",
        "-V",
        "64M",
        "-T",
        "fast/pool0",
        "-n",
        "guest",
    ];
    run("lvm", &make);
    drop(watcher);
    // The disk of a virtual machine that has a group of our name, and our tags besides: LVM only
    // makes it while ours is not there, on a disk that it is copied from.
    let pv = run("lvm", &["vgs", "--noheadings", "-o", "pv_name", "fast"]);
    let other = disks().into_iter().find(|disk| *disk != pv).unwrap();
    let tags = run("lvm", &["vgs", "--noheadings", "-o", "vg_tags", "fast"]);
    run("lvm", &["vgchange", "-q", "-an", "fast"]);
    group_on(&other, &tags);
    let copy = dir.path().join("copy");
    let head = |from: &str, to: &str, more: &str| {
        let (from, to) = (format!("if={from}"), format!("of={to}"));
        run("dd", &[&from, &to, "bs=1M", "count=8", "status=none", more]);
    };
    head(&other, copy.to_str().unwrap(), "iflag=direct");
    run("wipefs", &["-qa", &other]);
    head("/dev/zero", &other, "oflag=direct");
    run("lvm", &["vgchange", "-q", "-ay", "fast"]);
    head(copy.to_str().unwrap(), "/dev/fast/guest", "oflag=direct");

    let before = sum("/dev/fast/guest");
    // It was blank, then somebody's, and no class may take it now.
    let unclaimed = sum(&other);
    let watcher = Watcher::start(dir.path(), CLASS);
    looked_twice(dir.path());
    let name = pv.trim_start_matches("/dev/");
    let seen = codes(dir.path(), name);
    assert_eq!(entry(dir.path(), name)["state"], "Ready", "{seen:?}");
    assert!(!seen.iter().any(|c| c.starts_with("Duplicate")), "{seen:?}");

    // The same behind a loop device, which LVM takes for a disk.
    run("modprobe", &["loop"]);
    let device = run("losetup", &["-f", "--show", "/dev/fast/guest"]);
    looked_twice(dir.path());
    let behind = codes(dir.path(), name);
    assert_eq!(entry(dir.path(), name)["state"], "Ready", "{behind:?}");
    let inside = entry(dir.path(), device.trim_start_matches("/dev/"));
    assert_eq!(inside["state"], "Discovered", "{inside}");
    drop(watcher);
    run("losetup", &["-d", &device]);
    assert_eq!(sum("/dev/fast/guest"), before, "nothing was written");
    assert_eq!(sum(&other), unclaimed, "nothing was written to {other}");
    println!("\nresult: {name} is Ready, {seen:?}; behind {device}: {behind:?}");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
fn a_disk_with_a_group_of_our_name_is_left_alone_and_ours_stays_in_use() {
    let bench = Bench::new(64, 512);
    let [ours, theirs] = [bench.add(), bench.add()];
    let theirs_node = theirs.node().to_str().unwrap().to_owned();
    group_on(&theirs_node, "of=others");
    theirs.pull();
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), &class("HeadAndTail", 2));
    wait_for(dir.path(), "Ready", || stages(dir.path()) == ["Ready"]);
    theirs.plug();
    let (name, other) = (ours.name(), theirs.name());
    let (before, ran) = (theirs.sum(), commands(dir.path()));
    wait_for(dir.path(), "the other is refused", || {
        codes(dir.path(), &other).contains(&"ForeignPV".to_owned())
    });
    looked_twice(dir.path());
    let states = [&name, &other].map(|name| {
        let state = entry(dir.path(), name)["state"].clone();
        format!("{name} is {state}: {:?}", codes(dir.path(), name))
    });
    println!("\nresult: {}; {}", states[0], states[1]);
    assert_eq!(theirs.written(), [0; 4], "nothing was written to it");
    assert_eq!(theirs.sum(), before);
    assert_eq!(commands(dir.path()), ran, "nothing was run");
    // Ours is still used by its disks.
    let node = format!("/dev/{name}");
    let make = ["lvcreate", "-q", "--devices", &node, "-l1", "-nlv", "fast"];
    run("lvm", &make);
    theirs.pull();
    wait_for(dir.path(), "Ready", || {
        entry(dir.path(), &name)["state"] == "Ready"
    });
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_group_of_our_name_that_comes_while_ours_is_made_stays_as_it_is() {
    let config = class("HeadAndTail", 1);
    for when in ["Claimed", "Labelled", "Grouped"] {
        let bench = Bench::new(64, 512);
        let theirs = bench.add();
        group_on(theirs.node().to_str().unwrap(), "of=others");
        theirs.pull();
        let ours = bench.add();
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), &config);
        wait_for(dir.path(), when, || {
            stage(dir.path()).is_some_and(|stage| stage == when || stage == "Ready")
        });
        let at = stage(dir.path());
        theirs.plug();
        let before = theirs.sum();
        wait_for(dir.path(), "the other is refused", || {
            codes(dir.path(), &theirs.name()).contains(&"ForeignPV".to_owned())
        });
        looked_twice(dir.path());
        let state = entry(dir.path(), &ours.name())["state"].clone();
        println!("\nresult: it came at {at:?}; ours was {state} beside it");
        assert_eq!(theirs.written(), [0; 4], "nothing was written to it");
        assert_eq!(theirs.sum(), before);
        theirs.pull();
        wait_for(dir.path(), "Ready without it", || {
            entry(dir.path(), &ours.name())["state"] == "Ready"
        });
        drop(watcher);
        run("lvm", &["vgck", "fast"]);
        run("lvm", &["vgremove", "-q", "-y", "fast"]);
    }
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_disk_that_is_pulled_while_it_is_taken_is_taken_when_it_is_back() {
    let config = class("HeadAndTail", 1).replace("min: 1Mi", "min: 48Mi");
    let config = config.replace(
        "  volumeGroup: {name: fast}\n",
        "  volumeGroup: {name: fast}\n  thinPool: {name: pool0, size: 20Mi, metadata: {size: 4Mi}}\n",
    );
    clean();
    let others = Bystanders::beside(0);
    for cut in ["Claimed", "Labelled", "Grouped"] {
        let bench = Bench::new(64, 512);
        let disk = bench.add();
        let name = disk.name();
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), &config);
        wait_for(dir.path(), cut, || {
            stage(dir.path()).is_some_and(|stage| stage == cut || stage == "Ready")
        });
        disk.pull();
        let at = stage(dir.path());
        wait_for(dir.path(), "it is missed", || {
            entry(dir.path(), &name).is_null()
        });
        // What was stacked on the device that is gone.
        output("dmsetup", &["remove_all", "--force"]);
        disk.plug();
        wait_for(dir.path(), "Ready", || {
            is_ready(dir.path()) && entry(dir.path(), &disk.name())["state"] == "Ready"
        });
        drop(watcher);
        println!("\nresult: pulled at {at:?}, Ready when it was back");
        run("lvm", &["vgck", "fast"]);
        run("lvm", &["vgremove", "-q", "-y", "fast"]);
    }
    others.check();
}
