//! Snapshots, clones and restores of thick volumes, which are copies of all data.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use lvmd::proto::LogicalVolume;
use tonic::{Code, Status};

use crate::harness::{Daemon, MIB, code, disks, eventually, lvm, make_vg, node, output, run};
use crate::whole::wrecks;

/// Thick volumes that have copies.
const COPIED: &str = "device-classes:
- {name: thick, volume-group: vg, default: true, spare-gb: 0, zero: none, thick-snapshots: copy}
";
/// The same, and what is removed is overwritten.
pub const OVERWRITTEN: &str = "device-classes:
- {name: thick, volume-group: vg, default: true, spare-gb: 0, thick-snapshots: copy}
";
/// The device of the copy `c` until it is whole.
const COPYING: &str = "vg-basalt--copying--c";

/// Asks for a copy once.
async fn ask(
    daemon: &Daemon,
    source: &str,
    name: &str,
    access: &str,
    size: i64,
) -> Result<LogicalVolume, Status> {
    let tag = format!("basalt.lv={name}");
    daemon
        .snapshot_in("thick", source, name, access, size, &[&tag])
        .await
}

/// Asks for a copy until it is whole.
pub async fn whole(
    daemon: &Daemon,
    source: &str,
    name: &str,
    access: &str,
    size: i64,
) -> Result<LogicalVolume, Status> {
    let started = Instant::now();
    loop {
        match ask(daemon, source, name, access, size).await {
            Err(status) if status.code() == Code::Aborted => {
                assert!(started.elapsed() < Duration::from_secs(120), "{status}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other,
        }
    }
}

/// A source with random data and a hole in it; gives the device and its checksum.
async fn source(daemon: &Daemon, size: i64) -> (std::path::PathBuf, String) {
    let made = daemon.create_tagged("src", "thick", size, &["basalt.lv=src"]);
    let device = node(&made.await.unwrap());
    fill(&device, "/dev/urandom", size / MIB);
    let to = format!("of={}", device.display());
    let hole = ["if=/dev/zero", &to, "bs=1M", "seek=3", "count=5"];
    run(
        "dd",
        &[&hole[..], &["oflag=direct", "status=none"]].concat(),
    );
    let sum = sum(&device, size);
    (device, sum)
}

/// A daemon on this many disks, and a source.
async fn with_source(disks: usize, size: i64) -> (Daemon, std::path::PathBuf, String) {
    make_vg(disks, false);
    let daemon = Daemon::start(COPIED).await;
    let (device, sum) = source(&daemon, size).await;
    (daemon, device, sum)
}

fn fill(device: &Path, with: &str, mib: i64) {
    let (from, to) = (format!("if={with}"), format!("of={}", device.display()));
    let args = [&from, &to, "bs=1M", &format!("count={mib}"), "oflag=direct"];
    run("dd", &[&args[..], &["status=none", "conv=fsync"]].concat());
}

/// The checksum of the first `size` bytes, past the page cache.
fn sum(device: &Path, size: i64) -> String {
    let count = size / MIB;
    let script = "dd if=\"$0\" bs=1M count=\"$1\" iflag=direct status=none | sha256sum";
    let device = device.to_str().unwrap();
    run("sh", &["-c", script, device, &count.to_string()])
}

/// `r` or `w`, as lvs shows it.
fn permission(name: &str) -> String {
    let attr = lvm(&[
        "lvs",
        "--noheadings",
        "-o",
        "lv_attr",
        &format!("vg/{name}"),
    ]);
    attr[1..2].to_owned()
}

/// Keeps the copy `c` from going on: it is not written to while somebody else has it open. Its device is opened as soon as the
/// kernel has it, which is before the source is frozen.
async fn hold() -> File {
    let open = || {
        let name = |at: &Path| std::fs::read_to_string(at.join("dm/name")).unwrap_or_default();
        let blocks = std::fs::read_dir("/sys/block").unwrap();
        let mut paths = blocks.map(|entry| entry.unwrap().path());
        let found = paths.find(|at| name(at).trim_end() == COPYING)?;
        File::open(Path::new("/dev").join(found.file_name()?)).ok()
    };
    let started = Instant::now();
    loop {
        if let Some(held) = open() {
            break held;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no {COPYING}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Asks for the copy `c`, which does not go on until what this gives is dropped.
async fn held_copy(daemon: &Daemon, access: &'static str, size: i64) -> File {
    let (asked, held) = tokio::join!(ask(daemon, "src", "c", access, size), hold());
    let status = asked.expect_err("it is not whole");
    assert_eq!(status.code(), Code::Aborted, "{status}");
    assert!(status.message().contains("open"), "{status}");
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_what_its_source_had_although_all_of_that_is_overwritten_meanwhile() {
    const SIZE: i64 = 64 * MIB;
    let (daemon, device, before) = with_source(2, SIZE).await;
    let held = held_copy(&daemon, "ro", 0).await;
    assert_eq!(
        daemon.names("thick").await,
        ["src"],
        "nobody may use it yet"
    );
    fill(&device, "/dev/urandom", SIZE / MIB);
    let after = sum(&device, SIZE);
    assert_ne!(before, after);
    drop(held);
    let started = Instant::now();
    let snapshot = whole(&daemon, "src", "c", "ro", 0).await.unwrap();
    println!(
        "result: whole {:.1?} after it was let go",
        started.elapsed()
    );
    assert_eq!(snapshot.size_bytes, SIZE);
    assert_eq!(permission("c"), "r");
    assert_eq!(sum(&node(&snapshot), SIZE), before);
    assert_eq!(sum(&device, SIZE), after, "the source has what was written");
    eventually("nothing else is left", async || wrecks().is_empty()).await;
    let segments = lvm(&["lvs", "-a", "--noheadings", "-o", "lv_name,segtype", "vg"]);
    let words: Vec<_> = segments.split_whitespace().collect();
    assert_eq!(words, ["c", "linear", "src", "linear"]);
    // A restore that is larger, of a source that nobody can write to: nothing has to be frozen.
    let larger = SIZE + 8 * MIB;
    let restored = whole(&daemon, "c", "back", "rw", larger).await.unwrap();
    assert_eq!(restored.size_bytes, larger);
    assert_eq!(permission("back"), "w");
    assert_eq!(sum(&node(&restored), SIZE), before);
    // Asked again, and asked for another of that name.
    let again = whole(&daemon, "c", "back", "rw", larger).await.unwrap();
    assert_eq!(again.name, "back");
    assert_eq!(
        code(ask(&daemon, "src", "back", "rw", larger).await),
        Code::AlreadyExists
    );
    assert_eq!(
        code(ask(&daemon, "c", "back", "ro", larger).await),
        Code::AlreadyExists
    );
    assert_eq!(
        code(ask(&daemon, "c", "less", "rw", MIB).await),
        Code::OutOfRange
    );
    assert_eq!(
        code(ask(&daemon, "gone", "x", "rw", MIB).await),
        Code::NotFound
    );
    // They stand on their own.
    daemon.remove("src", "thick").await.unwrap();
    daemon.remove("c", "thick").await.unwrap();
    assert_eq!(sum(&node(&restored), SIZE), before);
    daemon.remove("back", "thick").await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_reboot_cut_off_goes_on_with_what_its_source_had() {
    const SIZE: i64 = 64 * MIB;
    let (daemon, device, before) = with_source(2, SIZE).await;
    let held = held_copy(&daemon, "ro", 0).await;
    fill(&device, "/dev/urandom", SIZE / MIB / 2);
    let dir = daemon.kill();
    drop(held);
    run("udevadm", &["settle"]);
    lvm(&["vgchange", "-an", "vg"]);
    let daemon = Daemon::start_in(dir, COPIED).await;
    eventually("it is whole by itself", async || {
        daemon.names("thick").await == ["c", "src"]
    })
    .await;
    let snapshot = whole(&daemon, "src", "c", "ro", 0).await.unwrap();
    assert_eq!(sum(&node(&snapshot), SIZE), before);
    eventually("nothing else is left", async || wrecks().is_empty()).await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn a_source_stays_while_it_is_copied_and_the_copy_can_be_given_up() {
    const SIZE: i64 = 32 * MIB;
    let (daemon, device, before) = with_source(2, SIZE).await;
    let free = daemon.free("thick").await.unwrap();
    let held = held_copy(&daemon, "rw", SIZE).await;
    for refused in [
        daemon.remove("src", "thick").await,
        daemon.resize("src", "thick", 2 * SIZE).await.map(drop),
    ] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::Aborted, "{status}");
        assert!(status.message().contains("remove c"), "{status}");
    }
    // A copy of what is not whole yet waits too, and other volumes do not.
    assert_eq!(
        code(ask(&daemon, "c", "d", "rw", SIZE).await),
        Code::Aborted
    );
    daemon.create("other", "thick", 8 * MIB).await.unwrap();
    daemon.remove("other", "thick").await.unwrap();
    // It is given up while it is held: nobody reads or writes.
    drop(held);
    daemon.remove("c", "thick").await.unwrap();
    assert_eq!(daemon.names("thick").await, ["src"]);
    assert_eq!(daemon.free("thick").await.unwrap(), free);
    assert_eq!(sum(&device, SIZE), before);
    assert_eq!(wrecks(), [""; 0]);
    assert_eq!(code(daemon.remove("c", "thick").await), Code::NotFound);
    daemon.resize("src", "thick", 2 * SIZE).await.unwrap();
    daemon.remove("src", "thick").await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_room_leaves_nothing_and_one_whose_frozen_source_is_gone_is_never_whole() {
    make_vg(1, false);
    let daemon = Daemon::start(COPIED).await;
    source(&daemon, 200 * MIB).await;
    let free = daemon.free("thick").await.unwrap();
    let status = ask(&daemon, "src", "c", "ro", 0).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(
        status.message().contains("51 for its frozen source"),
        "{status}"
    );
    assert_eq!(daemon.free("thick").await.unwrap(), free);
    daemon.remove("src", "thick").await.unwrap();
    source(&daemon, 64 * MIB).await;
    let free = daemon.free("thick").await.unwrap();
    let held = held_copy(&daemon, "ro", 0).await;
    lvm(&["lvremove", "-y", "vg/basalt-frozen-c"]);
    drop(held);
    eventually("it is told", async || {
        code(ask(&daemon, "src", "c", "ro", 0).await) == Code::FailedPrecondition
    })
    .await;
    assert_eq!(daemon.names("thick").await, ["src"]);
    daemon.remove("c", "thick").await.unwrap();
    assert_eq!(daemon.free("thick").await.unwrap(), free);
    whole(&daemon, "src", "c", "ro", 0).await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_source_kept_is_overwritten_before_its_space_is_given_away() {
    const SIZE: i64 = 32 * MIB;
    make_vg(1, false);
    let daemon = Daemon::start(OVERWRITTEN).await;
    let made = daemon.create_tagged("src", "thick", SIZE, &["basalt.lv=src"]);
    let device = node(&made.await.unwrap());
    let secret = daemon.dir.path().join("secret");
    let word = "a former tenant's secret\n";
    std::fs::write(&secret, word.repeat(1 << 20)).unwrap();
    fill(&device, secret.to_str().unwrap(), 16);
    let on_disk = || {
        let script = "tr '\\0' '\\n' <\"$0\" | grep -a -c \"$1\"";
        let counted = output("sh", &["-c", script, &disks()[0], word.trim_end()]);
        String::from_utf8_lossy(&counted.stdout).trim().to_owned()
    };
    assert_ne!(on_disk(), "0");
    let held = held_copy(&daemon, "ro", 0).await;
    // Now it is in the store alone.
    fill(&device, "/dev/zero", SIZE / MIB);
    drop(held);
    whole(&daemon, "src", "c", "ro", 0).await.unwrap();
    daemon.remove("c", "thick").await.unwrap();
    let has_left = async || {
        let names = lvm(&["lvs", "-a", "--noheadings", "-o", "lv_name", "vg"]);
        names == "src" && wrecks().is_empty()
    };
    eventually("all space is given back", has_left).await;
    run("sh", &["-c", "echo 3 >/proc/sys/vm/drop_caches"]);
    assert_eq!(on_disk(), "0");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn a_copy_whose_frozen_source_became_invalid_is_told_for_lost_and_its_source_is_well() {
    const SIZE: i64 = 32 * MIB;
    let (daemon, device, _) = with_source(1, SIZE).await;
    let free = daemon.free("thick").await.unwrap();
    let held = held_copy(&daemon, "ro", 0).await;
    let under_way = || {
        daemon
            .page("/metrics")
            .1
            .contains("condition=\"CopyUnderWay\"")
    };
    eventually("it is told to be under way", async || under_way()).await;
    // The disk of the store fails: the kernel lets the source be written to, and gives the snapshot up.
    let store = "vg-basalt--frozen--c-cow";
    let sectors = run("blockdev", &["--getsz", &format!("/dev/mapper/{store}")]);
    run("dmsetup", &["suspend", store]);
    run(
        "dmsetup",
        &["load", store, "--table", &format!("0 {sectors} error")],
    );
    run("dmsetup", &["resume", store]);
    fill(&device, "/dev/urandom", 1);
    let status = run("dmsetup", &["status", "vg-basalt--frozen--c"]);
    assert!(status.contains("Invalid"), "{status}");
    let now = sum(&device, SIZE);
    drop(held);
    eventually("it is told to be lost", async || {
        daemon.page("/metrics").1.contains("condition=\"CopyLost\"") && !under_way()
    })
    .await;
    assert_eq!(
        code(ask(&daemon, "src", "c", "ro", 0).await),
        Code::FailedPrecondition
    );
    assert_eq!(daemon.names("thick").await, ["src"]);
    assert_eq!(sum(&device, SIZE), now);
    daemon.remove("c", "thick").await.unwrap();
    assert_eq!(daemon.free("thick").await.unwrap(), free);
    assert_eq!(wrecks(), [""; 0]);
    daemon.stop();
}
