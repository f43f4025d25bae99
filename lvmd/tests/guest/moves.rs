//! Volumes whose extents somebody moves to another disk.

use std::time::Duration;

use tonic::Code;

use crate::harness::{
    BOTH, Daemon, MIB, clean, disks, eventually, lvm, lvm_killed_at, node, output, run, start,
};

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

/// The devices of the pool and its volumes that are suspended, with their tables.
fn suspended() -> Vec<String> {
    let columns = ["info", "-c", "--noheadings", "-o", "name,suspended"];
    let all = run("dmsetup", &columns);
    let names = all
        .lines()
        .filter_map(|line| line.strip_suffix(":Suspended"));
    let names = names.filter(|name| name.starts_with("vg-pool") || name.starts_with("vg-keep"));
    let tables = |name| {
        let live = run("dmsetup", &["table", name]);
        let loaded = run("dmsetup", &["table", "--inactive", name]);
        format!("{name} ({live}; loaded: {loaded})")
    };
    names.map(tables).collect()
}

/// A pool of 16 MiB on the first of two disks, with a volume full of data. Gives the volume's sum.
async fn pool_with_data() -> (tempfile::TempDir, impl Fn() -> String) {
    clean();
    let disks = disks();
    lvm(&["vgcreate", "vg", &disks[0], &disks[1]]);
    lvm(&["lvcreate", "-y", "-L", "16M", "-T", "vg/pool", &disks[0]]);
    let lvmd = Daemon::start(BOTH).await;
    let tags = &["basalt.lv=keep"];
    let made = lvmd.create_tagged("keep", "thin", 8 * MIB, tags).await;
    let device = node(&made.unwrap()).to_str().unwrap().to_owned();
    let of = format!("of={device}");
    let direct = ["oflag=direct", "conv=fsync", "status=none"];
    let random = ["if=/dev/urandom", &of, "bs=1M", "count=8"];
    run("dd", &[&random[..], &direct].concat());
    (lvmd.stop(), move || run("sha256sum", &[&device]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_goes_on_with_the_table_that_its_metadata_says_live_or_loaded() {
    let (mut dir, sum) = pool_with_data().await;
    let before = sum();
    let right = run("dmsetup", &["table", "vg-pool_tdata"]);
    let [_, sectors, _, device, sector] = right.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{right}");
    };
    // The same place, through a device as pvmove makes one: with a uuid of the group.
    let uuid = run(
        "dmsetup",
        &["info", "-c", "--noheadings", "-o", "uuid", "vg-pool"],
    );
    let uuid = format!("{}{}", &uuid[..36], "m".repeat(32));
    let place = format!("0 {sectors} linear {device} {sector}");
    run(
        "dmsetup",
        &["create", "vg-pvmove0", "--uuid", &uuid, "--table", &place],
    );
    let detour = format!("0 {sectors} linear /dev/mapper/vg-pvmove0 0");
    let elsewhere = format!(
        "0 {sectors} linear {device} {}",
        sector.parse::<u64>().unwrap() + 8192
    );
    let leave = |live: &str, loaded: &str| {
        run("dmsetup", &["suspend", "vg-pool-tpool"]);
        run("dmsetup", &["load", "vg-pool_tdata", "--table", live]);
        run("dmsetup", &["suspend", "vg-pool_tdata"]);
        run("dmsetup", &["resume", "vg-pool_tdata"]);
        run("dmsetup", &["resume", "vg-pool-tpool"]);
        run("dmsetup", &["load", "vg-pool_tdata", "--table", loaded]);
        run("dmsetup", &["suspend", "--noflush", "vg-pool_tdata"]);
    };
    for (live, loaded) in [(&detour, &right), (&right, &elsewhere)] {
        leave(live, loaded);
        let lvmd = Daemon::start_in(dir, BOTH).await;
        eventually("it goes on", async || suspended().is_empty()).await;
        assert_eq!(run("dmsetup", &["table", "vg-pool_tdata"]), right);
        assert_eq!(sum(), before);
        dir = lvmd.stop();
    }
    run("dmsetup", &["remove", "vg-pvmove0"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: every ioctl of a pvmove"]
async fn a_pool_goes_on_wherever_a_pvmove_of_it_was_cut_off() {
    let (mut dir, sum) = pool_with_data().await;
    let (before, disks) = (sum(), disks());
    let devices = || {
        lvm(&[
            "lvs",
            "-a",
            "--noheadings",
            "-o",
            "devices",
            "vg/pool_tdata",
        ])
    };
    let mut stopped = 0;
    for nth in 1.. {
        let place = devices();
        let (from, to) = match place.contains(&disks[0]) {
            true => (&disks[0], &disks[1]),
            false => (&disks[1], &disks[0]),
        };
        lvm_killed_at(nth, &[&ALONE[..], &["-i", "1", from, to]].concat());
        let left = suspended();
        let was_cut = is_moving();
        if was_cut {
            let how: &[&str] = if nth % 2 == 0 {
                &["--abort"]
            } else {
                &["-i", "1"]
            };
            output("timeout", &[&["30", "lvm"], &ALONE[..], how].concat());
        }
        let then = suspended();
        stopped += u32::from(!then.is_empty());
        println!("result: {nth}: suspended after the cut {left:?}, after another pvmove {then:?}");
        let lvmd = Daemon::start_in(dir, BOTH).await;
        eventually("it goes on", async || suspended().is_empty()).await;
        assert_eq!(sum(), before, "{nth}");
        dir = lvmd.stop();
        output(
            "lvm",
            &["lvremove", "-y", "-S", "segtype=error", "vg/pvmove0"],
        );
        output("dmsetup", &["remove", "vg-pvmove0"]);
        if !was_cut && left.is_empty() && devices() != place {
            break;
        }
    }
    println!("result: {stopped} times it was left suspended");
}
