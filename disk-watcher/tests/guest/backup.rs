//! The beginning of a disk is lost, and with it its label and LVM's metadata.

use std::path::PathBuf;

use crate::harness::{CLASS, Watcher, clean, disks, is_ready, output, run, sum, wait_for};

#[test]
fn the_restore_plan_brings_back_a_volume_whose_disk_lost_its_beginning() {
    clean();
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    let volume = "lvcreate -q -V 24M -T fast/pool0 -n data".split(' ');
    run("lvm", &volume.collect::<Vec<_>>());
    let data = "if=/dev/urandom of=/dev/fast/data bs=1M count=24 oflag=direct status=none";
    run("dd", &data.split(' ').collect::<Vec<_>>());
    let before = sum("/dev/fast/data");
    let field = |name: &str| run("lvm", &["vgs", "--noheadings", "-o", name, "fast"]);
    let kept: PathBuf = dir
        .path()
        .join("journal/groups")
        .join(field("vg_uuid"))
        .join(format!("{:0>20}.vg", field("vg_seqno")));
    wait_for(dir.path(), "the last change is kept", || kept.exists());
    drop(watcher);

    run("lvm", &["vgchange", "-q", "-an", "fast"]);
    let disk = disks()[0].clone();
    let dd = format!("if=/dev/zero of={disk} bs=1M count=1 oflag=direct status=none");
    run("dd", &dd.split(' ').collect::<Vec<_>>());
    let pvs = output("lvm", &["pvs", &disk]);
    assert!(!pvs.status.success(), "the label is lost");
    let journal = dir.path().join("journal");
    let plan = run(
        env!("CARGO_BIN_EXE_disk-watcher"),
        &["restore-plan", "--journal", journal.to_str().unwrap()],
    );
    println!("{plan}");
    let commands: Vec<String> = plan
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.replace("DISK", &disk))
        // What the plan says of thin pools.
        .map(|line| line.replace("vgcfgrestore", "vgcfgrestore --force"))
        .collect();
    assert_eq!(commands.len(), 3, "{plan}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        run(words[0], &words[1..]);
    }
    assert_eq!(sum("/dev/fast/data"), before);
    run("lvm", &["vgck", "fast"]);
    output("lvm", &["vgremove", "-y", "fast"]);
    clean();
}
