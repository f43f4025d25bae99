//! A disk that has another copy of its group's metadata than the others.

use std::fs;
use std::path::Path;

use super::knife::Knife;
use super::whole;
use crate::harness::{
    Bystanders, Watcher, clean, disks, no_force, output, run, stages, two_disks, wait_for,
};

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

/// Takes from a disk what a power cut may: the text that the header has the place of, or the header's last change.
fn lose(lost: &str, disk: &str) {
    let dd = |args: &str| drop(run("dd", &args.split(' ').collect::<Vec<_>>()));
    match lost {
        "text" => {
            let (at, size) = committed_text(disk);
            let (seek, count) = (at / 512, size.div_ceil(512));
            dd(&format!(
                "if=/dev/zero of={disk} bs=512 seek={seek} count={count} oflag=direct status=none"
            ));
        }
        _ => {
            let save = "bs=512 count=1 iflag=direct status=none";
            dd(&format!("if={disk} of=/run/header skip=8 {save}"));
            run("lvm", &["vgchange", "-q", "--addtag", "changed", "fast"]);
            run("lvm", &["vgchange", "-q", "--deltag", "changed", "fast"]);
            let load = "bs=512 count=1 oflag=direct status=none";
            dd(&format!("if=/run/header of={disk} seek=8 {load}"));
        }
    }
    run("udevadm", &["trigger", "--settle", "--action=change", disk]);
    assert!(!is_same(disk), "{lost} is lost");
}

/// Whether the second disk has what the first has.
fn is_same(second: &str) -> bool {
    let newest = seqno_on(&disks()[0]);
    newest.is_some() && seqno_on(second) == newest
}

/// A class that takes two disks at once.
fn both() -> String {
    two_disks().replace("maxDisks: 2", "minDisks: 2, maxDisks: 2")
}

/// A group on two disks, and the watcher gone.
fn onboarded(dir: &Path) {
    let watcher = Watcher::start(dir, &both());
    wait_for(dir, "both are Ready", || stages(dir) == ["Ready", "Ready"]);
    watcher.terminate();
}

#[test]
fn a_disk_whose_copy_of_the_metadata_a_power_cut_lost_gets_it_again() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    onboarded(dir.path());
    let disk = &disks()[1];
    for lost in ["text", "commit"] {
        lose(lost, disk);
        let watcher = Watcher::start(dir.path(), &both());
        let what = format!("after a lost {lost} both are the same");
        wait_for(dir.path(), &what, || is_same(disk));
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

#[test]
#[ignore = "long: every write of vgck"]
fn writing_a_lost_copy_anew_is_cut_before_each_of_its_writes() {
    let knife = Knife::new();
    clean();
    let bystanders = Bystanders::beside(2);
    let dir = tempfile::tempdir().unwrap();
    onboarded(dir.path());
    let disk = &disks()[1];
    for lost in ["text", "commit"] {
        for n in 1.. {
            lose(lost, disk);
            knife.arm("vgck", n, &disks()[..2]);
            let watcher = Watcher::start(dir.path(), &both());
            let what = format!("the copies are the same after a cut before write {n} of vgck");
            wait_for(dir.path(), &what, || is_same(disk));
            watcher.terminate();
            let was_cut = knife.has_cut();
            println!("result: a lost {lost}, vgck {n}: cut: {was_cut}, written anew");
            whole(dir.path());
            bystanders.check();
            if !was_cut {
                assert!(n > 2, "it writes more often than that");
                break;
            }
        }
    }
    run("lvm", &["vgremove", "-y", "fast"]);
    drop(knife);
    clean();
}
