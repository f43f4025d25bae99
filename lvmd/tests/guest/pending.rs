//! Thin volumes and snapshots that were cut off between LVM's commit and the pool's.

use std::os::unix::fs::FileExt;

use tonic::Code;

use lvmd::proto::CreateLvSnapshotRequest;

use crate::harness::{
    BOTH, Daemon, MIB, eventually, lvm, lvm_killed_at, make_vg, node, output, run,
};

/// The transaction that the pool has reached, and the one that LVM has.
fn transactions() -> (u64, u64) {
    let status = run("dmsetup", &["status", "vg-pool-tpool"]);
    let reached = status.split(' ').nth(3).unwrap().parse().unwrap();
    let fields = ["lvs", "--noheadings", "-o", "transaction_id", "vg/pool"];
    (reached, lvm(&fields).parse().unwrap())
}

/// Kills lvcreate of the thin volume `name` after its commit and before the pool counts it: before the pool makes it
/// (LVM cannot activate it then), or after (it can).
fn cut_off(name: &str, create: &[&str], tags: &[&str], made: bool) {
    let volume = format!("vg/{name}");
    let mut args = [&["lvcreate", "-y", "-n", name][..], create].concat();
    for tag in tags {
        args.extend(["--addtag", tag]);
    }
    // Which of its ioctls comes next varies with what there is: tried from the side on which LVM finds out by itself.
    for nth in 20..70 {
        let nth = if made { 89 - nth } else { nth };
        lvm_killed_at(nth, &args);
        // What a cut snapshot leaves of its source.
        output("dmsetup", &["resume", "vg-keep"]);
        let (reached, next) = transactions();
        let activate = ["lvchange", "-ay", "-K", &volume];
        if next == reached + 1 && output("lvm", &activate).status.success() == made {
            output("lvm", &["lvchange", "-an", &volume]);
            println!("{name}: killed at ioctl {nth}");
            return;
        }
        output("lvm", &["lvremove", "-y", &volume]);
    }
    panic!("no moment is right");
}

fn write_down_only(name: &str, tags: &[&str]) {
    cut_off(name, &["-V", "8M", "-T", "vg/pool"], tags, false);
}

/// The volume `keep` of 8 MiB that begins with `kept`.
async fn keep(daemon: &Daemon) {
    let tagged = &["basalt.lv=keep"];
    let made = daemon.create_tagged("keep", "thin", 8 * MIB, tagged).await;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(node(&made.unwrap()));
    file.unwrap().write_all_at(b"kept", 0).unwrap();
    run("sync", &[]);
}

fn head(name: &str) -> String {
    run("udevadm", &["settle"]);
    run("head", &["-c", "4", &format!("/dev/mapper/vg-{name}")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_told_to_give_back_the_space_of_a_volume_whose_removal_was_cut_off() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    keep(&daemon).await;
    let dir = daemon.stop();
    let cut = (20..60).rev().find(|nth| {
        lvm(&["lvcreate", "-y", "-V", "8M", "-T", "vg/pool", "-n", "gone"]);
        run("udevadm", &["settle"]);
        lvm_killed_at(*nth, &["lvremove", "-y", "vg/gone"]);
        let (reached, next) = transactions();
        if next == reached + 1 {
            return true;
        }
        output("lvm", &["lvremove", "-y", "vg/gone"]);
        false
    });
    println!("killed at ioctl {cut:?}");
    cut.expect("a moment is right");
    let daemon = Daemon::start_in(dir, BOTH).await;
    eventually("it is told", async || {
        let (reached, next) = transactions();
        reached == next
    })
    .await;
    daemon.stop();
    assert_eq!(head("keep"), "kept");
    crate::whole::check_pool();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_volume_that_its_pool_never_made_is_made_anew() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    keep(&daemon).await;
    let dir = daemon.stop();
    run("udevadm", &["settle"]);
    write_down_only("untagged", &[]);
    let daemon = Daemon::start_in(dir, BOTH).await;
    eventually("it is named", async || {
        daemon.log().contains("result=named")
    })
    .await;
    let made = daemon.create("untagged", "thin", 8 * MIB).await.unwrap();
    std::fs::write(node(&made), b"works").unwrap();
    let dir = daemon.stop();

    run("udevadm", &["settle"]);
    write_down_only("ours", &["basalt.lv=x"]);
    let daemon = Daemon::start_in(dir, BOTH).await;
    eventually("it is taken away unasked", async || {
        daemon.names("thin").await == ["keep", "untagged"]
    })
    .await;
    daemon.create("ours", "thin", 8 * MIB).await.unwrap();
    assert_eq!(head("keep"), "kept");
    daemon.stop();
    crate::whole::check_pool();
}

/// The snapshot `name` of `keep`, as a client asks for it.
async fn snapshot(daemon: &Daemon, name: &str) -> Result<(), tonic::Status> {
    snapshot_for(daemon, name, "s").await
}

/// The same, for an object of this name.
async fn snapshot_for(daemon: &Daemon, name: &str, object: &str) -> Result<(), tonic::Status> {
    let request = CreateLvSnapshotRequest {
        name: name.into(),
        source_volume: "keep".into(),
        device_class: "thin".into(),
        access_type: "rw".into(),
        tags: vec![format!("basalt.lv={object}")],
        ..Default::default()
    };
    daemon.lv().create_lv_snapshot(request).await.map(drop)
}

const OF_KEEP: [&str; 3] = ["-kn", "-s", "vg/keep"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn a_snapshot_that_its_pool_made_and_did_not_count_is_counted() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    keep(&daemon).await;
    let dir = daemon.stop();
    run("udevadm", &["settle"]);
    cut_off("cut", &OF_KEEP, &["basalt.lv=s"], true);
    let stuck = output("lvm", &["lvcreate", "-y", "-V", "8M", "-T", "vg/pool"]);
    assert!(!stuck.status.success(), "LVM finds out of it by itself");

    let daemon = Daemon::start_in(dir, BOTH).await;
    eventually("the pool counts it", async || {
        let (reached, next) = transactions();
        reached == next
    })
    .await;
    snapshot(&daemon, "cut").await.unwrap();
    assert_eq!((head("keep"), head("cut")), ("kept".into(), "kept".into()));
    daemon.create("next", "thin", 8 * MIB).await.unwrap();
    for name in ["cut", "next"] {
        daemon.remove(name, "thin").await.unwrap();
    }
    assert_eq!(head("keep"), "kept");
    daemon.stop();
    crate::whole::check_pool();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_left_over_in_a_pool_never_becomes_a_snapshot() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    keep(&daemon).await;
    let other = daemon.create("other", "thin", 8 * MIB).await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(node(&other));
    file.unwrap().write_all_at(b"SECRET", 0).unwrap();
    run("sync", &[]);
    let dir = daemon.stop();
    run("udevadm", &["settle"]);
    cut_off("cut", &OF_KEEP, &["basalt.lv=s"], false);
    // The device of its number is taken of another volume.
    let id = lvm(&["lvs", "--noheadings", "-o", "thin_id", "vg/cut"]);
    run("dmsetup", &["suspend", "vg-other"]);
    let text = format!("create_snap {id} 2");
    run("dmsetup", &["message", "vg-pool-tpool", "0", &text]);
    run("dmsetup", &["resume", "vg-other"]);

    let daemon = Daemon::start_in(dir, BOTH).await;
    let refused = snapshot(&daemon, "cut").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(daemon.log().contains("is another than the last snapshot"));
    // A node takes AlreadyExists for its own: nothing else that differs may be said first.
    let refused = snapshot_for(&daemon, "cut", "another").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let (reached, next) = transactions();
    assert_eq!(next, reached + 1, "it was counted");
    assert_eq!(
        (head("keep"), head("other")),
        ("kept".into(), "SECR".into())
    );
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn a_pool_that_was_stopped_while_a_volume_grew_is_resumed() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    keep(&daemon).await;
    let grows = &["basalt.lv=grows"];
    let made = daemon.create_tagged("grows", "thin", 8 * MIB, grows).await;
    made.unwrap();
    let dir = daemon.stop();
    run("udevadm", &["settle"]);
    let stopped = |name: &str| {
        let columns = ["info", "-c", "--noheadings", "-o", "suspended", name];
        run("dmsetup", &columns) == "Suspended"
    };
    let mut before = String::new();
    let cut = (20..70).rev().find(|nth| {
        lvm_killed_at(*nth, &["lvextend", "-L", "+4M", "vg/grows"]);
        let size = lvm(&["lvs", "--noheadings", "-o", "lv_size", "vg/grows"]);
        let committed = size != before;
        before = size;
        if committed && stopped("vg-pool-tpool") {
            return true;
        }
        for name in [
            "vg-pool_tmeta",
            "vg-pool_tdata",
            "vg-pool-tpool",
            "vg-keep",
            "vg-grows",
        ] {
            output("dmsetup", &["resume", name]);
        }
        output("lvm", &["lvchange", "--refresh", "vg/grows"]);
        false
    });
    println!("killed at ioctl {cut:?}");
    cut.expect("a moment is right");
    let daemon = Daemon::start_in(dir, BOTH).await;
    eventually("both go on", async || {
        !stopped("vg-pool-tpool") && !stopped("vg-grows")
    })
    .await;
    assert_eq!(head("keep"), "kept");
    daemon.resize("grows", "thin", 64 * MIB).await.unwrap();
    daemon.stop();
    crate::whole::check_pool();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_left_over_in_a_pool_never_becomes_a_new_volume() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    let former = daemon.create("former", "thin", 8 * MIB).await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(node(&former));
    file.unwrap().write_all_at(b"SECRET", 0).unwrap();
    run("sync", &[]);
    // What a snapshot that was cut off may leave in the pool: a device that LVM does not know, of the next number.
    run("dmsetup", &["suspend", "vg-former"]);
    run(
        "dmsetup",
        &["message", "vg-pool-tpool", "0", "create_snap 2 1"],
    );
    run("dmsetup", &["resume", "vg-former"]);
    let refused = daemon.create("new", "thin", 8 * MIB).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused}");
    assert_eq!(daemon.names("thin").await, ["former"]);
    let new = daemon.create("new", "thin", 8 * MIB).await.unwrap();
    let head = std::fs::read(node(&new)).unwrap();
    assert!(head.iter().all(|byte| *byte == 0), "a former tenant's data");
    daemon.stop();
    crate::whole::check_pool();
}
