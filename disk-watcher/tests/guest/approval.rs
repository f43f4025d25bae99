//! What a person agrees to by the line that status prints, and nothing else.

use std::path::Path;

use crate::faults::status::{entry, looked_twice};
use crate::harness::{Watcher, run, stages, wait_for};
use crate::scsi::{Bench, class};

/// The line that status prints for a disk that waits for a person; empty where there is none.
fn line(dir: &Path, name: &str) -> String {
    let entry = entry(dir, name);
    entry["approve"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_line_that_status_prints_agrees_to_the_disk_as_it_was_and_is_void_when_it_changed() {
    let bench = Bench::new(64, 512);
    let _first = bench.add();
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), &class("None", 1));
    wait_for(dir.path(), "the first disk is Ready", || {
        stages(dir.path()) == ["Ready"]
    });
    let two = class("None", 2);
    let write = |lines: &str| {
        std::fs::write(dir.path().join("config.yaml"), format!("{two}{lines}")).unwrap();
    };
    write("");
    let [disk, other] = [bench.add(), bench.add()];
    let name = &disk.name();
    wait_for(dir.path(), "it waits for a person", || {
        !line(dir.path(), name).is_empty()
    });
    let first = line(dir.path(), name);

    // Somebody writes to the disk after the line was printed and before it is handed in.
    let of = format!("of={}", disk.node().display());
    let random = [
        "if=/dev/urandom",
        &of,
        "bs=4k",
        "count=1",
        "seek=64",
        "oflag=direct",
    ];
    run("dd", &random);
    write(&format!("  approved:\n  {first}\n"));
    wait_for(dir.path(), "another line is printed", || {
        let now = line(dir.path(), name);
        !now.is_empty() && now != first
    });
    looked_twice(dir.path());
    assert_eq!(stages(dir.path()), ["Ready"], "the first line is void");

    let second = line(dir.path(), name);
    println!("result: void: {first}");
    write(&format!("  approved:\n  {second}\n"));
    wait_for(dir.path(), "it joined", || {
        stages(dir.path()) == ["Ready", "Ready"]
    });
    wait_for(dir.path(), "it is shown in the group", || {
        entry(dir.path(), name)["volumeGroup"] == "fast"
    });
    assert_eq!(other.written(), [0; 4], "nobody agreed to this one");
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
