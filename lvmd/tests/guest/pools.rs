//! Each state a pool can get into, made for real, is told within a second of the kernel's event.

use std::time::{Duration, Instant};

use lvmd::dm::{Control, PoolMode, PoolStatus, PoolTable};
use lvmd::pool;
use tonic::Code;

use crate::harness::{
    Daemon, MIB, clean, code, disks, eventually, lvm, make_vg, node, output, run, start,
};
use crate::watching::{Watcher, has, item};

/// Ten times the goal of a second.
const LIMIT: Duration = Duration::from_secs(10);

const THIN: &str = "device-classes:
- {name: thin, volume-group: vg, default: true, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 10.0}}
";

/// The device-mapper uuid of the pool of `vg`.
fn pool_uuid() -> String {
    let control = Control::open().unwrap();
    let mut all = control.list().unwrap().into_iter();
    let of = |name: &str| name == "vg-pool-tpool";
    all.find(|d| of(&d.name)).unwrap().uuid.unwrap()
}

fn status(uuid: &str) -> PoolStatus {
    let targets = Control::open().unwrap().status(uuid).unwrap().unwrap();
    PoolStatus::parse(&targets[0].params).unwrap()
}

fn table(uuid: &str) -> PoolTable {
    let targets = Control::open().unwrap().table(uuid).unwrap().unwrap();
    PoolTable::parse(&targets[0].params).unwrap()
}

/// When the kernel first says so, looked at every 2 ms.
async fn kernel(what: &str, uuid: &str, holds: impl Fn(&PoolStatus) -> bool) -> Instant {
    let began = Instant::now();
    loop {
        let now = status(uuid);
        if holds(&now) {
            return Instant::now();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {now:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Prints and checks how long after the kernel the watcher was told.
fn check(what: &str, kernel: Instant, told: Instant) {
    let took = told.saturating_duration_since(kernel);
    println!("{what}: told {} ms after the kernel", took.as_millis());
    assert!(took < LIMIT, "{what}: {took:?}");
}

fn write_direct(of: &str, from: i64, mib: i64) -> std::process::Child {
    let (of, seek) = (format!("of={of}"), format!("seek={from}"));
    let count = format!("count={mib}");
    start(
        "dd",
        &[
            "if=/dev/urandom",
            &of,
            "bs=1M",
            &seek,
            &count,
            "oflag=direct",
            "status=none",
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_full_is_told_and_opens_again_when_it_is_extended() {
    make_vg(2, false);
    lvm(&[
        "lvcreate",
        "-y",
        "--type",
        "thin-pool",
        "-L",
        "32M",
        "-c",
        "64k",
        "-n",
        "pool",
        "vg",
    ]);
    let timeout = "/sys/module/dm_thin_pool/parameters/no_space_timeout";
    std::fs::write(timeout, "3").unwrap();
    let daemon = Daemon::start(THIN).await;
    let made = daemon.create("v", "thin", 64 * MIB).await.unwrap();
    let watcher = Watcher::of(&daemon).await;
    let uuid = pool_uuid();
    assert_eq!(table(&uuid).low_water, pool::low_water(512, 70));

    // The threshold: the kernel says so, and watchers get the usage.
    let path = node(&made).display().to_string();
    assert!(write_direct(&path, 0, 24).wait().unwrap().success());
    let crossed = Instant::now();
    let told = watcher
        .when("usage past the threshold", |m| {
            let pool = item(m, "thin").and_then(|i| i.thin_pool.as_ref());
            pool.is_some_and(|p| p.data_percent >= 70.0)
        })
        .await;
    check("low water", crossed, told);

    // Full: writes wait.
    let mut writer = write_direct(&path, 24, 16);
    let full = kernel("full", &uuid, |s| s.mode == PoolMode::OutOfDataSpace).await;
    let out = |m: &_| has(m, "thin", "PoolOutOfDataSpace") && has(m, "thin", "PoolFull");
    check(
        "out_of_data_space",
        full,
        watcher.when("out of data space", out).await,
    );
    assert_eq!(
        daemon.free("thin").await.unwrap(),
        0,
        "no more volumes here"
    );
    let refused = daemon.create("w", "thin", 4 * MIB).await;
    assert_eq!(code(refused), Code::ResourceExhausted);
    let listed = daemon.list("thin").await.unwrap();
    let of_volume = &listed[0].conditions;
    assert!(
        of_volume
            .iter()
            .any(|c| c.code == "PoolOutOfDataSpace" && c.abnormal),
        "{of_volume:?}"
    );
    let page = daemon.page("/metrics").1;
    let line = "lvmd_condition{device_class=\"thin\",condition=\"PoolOutOfDataSpace\"} 1";
    assert!(page.contains(line), "{page}");
    assert!(daemon.log().contains("writes that need new space wait"));

    // The kernel's patience ends: writes fail.
    let errors = kernel("errors", &uuid, |s| s.error_if_no_space).await;
    let told = watcher
        .when("errors", |m| has(m, "thin", "PoolErrorIfNoSpace"))
        .await;
    check("error_if_no_space", errors, told);
    assert!(!writer.wait().unwrap().success(), "the write got ENOSPC");

    // Another tool extends it, without our threshold: all is well again, and the mark is put back.
    let seen = watcher.count();
    lvm(&["lvextend", "-L", "64M", "vg/pool"]);
    let extended = kernel("rw", &uuid, |s| s.mode == PoolMode::ReadWrite).await;
    let well = |m: &_| {
        !["PoolOutOfDataSpace", "PoolFull", "PoolErrorIfNoSpace"]
            .iter()
            .any(|code| has(m, "thin", code))
    };
    check(
        "extended",
        extended,
        watcher.when_from(seen, "all is well", well).await,
    );
    eventually("the low-water mark is armed", async || {
        table(&uuid).low_water == pool::low_water(1024, 70)
    })
    .await;
    assert!(daemon.free("thin").await.unwrap() > 0);
    daemon.create("w", "thin", 4 * MIB).await.unwrap();

    // By choice.
    lvm(&["lvchange", "--errorwhenfull", "y", "vg/pool"]);
    let changed = Instant::now();
    let seen = watcher.count() - 1;
    let told = watcher
        .when_from(seen, "errorwhenfull", |m| {
            has(m, "thin", "PoolErrorIfNoSpace")
        })
        .await;
    check("errorwhenfull", changed, told);
    std::fs::write(timeout, "60").unwrap();
    daemon.stop();
}

/// A VG whose pool `pool` has its metadata (4 MiB) on the first disk behind the mapping
/// `flaky`, and its data on the second.
fn metadata_behind_a_mapping() {
    clean();
    run("modprobe", &["dm-flakey"]);
    let disks = disks();
    // Not from the start: LVM would see the PV on the disk as well.
    run(
        "dmsetup",
        &["create", "flaky", "--table", &mapping("linear", "")],
    );
    run("udevadm", &["settle"]);
    let flaky = "/dev/mapper/flaky";
    lvm(&["vgcreate", "vg", flaky, &disks[1]]);
    lvm(&["lvcreate", "-y", "-L", "4M", "-n", "meta", "vg", flaky]);
    lvm(&["lvcreate", "-y", "-L", "64M", "-n", "pool", "vg", &disks[1]]);
    let convert = "lvconvert -y --type thin-pool -c 64k --poolmetadata vg/meta vg/pool";
    lvm(&convert.split(' ').collect::<Vec<_>>());
}

/// A table that maps all of the first disk but its first MiB.
fn mapping(target: &str, more: &str) -> String {
    let disk = &disks()[0];
    let sectors: u64 = run("blockdev", &["--getsz", disk]).parse().unwrap();
    format!("0 {} {target} {disk} 2048 {more}", sectors - 2048)
}

fn load(table: &str) {
    run("dmsetup", &["suspend", "--noflush", "--nolockfs", "flaky"]);
    run("dmsetup", &["load", "flaky", "--table", table]);
    run("dmsetup", &["resume", "flaky"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_metadata_cannot_be_written_is_told_to_have_failed() {
    metadata_behind_a_mapping();
    let daemon = Daemon::start(THIN).await;
    let made = daemon.create("v", "thin", 32 * MIB).await.unwrap();
    let watcher = Watcher::of(&daemon).await;
    let uuid = pool_uuid();
    load(&mapping("flakey", "0 600 1 error_writes"));
    let path = node(&made).display().to_string();
    let mut writer = write_direct(&path, 0, 4);
    let failed = kernel("failed", &uuid, |s| {
        matches!(s.mode, PoolMode::Failed | PoolMode::ReadOnly)
    })
    .await;
    let mode = status(&uuid).mode;
    let expected = match mode {
        PoolMode::Failed => "PoolFailed",
        _ => "PoolReadOnly",
    };
    let told = watcher.when(expected, |m| has(m, "thin", expected)).await;
    check(&format!("mode {mode}"), failed, told);
    let _ = writer.wait();
    assert_eq!(daemon.free("thin").await.unwrap(), 0);
    assert_eq!(
        code(daemon.create("w", "thin", 4 * MIB).await),
        Code::FailedPrecondition
    );
    load(&mapping("linear", ""));
    daemon.stop();
    output("lvm", &["vgchange", "-an", "vg"]);
    output("dmsetup", &["remove", "flaky"]);
}

/// CRC-32C as the kernel's persistent-data blocks use it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
        }
    }
    crc
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_needs_a_check_is_told_and_so_is_an_extension_that_did_not_arrive() {
    use std::os::unix::fs::FileExt;
    make_vg(2, false);
    lvm(&[
        "lvcreate",
        "-y",
        "--type",
        "thin-pool",
        "-L",
        "64M",
        "--poolmetadatasize",
        "4M",
        "-n",
        "pool",
        "vg",
    ]);
    lvm(&["lvcreate", "-y", "-V", "32M", "-T", "vg/pool", "-n", "v"]);
    let daemon = Daemon::start(THIN).await;
    let watcher = Watcher::of(&daemon).await;
    lvm(&["lvchange", "-an", "vg/v"]);
    lvm(&["lvchange", "-an", "vg/pool"]);
    watcher
        .when("inactive", |m| has(m, "thin", "PoolInactive"))
        .await;
    // What the kernel writes when a transaction had to be given up: a flag in the superblock.
    let place = run(
        "lvm",
        &[
            "lvs",
            "-a",
            "--noheadings",
            "-o",
            "devices",
            "vg/pool_tmeta",
        ],
    );
    let (device, extent) = place.trim_end_matches(')').split_once('(').unwrap();
    let units = [
        "--noheadings",
        "--nosuffix",
        "--units",
        "b",
        "-o",
        "pe_start",
    ];
    let start = run("lvm", &[&["pvs"][..], &units, &[device]].concat());
    let at = start.parse::<u64>().unwrap() + extent.parse::<u64>().unwrap() * 4 * 1024 * 1024;
    let disk = std::fs::File::options()
        .read(true)
        .write(true)
        .open(device)
        .unwrap();
    let mut block = vec![0; 4096];
    disk.read_exact_at(&mut block, at).unwrap();
    assert_eq!(
        &block[32..40],
        &27_022_010u64.to_le_bytes(),
        "the superblock of a thin pool"
    );
    block[4] |= 1;
    let checksum = crc32c(&block[4..]) ^ 160_774;
    block[..4].copy_from_slice(&checksum.to_le_bytes());
    disk.write_all_at(&block, at).unwrap();
    disk.sync_all().unwrap();
    drop(disk);
    let unchecked = [
        "lvchange",
        "--config",
        "global/thin_check_executable=\"\"",
        "-ay",
        "vg/v",
    ];
    lvm(&unchecked);
    let uuid = pool_uuid();
    let now = kernel("needs check", &uuid, |s| s.needs_check).await;
    let sick = |m: &_| has(m, "thin", "PoolNeedsCheck") && has(m, "thin", "PoolReadOnly");
    check("needs_check", now, watcher.when("needs check", sick).await);
    assert_eq!(daemon.free("thin").await.unwrap(), 0);

    // LVM reports success; the kernel has refused.
    let config = "global/thin_check_executable=\"\"";
    lvm(&[
        "lvextend",
        "--config",
        config,
        "--poolmetadatasize",
        "+8M",
        "vg/pool",
    ]);
    let said = Instant::now();
    assert_eq!(status(&uuid).metadata_blocks.1, 1024, "still 4 MiB");
    let told = watcher
        .when("not grown", |m| has(m, "thin", "PoolMetadataNotGrown"))
        .await;
    check("an extension that did not arrive", said, told);

    // Activated anew, with thin_check told to clear the flag (Debian's lvm does not tell it),
    // the kernel takes the new size.
    lvm(&["lvchange", "-an", "vg/v"]);
    lvm(&["lvchange", "-an", "vg/pool"]);
    let seen = watcher.count();
    let clear = "global/thin_check_options=[\"-q\",\"--clear-needs-check-flag\"]";
    lvm(&["lvchange", "--config", clear, "-ay", "vg/v"]);
    let well = |m: &_| item(m, "thin").is_some_and(|i| i.conditions.iter().all(|c| !c.abnormal));
    watcher.when_from(seen, "well again", well).await;
    assert_eq!(status(&uuid).metadata_blocks.1, 3072);
    eventually("the mark is armed", async || table(&uuid).low_water > 0).await;
    daemon.stop();
}
