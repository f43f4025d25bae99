//! An lvm that says rubbish, or not what it did.

use super::status::looked_twice;
use crate::fake_lvm::Fake;
use crate::harness::{
    Bystanders, CLASS, Watcher, clean, disks, is_ready, no_force, run, stage, sum, wait_for,
};

#[test]
fn what_lvm_says_in_rubbish_is_never_taken_for_a_yes() {
    clean();
    let before: Vec<String> = disks().iter().map(|disk| sum(disk)).collect();
    let rubbish = [
        ("nothing, and success", "exit 0"),
        ("words, and success", "echo '  all is well'; exit 0"),
        (
            "bytes that are no text",
            "head -c 4096 /dev/urandom; exit 0",
        ),
        ("an empty object", "echo '{}'; exit 0"),
        ("half of a report", "$REAL \"$@\" | head -c 40; exit 0"),
        ("a failure without a word", "exit 5"),
        ("death by a signal", "kill -SEGV $$"),
    ];
    for (what, script) in rubbish {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::install(dir.path(), script);
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "it looked", || {
            dir.path().join("status/status.json").exists()
        });
        looked_twice(dir.path());
        let at = stage(dir.path());
        drop(watcher);
        drop(fake);
        let now: Vec<String> = disks().iter().map(|disk| sum(disk)).collect();
        assert_eq!(now, before, "{what}: nothing was written");
        println!("result: {what}: the journal says {at:?}");
    }
}

#[test]
fn an_lvm_that_fails_after_it_has_done_its_work_is_gone_on_from() {
    clean();
    let theirs = Bystanders::beside(1);
    let dir = tempfile::tempdir().unwrap();
    // Each command that changes something says once that it failed.
    let script = format!(
        "$REAL \"$@\"; rc=$?\ncase $1 in pvcreate|vgcreate|lvcreate|lvchange)\n\
         [ -e {0}/$1 ] || {{ touch {0}/$1; echo '  Failed.' >&2; exit 5; }};; esac\nexit $rc",
        dir.path().display()
    );
    let fake = Fake::install(dir.path(), &script);
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    drop(fake);
    let failed: Vec<bool> = ["pvcreate", "vgcreate", "lvcreate"]
        .map(|command| dir.path().join(command).exists())
        .to_vec();
    assert_eq!(failed, [true; 3], "each of them failed once");
    println!("result: pvcreate, vgcreate and lvcreate failed once each after their work; Ready");
    no_force(dir.path());
    theirs.check();
    run("lvm", &["vgck", "fast"]);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
