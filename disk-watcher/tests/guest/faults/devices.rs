//! A machine with everything in /dev that is no disk to be given away, and disks that are in use.

use super::status::{codes, entry, looked_twice};
use crate::harness::{Watcher, clean, output, run, stages, sum, wait_for};
use crate::scsi::{Bench, Disk};

/// Takes whatever it may.
pub(crate) const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  discovery: Continuous
  select:
    transport: [nvme, sata, sas, scsi, virtio, usb, mmc, iscsi, fc, nvmeof, scsi_debug]
    size: {min: 1Mi}
  limits: {settle: 0s, maxDisks: 32}
  safety: {allowUniqueIdMissing: true, allowRemovable: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast}
";

/// Not shown at all: nobody takes such a device for a disk.
const UNSEEN: &str = "";

/// What a device of the machine is, and the reason against it that has to be among those given.
struct Thing {
    what: &'static str,
    name: String,
    code: &'static str,
    /// Its digest; of swap, which the kernel writes to, there is none.
    before: Option<String>,
}

/// What was made besides the adapter's disks, taken down again whatever happens.
struct Stacked;

impl Drop for Stacked {
    fn drop(&mut self) {
        output("umount", &["/run/mounted"]);
        output("umount", &["-R", "/run/bound"]);
        output("swapoff", &["-a"]);
        output("dmsetup", &["remove_all"]);
        output("mdadm", &["--stop", "--scan"]);
        output("losetup", &["-D"]);
        for module in ["brd", "zram", "nbd"] {
            output("rmmod", &[module]);
        }
    }
}

/// Everything, each blank enough to be taken if it were a disk that is not in use.
fn machine(bench: &Bench, dir: &std::path::Path) -> Vec<Thing> {
    let node = |disk: &Disk| disk.node().to_str().unwrap().to_owned();
    let short = |path: &str| path.trim_start_matches("/dev/").to_owned();
    let mut things = Vec::new();
    let mut add = |what, name: String, code| {
        let before = (code != "Swap").then(|| sum(&format!("/dev/{name}")));
        things.push(Thing {
            what,
            name,
            code,
            before,
        });
    };
    run("modprobe", &["loop"]);
    let file = dir.join("file").to_str().unwrap().to_owned();
    run("truncate", &["-s", "64M", &file]);
    let device = run("losetup", &["-f", "--show", &file]);
    add("a loop device", short(&device), "NotADisk");
    run("modprobe", &["brd", "rd_nr=1", "rd_size=65536"]);
    add("a RAM disk", "ram0".into(), UNSEEN);
    run("modprobe", &["zram", "num_devices=1"]);
    std::fs::write("/sys/block/zram0/disksize", "64M").unwrap();
    add("compressed memory", "zram0".into(), UNSEEN);
    run("modprobe", &["nbd", "nbds_max=1"]);
    add("a network block device", "nbd0".into(), UNSEEN);

    let mounted = node(&bench.add());
    run("mkfs.ext4", &["-q", &mounted]);
    std::fs::create_dir_all("/run/mounted").unwrap();
    run("mount", &["-o", "ro", &mounted, "/run/mounted"]);
    add("a disk that is mounted", short(&mounted), "Mounted");
    let bound = node(&bench.add());
    run("mkfs.ext4", &["-q", &bound]);
    std::fs::create_dir_all("/run/bound").unwrap();
    run("mount", &[&bound, "/run/bound"]);
    std::fs::create_dir_all("/run/bound/folder").unwrap();
    run("mount", &["-o", "remount,ro", "/run/bound"]);
    run(
        "mount",
        &["--bind", "/run/bound/folder", "/run/bound/folder"],
    );
    add("a disk with a folder mounted", short(&bound), "BindMounted");
    let exported = node(&bench.add());
    run("lvm", &["pvcreate", "-q", &exported]);
    run("lvm", &["vgcreate", "-q", "theirs", &exported]);
    run("lvm", &["vgexport", "-q", "theirs"]);
    add("a disk of an exported group", short(&exported), "Exported");
    let handed_on = node(&bench.add());
    run("losetup", &["-f", &handed_on]);
    add(
        "a disk behind a loop device",
        short(&handed_on),
        "BackingLoop",
    );
    let swap = node(&bench.add());
    run("mkswap", &["-q", &swap]);
    run("swapon", &[&swap]);
    add("a disk that is swapped to", short(&swap), "Swap");
    let fixed = node(&bench.add());
    run("blockdev", &["--setro", &fixed]);
    add("a disk that refuses writes", short(&fixed), "ReadOnly");
    let sectors = |disk: &str| run("blockdev", &["--getsz", disk]);
    let held = node(&bench.add());
    let linear = format!("0 {} linear {held} 0", sectors(&held));
    run("dmsetup", &["create", "held", "--table", &linear]);
    add("a disk with something on it", short(&held), "HasHolders");
    let map = |name: &str| {
        let link = std::fs::read_link(format!("/dev/mapper/{name}")).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    };
    add("a device-mapper device", map("held"), UNSEEN);
    run("modprobe", &["dm-multipath"]);
    let path = node(&bench.add());
    let table = format!(
        "0 {} multipath 0 0 1 1 service-time 0 1 1 {path} 1",
        sectors(&path)
    );
    let uuid = "mpath-3600basalt";
    run("modprobe", &["dm-service-time"]);
    run(
        "dmsetup",
        &["create", "mpatha", "-u", uuid, "--table", &table],
    );
    add("a path of a map", short(&path), "MultipathMember");
    add("a map of paths", map("mpatha"), UNSEEN);
    let [one, two] = [node(&bench.add()), node(&bench.add())];
    let array = [
        "--create",
        "/dev/md7",
        "--run",
        "--metadata=1.0",
        "--level=0",
        "--raid-devices=2",
        &one,
        &two,
    ];
    run("mdadm", &array);
    add("a member of an array", short(&one), "HasHolders");
    add("an array", "md7".into(), UNSEEN);
    std::fs::write("/sys/bus/pseudo/drivers/scsi_debug/ptype", "5").unwrap();
    run("modprobe", &["sr_mod"]);
    let drive = bench.add();
    add("a CD drive", drive.name(), UNSEEN);
    std::fs::write("/sys/bus/pseudo/drivers/scsi_debug/ptype", "0").unwrap();
    things
}

#[test]
fn of_everything_that_is_no_disk_or_is_in_use_nothing_is_taken() {
    clean();
    let bench = Bench::new(32, 512);
    let stacked = Stacked;
    let dir = tempfile::tempdir().unwrap();
    let things = machine(&bench, dir.path());
    run("udevadm", &["settle"]);
    let free = bench.add();
    let watcher = Watcher::start(dir.path(), CLASS);
    // The class would take what is a disk and free: it takes this one.
    wait_for(dir.path(), "the free disk is Ready", || {
        entry(dir.path(), &free.name())["state"] == "Ready"
    });
    looked_twice(dir.path());
    println!();
    for thing in &things {
        let (what, name) = (thing.what, &thing.name);
        let shown = entry(dir.path(), name);
        let codes = codes(dir.path(), name);
        println!("result: {what} ({name}) is {}: {codes:?}", shown["state"]);
        if thing.code == UNSEEN {
            assert!(shown.is_null(), "{what}: {shown:#}");
        } else {
            assert!(
                codes.iter().any(|code| code == thing.code),
                "{what}: {shown:#}"
            );
        }
        if let Some(before) = &thing.before {
            assert_eq!(sum(&format!("/dev/{name}")), *before, "{what} changed");
        }
    }
    assert_eq!(stages(dir.path()), ["Ready"], "nothing else was claimed");
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
    drop(stacked);
}

#[test]
fn a_class_takes_no_more_bytes_than_it_may() {
    clean();
    let bench = Bench::new(64, 512);
    let disks = [bench.add(), bench.add()];
    let dir = tempfile::tempdir().unwrap();
    let class = CLASS.replace("maxDisks: 32", "maxDisks: 32, maxTotal: 100Mi");
    let watcher = Watcher::start(dir.path(), &class);
    wait_for(dir.path(), "one is Ready", || {
        stages(dir.path()) == ["Ready"]
    });
    looked_twice(dir.path());
    let of_second = |disk: &&Disk| entry(dir.path(), &disk.name())["state"] != "Ready";
    let second = disks.iter().find(of_second).unwrap();
    let codes = codes(dir.path(), &second.name());
    println!("\nresult: the second of two disks of 64 MiB: {codes:?}");
    assert_eq!(codes, ["LimitReached"]);
    assert_eq!(second.written(), [0; 4], "nothing was written to it");
    assert_eq!(stages(dir.path()), ["Ready"]);
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
