//! The life of one disk: plugged in, taken, filled until its pool grows, pulled.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{Watcher, output, run, wait_for};
use crate::scsi::Bench;
use crate::writer;

/// What is measured, in the order of the table.
pub(crate) const CASES: [&str; 5] = [
    "plug-to-decision",
    "plug-to-ready",
    "pull-to-missing",
    "threshold-to-extension-begun",
    "extension-stall",
];

/// Its pool is a fifth of it, and grows at 70 %.
const DISK_MIB: u64 = 512;
/// The volume in the pool, in MiB: more than the pool has at first.
const VOLUME: u64 = 300;
const THRESHOLD: u64 = 70;
const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  select: {transport: [scsi_debug], size: {min: 64Mi}}
  limits: {settle: 1s, maxDisks: 1}
  safety: {requireZeroed: HeadAndTail}
  volumeGroup: {name: fast}
  thinPool: {name: pool0, size: 20%, chunkSize: 64Ki, metadata: {size: 4Mi}, autoExtend: {data: {horizon: 1s}}}
";

/// What came of one life.
pub(crate) struct Lived {
    /// The time of each case.
    pub(crate) took: Vec<(&'static str, Duration)>,
    /// What the watcher said, and when this program did what it answers to.
    pub(crate) log: String,
}

/// One disk is plugged in, taken, filled and pulled.
pub(crate) fn live() -> Lived {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(DISK_MIB, 512);
    // The memory behind it is had beforehand: that takes longer than the plugging.
    let disk = bench.add();
    run("udevadm", &["settle"]);
    disk.pull();
    run("udevadm", &["settle"]);
    let log = Log(dir.path());
    let watcher = Watcher::start(dir.path(), CLASS);
    let status = dir.path().join("status/status.json");
    // Of the disk that the guest has anyway: it looked once.
    log.moment("judged disk=");

    let plugged = now();
    disk.plug();
    let decided = log.moment("claimed disk=");
    let ready = log.moment("stage=Ready");
    wait_for(dir.path(), "the pool is armed", || is_armed(&status));

    let volume = volume();
    let first = until_threshold();
    let before = writer::write(&volume, 0, first).expect("the pool has room");
    run("udevadm", &["settle"]);
    assert!(
        !log.text().contains("extending the pool"),
        "it grew before its threshold\n{}",
        log.text()
    );
    let crossed = now();
    let over = writer::write(&volume, first, 2).expect("the pool has room");
    let begun = log.moment("extending the pool");
    let rest = writer::write(&volume, first + 2, VOLUME - first - 2).expect("the pool grows");
    for (from, written) in [(0, &before), (first, &over), (first + 2, &rest)] {
        assert!(writer::is_there(&volume, from, written), "from {from} MiB");
    }
    log.moment("the pool is extended");

    let pulled = now();
    disk.pull();
    let missing = log.moment("state=Missing");
    drop(watcher);
    // Its disk is gone, so lvm cannot.
    output("dmsetup", &["remove_all"]);
    let since = |from: Duration, to: Duration| to.checked_sub(from).expect("effect after cause");
    let took = vec![
        (CASES[0], since(plugged, decided)),
        (CASES[1], since(plugged, ready)),
        (CASES[2], since(pulled, missing)),
        (CASES[3], since(crossed, begun)),
        (CASES[4], over.longest_write.max(rest.longest_write)),
    ];
    let causes = [
        ("plugged", plugged),
        ("at threshold", crossed),
        ("pulled", pulled),
    ];
    let causes =
        causes.map(|(what, at)| format!("{what} {:.3} s after midnight\n", at.as_secs_f64()));
    Lived {
        took,
        log: log.text() + &causes.concat(),
    }
}

/// The watcher's log.
struct Log<'a>(&'a Path);

impl Log<'_> {
    fn text(&self) -> String {
        std::fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }

    /// Waits for a line with these words; gives the first one's moment.
    fn moment(&self, words: &str) -> Duration {
        let line = || {
            let text = self.text();
            let mut lines = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
            lines.find(|line| line.contains(words)).map(str::to_owned)
        };
        wait_for(self.0, words, || line().is_some());
        moment(&line().unwrap())
    }
}

/// The time at which a line was logged, `2026-11-21T11:21:27.629185Z`, since midnight.
fn moment(line: &str) -> Duration {
    let clock = line.split(['T', 'Z']).nth(1).expect("a time");
    let mut parts = clock.split(':').map(|n| n.parse::<f64>().expect("a time"));
    let mut next = || parts.next().expect("a time");
    let seconds = next() * 3600.0 + next() * 60.0 + next();
    Duration::from_secs_f64(seconds)
}

/// The time since midnight, UTC.
fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Duration::new(since.as_secs() % 86_400, since.subsec_nanos())
}

/// Whether the kernel is to tell when the pool reaches its threshold.
fn is_armed(status: &Path) -> bool {
    let text = std::fs::read(status).unwrap_or_default();
    let status: Value = serde_json::from_slice(&text).unwrap_or_default();
    let conditions = status["pools"][0]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "LowWaterArmed" && c["status"] == true)
    })
}

/// Makes a thin volume, as lvmd would.
fn volume() -> String {
    let config = format!("activation/thin_pool_autoextend_threshold={THRESHOLD}");
    let size = format!("{VOLUME}m");
    run(
        "lvm",
        &[
            "lvcreate",
            "--config",
            &config,
            "-y",
            "-W",
            "n",
            "-V",
            &size,
            "-n",
            "v",
            "-T",
            "fast/pool0",
        ],
    );
    "/dev/fast/v".to_owned()
}

/// How many MiB can be written without reaching the threshold, and one more does.
fn until_threshold() -> u64 {
    let status = run("dmsetup", &["status", "fast-pool0-tpool"]);
    // 0 <length> thin-pool <transaction> <metadata used>/<all> <chunks used>/<all> ...
    let chunks = status.split_whitespace().nth(5).expect("chunks");
    let (used, all) = chunks.split_once('/').expect("used/all");
    let (used, all): (u64, u64) = (used.parse().unwrap(), all.parse().unwrap());
    assert_eq!(used, 0, "a new pool");
    let per_mib = (1 << 20) / (64 << 10);
    (all * THRESHOLD / 100 - 1) / per_mib
}
