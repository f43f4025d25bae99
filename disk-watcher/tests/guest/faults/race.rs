//! Another tool changes our group while a disk joins it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cuts::blank;
use crate::harness::{
    Bystanders, CLASS, Watcher, all, clean, is_ready, output, run, stages, two_disks, wait_for,
};

/// Makes volumes and removes every third of them again, until told to end. Gives the names of those that have to be
/// there: lvm said that it made them.
fn make_volumes(end: &AtomicBool) -> Vec<String> {
    let mut made = Vec::new();
    for n in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("other{n}");
        let make = [
            "lvcreate", "-q", "-an", "-Zn", "-Wn", "-l1", "-n", &name, "fast",
        ];
        if !output("lvm", &make).status.success() {
            continue;
        }
        let volume = format!("fast/{name}");
        let gone = n % 3 == 0
            && output("lvm", &["lvremove", "-qq", &volume])
                .status
                .success();
        if !gone {
            made.push(name);
        }
    }
    made
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn volumes_that_another_makes_while_a_disk_joins_are_all_there() {
    let rounds = if all() { 100 } else { 3 };
    clean();
    let bystanders = Bystanders::beside(2);
    let mut volumes = 0;
    for round in 1..=rounds {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "the first disk is Ready", || {
            is_ready(dir.path())
        });
        let end = Arc::new(AtomicBool::new(false));
        let other = std::thread::spawn({
            let end = end.clone();
            move || make_volumes(&end)
        });
        std::fs::write(dir.path().join("config.yaml"), two_disks()).unwrap();
        wait_for(
            dir.path(),
            &format!("both are Ready in round {round}"),
            || stages(dir.path()) == ["Ready", "Ready"],
        );
        end.store(true, Ordering::Relaxed);
        let made = other.join().unwrap();
        drop(watcher);
        let listed = run("lvm", &["lvs", "--noheadings", "-o", "lv_name", "fast"]);
        let mut listed: Vec<&str> = listed.split_whitespace().collect();
        let mut wanted: Vec<&str> = made.iter().map(String::as_str).chain(["pool0"]).collect();
        listed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(listed, wanted, "round {round}");
        assert!(!made.is_empty(), "the other tool made volumes meanwhile");
        let count = run("lvm", &["vgs", "--noheadings", "-o", "pv_count", "fast"]);
        assert_eq!(count, "2");
        assert!(run("lvm", &["vgck", "fast"]).is_empty());
        volumes += made.len();
        bystanders.check();
        run("lvm", &["vgremove", "-q", "-y", "fast"]);
        blank(2);
    }
    println!(
        "\nresult: {rounds} disks joined while another tool made {volumes} volumes; none is lost"
    );
    clean();
}
