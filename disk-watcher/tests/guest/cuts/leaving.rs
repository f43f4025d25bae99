//! A disk that leaves its group, and a PV that follows its disk, with lvm cut off before any of its writes.

use std::path::Path;

use super::knife::Knife;
use super::{blank, whole};
use crate::faults::status::status;
use crate::harness::{
    Bystanders, CLASS, Watcher, clean, disks, is_ready, no_force, output, run, stages, two_disks,
    wait_for,
};

/// The PVs of the group with the devices they are on, that with the most on it first.
fn members() -> Vec<(String, String)> {
    let text = run(
        "lvm",
        &[
            "pvs",
            "--noheadings",
            "-o",
            "pv_uuid,pv_name",
            "-S",
            "vg_name=fast",
            "--sort",
            "-pv_used",
        ],
    );
    let pairs = text.lines().map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    });
    pairs.collect()
}

/// Asks that this PV leaves.
fn request(uuid: &str) -> String {
    format!(
        "---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\n\
         spec: {{node: n1, pvUUID: {uuid}}}\n"
    )
}

/// Two disks in a group, of which one leaves; `verb` is cut off before its `n`-th write. Gives whether it was.
fn leaves(knife: &Knife, dir: &Path, verb: &str, n: u32) -> bool {
    // All of it fits on one disk.
    let class = two_disks().replace("size: 60%", "size: 20%");
    let watcher = Watcher::with(dir, &class, &["--node-name", "n1"]);
    wait_for(dir, "both are Ready", || stages(dir) == ["Ready", "Ready"]);
    watcher.terminate();
    let all = members();
    // What is to move is on the first.
    let (uuid, disk) = &all[usize::from(verb != "pvmove")];
    knife.arm(verb, n, &disks()[..2]);
    let asked = format!("{class}{}", request(uuid));
    let watcher = Watcher::with(dir, &asked, &["--node-name", "n1"]);
    let what = format!("it has left after a cut before write {n} of {verb}");
    wait_for(dir, &what, || {
        status(dir)["requests"][0]["state"] == "Done" && stages(dir) == ["Ready"]
    });
    watcher.terminate();
    assert_eq!(members().len(), 1, "one disk stays");
    let volumes = run(
        "lvm",
        &["lvs", "-a", "--noheadings", "-o", "lv_name", "fast"],
    );
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    assert!(!volumes.contains("pvmove"), "{volumes}\n{log}");
    let label = output("lvm", &["pvs", "--noheadings", "-o", "pv_uuid", disk]);
    assert!(!label.status.success(), "{disk} has its label no more");
    whole(dir);
    knife.has_cut()
}

fn leaves_cut_at_each_write(verb: &str) {
    let knife = Knife::new();
    clean();
    let bystanders = Bystanders::beside(2);
    for n in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let was_cut = leaves(&knife, dir.path(), verb, n);
        println!("result: {verb} {n}: cut: {was_cut}, the disk has left");
        bystanders.check();
        run("lvm", &["vgremove", "-y", "fast"]);
        blank(2);
        if !was_cut {
            assert!(n > 1, "{verb} writes");
            break;
        }
    }
    drop(knife);
    clean();
}

#[test]
#[ignore = "long: every write of vgreduce"]
fn a_leaving_is_cut_before_each_write_of_vgreduce() {
    leaves_cut_at_each_write("vgreduce");
}

#[test]
#[ignore = "long: every write of pvmove"]
fn a_leaving_is_cut_before_each_write_of_pvmove() {
    leaves_cut_at_each_write("pvmove");
}

#[test]
#[ignore = "long: every write of pvremove"]
fn a_leaving_is_cut_before_each_write_of_pvremove() {
    leaves_cut_at_each_write("pvremove");
}

/// Has the journal say that the one disk had 256 MiB.
fn was_smaller(dir: &Path) {
    let mut claims = std::fs::read_dir(dir.join("journal/claims")).unwrap();
    let path = claims.find_map(|file| {
        let path = file.unwrap().path();
        path.extension()
            .is_some_and(|ext| ext == "json")
            .then_some(path)
    });
    let path = path.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut claim: serde_json::Value = serde_json::from_str(&text).unwrap();
    claim["size"] = (256u64 << 20).into();
    std::fs::write(&path, claim.to_string()).unwrap();
}

#[test]
#[ignore = "long: every write of pvresize"]
fn a_growth_is_cut_before_each_of_its_writes() {
    let knife = Knife::new();
    clean();
    let bystanders = Bystanders::beside(1);
    let class = CLASS.replace("size: 60%", "size: 20%");
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), &class);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    watcher.terminate();
    let disk = &disks()[0];
    let size = || run("lvm", &["pvs", "--noheadings", "-o", "pv_size", disk]);
    let full = size();
    for n in 1.. {
        // As if the disk had been smaller until now.
        let smaller = [
            "pvresize",
            "-q",
            "-y",
            "--setphysicalvolumesize",
            "256m",
            disk,
        ];
        run("lvm", &smaller);
        assert_ne!(size(), full);
        was_smaller(dir.path());
        knife.arm("pvresize", n, &disks()[..1]);
        let watcher = Watcher::start(dir.path(), &class);
        let what = format!("the PV fills its disk after a cut before write {n} of pvresize");
        wait_for(dir.path(), &what, || size() == full);
        watcher.terminate();
        let was_cut = knife.has_cut();
        println!("result: pvresize {n}: cut: {was_cut}, the PV has all of the disk");
        whole(dir.path());
        bystanders.check();
        if !was_cut {
            assert!(n > 1, "it writes");
            break;
        }
    }
    no_force(dir.path());
    run("lvm", &["vgremove", "-y", "fast"]);
    drop(knife);
    clean();
}
