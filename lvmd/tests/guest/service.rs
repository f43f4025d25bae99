//! Watch, health, metrics, reload and footprint.

use std::time::Duration;

use lvmd::proto::Empty;

use crate::harness::{
    BOTH, Daemon, MIB, all, descriptors, eventually, lvm, make_vg, node, output, rss, run,
    write_config,
};

#[tokio::test(flavor = "multi_thread")]
async fn watch_tells_at_once_after_each_change_and_never_dies() {
    make_vg(2, true);
    let daemon = Daemon::start(BOTH).await;
    let mut stream = daemon.vg().watch(Empty {}).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.items.len(), 2);
    let thin = first
        .items
        .iter()
        .find(|i| i.device_class == "thin")
        .unwrap();
    assert!(thin.thin_pool.as_ref().unwrap().overprovision_bytes > 0);
    assert_eq!(first.free_bytes, daemon.free("thick").await.unwrap());
    daemon.create("v", "thick", 8 * MIB).await.unwrap();
    let next = async |stream: &mut tonic::Streaming<lvmd::proto::WatchResponse>| {
        tokio::time::timeout(Duration::from_secs(20), stream.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    };
    while next(&mut stream).await.free_bytes != first.free_bytes - 8 * 1024 * 1024 {}
    // The VG goes away and comes back: the stream stays.
    lvm(&["vgchange", "-an", "vg"]);
    lvm(&["vgrename", "vg", "gone"]);
    while !next(&mut stream).await.items.is_empty() {}
    lvm(&["vgrename", "gone", "vg"]);
    while next(&mut stream).await.items.len() != 2 {}
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_metrics_shows_each_volume_as_it_is_then() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    eventually("it is ready", async || daemon.page("/readyz").0 == 200).await;
    let sample = |name: &str, lv: &str| -> Option<u64> {
        let page = daemon.page("/metrics").1;
        let of = format!("lv=\"{lv}\"");
        let mut lines = page.lines();
        let line = lines.find(|l| l.starts_with(&format!("{name}{{")) && l.contains(&of))?;
        Some(line.split(' ').next_back()?.parse().unwrap())
    };
    let made = daemon.create("t", "thin", 64 * MIB).await.unwrap();
    daemon.create("thick", "thick", 8 * MIB).await.unwrap();
    eventually("they are shown", async || {
        sample("basalt_volume_size_bytes", "t") == Some(64 << 20)
            && sample("basalt_volume_size_bytes", "thick") == Some(8 << 20)
    })
    .await;
    assert_eq!(sample("basalt_volume_used_bytes", "thick"), None);
    assert_eq!(sample("basalt_volume_healthy", "t"), Some(1));
    let written = "basalt_volume_written_bytes_total";
    let before = sample(written, "t").unwrap();
    let to = format!("of={}", node(&made).display());
    let args = ["if=/dev/urandom", &to, "bs=1M", "count=4", "oflag=direct"];
    run("dd", &args);
    assert_eq!(sample(written, "t"), Some(before + (4 << 20)));
    let used = sample("basalt_volume_used_bytes", "t").unwrap();
    assert!((4 << 20..64 << 20).contains(&used), "{used}");
    // Its device is suspended behind everybody's back.
    run("dmsetup", &["suspend", "--noflush", "vg-t"]);
    let sick = sample("basalt_volume_healthy", "t");
    run("dmsetup", &["resume", "vg-t"]);
    assert_eq!(sick, Some(0));
    daemon.remove("t", "thin").await.unwrap();
    eventually("it is gone from the page", async || {
        sample("basalt_volume_size_bytes", "t").is_none()
    })
    .await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_reload_tell_the_truth() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    eventually("it is ready", async || daemon.page("/readyz").0 == 200).await;
    assert_eq!(daemon.page("/healthz").0, 200);
    daemon.create("v", "thick", 8 * MIB).await.unwrap();
    eventually("the gauge follows", async || {
        let free = daemon.free("thick").await.unwrap();
        let page = daemon.page("/metrics").1;
        page.lines().any(|l| {
            l.starts_with("topolvm_volumegroup_available_bytes")
                && l.contains("thick")
                && l.ends_with(&free.to_string())
        })
    })
    .await;
    let page = daemon.page("/metrics").1;
    for name in [
        "lvmd_operation_seconds_bucket",
        "lvmd_command_seconds_bucket",
        "topolvm_thinpool_data_percent",
        "lvmd_volumegroup_state",
    ] {
        assert!(page.contains(name), "{name} in {page}");
    }
    let health = output(
        env!("CARGO_BIN_EXE_lvmd"),
        &[
            "health",
            "--config",
            daemon.dir.path().join("lvmd.yaml").to_str().unwrap(),
        ],
    );
    let health_2 = output(
        env!("CARGO_BIN_EXE_lvmd"),
        &[
            "--config",
            daemon.dir.path().join("lvmd.yaml").to_str().unwrap(),
            "health",
        ],
    );
    assert!(
        health.status.success() || health_2.status.success(),
        "{}",
        String::from_utf8_lossy(&health_2.stderr)
    );
    write_config(
        daemon.dir.path(),
        "device-classes:\n- {name: thick, volume-group: vg, typo: 1}\n",
    );
    eventually("the bad file is reported", async || {
        daemon.log().contains("typo")
    })
    .await;
    assert_eq!(
        daemon.names("thick").await,
        ["v"],
        "and the old one stays in use"
    );
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn memory_stays_small_and_flat_with_many_volumes() {
    make_vg(3, false);
    let (volumes, mutations, reads) = if all() {
        (200, 100, 10_000)
    } else {
        (40, 10, 1_000)
    };
    for i in 0..volumes {
        lvm(&[
            "lvcreate",
            "-y",
            "-an",
            "-Zn",
            "-Wn",
            "-l",
            "1",
            "-n",
            &format!("l{i}"),
            "vg",
        ]);
    }
    let daemon = Daemon::start(
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n",
    )
    .await;
    assert_eq!(daemon.names("a").await.len(), volumes);
    for i in 0..mutations / 2 {
        daemon.create(&format!("m{i}"), "a", 4 * MIB).await.unwrap();
        daemon.remove(&format!("m{i}"), "a").await.unwrap();
    }
    let mut marks = Vec::new();
    for i in 0..reads {
        if i % 2 == 0 {
            daemon.free("a").await.unwrap();
        } else {
            daemon.list("a").await.unwrap();
        }
        if i % (reads / 10) == 0 {
            marks.push((rss(daemon.pid()), descriptors(daemon.pid())));
        }
    }
    println!(
        "{volumes} volumes, {mutations} mutations, {reads} reads: RSS KiB and descriptors {marks:?}"
    );
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let rss = status.lines().filter(|line| line.starts_with("Rss"));
    println!("{}", rss.collect::<Vec<_>>().join(", ").replace('\t', " "));
    let built_for_release = !cfg!(debug_assertions);
    let limit = if built_for_release {
        12 << 10
    } else {
        40 << 10
    };
    assert!(marks.iter().all(|(kib, _)| *kib < limit), "{marks:?}");
    let (half, end) = (marks[marks.len() / 2], marks[marks.len() - 1]);
    assert!(
        end.0 <= half.0 + 512 && end.1 <= half.1 + 2,
        "it grows: {marks:?}"
    );
    daemon.stop();
}
