//! Somebody makes the pool by hand, out of a plain volume, and that is cut off.

use std::fs;

use super::blank;
use crate::faults::status::{looked_twice, status};
use crate::harness::{Bystanders, CLASS, Watcher, clean, is_ready, output, run, wait_for};

/// Each time that lvm reads from or writes to disks.
const TRACE: &str = "/run/converting";

/// What stands in the group: names, kinds and sizes.
fn volumes() -> String {
    let fields = "lv_name,segtype,lv_size";
    run("lvm", &["lvs", "-a", "--noheadings", "-o", fields, "fast"])
}

#[test]
#[ignore = "long: every access of lvconvert"]
fn a_pool_that_is_half_converted_is_neither_grown_nor_removed() {
    let bare: String = CLASS
        .lines()
        .filter(|line| !line.contains("thinPool"))
        .map(|line| format!("{line}\n"))
        .collect();
    clean();
    let bystanders = Bystanders::beside(1);
    for n in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), &bare);
        wait_for(dir.path(), "Ready", || is_ready(dir.path()));
        watcher.terminate();
        run("lvm", &["lvcreate", "-q", "-y", "-L64m", "-npool0", "fast"]);
        let cut = format!("inject=io_submit:signal=KILL:when={n}");
        let convert = [
            "-f",
            "-o",
            TRACE,
            "-e",
            "trace=io_submit",
            "-e",
            &cut,
            "lvm",
            "lvconvert",
            "--config",
            "activation/monitoring=0",
            "-q",
            "-y",
            "--type",
            "thin-pool",
            "fast/pool0",
        ];
        let done = output("strace", &convert).status.success();
        let trace = fs::read_to_string(TRACE).unwrap();
        let was_cut = trace.contains("killed by SIGKILL");
        assert_ne!(done, was_cut);
        // A process of lvm that was killed leaves what it suspended, and every other waits for that.
        let all = run(
            "dmsetup",
            &["info", "-c", "--noheadings", "-o", "name,suspended"],
        );
        for line in all.lines().filter(|line| line.ends_with("Suspended")) {
            let name = line.split(':').next().unwrap();
            run("dmsetup", &["resume", name]);
            println!("{name} was left suspended");
        }
        let before = volumes();
        let watcher = Watcher::start(dir.path(), CLASS);
        looked_twice(dir.path());
        let status = status(dir.path());
        drop(watcher);
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        for verb in ["lvextend", "lvremove", "lvcreate", "lvconvert"] {
            let ran = |line: &&str| line.contains("running command=") && line.contains(verb);
            assert_eq!(log.lines().find(ran), None, "with {before}");
        }
        assert_eq!(volumes(), before, "nothing was changed");
        let (disk, pool) = (&status["disks"][0], &status["pools"][0]);
        println!(
            "\nresult: cut at access {n}: {was_cut}; the disk is {} and the pool {}: {}",
            disk["state"], pool["state"], disk["plan"][0]
        );
        bystanders.check();
        output("lvm", &["vgchange", "-an", "fast"]);
        run("lvm", &["vgremove", "-ff", "-y", "fast"]);
        blank(1);
        if !was_cut {
            assert!(n > 2, "it reads and writes more often than that");
            break;
        }
    }
    clean();
}
