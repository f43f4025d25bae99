//! An lvm that says rubbish, or not what it did.

use std::path::Path;
use std::time::Instant;

use super::status::{entry, looked_twice};
use crate::fake_lvm::Fake;
use crate::harness::{
    Bystanders, CLASS, Watcher, clean, disks, is_ready, no_force, run, stage, sum, wait_for,
};

#[test]
#[ignore = "long: `make test-all` runs it"]
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
fn what_lvm_advises_beside_its_work_keeps_nothing_from_being_done() {
    clean();
    let theirs = Bystanders::beside(1);
    let dir = tempfile::tempdir().unwrap();
    let script = "echo '  WARNING: advice before a report'\n\
                  printf '  \\377\\376 that is no text\\n' >&2\n\
                  $REAL \"$@\"; rc=$?\n\
                  echo '  Please remember to vacuum the group.'\nexit $rc";
    let fake = Fake::install(dir.path(), script);
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    drop(fake);
    println!("result: Ready beside advice on stdout and bytes that are no text on stderr");
    no_force(dir.path());
    theirs.check();
    run("lvm", &["vgck", "fast"]);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

/// How many volumes the large group has.
const MANY: usize = 10_000;

/// Gives a disk a group of somebody's with so many volumes, of one extent each.
fn group_of_many(dir: &Path, disk: &str) {
    run("lvm", &["pvcreate", "-q", "--metadatasize", "64m", disk]);
    run("lvm", &["vgcreate", "-q", "-s", "4k", "many", disk]);
    run(
        "lvm",
        &[
            "lvcreate", "-q", "-an", "-Zn", "-Wn", "-l1", "-n", "v00000", "many",
        ],
    );
    let file = dir.join("many");
    let path = file.to_str().unwrap();
    run("lvm", &["vgcfgbackup", "-q", "-f", path, "many"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let begin = text.find("\t\tv00000 {").unwrap();
    let end = begin + text[begin..].find("\n\t\t}\n").unwrap() + "\n\t\t}\n".len();
    let volume = &text[begin..end];
    let id = volume
        .split("id = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let volumes: String = (0..MANY)
        .map(|number| {
            let name = format!("v{number:05}");
            let uuid = format!("{}{number:05}", &id[..id.len() - 5]);
            let stripe = format!("\"pv0\", {number}");
            volume
                .replace("v00000", &name)
                .replace(id, &uuid)
                .replace("\"pv0\", 0", &stripe)
        })
        .collect();
    let text = [&text[..begin], &volumes, &text[end..]].concat();
    std::fs::write(&file, text).unwrap();
    run("lvm", &["vgcfgrestore", "-q", "-f", path, "many"]);
    let count = run("lvm", &["vgs", "--noheadings", "-o", "lv_count", "many"]);
    assert_eq!(count.trim(), MANY.to_string());
}

#[test]
fn beside_a_group_of_ten_thousand_volumes_a_disk_is_taken_and_the_group_stays_as_it_is() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    let disk = disks().remove(1);
    group_of_many(dir.path(), &disk);
    let before = sum(&disk);
    let begun = Instant::now();
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    println!(
        "result: Ready after {:.1?} beside {MANY} volumes",
        begun.elapsed()
    );
    looked_twice(dir.path());
    let name = disk.trim_start_matches("/dev/");
    let reasons = entry(dir.path(), name)["reasons"].to_string();
    assert!(reasons.contains("many"), "{reasons}");
    drop(watcher);
    assert_eq!(sum(&disk), before, "not a byte of it changed");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
    clean();
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
