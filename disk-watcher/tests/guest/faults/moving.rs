//! What fails while the kernel copies for a pvmove: LVM itself takes all of it for copied.

use std::path::PathBuf;
use std::time::Duration;

use disk_watcher::apply::mirrors::{self, Group, Progress};
use disk_watcher::apply::moving::Move;
use disk_watcher::commands::{self, Begun, LvmCall};
use lvmd::cmd::{Cmd, Host};
use lvmd::patience::Patience;
use tokio::runtime::Runtime;

use crate::fake_lvm::LVM;
use crate::harness::{output, run};
use crate::scsi::{Bench, Disk};

const LIMIT: Duration = Duration::from_secs(120);
/// Of a device, in sectors: where the volume has its third MiB, and its last.
const THIRD: u64 = 2048 + 2 * 2048;
const LAST: u64 = 2048 + 15 * 2048;
/// Where it begins on its disk, so that LVM does not see its label on both.
const BEGIN: u64 = 2048;

/// A group on two devices, of which parts can be had to fail, with a volume of 16 MiB on the first.
struct Pair {
    old: Device,
    new: Device,
    sum: String,
    runtime: Runtime,
    _bench: Bench,
}

/// A disk behind device-mapper.
struct Device {
    name: &'static str,
    disk: String,
    sectors: u64,
}

impl Device {
    fn new(name: &'static str, disk: &Disk) -> Self {
        let disk = disk.node().to_str().unwrap().to_owned();
        let sectors: u64 = run("blockdev", &["--getsz", &disk]).parse().unwrap();
        let device = Self {
            name,
            disk,
            sectors: sectors - BEGIN,
        };
        run("dmsetup", &["create", name, "--table", &device.table(&[])]);
        device
    }

    fn node(&self) -> PathBuf {
        PathBuf::from("/dev/mapper").join(self.name)
    }

    /// `instead`: a MiB from this sector on, and what stands there.
    fn table(&self, instead: &[(u64, &str)]) -> String {
        let mut lines = Vec::new();
        let mut at = 0;
        let mut linear = |from: u64, to: u64| {
            lines.push(format!(
                "{from} {} linear {} {}",
                to - from,
                self.disk,
                BEGIN + from
            ));
        };
        for (from, _) in instead {
            linear(at, *from);
            at = from + 2048;
        }
        linear(at, self.sectors);
        lines.extend(
            instead
                .iter()
                .map(|(from, what)| format!("{from} 2048 {what}")),
        );
        lines.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap());
        lines.join("\n")
    }

    fn set(&self, instead: &[(u64, &str)]) {
        run(
            "dmsetup",
            &["load", self.name, "--table", &self.table(instead)],
        );
        run("dmsetup", &["suspend", "--nolockfs", self.name]);
        run("dmsetup", &["resume", self.name]);
    }
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::new(96, 512);
        let [old, new] =
            [("old", bench.add()), ("new", bench.add())].map(|(n, d)| Device::new(n, &d));
        let [one, two] = [&old, &new].map(|d| d.node().to_str().unwrap().to_owned());
        run("lvm", &["vgcreate", "-y", "fast", &one, &two]);
        let first = format!("{one}:0-3");
        run(
            "lvm",
            &["lvcreate", "-y", "-L", "16M", "-n", "data", "fast", &first],
        );
        run(
            "dd",
            &[
                "if=/dev/urandom",
                "of=/dev/fast/data",
                "bs=1M",
                "count=16",
                "oflag=direct",
            ],
        );
        Self {
            sum: run("sha256sum", &["/dev/fast/data"]),
            old,
            new,
            runtime: Runtime::new().unwrap(),
            _bench: bench,
        }
    }

    fn group(&self) -> Group {
        Group {
            name: "fast".into(),
            uuid: run("lvm", &["vgs", "--noheadings", "-o", "vg_uuid", "fast"]),
        }
    }

    fn one(&self) -> (Move<Host>, Cmd) {
        let there = [self.old.node(), self.new.node()];
        // Not all that is there: a device that is suspended does not answer.
        let only = ["--devices", "/dev/mapper/old,/dev/mapper/new"];
        let lvm = |call: LvmCall| Cmd::new(LVM).args(call.args).args(only);
        let one = Move {
            runner: Host,
            patience: Patience::default(),
            group: self.group(),
            look: lvm(commands::pvmove_begun(&there, Begun::Look)),
            abort: lvm(commands::pvmove_begun(&there, Begun::Abort)),
        };
        let begin = commands::pvmove(&there, &there[0], &[(0, 3)], &there[1..]);
        (one, lvm(begin))
    }

    fn go(&self) -> Result<(), String> {
        let (one, begin) = self.one();
        self.runtime.block_on(one.go(&begin, LIMIT))
    }

    fn is_on(&self, device: &Device) -> bool {
        let lvs = ["lvs", "-a", "--noheadings", "-o", "lv_name,devices", "fast"];
        let lvs = run("lvm", &lvs);
        let on = format!("data {}(0)", device.node().display());
        lvs.split_whitespace().collect::<Vec<_>>().join(" ") == on
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        output("dmsetup", &["resume", "gate"]);
        self.old.set(&[]);
        self.new.set(&[]);
        output("lvm", &["pvmove", "--abort"]);
        run("udevadm", &["settle"]);
        output("lvm", &["vgremove", "-ff", "-y", "fast"]);
        for name in ["old", "new", "gate"] {
            output("dmsetup", &["remove", "--retry", name]);
        }
    }
}

#[test]
fn a_part_that_the_new_disk_does_not_take_is_not_taken_for_moved() {
    let pair = Pair::new();
    pair.new.set(&[(THIRD, "error")]);
    let why = pair.go().unwrap_err();
    println!("{why}");
    assert!(why.contains("taken back"), "{why}");
    assert!(pair.is_on(&pair.old));
    assert_eq!(run("sha256sum", &["/dev/fast/data"]), pair.sum);

    pair.new.set(&[]);
    pair.go().unwrap();
    assert!(pair.is_on(&pair.new));
    assert_eq!(run("sha256sum", &["/dev/fast/data"]), pair.sum);
}

#[test]
fn a_part_that_the_old_disk_does_not_give_is_not_taken_for_moved() {
    let pair = Pair::new();
    pair.old.set(&[(THIRD, "error")]);
    let why = pair.go().unwrap_err();
    assert!(why.contains("taken back"), "{why}");
    assert!(pair.is_on(&pair.old));
    assert!(!output("sha256sum", &["/dev/fast/data"]).status.success());
    pair.old.set(&[]);
    assert_eq!(run("sha256sum", &["/dev/fast/data"]), pair.sum);
}

/// The copying waits at its last MiB; meanwhile a pod writes where it was copied already, and only the new disk takes it.
#[test]
fn a_write_that_only_the_new_disk_took_is_not_lost_by_taking_the_move_back() {
    let pair = Pair::new();
    run(
        "dmsetup",
        &[
            "create",
            "gate",
            "--table",
            &format!("0 2048 linear {} {}", pair.new.disk, BEGIN + LAST),
        ],
    );
    let gate = "linear /dev/mapper/gate 0";
    pair.new.set(&[(LAST, gate)]);
    let (one, begin) = pair.one();
    let again = one.clone();
    let group = one.group.clone();
    run("dmsetup", &["suspend", "--nolockfs", "gate"]);
    let going = pair
        .runtime
        .spawn(async move { one.go(&begin, LIMIT).await });
    // All regions but the last one.
    let copied = async {
        let status = || {
            let said = output("dmsetup", &["status", "fast-pvmove0"]).stdout;
            String::from_utf8(said).unwrap()
        };
        let left = |status: &str| {
            let (done, of) = status.split(' ').find_map(|word| word.split_once('/'))?;
            Some(of.parse::<u64>().ok()? - done.parse::<u64>().ok()?)
        };
        while left(&status()) != Some(1) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let copied = async { tokio::time::timeout(LIMIT, copied).await };
    pair.runtime.block_on(copied).unwrap();
    assert_eq!(mirrors::progress(&group).unwrap(), Progress::Copying);
    pair.old.set(&[(THIRD, "error")]);
    let write = [
        "if=/dev/zero",
        "of=/dev/fast/data",
        "bs=1M",
        "count=1",
        "seek=2",
        "oflag=direct",
        "conv=notrunc",
    ];
    run("dd", &write);
    let why = pair.runtime.block_on(going).unwrap().unwrap_err();
    println!("{why}");
    assert!(why.contains("nor taken back"), "{why}");
    let again = pair.runtime.block_on(again.back()).unwrap_err();
    assert!(again.contains("nor taken back"), "{again}");
    // It reads as an error, not as what was there before, and stands where it went.
    let third = [
        "if=/dev/fast/data",
        "of=/dev/null",
        "bs=1M",
        "count=1",
        "skip=2",
        "iflag=direct",
    ];
    assert!(!output("dd", &third).status.success());
    let read = "dd if=/dev/mapper/new bs=1M count=1 skip=3 iflag=direct status=none | cmp -n 1048576 - /dev/zero";
    run("sh", &["-c", read]);
}
