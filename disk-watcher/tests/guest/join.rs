//! A later disk joins a group that has data, wherever its joining is cut.

use crate::harness::{CLASS, Watcher, clean, make_data, run, stages, two_disks, wait_for};

#[test]
fn a_later_disk_killed_on_its_way_joins_a_group_with_data() {
    let two = two_disks();
    for cut in ["Claimed", "Labelled", "Grouped"] {
        clean();
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "the first disk is Ready", || {
            stages(dir.path()) == ["Ready"]
        });
        drop(watcher);
        make_data();
        let sum = || run("sha256sum", &["/dev/fast/data"]);
        let before = sum();
        // The host's lvm remembers where PVs are.
        run("lvm", &["vgs"]);

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
        let counts = "pv_count,vg_missing_pv_count";
        let count = run("lvm", &["vgs", "--noheadings", "-o", counts, "fast"]);
        let count: Vec<&str> = count.split_whitespace().collect();
        assert_eq!(count, ["2", "0"], "as the host's lvm sees it");
        run("lvm", &["vgck", "fast"]);
        assert_eq!(sum(), before, "the volume is as it was");
        println!("  and went on to two disks in the group");
        run("lvm", &["vgremove", "-y", "fast"]);
    }
    clean();
}
