//! A later disk joins a group that has data, wherever its joining is cut.

use std::path::Path;

use crate::harness::{CLASS, Watcher, clean, run, wait_for};

/// The stages of all claims, the least first.
fn stages(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("journal/claims"))
        .into_iter()
        .flatten();
    let mut stages: Vec<String> = files
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
        .filter_map(|e| std::fs::read_to_string(e.path()).ok())
        .filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .filter_map(|claim| Some(claim["stage"].as_str()?.to_owned()))
        .collect();
    stages.sort();
    stages
}

#[test]
fn a_later_disk_killed_on_its_way_joins_a_group_with_data() {
    let two = CLASS.replace("maxDisks: 1", "maxDisks: 2").replace(
        "  mode: Enforce\n",
        "  mode: Enforce\n  discovery: Continuous\n",
    );
    for cut in ["Claimed", "Labelled", "Grouped"] {
        clean();
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "the first disk is Ready", || {
            stages(dir.path()) == ["Ready"]
        });
        drop(watcher);
        run(
            "lvm",
            &[
                "lvcreate",
                "-q",
                "-V",
                "24M",
                "-T",
                "fast/pool0",
                "-n",
                "data",
            ],
        );
        let data = "if=/dev/urandom of=/dev/fast/data bs=1M count=24 oflag=direct status=none";
        run("dd", &data.split(' ').collect::<Vec<_>>());
        let sum = || run("sha256sum", &["/dev/fast/data"]);
        let before = sum();

        let watcher = Watcher::start(dir.path(), &two);
        wait_for(dir.path(), &format!("stage {cut} of the second"), || {
            let stages = stages(dir.path());
            stages.iter().any(|s| s == cut) || stages == ["Ready", "Ready"]
        });
        watcher.kill();
        println!("killed at {cut}, the journal says {:?}", stages(dir.path()));
        let watcher = Watcher::start(dir.path(), &two);
        wait_for(dir.path(), "both are Ready", || {
            stages(dir.path()) == ["Ready", "Ready"]
        });
        drop(watcher);
        let count = run("lvm", &["vgs", "--noheadings", "-o", "pv_count", "fast"]);
        assert_eq!(count, "2");
        run("lvm", &["vgck", "fast"]);
        assert_eq!(sum(), before, "the volume is as it was");
        println!("  and went on to two disks in the group");
        run("lvm", &["vgremove", "-y", "fast"]);
    }
    clean();
}
