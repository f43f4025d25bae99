//! Histories without device-mapper.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lvmd::cmd::Host;
use lvmd::dm::{Device, Target};
use lvmd::lvm::attr::LvAttr;
use lvmd::lvm::compare::{self, Difference};
use lvmd::lvm::live::{self, Mapper};
use lvmd::lvm::model::{Lv, Vg};
use lvmd::lvm::reader::Reader;
use lvmd::lvm::report;
use lvmd::lvm::snapshot::VgView;
use lvmd::lvm::tool::{Nodes, SystemDir, Tool};

use crate::bugs::Bugs;
use crate::host::{disks, output, run};
use crate::random::Random;
use crate::{count, steps, text};

/// Commands in a history, besides the text it begins with.
const STEPS: u64 = 5;
/// Histories on one VG before it is made anew.
const ON_ONE: u64 = 25;

/// Disks that are the test's, and an lvm that sees no other and no device-mapper.
struct Lvm {
    vg: String,
    disks: Vec<String>,
    dir: tempfile::TempDir,
}

impl Lvm {
    fn new() -> Self {
        let disks = disks()[..3].to_vec();
        let dir = tempfile::tempdir().unwrap();
        let filter: String = disks.iter().map(|d| format!("\"a|^{d}$|\", ")).collect();
        let locks = dir.path().join("locks").display().to_string();
        std::fs::create_dir(&locks).unwrap();
        let text = format!(
            "global {{\n activation=0\n use_aio=0\n use_lvmpolld=0\n event_activation=0\n notify_dbus=0\n locking_dir=\"{locks}\"\n}}\n\
             backup {{\n backup=0\n archive=0\n}}\n\
             devices {{\n use_devicesfile=0\n hints=\"none\"\n scan_lvs=0\n obtain_device_list_from_udev=0\n \
             external_device_info_source=\"none\"\n filter=[{filter}\"r|.*|\"]\n}}\n\
             activation {{\n monitoring=0\n udev_sync=0\n udev_rules=0\n}}\n"
        );
        std::fs::write(dir.path().join("lvm.conf"), text).unwrap();
        // Not the name of a VG of the machine this runs on, or of a test beside this one.
        let vg = format!("basalt-histories-{}", std::process::id());
        Self { vg, disks, dir }
    }

    fn output(&self, args: &[String]) -> std::process::Output {
        let system_dir = format!("LVM_SYSTEM_DIR={}", self.dir.path().display());
        let mut all = vec![system_dir.as_str(), "LVM_SUPPRESS_FD_WARNINGS=1", "lvm"];
        all.extend(args.iter().map(String::as_str));
        output("env", &all)
    }

    fn run(&self, args: &str) -> Vec<u8> {
        let args: Vec<_> = args.split(' ').map(str::to_owned).collect();
        let out = self.output(&args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        out.stdout
    }

    /// A new VG, and its text.
    fn make(&self, random: &mut Random) -> String {
        for disk in &self.disks {
            let of = format!("of={disk}");
            let args = ["if=/dev/zero", &of, "bs=1M", "count=2", "oflag=direct"];
            run("dd", &[&args[..], &["status=none"]].concat());
        }
        let [first, second, third] = &self.disks[..] else {
            panic!("three disks")
        };
        self.run(&format!(
            "pvcreate --pvmetadatacopies {} {first}",
            1 + random.below(2)
        ));
        self.run(&format!(
            "pvcreate --pvmetadatacopies {} {second}",
            random.below(3)
        ));
        // A small area, whose ring the texts go around.
        self.run(&format!("pvcreate --metadatasize 128k {third}"));
        let size = 1 << random.below(4);
        self.run(&format!(
            "vgcreate -s {size}M {} {first} {second} {third}",
            self.vg
        ));
        let file = self.dir.path().join("base");
        self.run(&format!("vgcfgbackup -f {} {}", file.display(), self.vg));
        std::fs::read_to_string(file).unwrap()
    }

    fn restore(&self, text: &str) -> bool {
        let file = self.dir.path().join("text");
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let args = ["vgcfgrestore", "--force", "-y", "-f", &file, &self.vg];
        self.output(&args.map(str::to_owned)).status.success()
    }

    fn report(&self, devices: &[PathBuf]) -> Vg {
        let mut args = report::args();
        let list: Vec<_> = devices.iter().map(|d| d.display().to_string()).collect();
        args.splice(1..1, ["--devices".to_owned(), list.join(",")]);
        let out = self.output(&args);
        assert!(out.status.success(), "{out:?}");
        let all = report::parse(&out.stdout).unwrap();
        let mut ours = all.into_iter().filter(|vg| vg.name == self.vg);
        ours.next().expect("lvm shows the VG")
    }

    fn tool(&self) -> Tool {
        Tool {
            command_prefix: Vec::new(),
            system_dir: SystemDir::User(self.dir.path().to_owned()),
            program: "test",
            nodes: Nodes::InDev,
        }
    }
}

/// Device-mapper where there is none.
struct Nothing;

impl Mapper for Nothing {
    fn device(&self, _: &str) -> std::io::Result<Option<Device>> {
        Ok(None)
    }

    fn status(&self, _: &str) -> std::io::Result<Option<(Device, Vec<Target>)>> {
        Ok(None)
    }
}

/// What `lvm` shows when it may not look: neither state nor whether it is open.
fn unseen(lv: &Lv) -> Lv {
    let mut text = lv.attr.to_string();
    assert_eq!(&text[4..6], "XX", "activation is not off");
    text.replace_range(4..6, "--");
    Lv {
        attr: LvAttr::parse(&text).unwrap(),
        ..lv.clone()
    }
}

fn differences(read: &Vg, by_lvm: &Vg) -> Vec<Difference> {
    let mut all = compare::vg(read, by_lvm);
    for (lv, by_lvm) in read.lvs.iter().zip(&by_lvm.lvs) {
        if lv.mapping.is_some() {
            let shown = live::show(read, lv, &Nothing).unwrap();
            all.extend(compare::lv(lv, shown, &unseen(by_lvm)));
        }
    }
    all
}

/// What was read, at each step.
#[derive(Default)]
struct Seen {
    steps: u64,
    directly: u64,
    /// By what lvm was asked for.
    refused: BTreeMap<String, u64>,
    before: Option<Vg>,
}

impl Seen {
    /// Was enough of it read without lvm to say something of the reader?
    fn is_direct(&self) -> bool {
        self.directly * 4 > self.steps
    }

    async fn step(&mut self, lvm: &Lvm, reader: &Reader<Host>, bugs: &mut Bugs, what: &str) {
        let snapshot = reader.read_group(&[], &lvm.vg).await.unwrap();
        let view: VgView = snapshot.vg(&lvm.vg).unwrap().clone();
        let by_lvm = lvm.report(&view.devices);
        let read = view.vg;
        let found = differences(&read, &by_lvm);
        assert!(found.is_empty(), "after {what}: {found:#?}");
        self.steps += 1;
        if !read.by_lvm {
            self.directly += 1;
            if let Some(before) = &self.before {
                bugs.plant(&read, before, |wrong| {
                    !differences(wrong, &by_lvm).is_empty()
                });
            }
        }
        self.before = Some(read);
    }
}

fn lvs(vg: &Vg) -> Vec<String> {
    vg.lvs.iter().map(|lv| lv.name.clone()).collect()
}

#[ignore = "the scenario reader_equals_lvm_without_device_mapper runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn read_as_lvm_reads_without_device_mapper() {
    let wanted = count(20, 20);
    let (mut random, lvm) = (Random::new(), Lvm::new());
    println!("histories from {random:?} on {:?}", lvm.disks);
    let reader = Reader::new(Host, lvm.tool());
    let (mut seen, mut bugs) = (Seen::default(), Bugs::new());
    let mut base = String::new();
    let mut histories = 0;
    // A mistake is seen only where it makes a difference, and a group may be one that only lvm reads, such as an
    // exported one; few histories may lack either.
    while histories < wanted || !(bugs.are_seen() && seen.is_direct()) && histories < 10 * wanted {
        if histories % ON_ONE == 0 {
            base = lvm.make(&mut random);
            seen.before = None;
        }
        let now = lvm.report(&lvm.disks.iter().map(PathBuf::from).collect::<Vec<_>>());
        let extents: Vec<_> = in_text_order(&base, &now);
        let text = text::with_volumes(&mut random, &base, &extents);
        if !lvm.restore(&text) {
            *seen.refused.entry("vgcfgrestore".into()).or_default() += 1;
        }
        seen.step(&lvm, &reader, &mut bugs, &text).await;
        for _ in 0..STEPS {
            let there = seen.before.as_ref().map(lvs).unwrap_or_default();
            let args = steps::in_metadata(&mut random, &lvm.vg, &there, &lvm.disks);
            if !lvm.output(&args).status.success() {
                *seen.refused.entry(args[0].clone()).or_default() += 1;
            }
            seen.step(&lvm, &reader, &mut bugs, &args.join(" ")).await;
        }
        histories += 1;
    }
    assert!(
        seen.is_direct(),
        "lvm was asked too often: {} of {}",
        seen.steps - seen.directly,
        seen.steps
    );
    let Seen {
        steps,
        directly,
        refused,
        ..
    } = seen;
    let bugs = bugs.finish();
    println!(
        "result: {histories} histories without device-mapper, {steps} comparisons, {directly} of what was read \
         without lvm: no difference; each of {bugs} planted mistakes was seen; lvm refused {refused:?}"
    );
    for disk in &lvm.disks {
        let of = format!("of={disk}");
        run(
            "dd",
            &[
                "if=/dev/zero",
                &of,
                "bs=1M",
                "count=2",
                "oflag=direct",
                "status=none",
            ],
        );
    }
}

/// The extents of `pv0`, `pv1` and so on, which lvm's report lists by device.
fn in_text_order(base: &str, vg: &Vg) -> Vec<u64> {
    let at = |uuid: &str| base.find(uuid).expect("a PV of the text");
    let mut pvs: Vec<_> = vg.pvs.iter().collect();
    pvs.sort_by_key(|pv| at(&pv.uuid));
    pvs.iter().map(|pv| pv.extent_count).collect()
}
