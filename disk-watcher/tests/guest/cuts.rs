//! An onboarding goes on after its lvm was killed before any of its writes, and after it
//! was killed itself, with its lvm, at any moment.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::harness::{
    Bystanders, CLASS, Watcher, all, chance, clean, disks, is_ready, no_force, output, run, stage,
    stages, two_disks, wait_for,
};

const DIR: &str = "/run/cut";
/// Stands in the place of lvm; the next command of an armed kind is killed before its n-th
/// write to the disks.
const SHIM: &str = r#"#!/bin/sh
cut=/run/cut/$1
if [ -e "$cut" ]; then
  read -r n disks <"$cut"
  rm "$cut"
  for disk in $disks; do only="$only -P $disk"; done
  exec strace -f -o /run/cut/trace $only -e trace=write,pwrite64 -e "inject=write,pwrite64:signal=KILL:when=$n" \
    /run/cut/lvm "$@"
fi
exec /run/cut/lvm "$@"
"#;

/// While it lives, lvm can be cut.
pub(crate) struct Knife(());

impl Knife {
    pub(crate) fn new() -> Self {
        fs::create_dir_all(DIR).unwrap();
        fs::copy("/usr/sbin/lvm", "/run/cut/lvm").unwrap();
        fs::write("/run/cut/shim", SHIM).unwrap();
        run("chmod", &["755", "/run/cut/shim"]);
        run("mount", &["--bind", "/run/cut/shim", "/usr/sbin/lvm"]);
        Self(())
    }

    /// The next `verb` is killed before its `n`-th write to the disks, counted from one.
    pub(crate) fn arm(&self, verb: &str, n: u32, disks: &[String]) {
        let _ = fs::remove_file("/run/cut/trace");
        let order = format!("{n} {}", disks.join(" "));
        fs::write(Path::new(DIR).join(verb), order).unwrap();
    }

    /// Whether the command was killed; it was not when it writes less often than that.
    pub(crate) fn has_cut(&self) -> bool {
        fs::read_to_string("/run/cut/trace").is_ok_and(|text| text.contains("killed by SIGKILL"))
    }
}

impl Drop for Knife {
    fn drop(&mut self) {
        run("umount", &["/usr/sbin/lvm"]);
        fs::remove_dir_all(DIR).unwrap();
    }
}

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
fn blank(count: usize) {
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

/// The UUID that the journal has for the PV of a disk.
const CLAIMED: &str = "abcdef-abcd-abcd-abcd-abcd-abcd-abcdef";

/// The claim of a disk without an id, as a boot before this one left it.
fn claim_of_another_boot(dir: &Path, disk: &str) {
    let size = run("blockdev", &["--getsize64", disk]);
    let uuid = CLAIMED;
    let claim = format!(
        r#"{{"pvUuid": "{uuid}", "disk": "session.0b7c3a35-0000-4000-8000-000000000000.3", "class": "fast",
            "volumeGroup": "fast", "vgUuid": null, "size": {size}, "zeroes": "HeadAndTail", "fingerprint": "sha256:0",
            "stage": "Claimed"}}"#
    );
    fs::create_dir_all(dir.join("journal/claims")).unwrap();
    fs::write(dir.join(format!("journal/claims/{uuid}.json")), claim).unwrap();
}

/// The first write of pvcreate alone: an empty metadata area, without a label.
fn first_write_of_pvcreate(disk: &str) {
    run("lvm", &["pvcreate", "-qq", disk]);
    let (input, output) = (format!("if={disk}"), format!("of={disk}"));
    run(
        "dd",
        &[
            &input,
            "of=/run/header",
            "bs=512",
            "skip=8",
            "count=1",
            "iflag=direct",
        ],
    );
    blank(1);
    run(
        "dd",
        &[
            "if=/run/header",
            &output,
            "bs=512",
            "seek=8",
            "oflag=direct",
        ],
    );
    run("udevadm", &["trigger", "--settle", "--action=change", disk]);
}

/// What pvcreate wrote, but for the metadata area: a power cut may lose any write that was not
/// flushed, also one before another that it keeps.
fn label_of_pvcreate(disk: &str) {
    blank(1);
    run(
        "lvm",
        &[
            "pvcreate",
            "-qq",
            "--norestorefile",
            "--uuid",
            CLAIMED,
            disk,
        ],
    );
    let output = format!("of={disk}");
    run(
        "dd",
        &[
            "if=/dev/zero",
            &output,
            "bs=512",
            "seek=8",
            "count=1",
            "oflag=direct",
        ],
    );
    run("udevadm", &["trigger", "--settle", "--action=change", disk]);
}

#[test]
fn a_label_whose_metadata_area_was_lost_is_written_anew() {
    clean();
    let bystanders = Bystanders::beside(1);
    let disk = &disks()[0];
    label_of_pvcreate(disk);
    let dir = tempfile::tempdir().unwrap();
    claim_of_another_boot(dir.path(), disk);
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    assert!(dir.path().join("journal/wrecks").exists(), "it was kept");
    whole(dir.path());
    bystanders.check();
    run("lvm", &["vgremove", "-y", "fast"]);
    clean();
}

#[test]
fn a_pvcreate_cut_before_its_label_goes_on_in_the_next_boot() {
    clean();
    let bystanders = Bystanders::beside(1);
    let disk = &disks()[0];
    first_write_of_pvcreate(disk);
    let dir = tempfile::tempdir().unwrap();
    claim_of_another_boot(dir.path(), disk);
    // As after a boot: at the first look no disk has settled.
    let class = CLASS.replace("settle: 1s", "settle: 5s");
    assert_ne!(class, CLASS);
    let watcher = Watcher::start(dir.path(), &class);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    whole(dir.path());
    run("lvm", &["vgremove", "-y", "fast"]);

    // One byte more than that, and it is somebody's.
    first_write_of_pvcreate(disk);
    let output = format!("of={disk}");
    run(
        "dd",
        &[
            "if=/dev/urandom",
            &output,
            "bs=512",
            "seek=100",
            "count=1",
            "oflag=direct",
        ],
    );
    let before = crate::harness::sum(disk);
    let dir = tempfile::tempdir().unwrap();
    claim_of_another_boot(dir.path(), disk);
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "it is refused and its claim withdrawn", || {
        let status = fs::read_to_string(dir.path().join("status/status.json"));
        status.is_ok_and(|text| text.contains("NotZeroed")) && stage(dir.path()).is_none()
    });
    drop(watcher);
    assert_eq!(
        crate::harness::sum(disk),
        before,
        "not a byte of it changed"
    );
    bystanders.check();
    clean();
}

#[test]
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

/// Where the committed text of the PV on this disk is, in bytes: what `lvm pvck` says of its metadata area.
fn committed_text(disk: &str) -> (u64, u64) {
    let dump = run("lvm", &["pvck", "--dump", "headers", disk]);
    let field = |name: &str| {
        let line = dump.lines().find_map(|line| line.trim().strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name} in {dump}"));
        value.split_whitespace().next().unwrap().parse().unwrap()
    };
    let area: u64 = field("mda_header_1.start ");
    let at: u64 = field("mda_header_1.raw_locn[0].offset ");
    (area + at, field("mda_header_1.raw_locn[0].size "))
}

/// How often the group was changed, as the disk itself has it; nothing where it has no text that can be read.
fn seqno_on(disk: &str) -> Option<String> {
    let text = output("lvm", &["pvck", "--dump", "metadata", disk]).stdout;
    let text = String::from_utf8(text).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("seqno = "))?;
    Some(line.to_owned())
}

#[test]
fn a_disk_whose_copy_of_the_metadata_a_power_cut_lost_gets_it_again() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    let class = two_disks().replace("maxDisks: 2", "minDisks: 2, maxDisks: 2");
    let watcher = Watcher::start(dir.path(), &class);
    let both = || stages(dir.path()) == ["Ready", "Ready"];
    wait_for(dir.path(), "both are Ready", both);
    watcher.terminate();
    let disk = &disks()[1];
    let dd = |args: &str| drop(run("dd", &args.split(' ').collect::<Vec<_>>()));
    for lost in ["text", "commit"] {
        match lost {
            // The header has the new place, and the text never came there.
            "text" => {
                let (at, size) = committed_text(disk);
                let (seek, count) = (at / 512, size.div_ceil(512));
                dd(&format!(
                    "if=/dev/zero of={disk} bs=512 seek={seek} count={count} oflag=direct status=none"
                ));
            }
            // The header is as it was before a change.
            _ => {
                let save = "bs=512 count=1 iflag=direct status=none";
                dd(&format!("if={disk} of=/run/header skip=8 {save}"));
                run("lvm", &["vgchange", "-q", "--addtag", "changed", "fast"]);
                let load = "bs=512 count=1 oflag=direct status=none";
                dd(&format!("if=/run/header of={disk} seek=8 {load}"));
            }
        }
        run("udevadm", &["trigger", "--settle", "--action=change", disk]);
        assert_ne!(seqno_on(&disks()[0]), seqno_on(disk), "{lost} is lost");
        let watcher = Watcher::start(dir.path(), &class);
        let same = || seqno_on(disk).is_some() && seqno_on(&disks()[0]) == seqno_on(disk);
        wait_for(
            dir.path(),
            &format!("after a lost {lost} both are the same"),
            same,
        );
        watcher.terminate();
        println!("a lost {lost} was written anew");
        // At once, not at a later look.
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(!log.contains("still has another copy"), "{log}");
    }
    no_force(dir.path());
    run("lvm", &["vgck", "fast"]);
    run("lvm", &["vgremove", "-y", "fast"]);
    clean();
}
