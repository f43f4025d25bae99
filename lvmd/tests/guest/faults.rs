//! Faults: what was injected, and what survived.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::harness::{
    BOTH, Daemon, MIB, children, clean, code, disks, eventually, kill9, lvm, make_vg, node, output,
    run,
};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_the_change_end() {
    make_vg(2, true);
    let daemon = Daemon::start(BOTH).await;
    let mut client = daemon.lv();
    let request = lvmd::proto::CreateLvRequest {
        name: "v".into(),
        device_class: "thin".into(),
        size_bytes: 8 * MIB,
        ..Default::default()
    };
    let call = tokio::spawn(async move { client.create_lv(request).await });
    eventually("lvm runs", async || !children(daemon.pid()).is_empty()).await;
    daemon.stop();
    let made = call.await.unwrap().unwrap().into_inner().volume.unwrap();
    assert_eq!(made.name, "v", "the call that was under way is answered");
    assert!(lvm(&["lvs", "--noheadings", "-o", "lv_name"]).contains('v'));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vg_vanishes_and_returns() {
    make_vg(1, false);
    let config = "device-classes:
- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}
- {name: b, volume-group: other, spare-gb: 0, zero: none}
";
    lvm(&["vgcreate", "other", &disks()[1]]);
    let daemon = Daemon::start(config).await;
    daemon.create("v", "a", 8 * MIB).await.unwrap();
    lvm(&["vgchange", "-an", "vg"]);
    let disk = disks()[0].clone();
    // Gone: the label is taken away, as when the disk is unplugged.
    run(
        "dd",
        &[
            &format!("if={disk}"),
            "of=/tmp/head",
            "bs=1M",
            "count=1",
            "iflag=direct",
            "status=none",
        ],
    );
    run(
        "dd",
        &[
            "if=/dev/zero",
            &format!("of={disk}"),
            "bs=1M",
            "count=1",
            "oflag=direct",
            "status=none",
        ],
    );
    assert_eq!(
        code(daemon.create("w", "a", 8 * MIB).await),
        Code::Unavailable
    );
    assert_eq!(
        code(daemon.remove("v", "a").await),
        Code::Unavailable,
        "never \"already removed\""
    );
    assert_eq!(code(daemon.list("a").await), Code::Unavailable);
    daemon
        .create("w", "b", 8 * MIB)
        .await
        .expect("the other class works");
    run(
        "dd",
        &[
            "if=/tmp/head",
            &format!("of={disk}"),
            "bs=1M",
            "count=1",
            "oflag=direct",
            "status=none",
        ],
    );
    assert_eq!(daemon.names("a").await, ["v"], "it comes back by itself");
    daemon.create("x", "a", 8 * MIB).await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_lvm_changes_the_vg_meanwhile() {
    make_vg(2, true);
    let daemon = Daemon::start(BOTH).await;
    for i in 0..5 {
        let name = format!("o{i}");
        lvm(&["lvcreate", "-y", "-L", "4M", "-n", &name, "vg"]);
        assert!(
            daemon.names("thick").await.contains(&name),
            "seen at the next question"
        );
        daemon
            .create(&format!("d{i}"), "thick", 4 * MIB)
            .await
            .unwrap();
        lvm(&["lvremove", "-y", &format!("vg/{name}")]);
        assert!(!daemon.names("thick").await.contains(&name));
    }
    // Both at once, in a loop: LVM's own lock keeps them apart.
    let writer = tokio::task::spawn_blocking(|| {
        for i in 0..10 {
            lvm(&["vgchange", "--addtag", &format!("t{i}"), "vg"]);
        }
    });
    for i in 0..5 {
        daemon
            .create(&format!("both{i}"), "thin", 4 * MIB)
            .await
            .unwrap();
    }
    writer.await.unwrap();
    assert_eq!(
        lvm(&["vgs", "--noheadings", "-o", "vg_tags", "vg"])
            .split(',')
            .count(),
        10,
        "no update is lost"
    );
    assert_eq!(daemon.names("thin").await.len(), 5);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_metadata_writes_is_never_reported_as_success() {
    clean();
    let disk = disks()[0].clone();
    run("modprobe", &["dm-flakey"]);
    let sectors: u64 = run("blockdev", &["--getsz", &disk]).parse().unwrap();
    for fault in ["error_writes", "drop_writes"] {
        clean();
        run(
            "dmsetup",
            &[
                "create",
                "flaky",
                "--table",
                &format!("0 {sectors} linear {disk} 0"),
            ],
        );
        run("udevadm", &["settle"]);
        lvm(&["vgcreate", "vg", "/dev/mapper/flaky"]);
        let config = "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";
        let daemon = Daemon::start(config).await;
        daemon.create("before", "a", 8 * MIB).await.unwrap();
        let broken = format!("0 {sectors} flakey {disk} 0 0 60 1 {fault}");
        run("dmsetup", &["suspend", "flaky"]);
        run("dmsetup", &["load", "flaky", "--table", &broken]);
        run("dmsetup", &["resume", "flaky"]);
        let said = daemon.create("lost", "a", 8 * MIB).await;
        println!("{fault}: create answered {said:?}");
        assert!(
            said.is_err(),
            "{fault}: a write the disk refused is no success"
        );
        assert!(daemon.resize("before", "a", 32 * MIB).await.is_err());
        assert!(daemon.remove("before", "a").await.is_err());
        run("dmsetup", &["suspend", "flaky"]);
        run(
            "dmsetup",
            &[
                "load",
                "flaky",
                "--table",
                &format!("0 {sectors} linear {disk} 0"),
            ],
        );
        run("dmsetup", &["resume", "flaky"]);
        eventually("the disk works again, and so do volumes", async || {
            daemon.create("after", "a", 8 * MIB).await.is_ok()
        })
        .await;
        assert!(
            daemon.names("a").await.contains(&"before".to_owned()),
            "nothing was lost"
        );
        daemon.stop();
        output("lvm", &["vgchange", "-an", "vg"]);
        output("dmsetup", &["remove", "flaky"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pv_freezes_the_vg_and_its_return_thaws_it() {
    make_vg(2, false);
    let config =
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";
    let daemon = Daemon::start(config).await;
    daemon.create("v", "a", 8 * MIB).await.unwrap();
    let second = disks()[1].clone();
    run(
        "dd",
        &[
            &format!("if={second}"),
            "of=/tmp/second",
            "bs=1M",
            "count=1",
            "iflag=direct",
            "status=none",
        ],
    );
    run(
        "dd",
        &[
            "if=/dev/zero",
            &format!("of={second}"),
            "bs=1M",
            "count=1",
            "oflag=direct",
            "status=none",
        ],
    );
    let error = daemon.create("w", "a", 8 * MIB).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("VGPartial"), "{error}");
    assert_eq!(
        daemon.names("a").await,
        ["v"],
        "what is there can still be seen"
    );
    assert!(
        daemon.page("/metrics").1.contains("VGPartial") || {
            tokio::time::sleep(Duration::from_secs(11)).await;
            daemon.page("/metrics").1.contains("VGPartial")
        }
    );
    run(
        "dd",
        &[
            "if=/tmp/second",
            &format!("of={second}"),
            "bs=1M",
            "count=1",
            "oflag=direct",
            "status=none",
        ],
    );
    daemon.create("w", "a", 8 * MIB).await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_thick_volume_is_overwritten_before_its_space_is_free() {
    make_vg(1, false);
    let config = "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0}\n";
    let daemon = Daemon::start(config).await;
    let all = i64::try_from(daemon.free("a").await.unwrap()).unwrap();
    let secret = daemon.create("secret", "a", all).await.unwrap();
    let path = node(&secret);
    output(
        "bash",
        &[
            "-c",
            &format!(
                "yes SECRET | dd of={} bs=1M oflag=direct iflag=fullblock status=none",
                path.display()
            ),
        ],
    );
    daemon.remove("secret", "a").await.unwrap();
    assert!(
        daemon.names("a").await.is_empty(),
        "its user no longer sees it"
    );
    assert_eq!(code(daemon.remove("secret", "a").await), Code::NotFound);
    // Cut while it is overwritten: the next start goes on.
    let dir = daemon.kill();
    let daemon = Daemon::start_in(dir, config).await;
    let started = Instant::now();
    eventually("the space is free again", async || {
        daemon.free("a").await.unwrap() == u64::try_from(all).unwrap()
    })
    .await;
    println!("overwritten and free after {:?}", started.elapsed());
    let next = daemon.create("next", "a", all).await.unwrap();
    let data = std::fs::read(node(&next)).unwrap();
    assert!(
        data[4096..].iter().all(|byte| *byte == 0),
        "the next tenant reads nothing of it"
    );
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_stop_its_command() {
    make_vg(2, true);
    let daemon = Daemon::start(BOTH).await;
    let gone = tokio::time::timeout(
        Duration::from_millis(60),
        daemon.create("v", "thin", 8 * MIB),
    )
    .await;
    println!(
        "the client waited 60 ms and {}",
        if gone.is_err() {
            "went away"
        } else {
            "was answered"
        }
    );
    eventually("the volume is there all the same", async || {
        daemon.names("thin").await == ["v"]
    })
    .await;
    let pids = children(daemon.pid());
    pids.into_iter().for_each(kill9);
    daemon.stop();
}
