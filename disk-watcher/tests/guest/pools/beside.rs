//! What others do with disks while the watcher looks at them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::stage::Stage;
use crate::harness::{disks, output, run};

#[test]
#[ignore = "long: `make test-all` runs it"]
fn nobody_is_kept_from_a_disk_because_the_watcher_looks_at_it() {
    const TIMES: usize = 20;
    let stage = Stage::with_free_disks("size: 20%");
    let taken = run("lvm", &["vgs", "--noheadings", "-o", "pv_name", "fast"]);
    let free: Vec<String> = disks()
        .into_iter()
        .filter(|disk| !taken.contains(disk.as_str()))
        .collect();
    let [filesystem, group] = &free[..] else {
        panic!("two disks are not taken: {free:?}");
    };
    run("mkfs.ext4", &["-qF", filesystem]);
    run("lvm", &["vgcreate", "-qy", "theirs", group]);
    run("lvm", &["lvcreate", "-qy", "-L32M", "-nlv", "theirs"]);
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().to_str().unwrap();

    let done = AtomicBool::new(false);
    let mut refused = Vec::new();
    std::thread::scope(|scope| {
        // Each event has the watcher look anew.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                run(
                    "udevadm",
                    &["trigger", "--settle", "-s", "block", "--sysname-match=ubd*"],
                );
            }
        });
        let mut tried = |program: &str, args: &[&str]| {
            let out = output(program, args);
            if !out.status.success() {
                let why = String::from_utf8_lossy(&out.stderr).into_owned();
                refused.push(format!("{program} {args:?}: {why}"));
            }
        };
        for _ in 0..TIMES {
            tried("mount", &[filesystem, mount]);
            output("umount", &[mount]);
            output("lvm", &["vgchange", "-qan", "theirs"]);
            tried("lvm", &["vgchange", "-qay", "theirs"]);
        }
        done.store(true, Ordering::Relaxed);
    });
    let looks = stage.log();
    output("lvm", &["vgremove", "-qy", "theirs"]);
    println!(
        "\nresult: mounted and activated {TIMES} times while the watcher looked, {} refused",
        refused.len()
    );
    assert!(refused.is_empty(), "{refused:#?}\n{looks}");
}
