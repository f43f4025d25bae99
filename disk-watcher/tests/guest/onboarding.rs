//! An onboarding goes on wherever it was cut.

use crate::harness::{Bystanders, CLASS, Watcher, clean, is_ready, run, stage, wait_for};

#[test]
fn an_onboarding_killed_after_each_step_goes_on() {
    for cut in ["Claimed", "Labelled", "Grouped"] {
        clean();
        let others = Bystanders::beside(1);
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), &format!("stage {cut}"), || {
            stage(dir.path()).is_some_and(|s| s == cut || s == "Ready")
        });
        watcher.kill();
        println!("killed at {cut}, the journal says {:?}", stage(dir.path()));
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "Ready", || is_ready(dir.path()));
        let tags = run("lvm", &["vgs", "--noheadings", "-o", "vg_tags", "fast"]);
        assert!(
            tags.contains("basalt.class=fast") && tags.contains("basalt.owner="),
            "{tags}"
        );
        let pool = run(
            "lvm",
            &["lvs", "--noheadings", "-o", "segtype,lv_tags", "fast/pool0"],
        );
        assert!(
            pool.starts_with("thin-pool") && !pool.contains("basalt.state"),
            "whole, and no longer tagged as being made: {pool}"
        );
        assert_eq!(
            run(
                "lvm",
                &["pvs", "--noheadings", "-o", "pv_name", "-S", "vg_name=fast"]
            )
            .lines()
            .count(),
            1,
            "maxDisks"
        );
        drop(watcher);
        println!("  and went on to Ready");
        run("lvm", &["vgremove", "-y", "fast"]);
        others.check();
    }
}
