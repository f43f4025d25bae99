//! A disk of ours that goes, comes back, comes back too late or has a clone: each is told apart,
//! and while it is so nothing is changed in its group.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::faults::status::status;
use crate::harness::{Watcher, run, wait_for};
use crate::scsi::{Bench, Disk, class};

/// The state of each disk by its id.
fn states(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let status = status(dir);
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for disk in status["disks"].as_array().into_iter().flatten() {
        let name = disk["name"].as_str().unwrap_or("(missing)");
        let state = disk["state"].as_str().unwrap();
        states
            .entry(name.to_owned())
            .or_default()
            .push(state.to_owned());
    }
    states
}

fn wait(dir: &Path, what: &[(&str, &str)]) {
    wait_for(dir, &format!("{what:?}"), || {
        let states = states(dir);
        what.iter()
            .all(|(name, state)| states.get(*name).is_some_and(|s| s == &[*state]))
    });
}

#[test]
fn a_disk_that_goes_and_comes_back_is_told_from_one_that_is_stale_or_a_clone() {
    let bench = Bench::new(64, 512);
    let [one, two]: [Disk; 2] = [bench.add(), bench.add()];
    let dir = tempfile::tempdir().unwrap();
    let config = class("HeadAndTail", 2).replace("maxDisks: 2", "minDisks: 2, maxDisks: 2");
    let watcher = Watcher::start(dir.path(), &config);
    let (first, second) = (one.name(), two.name());
    wait(dir.path(), &[(&first, "Ready"), (&second, "Ready")]);

    let pulled = Instant::now();
    two.pull();
    wait(dir.path(), &[(&first, "Frozen"), ("(missing)", "Missing")]);
    println!("result: missing after {:.1?}", pulled.elapsed());
    two.plug();
    let second = two.name();
    wait(dir.path(), &[(&first, "Ready"), (&second, "Ready")]);

    // Somebody changes the group meanwhile: what comes back, with a volume on it, is not used any more.
    let all = [
        "lvcreate", "-q", "-an", "-Zn", "-Wn", "-l", "100%FREE", "-n", "data", "fast",
    ];
    run("lvm", &all);
    two.pull();
    wait(dir.path(), &[("(missing)", "Missing")]);
    run("lvm", &["vgchange", "-q", "--addtag", "meanwhile", "fast"]);
    two.plug();
    let second = two.name();
    wait(dir.path(), &[(&first, "Frozen"), (&second, "Stale")]);
    run(
        "lvm",
        &[
            "vgextend",
            "-q",
            "--restoremissing",
            "fast",
            &format!("/dev/{second}"),
        ],
    );
    wait(dir.path(), &[(&first, "Ready"), (&second, "Ready")]);

    // A clone.
    let before = one.sum();
    let three = bench.add();
    let third = three.name();
    wait_for(dir.path(), "the third is seen", || {
        states(dir.path()).contains_key(&third)
    });
    let copy = format!("if=/dev/{first} of=/dev/{third} bs=1M oflag=direct status=none");
    run("dd", &copy.split(' ').collect::<Vec<_>>());
    wait(
        dir.path(),
        &[
            (&first, "Conflict"),
            (&second, "Frozen"),
            (&third, "Conflict"),
        ],
    );
    three.pull();
    wait(dir.path(), &[(&first, "Ready"), (&second, "Ready")]);
    assert_eq!(one.sum(), before, "nothing was written to it");

    // A changed file is taken up at once.
    let asked = Instant::now();
    std::fs::write(dir.path().join("config.yaml"), "# none\n").unwrap();
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    wait_for(dir.path(), "the file is read", || {
        log().contains("the new configuration is in use")
    });
    println!(
        "result: a changed file was taken up after {:.1?}",
        asked.elapsed()
    );
    assert!(
        asked.elapsed().as_secs() < 5,
        "not by the timer of ten seconds"
    );
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
