//! Slips of those who write the configuration: nothing that is there is destroyed by one.

use std::path::Path;

use super::status::{codes, commands, entry, looked_twice};
use crate::harness::{
    CLASS, Watcher, clean, disks, is_ready, make_data, run, stage, sum, wait_for,
};

/// The disk of the group, without `/dev/`.
fn member() -> String {
    let pv = run("lvm", &["vgs", "--noheadings", "-o", "pv_name", "fast"]);
    pv.trim_start_matches("/dev/").to_owned()
}

fn reload(dir: &Path, config: &str) {
    let read = || {
        let log = std::fs::read_to_string(dir.join("log")).unwrap();
        log.matches("the new configuration is in use").count()
    };
    let before = read();
    std::fs::write(dir.join("config.yaml"), config).unwrap();
    wait_for(dir, "the file is read", || read() > before);
}

#[test]
fn a_slip_in_the_file_destroys_nothing() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    let _watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    make_data();
    let name = member();
    let group = || {
        run(
            "lvm",
            &["vgs", "--noheadings", "-o", "vg_uuid,seqno", "fast"],
        )
    };
    looked_twice(dir.path());
    let (before, ran, seen) = (sum("/dev/fast/data"), commands(dir.path()), group());
    let others: Vec<String> = disks()
        .into_iter()
        .filter(|disk| disk != &format!("/dev/{name}"))
        .collect();
    let sums = |disks: &[String]| disks.iter().map(|d| sum(d)).collect::<Vec<_>>();
    let theirs = sums(&others);

    let slips = [
        ("the class is gone", "# none\n".to_owned()),
        (
            "its group has another name",
            CLASS.replace("{name: fast}\n  thinPool", "{name: slow}\n  thinPool"),
        ),
        ("its pool has another name", CLASS.replace("pool0", "pool1")),
        (
            "its pool is to be smaller",
            CLASS.replace("size: 60%", "size: 10%"),
        ),
        (
            "it takes more disks than it did",
            CLASS.replace("maxDisks: 1", "maxDisks: 4"),
        ),
        ("it picks no disk", CLASS.replace("[ubd]", "[nvme]")),
        (
            "it has another name",
            CLASS.replacen("{name: fast}", "{name: other}", 1),
        ),
    ];
    for (what, config) in slips {
        assert_ne!(config, CLASS, "{what}");
        reload(dir.path(), &config);
        looked_twice(dir.path());
        let state = entry(dir.path(), &name)["state"].clone();
        println!(
            "result: {what}: {name} is {state}, {:?}",
            codes(dir.path(), &name)
        );
        assert_eq!(sum("/dev/fast/data"), before, "{what}");
        assert_eq!(sums(&others), theirs, "{what}: no other disk was taken");
        assert_eq!(group(), seen, "{what}: the group is as it was");
        assert_eq!(commands(dir.path()), ran, "{what}: nothing was run");
        reload(dir.path(), CLASS);
        wait_for(dir.path(), "it is mended", || {
            entry(dir.path(), &name)["state"] == "Ready"
        });
    }
}

#[test]
fn disks_that_come_from_another_node_are_not_ours() {
    clean();
    let there = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(there.path(), CLASS);
    wait_for(there.path(), "Ready", || is_ready(there.path()));
    drop(watcher);
    let name = member();
    let seen = run(
        "lvm",
        &["vgs", "--noheadings", "-o", "vg_uuid,seqno", "fast"],
    );

    let sums: Vec<String> = disks().iter().map(|disk| sum(disk)).collect();

    // The other node has the same configuration and a journal of its own.
    let here = tempfile::tempdir().unwrap();
    let two = CLASS.replace("maxDisks: 1", "maxDisks: 2");
    let watcher = Watcher::start(here.path(), &two);
    wait_for(here.path(), "it is refused", || {
        codes(here.path(), &name).contains(&"ForeignPV".to_owned())
    });
    looked_twice(here.path());
    println!("result: {name}: {:?}", codes(here.path(), &name));
    let now = run(
        "lvm",
        &["vgs", "--noheadings", "-o", "vg_uuid,seqno", "fast"],
    );
    assert_eq!(now, seen, "its group is as it was");
    assert_eq!(
        stage(here.path()),
        None,
        "no disk was claimed: the name is taken"
    );
    drop(watcher);
    let now: Vec<String> = disks().iter().map(|disk| sum(disk)).collect();
    assert_eq!(now, sums, "no byte of any disk is another one");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
