//! What hangs holds up its own VG only.

use std::time::{Duration, Instant};

use lvmd::proto::ResizeLvRequest;
use tonic::Code;

use crate::harness::{
    Daemon, MIB, children, clean, code, disks, eventually, lvm, node, output, run,
};

const TWO: &str = "device-classes:
- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}
- {name: b, volume-group: other, spare-gb: 0, zero: none}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_takes_down_its_own_vg_only_and_its_return_is_seen() {
    clean();
    let disk = disks()[0].clone();
    let sectors: u64 = run("blockdev", &["--getsz", &disk]).parse().unwrap();
    let table = format!("0 {sectors} linear {disk} 0");
    run("dmsetup", &["create", "slow", "--table", &table]);
    run("udevadm", &["settle"]);
    lvm(&["vgcreate", "vg", "/dev/mapper/slow"]);
    lvm(&["vgcreate", "other", &disks()[1]]);
    let daemon = Daemon::start(TWO).await;
    daemon.create("v", "a", 8 * MIB).await.unwrap();
    run("dmsetup", &["suspend", "--noflush", "slow"]);
    // Whatever reads it now sleeps until it is resumed.
    let first = Instant::now();
    let _ = daemon.list("a").await;
    assert!(daemon.names("b").await.is_empty());
    println!("the first answer took {:?}", first.elapsed());
    assert!(first.elapsed() < Duration::from_secs(20));
    let started = Instant::now();
    daemon.create("w", "b", 8 * MIB).await.unwrap();
    assert_eq!(daemon.names("b").await, ["w"]);
    daemon.remove("w", "b").await.unwrap();
    println!("three more calls took {:?}", started.elapsed());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "only the first look waits for it"
    );
    assert_eq!(code(daemon.remove("v", "a").await), Code::Unavailable);
    assert_eq!(daemon.page("/healthz").0, 200, "a restart would not help");
    run("dmsetup", &["resume", "slow"]);
    eventually("it is back", async || {
        daemon
            .list("a")
            .await
            .is_ok_and(|volumes| volumes.len() == 1)
    })
    .await;
    daemon.remove("v", "a").await.unwrap();
    daemon.stop();
    output("lvm", &["vgchange", "-an", "vg"]);
    output("dmsetup", &["remove", "slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_holds_stops_no_read_and_no_other_vg() {
    clean();
    lvm(&["vgcreate", "vg", &disks()[0]]);
    lvm(&["vgcreate", "other", &disks()[1]]);
    let daemon = Daemon::start(TWO).await;
    daemon.create("v", "a", 8 * MIB).await.unwrap();
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open("/run/lock/lvm/V_vg")
        .unwrap();
    file.lock().unwrap();
    let started = Instant::now();
    daemon.create("w", "b", 8 * MIB).await.unwrap();
    assert_eq!(daemon.names("a").await, ["v"]);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    drop(file);
    daemon.create("x", "a", 8 * MIB).await.unwrap();
    daemon.stop();
}

/// A node with an lvmd apart has each volume activated before it is published.
#[tokio::test(flavor = "multi_thread")]
async fn an_active_volume_is_there_while_its_group_is_locked_and_while_it_is_frozen() {
    clean();
    let disk = disks()[1].clone();
    let sectors: u64 = run("blockdev", &["--getsz", &disk]).parse().unwrap();
    // What is on it is not found on the disk below.
    let table = format!("0 {} linear {disk} 2048", sectors - 2048);
    run("dmsetup", &["create", "second", "--table", &table]);
    run("udevadm", &["settle"]);
    lvm(&["vgcreate", "vg", &disks()[0], "/dev/mapper/second"]);
    let daemon = Daemon::start(
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n",
    )
    .await;
    let made = daemon.create("v", "a", 8 * MIB).await.unwrap();
    let file = std::fs::File::create("/run/lock/lvm/V_vg").unwrap();
    file.lock().unwrap();
    // This one has the lane, and waits for the lock.
    let mut lv = daemon.lv();
    let larger = ResizeLvRequest {
        name: "v".into(),
        device_class: "a".into(),
        size_bytes: 16 * MIB,
    };
    let waiting = tokio::spawn(async move { lv.resize_lv(larger).await });
    eventually("lvm waits for the lock", async || {
        !children(daemon.pid()).is_empty()
    })
    .await;
    let started = Instant::now();
    let active = daemon.activate("v", "a").await.unwrap();
    println!(
        "\nresult: while the group is locked it took {:.0?}",
        started.elapsed()
    );
    assert!(started.elapsed() < Duration::from_secs(2) && !waiting.is_finished());
    assert_eq!(node(&active), node(&made));
    drop(file);
    waiting.await.unwrap().unwrap();

    // udev may be looking at it still.
    run("udevadm", &["settle"]);
    run("dmsetup", &["remove", "--retry", "second"]);
    eventually("the group is frozen", async || {
        code(daemon.create("w", "a", 8 * MIB).await) == Code::FailedPrecondition
    })
    .await;
    let active = daemon.activate("v", "a").await.unwrap();
    assert_eq!(node(&active), node(&made));
    assert_eq!(
        code(daemon.activate("w", "a").await),
        Code::FailedPrecondition
    );
    daemon.stop();
    output("lvm", &["vgchange", "-an", "vg"]);
}
