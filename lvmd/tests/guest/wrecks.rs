//! What cut-off commands leave: healed at start, after an abnormal end, and on request.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use tonic::Code;

use crate::harness::{
    BOTH, Daemon, MIB, all, children, code, disks, eventually, kill9, lvm, lvm_killed_at, make_vg,
    node, output, run,
};

fn is_suspended(device: &str) -> bool {
    run(
        "dmsetup",
        &["info", "-c", "--noheadings", "-o", "suspended", device],
    ) == "Suspended"
}

fn copy(from: &str, to: &str) {
    let (from, to) = (format!("if={from}"), format!("of={to}"));
    let direct = if to.starts_with("of=/dev") {
        "oflag=direct"
    } else {
        "iflag=direct"
    };
    run(
        "dd",
        &[&from, &to, "bs=1M", "count=1", direct, "status=none"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_left_suspended_is_resumed() {
    make_vg(2, true);
    let daemon = Daemon::start(BOTH).await;
    let tagged = &["basalt.lv=keep"];
    daemon
        .create_tagged("keep", "thin", 8 * MIB, tagged)
        .await
        .unwrap();
    daemon.create("plain", "thick", 8 * MIB).await.unwrap();
    // After an abnormal end, without a restart: its lvm is killed while it waits for the lock.
    let lock = std::fs::File::options()
        .create(true)
        .append(true)
        .open("/run/lock/lvm/V_vg")
        .unwrap();
    lock.lock().unwrap();
    run("dmsetup", &["suspend", "vg-keep"]);
    let mut client = daemon.lv();
    let request = lvmd::proto::CreateLvRequest {
        name: "cut".into(),
        device_class: "thick".into(),
        size_bytes: 4 * MIB,
        ..Default::default()
    };
    let call = tokio::spawn(async move { client.create_lv(request).await });
    eventually("lvm runs", async || !children(daemon.pid()).is_empty()).await;
    children(daemon.pid()).into_iter().for_each(kill9);
    assert_eq!(
        code(call.await.unwrap().map(|r| r.into_inner())),
        Code::Internal
    );
    drop(lock);
    eventually("it is resumed", async || !is_suspended("vg-keep")).await;
    eventually("it is counted", async || {
        daemon.page("/metrics").1.contains("suspended_volume")
    })
    .await;
    daemon.create("cut", "thick", 4 * MIB).await.unwrap();

    // At start: ours and the pool of a class; an untagged volume waits for its name.
    let dir = daemon.stop();
    for device in ["vg-keep", "vg-pool-tpool", "vg-plain"] {
        run("dmsetup", &["suspend", "--noflush", device]);
    }
    let daemon = Daemon::start_in(dir, BOTH).await;
    eventually("ours are resumed", async || {
        !is_suspended("vg-keep") && !is_suspended("vg-pool-tpool")
    })
    .await;
    assert!(is_suspended("vg-plain"), "nobody named it yet");
    assert_eq!(
        daemon.resize("plain", "thick", 12 * MIB).await.unwrap(),
        12 * MIB
    );
    assert!(!is_suspended("vg-plain"));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_smaller_than_its_metadata_is_grown_by_a_repeated_request() {
    make_vg(1, false);
    let config =
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";
    let daemon = Daemon::start(config).await;
    let made = daemon.create("v", "a", 8 * MIB).await.unwrap();
    let table = run("dmsetup", &["table", "vg-v"]);
    run(
        "dmsetup",
        &["load", "vg-v", "--table", &table.replace("16384", "8192")],
    );
    run("dmsetup", &["resume", "vg-v"]);
    let size = || run("blockdev", &["--getsize64", node(&made).to_str().unwrap()]);
    assert_eq!(size(), (4 * MIB).to_string());
    assert_eq!(daemon.resize("v", "a", 8 * MIB).await.unwrap(), 8 * MIB);
    assert_eq!(size(), (8 * MIB).to_string());
    // A creation that is repeated after the volume grew finds it.
    daemon.resize("v", "a", 20 * MIB).await.unwrap();
    let again = daemon.create("v", "a", 8 * MIB).await.unwrap();
    assert_eq!(again.size_bytes, 20 * MIB);
    daemon.stop();
}

/// What a kill between loading a larger table and committing the metadata leaves, when the extents that were meant for
/// `name` have become those of `other` since: the table of `name` goes on into `other`.
fn load_into(name: &str, other: &str) {
    let words = |name: &str| -> Vec<String> {
        let table = run("dmsetup", &["table", &format!("vg-{name}")]);
        table.split(' ').map(str::to_owned).collect()
    };
    let (own, foreign) = (words(name), words(other));
    let table = format!("{}\n{} {}", own.join(" "), own[1], foreign[1..].join(" "));
    std::fs::write("/tmp/table", table).unwrap();
    run("dmsetup", &["load", &format!("vg-{name}"), "/tmp/table"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_never_live_gives_no_volume_the_extents_of_another() {
    make_vg(2, true);
    let config = "device-classes:
- {name: a, volume-group: vg, default: true, spare-gb: 0}
- {name: thin, volume-group: vg, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 5.0}}
";
    let daemon = Daemon::start(config).await;
    let tagged = &["basalt.lv=keep"];
    let keep = daemon.create_tagged("keep", "a", 8 * MIB, tagged).await;
    for name in ["grown", "removed"] {
        daemon.create(name, "a", 8 * MIB).await.unwrap();
    }
    let other = node(&daemon.create("other", "a", 8 * MIB).await.unwrap());
    let of = format!("of={}", other.display());
    let from = "if=/dev/urandom";
    run(
        "dd",
        &[from, &of, "bs=1M", "count=8", "oflag=direct", "status=none"],
    );
    let sum = || run("sha256sum", &[other.to_str().unwrap()]);
    let before = sum();
    let table = |name: &str| run("dmsetup", &["table", &format!("vg-{name}")]);
    let loaded = || {
        let columns = ["info", "-c", "--noheadings", "-o", "name,tables_loaded"];
        run("dmsetup", &columns).matches("Both").count()
    };
    let extents = table("other")
        .split(' ')
        .skip(3)
        .collect::<Vec<_>>()
        .join(" ");

    // Asked by name: it grows into space of its own, and a removed one is overwritten where it was.
    for name in ["grown", "removed"] {
        load_into(name, "other");
    }
    daemon.resize("grown", "a", 16 * MIB).await.unwrap();
    assert!(!table("grown").contains(&extents), "{}", table("grown"));
    daemon.remove("removed", "a").await.unwrap();
    eventually("it is overwritten and gone", async || {
        !run("dmsetup", &["ls"]).contains("wiping")
    })
    .await;
    assert_eq!(sum(), before, "the neighbour's data");
    assert_eq!(loaded(), 0);

    // At start: ours and the parts of a class's pool unasked, also one that is suspended.
    let dir = daemon.stop();
    for (name, suspend) in [("keep", true), ("pool_tdata", false)] {
        load_into(name, "other");
        if suspend {
            run("dmsetup", &["suspend", "vg-keep"]);
        }
    }
    let daemon = Daemon::start_in(dir, config).await;
    eventually("ours are as the metadata says", async || {
        loaded() == 0 && !is_suspended("vg-keep")
    })
    .await;
    let size = run(
        "blockdev",
        &["--getsize64", node(&keep.unwrap()).to_str().unwrap()],
    );
    assert_eq!(size, (8 * MIB).to_string());
    assert!(!table("pool_tdata").contains(&extents));
    assert_eq!(sum(), before, "the neighbour's data");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_reached_one_disk_only_is_written_to_all() {
    make_vg(2, false);
    let second = disks()[1].clone();
    copy(&second, "/tmp/old");
    lvm(&["lvcreate", "-y", "-l", "2", "-n", "v", "vg"]);
    copy("/tmp/old", &second);
    let daemon = Daemon::start(BOTH).await;
    eventually("the copies are equal again", async || {
        daemon
            .page("/metrics")
            .1
            .contains("metadata_copies_differ\",result=\"healed")
    })
    .await;
    assert_eq!(daemon.names("thick").await, ["v"]);
    let found = daemon.log().matches("not the same on all disks").count();
    assert_eq!(found, 1, "{}", daemon.log());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_origin_is_not_removed_from_under_its_thin_volumes() {
    make_vg(2, true);
    lvm(&["lvcreate", "-y", "-l", "2", "-n", "origin", "vg"]);
    lvm(&["lvchange", "-an", "vg/origin"]);
    lvm(&["lvchange", "-pr", "vg/origin"]);
    let args = "lvcreate -y -s --thinpool vg/pool -n stands-on-it vg/origin";
    lvm(&args.split(' ').collect::<Vec<_>>());
    let daemon = Daemon::start(BOTH).await;
    assert_eq!(
        code(daemon.remove("origin", "thick").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(daemon.remove("pool_tdata", "thick").await),
        Code::FailedPrecondition,
        "a hidden part is not \"already removed\""
    );
    assert_eq!(daemon.names("thin").await, ["stands-on-it"]);
    assert_eq!(daemon.names("thick").await, ["origin"]);
    daemon.remove("stands-on-it", "thin").await.unwrap();
    daemon.remove("origin", "thick").await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_open_is_not_overwritten_whatever_its_tag_says() {
    make_vg(1, false);
    lvm(&["lvcreate", "-y", "-l", "2", "-n", "v", "vg"]);
    let open = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/vg/v")
        .unwrap();
    open.write_all_at(b"data", 0).unwrap();
    open.sync_all().unwrap();
    lvm(&["lvchange", "--addtag", "basalt.state=wiping", "vg/v"]);
    let config = "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0}\n";
    let daemon = Daemon::start(config).await;
    eventually("it was tried", async || {
        daemon.log().contains("somebody else has it open")
    })
    .await;
    let mut head = [0; 4];
    open.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(&head, b"data");
    drop(open);
    eventually("it is removed once closed", async || {
        !String::from_utf8_lossy(&output("lvm", &["lvs", "vg"]).stdout).contains(" v ")
    })
    .await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_never_hands_out_a_former_tenants_data() {
    make_vg(1, false);
    let config =
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";
    let daemon = Daemon::start(config).await;
    let former = daemon.create("former", "a", 64 * MIB).await.unwrap();
    let script = format!(
        "yes SECRET | dd of={} bs=1M count=64 oflag=direct iflag=fullblock status=none",
        node(&former).display()
    );
    run("bash", &["-c", &script]);
    daemon.remove("former", "a").await.unwrap();
    // lvcreate commits the volume, clears it, and lvchange says that it is whole: from about
    // 60 to 250 ms after the start.
    let moments = if all() { 64 } else { 16 };
    let mut cut = [0, 0];
    for i in 0..moments {
        let name = format!("v{i}");
        let mut client = daemon.lv();
        let request = lvmd::proto::CreateLvRequest {
            name: name.clone(),
            size_bytes: 4 * MIB,
            ..Default::default()
        };
        let call = tokio::spawn(async move { client.create_lv(request).await });
        while children(daemon.pid()).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(30 + 240 * i / moments)).await;
        children(daemon.pid()).into_iter().for_each(kill9);
        let first = call.await.unwrap();
        cut[usize::from(first.is_ok())] += 1;
        let made = daemon.create(&name, "a", 4 * MIB).await.unwrap();
        let head = std::fs::read(node(&made)).unwrap();
        assert!(
            head[..4096].iter().all(|byte| *byte == 0),
            "moment {i}: the first call said {first:?}"
        );
        // It stays, so that the next one gets extents nobody cleared.
    }
    println!("{} creations were cut off, {} were not", cut[0], cut[1]);
    assert!(cut[0] > 0);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_repeated_never_clears_what_was_written_since() {
    make_vg(1, false);
    let config =
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";
    let mut daemon = Daemon::start(config).await;
    // Killed as soon as it has answered, and while the creation is repeated.
    for i in 0..if all() { 20 } else { 3 } {
        let name = format!("v{i}");
        let made = daemon.create(&name, "a", 4 * MIB).await.unwrap();
        let dir = daemon.kill();
        let device = node(&made);
        let script = format!(
            "yes DATA | dd of={} bs=1M count=4 oflag=direct iflag=fullblock status=none",
            device.display()
        );
        run("bash", &["-c", &script]);
        let sum = || run("sha256sum", &[device.to_str().unwrap()]);
        let before = sum();
        daemon = Daemon::start_in(dir, config).await;
        let short = Duration::from_millis(5 * i);
        let _ = tokio::time::timeout(short, daemon.create(&name, "a", 4 * MIB)).await;
        let dir = daemon.kill();
        daemon = Daemon::start_in(dir, config).await;
        let again = daemon.create(&name, "a", 4 * MIB).await.unwrap();
        assert_eq!(again.dev_minor, made.dev_minor);
        assert_eq!(sum(), before, "moment {i}");
    }
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_cut_off_is_found_done_or_repeated_and_overwritten() {
    make_vg(1, false);
    let config = "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0}\n";
    let mut daemon = Daemon::start(config).await;
    let all_free = daemon.free("a").await.unwrap();
    let moments = if all() { 32 } else { 4 };
    for i in 0..moments {
        daemon.create("v", "a", 4 * MIB).await.unwrap();
        let mut client = daemon.lv();
        let request = lvmd::proto::RemoveLvRequest {
            name: "v".into(),
            device_class: "a".into(),
        };
        let call = tokio::spawn(async move { client.remove_lv(request).await });
        while children(daemon.pid()).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(30 + 240 * i / moments)).await;
        let dir = daemon.kill();
        let first = call.await.unwrap();
        println!(
            "moment {i}: the first call said {:?}",
            first.map_err(|s| s.code())
        );
        daemon = Daemon::start_in(dir, config).await;
        eventually("the removal is done", async || {
            let again = daemon.remove("v", "a").await;
            again.is_ok() || code(again) == Code::NotFound
        })
        .await;
        eventually("it is overwritten", async || {
            daemon.free("a").await.unwrap() == all_free
        })
        .await;
    }
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_active_pool_is_cleared_at_start() {
    make_vg(1, true);
    let is_half_active = || {
        let devices = run("dmsetup", &["ls"]);
        devices.contains("vg-pool_tdata") && !devices.contains("vg-pool\t")
    };
    let cut = (5..60).find(|nth| {
        lvm(&["vgchange", "-an", "vg"]);
        lvm_killed_at(*nth, &["lvchange", "-ay", "vg/pool"]);
        is_half_active()
    });
    println!("killed at ioctl {cut:?}");
    cut.expect("a moment is right");
    run("udevadm", &["settle"]);
    let create = ["lvcreate", "-y", "-V", "4M", "-n", "x", "-T", "vg/pool"];
    let refused = output("lvm", &create);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("prohibited"), "no command works: {said}");
    let daemon = Daemon::start(BOTH).await;
    eventually("the pool works", async || {
        daemon.create("v", "thin", 8 * MIB).await.is_ok()
    })
    .await;
    let page = daemon.page("/metrics").1;
    assert!(page.contains("half_active_pool"), "{page}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_left_when_it_was_cut_off_is_healed_without_a_restart() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    for (name, class) in [("thick", "thick"), ("thin", "thin")] {
        let tag = format!("basalt.lv={name}");
        let made = daemon.create_tagged(name, class, 8 * MIB, &[&tag]).await;
        made.unwrap();
    }
    run("udevadm", &["settle"]);
    let tables = || {
        let columns = "name,suspended,tables_loaded";
        run("dmsetup", &["info", "-c", "--noheadings", "-o", columns])
    };
    let is_whole = || !tables().contains("Suspended") && !tables().contains("Both");
    // A growth of a volume and one of the pool, which disk-watcher does.
    for grow in ["vg/thick", "vg/pool"] {
        let cut = (5..80).find(|nth| {
            lvm_killed_at(*nth, &["lvextend", "-l", "+1", grow]);
            !is_whole()
        });
        println!("{grow}: killed at ioctl {cut:?}: {}", tables());
        cut.expect("a moment is right");
        eventually("it is healed", async || is_whole()).await;
    }
    for (name, class) in [("thick", "thick"), ("thin", "thin")] {
        daemon.resize(name, class, 64 * MIB).await.unwrap();
    }
    daemon.stop();
    crate::whole::check_pool();
}
