//! Volumes whose extents somebody moves to another disk.

use std::time::Duration;

use tonic::Code;

use crate::harness::{BOTH, Daemon, MIB, clean, disks, eventually, lvm, start};

/// Without the daemon that lvm would ask to follow the move.
const ALONE: [&str; 3] = ["pvmove", "--config", "global/use_lvmpolld=0"];

fn is_moving() -> bool {
    lvm(&["lvs", "-a", "--noheadings", "-o", "lv_name", "vg"]).contains("pvmove")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pvmove_holds_is_changed_after_it_and_all_else_meanwhile() {
    clean();
    let disks = disks();
    lvm(&["vgcreate", "vg", &disks[0], &disks[1]]);
    lvm(&["lvcreate", "-y", "-L", "64M", "-T", "vg/pool", &disks[0]]);
    lvm(&["lvcreate", "-y", "-L", "8M", "-n", "held", "vg", &disks[0]]);
    lvm(&["lvcreate", "-y", "-L", "8M", "-n", "still", "vg", &disks[1]]);
    let lvmd = Daemon::start(BOTH).await;
    lvmd.create("a", "thin", 8 * MIB).await.unwrap();
    // Everything is copied soon, and stays held until somebody looks whether it is: this one
    // in ten minutes.
    let mut follower = start("lvm", &[&ALONE[..], &["-i", "600", &disks[0]]].concat());
    eventually("the pvmove is at work", async || is_moving()).await;

    let (made, taken, grown, large, removed, gone) = tokio::join!(
        lvmd.create("b", "thin", 8 * MIB),
        lvmd.snapshot("a", "s", "ro", 8 * MIB),
        lvmd.resize("a", "thin", 16 * MIB),
        lvmd.resize("held", "thick", 16 * MIB),
        lvmd.remove("a", "thin"),
        lvmd.remove("held", "thick"),
    );
    for refused in [
        made.map(drop),
        taken.map(drop),
        grown.map(drop),
        large.map(drop),
        removed,
        gone,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        let says = |words| refused.message().contains(words);
        assert!(says("pvmove0") && says("pvmove --abort"), "{refused}");
    }
    // What is so already needs no change.
    lvmd.create("a", "thin", 8 * MIB).await.unwrap();
    lvmd.resize("a", "thin", 8 * MIB).await.unwrap();

    let waits = async {
        let made = lvmd.create("b", "thin", 8 * MIB).await;
        assert!(!is_moving(), "it was made during the move");
        made.unwrap()
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        lvmd.create("other", "thick", 8 * MIB).await.unwrap();
        lvmd.resize("still", "thick", 16 * MIB).await.unwrap();
        lvmd.remove("still", "thick").await.unwrap();
        assert_eq!(lvmd.names("thin").await, ["a"]);
        assert!(is_moving());
        lvm(&[&ALONE[..], &["-i", "1"]].concat());
    };
    tokio::join!(waits, meanwhile);
    assert_eq!(lvmd.names("thin").await, ["a", "b"]);
    assert_eq!(lvmd.names("thick").await, ["held", "other"]);
    lvmd.remove("a", "thin").await.unwrap();
    lvmd.remove("held", "thick").await.unwrap();
    let log = lvmd.log();
    assert!(!log.contains("nternal error"), "{log}");
    lvmd.stop();
    follower.kill().unwrap();
    follower.wait().unwrap();
}
