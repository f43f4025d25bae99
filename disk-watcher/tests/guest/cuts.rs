//! An onboarding goes on after its lvm was killed before any of its writes, and after it
//! was killed itself, with its lvm, at any moment.

mod converting;
mod copies;
mod knife;
mod labels;
mod leaving;

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::harness::{
    Bystanders, CLASS, Watcher, all, chance, clean, disks, is_ready, no_force, run, stage, stages,
    two_disks, wait_for,
};
use knife::Knife;

/// All is done: the group and its pool are whole, and nothing else is in the group.
fn whole(dir: &Path) {
    no_force(dir);
    let tags = run("lvm", &["vgs", "--noheadings", "-o", "vg_tags", "fast"]);
    assert!(
        tags.contains("basalt.class=fast") && tags.contains("basalt.owner="),
        "{tags}"
    );
    let volumes = run(
        "lvm",
        &[
            "lvs",
            "-a",
            "--noheadings",
            "-o",
            "lv_name,segtype,lv_tags",
            "fast",
        ],
    );
    let mut volumes: Vec<String> = volumes
        .lines()
        .map(|v| v.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|v| v.replace("lvol1_pmspare", "lvol0_pmspare"))
        .map(|v| v.replace(" basalt.threshold=70", ""))
        .collect();
    volumes.sort_unstable();
    // A line for each of its segments.
    volumes.dedup();
    assert_eq!(
        volumes,
        [
            "[lvol0_pmspare] linear",
            "[pool0_tdata] linear",
            "[pool0_tmeta] linear",
            "pool0 thin-pool"
        ],
        "whole, and not tagged as being made"
    );
    assert!(run("lvm", &["vgck", "fast"]).is_empty());
    let suspended = run(
        "dmsetup",
        &["info", "-c", "--noheadings", "-o", "suspended"],
    );
    assert!(!suspended.contains("Suspended"), "{suspended}");
}

/// Cuts `verb` before each of its writes, or before `few` of them. Says how often something
/// that it left was removed.
fn cut_at_each_write(verb: &str, few: &[u32]) -> u32 {
    let knife = Knife::new();
    clean();
    let bystanders = Bystanders::beside(1);
    let (mut cut, mut removed) = (0, 0);
    for n in 1.. {
        if !few.is_empty() && !few.contains(&n) {
            if n > *few.iter().max().unwrap() {
                break;
            }
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        knife.arm(verb, n, &disks()[..1]);
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(
            dir.path(),
            &format!("Ready after a cut before write {n} of {verb}"),
            || is_ready(dir.path()),
        );
        let was_cut = knife.has_cut();
        let wreck = dir.path().join("journal/wrecks").exists();
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        let leftover = log.contains("removed what a cut lvcreate left");
        removed += u32::from(leftover);
        println!(
            "{verb} {n}: cut: {was_cut}, a wreck was cleaned: {wreck}, a volume was removed: {leftover}"
        );
        drop(watcher);
        whole(dir.path());
        run("lvm", &["vgremove", "-y", "fast"]);
        blank(1);
        if !was_cut {
            break;
        }
        cut += 1;
    }
    bystanders.check();
    println!("result: {verb}: cut {cut} times, went on {cut} times");
    drop(knife);
    clean();
    removed
}

/// The first `count` disks are blank again, and udevd knows it: it does not hear of what is
/// written while it looks.
pub(crate) fn blank(count: usize) {
    run("udevadm", &["settle"]);
    for disk in &disks()[..count] {
        let dd =
            format!("if=/dev/zero of={disk} bs=1M count=8 oflag=direct conv=fsync status=none");
        run("dd", &dd.split(' ').collect::<Vec<_>>());
        run("udevadm", &["trigger", "--settle", "--action=change", disk]);
    }
}

#[test]
#[ignore = "long: every write of vgextend"]
fn a_joining_is_cut_before_each_of_its_writes() {
    let knife = Knife::new();
    clean();
    let bystanders = Bystanders::beside(2);
    for n in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "the first disk is Ready", || {
            is_ready(dir.path())
        });
        drop(watcher);
        knife.arm("vgextend", n, &disks()[..2]);
        let watcher = Watcher::start(dir.path(), &two_disks());
        wait_for(
            dir.path(),
            &format!("both are Ready after a cut before write {n}"),
            || stages(dir.path()) == ["Ready", "Ready"],
        );
        drop(watcher);
        let was_cut = knife.has_cut();
        let wreck = dir.path().join("journal/wrecks").exists();
        println!("result: vgextend {n}: cut: {was_cut}, a wreck was cleaned: {wreck}");
        whole(dir.path());
        let count = run("lvm", &["vgs", "--noheadings", "-o", "pv_count", "fast"]);
        assert_eq!(count, "2");
        bystanders.check();
        run("lvm", &["vgremove", "-y", "fast"]);
        blank(2);
        if !was_cut {
            assert!(n > 5, "it writes more often than that");
            break;
        }
    }
    drop(knife);
    clean();
}

#[test]
#[ignore = "long: every write of each command"]
fn each_command_is_cut_before_each_of_its_writes() {
    for verb in ["vgcreate", "pvcreate", "lvcreate", "lvchange"] {
        cut_at_each_write(verb, &[]);
    }
}

#[test]
fn what_a_cut_lvcreate_leaves_of_the_pool_is_removed() {
    // The spare without a tag, and the plain volume with the pool's name.
    assert_eq!(cut_at_each_write("lvcreate", &[4, 7]), 2);
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn an_onboarding_killed_at_random_moments_goes_on() {
    let moments = if all() { 24 } else { 3 };
    clean();
    let bystanders = Bystanders::beside(1);
    let mut takes = None;
    for i in 0..=moments {
        blank(1);
        let dir = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let mut watcher = Watcher::start(dir.path(), CLASS);
        match takes {
            None => {
                // Once without, to know how long it takes.
                wait_for(dir.path(), "Ready", || is_ready(dir.path()));
                takes = Some(started.elapsed());
                println!("uncut it takes {takes:?}");
            }
            Some(takes) => {
                // Spread over all of it; nothing happens in the second in which the disk settles.
                let delay = takes.mul_f64((f64::from(i - 1) + chance()) / f64::from(moments));
                let rest = delay.saturating_sub(started.elapsed()).as_secs_f64();
                run("sleep", &[&rest.to_string()]);
                watcher.kill();
                println!("killed after {delay:?}: {:?}", stage(dir.path()));
                watcher = Watcher::start(dir.path(), CLASS);
                wait_for(dir.path(), "Ready", || is_ready(dir.path()));
            }
        }
        drop(watcher);
        whole(dir.path());
        bystanders.check();
        run("lvm", &["vgremove", "-y", "fast"]);
    }
    println!("killed at {moments} moments, went on {moments} times");
    clean();
}
