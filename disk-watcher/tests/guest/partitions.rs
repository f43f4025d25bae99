//! Partitions as PVs: those that a class names, beside whatever else is on their disks.

use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::faults::status::{codes, commands, entry, looked_twice, status};
use crate::harness::{Watcher, make_data, no_force, output, run, stages, sum, wait_for};
use crate::scsi::{Bench, Disk};

const GUID: &str = "F47AC10B-58CC-4372-A567-0E02B2C3D479";
const SAME_GUID: &str = "-u1:F47AC10B-58CC-4372-A567-0E02B2C3D479";

/// Takes partitions by these names.
fn class(labels: &str, max_disks: u32) -> String {
    let whole = "transport: [scsi_debug],";
    let parts = format!("{whole} partitionLabel: [{labels}],");
    crate::scsi::class("HeadAndTail", max_disks).replace(whole, &parts)
}

/// Has sgdisk change the table of the disk, and udev see it.
fn part(disk: &Disk, args: &[&str]) {
    let node = disk.node();
    run("sgdisk", &[args, &[node.to_str().unwrap()]].concat());
    run("udevadm", &["settle"]);
}

fn node(disk: &Disk, number: u32) -> String {
    format!("/dev/{}", name(disk, number))
}

fn name(disk: &Disk, number: u32) -> String {
    format!("{}{number}", disk.name())
}

fn fill(device: &str) {
    let of = format!("of={device}");
    let random = ["if=/dev/urandom", &of, "bs=1M", "count=8", "oflag=direct"];
    run("dd", &[&random[..], &["status=none"]].concat());
}

fn is_ready(dir: &Path, name: &str) -> bool {
    entry(dir, name)["state"] == "Ready"
}

/// How many commands were begun that make something.
fn making(dir: &Path) -> usize {
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    let commands = log.lines().filter(|line| line.contains("running command="));
    let makes = |line: &&str| {
        let mut words = line.split_whitespace();
        words.any(|word| ["pvcreate", "vgcreate", "vgextend", "lvcreate"].contains(&word))
    };
    commands.filter(makes).count()
}

#[test]
fn a_raw_volume_beside_a_system_in_use_becomes_a_pool_and_nothing_else_is_touched() {
    let bench = Bench::new(192, 512);
    let disk = bench.add();
    part(
        &disk,
        &[
            "-n1:0:+8M",
            "-t1:ef00",
            "-c1:EFI",
            "-n2:0:+8M",
            "-c2:STATE",
            "-n3:0:+32M",
            "-c3:EPHEMERAL",
            "-n4:0:+96M",
            "-c4:r-data",
        ],
    );
    let [efi, state, ephemeral, data] = [1, 2, 3, 4].map(|number| node(&disk, number));
    fill(&efi);
    fill(&state);
    run("mkfs.ext4", &["-q", &ephemeral]);
    std::fs::create_dir_all("/run/ephemeral").unwrap();
    run("mount", &[&ephemeral, "/run/ephemeral"]);
    std::fs::write("/run/ephemeral/file", "data").unwrap();
    run("sync", &[]);
    let sums = || [sum(&efi), sum(&state)];
    let before = sums();

    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // A person names EPHEMERAL too.
    let config = format!(
        "{}  thinPool: {{name: pool0, size: 60%, metadata: {{min: 4Mi}}}}\n",
        class("r-*, EPHEMERAL", 2).replace("min: 1Mi", "min: 32Mi")
    );
    for cut in ["Claimed", "Labelled", "Grouped"] {
        let watcher = Watcher::start(dir, &config);
        wait_for(dir, cut, || {
            stages(dir)
                .iter()
                .any(|stage| stage == cut || stage == "Ready")
        });
        watcher.kill();
        println!("killed at {cut}, the journal says {:?}", stages(dir));
    }
    let part = name(&disk, 4);
    let watcher = Watcher::start(dir, &config);
    wait_for(dir, "r-data is Ready", || is_ready(dir, &part));
    looked_twice(dir);
    let id = entry(dir, &part)["id"].as_str().unwrap().to_owned();
    println!("\nresult: {id} is Ready on a disk with a mounted EPHEMERAL");
    let pvs = run("lvm", &["pvs", "--noheadings", "-o", "pv_name,vg_name"]);
    assert_eq!(
        pvs.split_whitespace().collect::<Vec<_>>(),
        [data.as_str(), "fast"]
    );
    let against = codes(dir, &name(&disk, 3));
    for code in ["SystemDisk", "Mounted", "Signature:ext4"] {
        assert!(against.iter().any(|c| c == code), "{code}: {against:?}");
    }
    assert!(
        codes(dir, &disk.name())
            .iter()
            .any(|code| code == "HasPartitions")
    );
    make_data();
    let volume = sum("/dev/fast/data");
    watcher.terminate();
    no_force(dir);
    assert_eq!(sums(), before);
    assert_eq!(std::fs::read("/run/ephemeral/file").unwrap(), b"data");

    // As over a reboot: it is known again, and nothing is made anew.
    run("umount", &["/run/ephemeral"]);
    run("lvm", &["vgchange", "-q", "-an", "fast"]);
    disk.pull();
    run("udevadm", &["settle"]);
    disk.plug();
    run("udevadm", &["settle"]);
    let part = name(&disk, 4);
    let ran = making(dir);
    let watcher = Watcher::start(dir, &config);
    wait_for(dir, "r-data is Ready again", || is_ready(dir, &part));
    looked_twice(dir);
    assert_eq!(entry(dir, &part)["id"], id.as_str());
    assert_eq!(making(dir), ran);
    run("lvm", &["vgchange", "-q", "-ay", "fast"]);
    assert_eq!(sum("/dev/fast/data"), volume);

    // It grows with its entry in the table.
    let size = || {
        run(
            "lvm",
            &["pvs", "--noheadings", "--units", "m", "-o", "pv_size"],
        )
    };
    let (old, whole) = (size(), disk.node());
    run(
        "parted",
        &["-s", whole.to_str().unwrap(), "resizepart", "4", "180MiB"],
    );
    wait_for(dir, "the PV has grown", || size() != old);
    wait_for(dir, "r-data is Ready", || is_ready(dir, &part));
    println!("\nresult: the PV grew from {old} to {}", size());
    drop(watcher);
    assert_eq!(sum("/dev/fast/data"), volume);
    let [efi, state] = [node(&disk, 1), node(&disk, 2)];
    assert_eq!([sum(&efi), sum(&state)], before);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

/// The last sector of the disk, where the second copy of its table begins, is lost and comes back.
fn a_damaged_copy_of_the_table_ends_nothing(dir: &Path, disk: &Disk) {
    let (whole, part) = (disk.node(), name(disk, 2));
    let file = std::fs::File::options().read(true).write(true).open(whole);
    let file = file.unwrap();
    let mut kept = vec![0; 4096];
    let at = (64 << 20) - 4096;
    file.read_exact_at(&mut kept, at).unwrap();
    file.write_all_at(&[0; 4096], at).unwrap();
    file.sync_all().unwrap();
    wait_for(dir, "it is Degraded", || {
        entry(dir, &part)["state"] == "Degraded"
    });
    assert!(codes(dir, &part).iter().any(|code| code == "ProbeFailed"));
    let volume = ["lvcreate", "-q", "-l1", "-Zn", "-Wn", "-n", "v", "fast"];
    run("lvm", &volume);
    run("lvm", &["lvremove", "-q", "-y", "fast/v"]);
    file.write_all_at(&kept, at).unwrap();
    file.sync_all().unwrap();
    drop(file);
    wait_for(dir, "it is Ready again", || is_ready(dir, &part));
    println!(
        "\nresult: {part} was Degraded while a copy of its table was damaged, and its group in use"
    );
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn partitions_of_one_name_on_two_disks_make_one_group() {
    for sector in [512, 4096] {
        let bench = Bench::new(64, sector);
        let disks = [bench.add(), bench.add()];
        for disk in &disks {
            part(disk, &["-n1:0:+16M", "-c1:other", "-n2:0:0", "-c2:r-data"]);
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let config = class("r-data", 2).replace("maxDisks: 2", "minDisks: 2, maxDisks: 2");
        let watcher = Watcher::with(dir, &config, &["--node-name", "n1"]);
        wait_for(dir, "both are Ready", || {
            disks.iter().all(|disk| is_ready(dir, &name(disk, 2)))
        });
        let count = ["vgs", "--noheadings", "-o", "pv_count", "fast"];
        assert_eq!(run("lvm", &count), "2");
        a_damaged_copy_of_the_table_ends_nothing(dir, &disks[1]);
        // It goes and comes back with its disk.
        let id = entry(dir, &name(&disks[1], 2))["id"].clone();
        disks[1].pull();
        wait_for(dir, "it is Missing", || {
            let disks = status(dir)["disks"].as_array().cloned().unwrap_or_default();
            disks
                .iter()
                .any(|disk| disk["id"] == id && disk["state"] == "Missing")
        });
        disks[1].plug();
        wait_for(dir, "both are Ready again", || {
            disks.iter().all(|disk| is_ready(dir, &name(disk, 2)))
        });
        // One leaves on request, as a disk does.
        let id = entry(dir, &name(&disks[0], 2))["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let request = format!(
            "{config}---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\n\
             spec: {{node: n1, diskId: {id}}}\n"
        );
        std::fs::write(dir.join("next"), request).unwrap();
        std::fs::rename(dir.join("next"), dir.join("config.yaml")).unwrap();
        wait_for(dir, "it has left", || {
            status(dir)["requests"][0]["state"] == "Done"
        });
        println!("result: {id} left on request");
        drop(watcher);
        let pvs = run(
            "lvm",
            &[
                "vgs",
                "--noheadings",
                "-o",
                "pv_count,vg_missing_pv_count",
                "fast",
            ],
        );
        assert_eq!(pvs.split_whitespace().collect::<Vec<_>>(), ["1", "0"]);
        println!("\nresult: two partitions of disks with sectors of {sector} bytes are one group");
        run("lvm", &["vgremove", "-q", "-y", "fast"]);
    }
}

#[test]
fn a_partition_with_data_with_a_twin_or_of_a_doubtful_table_is_not_taken() {
    let bench = Bench::new(64, 512);
    let [data, twins, torn, theirs] = [bench.add(), bench.add(), bench.add(), bench.add()];
    part(
        &data,
        &["-n1:0:+24M", "-c1:r-ext4", "-n2:0:0", "-c2:r-bytes"],
    );
    run("mkfs.ext4", &["-q", &node(&data, 1)]);
    fill(&node(&data, 2));
    let guids = [format!("-u1:{GUID}"), format!("-u2:{GUID}")];
    part(
        &twins,
        &[
            "-n1:0:+24M",
            "-c1:r-one",
            &guids[0],
            "-n2:0:0",
            "-c2:other",
            &guids[1],
        ],
    );
    part(&torn, &["-n1:0:0", "-c1:r-torn"]);
    let last = format!("of={}", torn.node().display());
    run(
        "dd",
        &[
            "if=/dev/zero",
            &last,
            "seek=131071",
            "count=1",
            "conv=fsync",
            "status=none",
        ],
    );
    part(
        &theirs,
        &[
            "-n1:0:+24M",
            "-c1:u-photos",
            "-n2:0:0",
            "-t2:ef00",
            "-c2:r-esp",
        ],
    );
    run("udevadm", &["settle"]);
    let disks = [&data, &twins, &torn, &theirs];
    let sums = disks.map(Disk::sum);

    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let watcher = Watcher::start(dir, &class("'[ru]-*'", 8));
    for (disk, number, code) in [
        (&data, 1, "Signature:ext4"),
        (&data, 2, "NotZeroed"),
        (&twins, 1, "DuplicateId"),
        (&torn, 1, "ProbeFailed"),
        (&theirs, 1, "NativeOwner"),
        (&theirs, 2, "SystemDisk"),
    ] {
        let part = name(disk, number);
        wait_for(dir, &format!("{part} is seen"), || {
            !entry(dir, &part).is_null()
        });
        let against = codes(dir, &part);
        println!("\nresult: {part} is refused: {against:?}");
        assert!(against.iter().any(|c| c == code), "{code}: {against:?}");
        assert_eq!(entry(dir, &part)["state"], "Rejected", "{part}");
    }
    looked_twice(dir);
    assert!(entry(dir, &name(&twins, 2)).is_null(), "no class names it");
    assert_eq!(commands(dir), 0, "nothing was run");
    drop(watcher);
    assert_eq!(disks.map(Disk::sum), sums);
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_partition_whose_table_is_rewritten_while_it_is_taken_is_not_labelled() {
    type Rewrite = (&'static str, &'static [&'static str]);
    let rewrites: [Rewrite; 3] = [
        ("another GUID", &["-u1:R"]),
        ("another name", &["-c1:EPHEMERAL"]),
        (
            "another place",
            &["-d1", "-n1:16384:+48M", "-c1:r-data", SAME_GUID],
        ),
    ];
    for (what, rewrite) in rewrites {
        let mut stopped = false;
        for _ in 0..20 {
            let bench = Bench::new(64, 512);
            let disk = bench.add();
            part(&disk, &["-n1:2048:+48M", "-c1:r-data", SAME_GUID]);
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            let watcher = Watcher::start(dir, &class("r-data", 1));
            wait_for(dir, "it is claimed", || !stages(dir).is_empty());
            watcher.signal("-STOP");
            // Past its last look, the one of the label, it cannot be stopped any more.
            let log = std::fs::read_to_string(dir.join("log")).unwrap();
            if log.matches("whether it is still the same disk").count() > 1 {
                watcher.signal("-CONT");
                wait_for(dir, "it is Ready", || stages(dir) == ["Ready"]);
                drop(watcher);
                run("lvm", &["vgremove", "-q", "-y", "fast"]);
                continue;
            }
            let whole = disk.node();
            // It holds the partition perhaps, so the kernel may keep the old table.
            output("sgdisk", &[rewrite, &[whole.to_str().unwrap()]].concat());
            run("udevadm", &["settle"]);
            let before = disk.sum();
            watcher.signal("-CONT");
            // Stopped between two holds, it did not keep the kernel from the new table: the same
            // partition, as blank, lies elsewhere for all, and is taken there and nowhere else.
            let start =
                std::fs::read_to_string(format!("/sys/class/block/{}/start", name(&disk, 1)));
            if start.is_ok_and(|start| start.trim() == "16384") {
                wait_for(dir, "it is Ready", || stages(dir) == ["Ready"]);
                let disk = std::fs::read(&whole).unwrap();
                assert!(disk[1 << 20..8 << 20].iter().all(|b| *b == 0), "{what}");
                println!("\nresult: {what}, for the kernel too: taken there");
                drop(watcher);
                run("lvm", &["vgremove", "-q", "-y", "fast"]);
                continue;
            }
            looked_twice(dir);
            looked_twice(dir);
            let log = std::fs::read_to_string(dir.join("log")).unwrap();
            let last_look = log.contains("is left alone");
            let reasons = codes(dir, &name(&disk, 1));
            println!("\nresult: {what}, seen by the last look: {last_look}; then {reasons:?}");
            assert_eq!(commands(dir), 0, "{what}: {log}");
            assert_eq!(stages(dir), ["Claimed"], "{what}");
            assert_eq!(disk.sum(), before, "{what}");
            stopped = true;
            break;
        }
        assert!(stopped, "{what}: it was never stopped in time");
    }
}
