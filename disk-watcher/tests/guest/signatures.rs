//! Every signature there is (fault F12), on disks that are plugged in while the watcher runs
//! and takes whatever it may: each is refused by name, and not a byte of it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use disk_watcher::probe::image::{Fixture, Sparse, written};
use disk_watcher::probe::{SignatureKind as Kind, scan};

use crate::fixtures::captured;
use crate::harness::{Watcher, run, wait_for};
use crate::scsi::{Bench, Disk, class};
use crate::tools::{DATA, TOOLS, Tool};

/// How many MiB of disks are plugged in at once: they are in the guest's memory.
const AT_ONCE: u64 = 384;
/// The sizes of disks in MiB that are tried, where the image does not need its own.
const USUAL: [u64; 2] = [16, 64];

/// One of each probe, by the beginning of its name.
const ONE_OF_EACH: [&str; 13] = [
    "gpt-backup-only",
    "dos-sfdisk",
    "lvm-orphan",
    "luks2-cryptsetup",
    "bcachefs",
    "ext4-mke2fs",
    "xfs-mkfs",
    "zfs-l0-ring",
    "md0.90-big-endian",
    "nvidia",
    "vfat32",
    "udf-mkudffs",
    "bluestore",
];

/// What libblkid calls a kind, where it does not begin with our own name for it.
const OTHER_NAMES: [(Kind, &str); 11] = [
    (Kind::GptBackup, "gpt"),
    (Kind::Luks1, "crypto_luks"),
    (Kind::Luks2, "crypto_luks"),
    (Kind::Luks2Secondary, "crypto_luks"),
    (Kind::Lvm1Pv, "lvm1_member"),
    (Kind::Lvm2Pv, "lvm2_member"),
    (Kind::Md090, "linux_raid_member"),
    (Kind::Md10, "linux_raid_member"),
    (Kind::Md11, "linux_raid_member"),
    (Kind::Md12, "linux_raid_member"),
    (Kind::SolarisX86, "solaris"),
];

/// Kinds of which libblkid knows nothing, or wants to see more than our images have: between
/// such a disk and pvcreate there are our own probes alone.
const OURS_ALONE: &[Kind] = &[
    Kind::Amiga,
    Kind::Atari,
    Kind::Bcachefs,
    Kind::Befs,
    Kind::BootSector,
    Kind::Bsd,
    Kind::CoreStorage,
    Kind::Dasd,
    Kind::Ddf,
    Kind::DmCache,
    Kind::DmClone,
    Kind::DmEra,
    Kind::DmLogWrites,
    Kind::DmThin,
    Kind::DmWritecache,
    Kind::DmZoned,
    Kind::DrbdManage,
    Kind::Exfs,
    Kind::Geom,
    Kind::Gfs2,
    Kind::HfsPlus,
    Kind::Ldm,
    Kind::Ntfs,
    Kind::Qcow,
    Kind::Scoutfs,
    Kind::Softraid,
    Kind::Stratis,
    Kind::Udf,
    Kind::Unixware,
    Kind::Vhd,
    Kind::Vhdx,
    Kind::Vmdk,
];

/// Something to find on a disk.
struct Subject {
    name: String,
    /// What the watcher has to report.
    codes: Vec<String>,
    kinds: Vec<Kind>,
    mib: u64,
    sector: u32,
    maker: Maker,
}

enum Maker {
    Image(Sparse),
    /// A shell script; the disk is `$D`.
    Script(&'static str),
}

impl Subject {
    /// An image on a disk of whole MiB. `None`: it needs a disk that no guest can hold.
    fn of(fixture: Fixture, by_program: bool) -> Option<Self> {
        let Fixture { name, finds, image } = fixture;
        let geometry = image.geometry();
        let own = geometry.size_bytes >> 20;
        let end = image.parts().last().map_or(0, |(offset, _)| offset + 512);
        let shown_on = |mib: u64| {
            let image = image.clone().resized(mib << 20);
            let found = scan(image.clone(), image.geometry()).unwrap().signatures;
            let shows = |kind: &Kind| found.iter().any(|f| f.kind == *kind);
            finds.iter().all(shows).then_some((mib, image))
        };
        // What a program made keeps its size where it is small; else without what lies behind the end.
        let small = |most| (1..=most).contains(&own).then_some(own);
        let as_made = small(128).filter(|_| by_program);
        let whole = USUAL.into_iter().filter(|mib| end <= mib << 20);
        let mut sizes = as_made
            .into_iter()
            .chain(whole)
            .chain(USUAL)
            .chain(small(AT_ONCE));
        let (mib, image) = sizes.find_map(shown_on)?;
        Some(Self {
            name,
            codes: finds.iter().map(|kind| code(*kind)).collect(),
            kinds: finds,
            mib,
            sector: geometry.logical_sector,
            maker: Maker::Image(image),
        })
    }

    fn put_on(&self, disk: &Disk) {
        let node = disk.node();
        match &self.maker {
            Maker::Image(image) => {
                let file = File::options().write(true).open(&node).unwrap();
                image.write_to(&file).unwrap();
                file.sync_all().unwrap();
            }
            Maker::Script(script) => {
                let script = format!("set -e; D={}; {script}", node.display());
                run("sh", &["-c", &script]);
            }
        }
    }
}

/// What the rules say of a kind.
fn code(kind: Kind) -> String {
    match kind {
        Kind::Lvm2Pv => "ForeignPV".to_owned(),
        kind => format!("Signature:{kind}"),
    }
}

/// Puts each subject on a disk that was unplugged, starts the watcher, and plugs them in.
/// Gives the kinds that libblkid told too.
fn refused(subjects: &[Subject], zeroes: &str) -> BTreeSet<Kind> {
    let mut told = BTreeSet::new();
    let mut sizes: BTreeMap<(u64, u32), Vec<&Subject>> = BTreeMap::new();
    for subject in subjects {
        sizes
            .entry((subject.mib, subject.sector))
            .or_default()
            .push(subject);
    }
    let dir = tempfile::tempdir().unwrap();
    let class = class(zeroes, 1);
    for ((mib, sector), group) in sizes {
        let batch = usize::try_from((AT_ONCE / mib).clamp(1, 20)).unwrap();
        for batch in group.chunks(batch) {
            let bench = Bench::new(mib, sector);
            let disks: Vec<Disk> = batch.iter().map(|_| bench.add()).collect();
            let disks: Vec<(&Subject, Disk)> = batch.iter().copied().zip(disks).collect();
            for (subject, disk) in &disks {
                subject.put_on(disk);
            }
            run("udevadm", &["settle"]);
            let sums: Vec<String> = disks.iter().map(|(_, disk)| disk.sum()).collect();
            for (subject, disk) in &disks {
                told.extend(agreed(subject, disk));
                disk.pull();
            }
            run("udevadm", &["settle"]);
            // It runs only now: a blank disk that is there for a second is a disk to take.
            let _watcher = Watcher::start(dir.path(), &class);
            wait_for(dir.path(), "a first pass", || {
                !statuses(dir.path()).is_empty()
            });
            for (_, disk) in &disks {
                disk.plug();
            }
            for ((subject, disk), sum) in disks.iter().zip(&sums) {
                judged(dir.path(), subject, disk);
                assert_eq!(
                    disk.written(),
                    [0; 4],
                    "{}: no write, no discard, no flush",
                    subject.name
                );
                assert_eq!(disk.sum(), *sum, "{}: not a byte", subject.name);
                println!(
                    "{}: refused as {}, unchanged",
                    subject.name,
                    subject.codes.join(" and ")
                );
            }
            let claims = std::fs::read_dir(dir.path().join("journal/claims")).unwrap();
            assert_eq!(claims.count(), 0, "nothing was claimed");
        }
    }
    // The same class takes a blank disk: it was armed all the time.
    let bench = Bench::new(64, 512);
    let watcher = Watcher::start(dir.path(), &class);
    let disk = bench.add();
    wait_for(dir.path(), "a blank disk is taken", || {
        state(dir.path(), &disk).is_some_and(|(state, _)| state == "Ready")
    });
    drop(watcher);
    run("lvm", &["vgremove", "-y", "fast"]);
    println!(
        "{} disks: each refused and unchanged; the blank one taken",
        subjects.len()
    );
    told
}

/// Waits until the watcher has settled on refusing the disk for what stands on it.
fn judged(dir: &Path, subject: &Subject, disk: &Disk) {
    wait_for(dir, &format!("{} is refused", subject.name), || {
        state(dir, disk).is_some_and(|(state, reasons)| {
            let has = |code: &String| {
                // By our own probe: what udev's libblkid says comes on top.
                reasons
                    .iter()
                    .any(|(c, detail)| c == code && !detail.contains("udev's database"))
            };
            state == "Rejected"
                && subject.codes.iter().all(has)
                && !reasons.iter().any(|(c, _)| c == "NotSettled")
        })
    });
}

type Seen = (String, Vec<(String, String)>);

/// State and reasons of a disk, as the watcher shows them.
pub(crate) fn state(dir: &Path, disk: &Disk) -> Option<Seen> {
    let name = disk.name();
    let all = statuses(dir);
    let disk = all.iter().find(|d| d["name"] == name.as_str())?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let reasons = disk["reasons"].as_array()?.iter();
    let reasons = reasons
        .map(|r| (text(&r["code"]), text(&r["detail"])))
        .collect();
    Some((text(&disk["state"]), reasons))
}

/// All disks, as the watcher shows them.
fn statuses(dir: &Path) -> Vec<serde_json::Value> {
    crate::faults::status::status(dir)["disks"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// The kinds on the disk that libblkid sees too, asked through a program that is not ours.
fn agreed(subject: &Subject, disk: &Disk) -> Vec<Kind> {
    let node = disk.node();
    let seen = run(
        "wipefs",
        &["--noheadings", "--output", "TYPE", node.to_str().unwrap()],
    );
    let seen = seen.to_lowercase();
    let is_seen = |kind: &Kind| {
        let other = OTHER_NAMES.iter().find(|(k, _)| k == kind);
        let name = other.map_or(kind.name(), |(_, name)| name);
        seen.split_whitespace().any(|seen| seen.starts_with(name))
    };
    subject.kinds.iter().copied().filter(is_seen).collect()
}

fn images() -> Vec<Subject> {
    let captured = captured().into_iter().map(|image| (image, true));
    let written = written().into_iter().map(|image| (image, false));
    let all = captured.chain(written);
    all.filter_map(|(image, by_program)| Subject::of(image, by_program))
        .collect()
}

fn made_here(tools: &[Tool]) -> Vec<Subject> {
    let subject = |(name, mib, codes, script): &Tool| Subject {
        name: (*name).to_owned(),
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        kinds: vec![],
        mib: *mib,
        sector: 512,
        maker: Maker::Script(script),
    };
    tools.iter().map(subject).collect()
}

#[test]
fn one_signature_of_each_probe_keeps_a_plugged_disk_from_being_taken() {
    let mut chosen = images();
    for name in ONE_OF_EACH {
        assert!(
            chosen.iter().any(|s| s.name.starts_with(name)),
            "no image {name}"
        );
    }
    let mut left = ONE_OF_EACH.to_vec();
    chosen.retain(|subject| {
        let index = left.iter().position(|name| subject.name.starts_with(name));
        index.map(|index| left.remove(index)).is_some()
    });
    refused(&chosen, "None");
}

#[test]
#[ignore = "long: every kind and every form of it"]
fn every_signature_keeps_a_plugged_disk_from_being_taken() {
    let subjects = images();
    let kinds: BTreeSet<Kind> = subjects.iter().flat_map(|s| s.kinds.clone()).collect();
    let missing: Vec<&Kind> = Kind::ALL.iter().filter(|k| !kinds.contains(k)).collect();
    assert!(missing.is_empty(), "no image for {missing:?}");
    let told = refused(&subjects, "None");
    let untold: BTreeSet<Kind> = kinds.difference(&told).copied().collect();
    assert_eq!(
        untold,
        OURS_ALONE.iter().copied().collect(),
        "what libblkid does not tell"
    );
}

#[test]
#[ignore = "long: every program"]
fn what_programs_make_keeps_a_plugged_disk_from_being_taken() {
    refused(&made_here(TOOLS), "None");
}

#[test]
fn data_without_a_signature_keeps_a_plugged_disk_from_being_taken() {
    refused(&made_here(DATA), "Full");
}
