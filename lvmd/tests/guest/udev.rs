//! Names in /dev beside a slow udevd and another lvm with its defaults.
//!
//! A node that nobody takes away is a volume's door to another volume: its number is soon
//! given to somebody else's. So after each change every name must be udevd's link, lead
//! to the right device, and be gone with it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::libc::minor;

use crate::harness::{BOTH, Daemon, MIB, eventually, lvm, make_vg, output, run};

const RULE: &str = "/run/udev/rules.d/05-slow.rules";

/// A guest whose udevd is slow with device-mapper and whose processors are busy.
struct Load(Vec<Child>);

impl Load {
    fn begin() -> Self {
        std::fs::create_dir_all("/run/udev/rules.d").unwrap();
        let slow = "KERNEL==\"dm-*\", PROGRAM=\"/bin/sleep 0.1\"\n";
        std::fs::write(RULE, slow).unwrap();
        run("udevadm", &["control", "--reload"]);
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let busy = || {
            std::process::Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        };
        Self((0..2).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(RULE);
        output("udevadm", &["control", "--reload"]);
    }
}

/// What is wrong with the names in /dev, once udevd has done all its work.
fn wrong_names() -> Vec<String> {
    run("udevadm", &["settle"]);
    let mut wrong = Vec::new();
    for dir in ["/dev/mapper", "/dev/vg"] {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path == Path::new("/dev/mapper/control") {
            } else if !path.is_symlink() {
                wrong.push(format!("{} is a node", path.display()));
            } else if !path.exists() {
                wrong.push(format!("{} leads nowhere", path.display()));
            }
        }
    }
    let minors: BTreeMap<String, String> = run(
        "dmsetup",
        &[
            "info",
            "-c",
            "--noheadings",
            "--separator",
            " ",
            "-o",
            "name,minor",
        ],
    )
    .lines()
    .filter_map(|line| line.split_once(' '))
    // "No devices found" is no device.
    .filter(|(_, minor)| minor.parse::<u32>().is_ok())
    .map(|(name, minor)| (name.to_owned(), minor.to_owned()))
    .collect();
    let mut leads_to = |path: String, number: &String| {
        let found = std::fs::metadata(&path).map(|m| minor(m.rdev()).to_string());
        if !found.as_ref().is_ok_and(|found| found == number) {
            wrong.push(format!("{path}, device {number}, leads to {found:?}"));
        }
    };
    for (name, number) in &minors {
        leads_to(format!("/dev/mapper/{name}"), number);
    }
    for lv in lvm(&[
        "lvs",
        "--noheadings",
        "-o",
        "lv_name",
        "-S",
        "lv_layout!=pool",
        "vg",
    ])
    .split_whitespace()
    {
        leads_to(format!("/dev/vg/{lv}"), &minors[&format!("vg-{lv}")]);
    }
    wrong
}

fn names_are_right(after: &str) {
    let wrong = wrong_names();
    assert!(wrong.is_empty(), "after {after}: {wrong:#?}");
}

/// 14 changes in turns with another lvm, which comes at once after ours, and what is to
/// be seen after each turn.
async fn turns(daemon: &Daemon) {
    let create = async |name, class| daemon.create(name, class, 8 * MIB).await.unwrap();
    create("a", "thick").await;
    lvm(&["lvremove", "-y", "vg/a"]);
    names_are_right("its removal of what we made");
    create("a", "thick").await;
    lvm(&["lvrename", "vg", "a", "b"]);
    names_are_right("its renaming of what we made");
    daemon.resize("b", "thick", 12 * MIB).await.unwrap();
    lvm(&["lvremove", "-y", "vg/b"]);
    names_are_right("its removal of what we grew");
    create("t", "thin").await;
    daemon.snapshot("t", "s", "rw", 12 * MIB).await.unwrap();
    names_are_right("our creation and snapshot");
    lvm(&["lvremove", "-y", "vg/t", "vg/s"]);
    names_are_right("its removal of both");
    lvm(&["lvcreate", "-y", "-l", "2", "-n", "o", "vg"]);
    daemon.resize("o", "thick", 12 * MIB).await.unwrap();
    lvm(&["lvrename", "vg", "o", "p"]);
    names_are_right("its renaming of what we grew");
    daemon.remove("p", "thick").await.unwrap();
    names_are_right("our removal of what it renamed");
}

/// How often [`turns`] are taken: once, or 15 times with BASALT_ALL set.
fn rounds() -> u32 {
    let all = std::env::vars().any(|(key, _)| key == "BASALT_ALL");
    if all { 15 } else { 1 }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn every_name_in_dev_stays_udevds_under_load() {
    make_vg(1, true);
    let _load = Load::begin();
    let daemon = Daemon::start(BOTH).await;
    for _ in 0..rounds() {
        turns(&daemon).await;
    }
    println!("{} changes, every name right", 14 * rounds());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_in_dev_stays_udevds_from_within_a_pod() {
    make_vg(1, true);
    let _load = Load::begin();
    let daemon = Daemon::start_in_pod(BOTH).await;
    for _ in 0..rounds() {
        turns(&daemon).await;
    }
    println!("{} changes, every name right", 14 * rounds());
    daemon.stop();
}

/// lvm takes a fresh pool down and up again, and runs thin_check on a node of the pool's
/// metadata. In /dev, udevd, late with the device that went, took away the one that came.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_volume_of_a_pool_is_made_at_the_first_try_under_load() {
    make_vg(1, false);
    let _load = Load::begin();
    let daemon = Daemon::start(BOTH).await;
    let pools = 4 * rounds();
    for _ in 0..pools {
        lvm(&["lvcreate", "-y", "-l", "50%VG", "-T", "vg/pool"]);
        daemon.create("v", "thin", 8 * MIB).await.unwrap();
        daemon.remove("v", "thin").await.unwrap();
        lvm(&["lvremove", "-y", "vg/pool"]);
    }
    names_are_right("the last removal of a pool");
    println!("{pools} pools");
    daemon.stop();
}

/// The worst order: another lvm removes the volume before udevd has looked at it at all.
async fn removed_before_udevd_looks(made: impl Future) -> Vec<String> {
    run("udevadm", &["settle"]);
    run("udevadm", &["control", "--stop-exec-queue"]);
    made.await;
    // It waits for udevd, as lvm does by default.
    let removal = std::thread::spawn(|| lvm(&["lvremove", "-y", "vg/a"]));
    eventually("the device is gone", async || {
        !output("dmsetup", &["info", "vg-a"]).status.success()
    })
    .await;
    run("udevadm", &["control", "--start-exec-queue"]);
    removal.join().unwrap();
    wrong_names()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_udevd_never_looked_at_leaves_no_node_behind() {
    make_vg(1, false);
    let daemon = Daemon::start(BOTH).await;
    let create = async || drop(daemon.create("a", "thick", 8 * MIB).await.unwrap());
    assert!(removed_before_udevd_looks(create()).await.is_empty());
    // The same with an lvm that makes its nodes in /dev: this test sees what it is for.
    let config = "activation { udev_sync=0 udev_rules=1 verify_udev_operations=1 }";
    let create = "lvcreate -y -l 2 -n a vg --config";
    let create: Vec<_> = create.split(' ').chain([config]).collect();
    let wrong = removed_before_udevd_looks(async { lvm(&create) }).await;
    println!("{wrong:#?}");
    assert!(wrong.contains(&"/dev/mapper/vg-a is a node".to_owned()));
    std::fs::remove_file("/dev/mapper/vg-a").unwrap();
    daemon.stop();
}
