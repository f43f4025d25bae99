//! Files that stand in for disks.

use std::path::Path;

use crate::faults::status::{codes, entry, status};
use crate::harness::{CLASS, Watcher, disks, make_data, run, wait_for};

/// How the one file of the class stands, and what is said of it.
fn file(dir: &Path) -> (String, String) {
    let file = status(dir)["files"][0].clone();
    let word = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
    (word("state"), word("message"))
}

fn is_disk_ready(dir: &Path) -> bool {
    let device = file(dir).1;
    entry(dir, device.trim_start_matches("/dev/"))["state"] == "Ready"
}

fn sum() -> String {
    run("udevadm", &["settle"]);
    run("sh", &["-c", "sha256sum < /dev/fast/data"])
}

/// As a reboot leaves it.
fn boot(dir: &Path, image: &str) {
    let _ = std::fs::remove_file(dir.join("journal/active/fast.json"));
    run("lvm", &["vgchange", "-q", "-an", "fast"]);
    detach(image);
}

fn detach(image: &str) {
    for line in run("losetup", &["-j", image, "-n", "-O", "NAME"]).lines() {
        run("losetup", &["-d", line.trim()]);
    }
    run("udevadm", &["settle"]);
}

#[test]
fn a_file_is_a_disk_over_reboots_and_no_other_loop_device_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mount = dir.join("host");
    let (mount, image) = (mount.to_str().unwrap(), mount.join("disk.img"));
    let image = image.to_str().unwrap();
    std::fs::create_dir(mount).unwrap();
    let disk = disks().pop().unwrap();
    run("mkfs.ext4", &["-q", &disk]);
    run("mount", &[&disk, mount]);
    run("modprobe", &["loop"]);
    run("udevadm", &["settle"]);
    // Nobody's: blank, attached, and as large as ours.
    let theirs = format!("{mount}/theirs.img");
    run("truncate", &["-s", "96M", &theirs]);
    let other = run("losetup", &["-f", "--show", &theirs]);
    let other = other.trim_start_matches("/dev/");

    let plan = CLASS
        .replace(
            "{transport: [ubd], size: {min: 64Mi}}",
            &format!("{{files: [{{path: {image}, size: 96Mi}}]}}"),
        )
        .replace(", allowUniqueIdMissing: true", "")
        .replace(
            "volumeGroup: {name: fast}",
            "volumeGroup: {name: fast, activation: Watcher}",
        )
        .replace("mode: Enforce", "mode: Plan")
        .replace(
            "{allowUniqueIdMissing: true, requireZeroed",
            "{requireZeroed",
        );
    let class = plan.replace("mode: Plan", "mode: Enforce");
    let watcher = Watcher::start(dir, &plan);
    wait_for(dir, "it would be made", || file(dir).0 == "Planned");
    drop(watcher);
    assert!(!Path::new(image).exists(), "a plan makes nothing");

    let watcher = Watcher::start(dir, &class);
    wait_for(dir, "Ready", || is_disk_ready(dir));
    println!("result: {image} is {}", file(dir).1);
    let against = codes(dir, other);
    assert!(
        against.iter().any(|code| code == "NotADisk"),
        "nobody made it for us: {against:?}"
    );
    let disk = disk.trim_start_matches("/dev/");
    assert_eq!(entry(dir, disk)["class"], serde_json::Value::Null);
    make_data();
    let before = sum();
    watcher.terminate();

    boot(dir, image);
    let watcher = Watcher::start(dir, &class);
    wait_for(dir, "attached and active after a boot", || {
        file(dir).0 == "Attached" && status(dir)["pools"][0]["state"] == "Active"
    });
    run("lvm", &["lvchange", "-q", "-ay", "-K", "fast/data"]);
    assert_eq!(sum(), before, "the data is there");
    drop(watcher);

    // Somebody restores it from a copy: the same bytes, and not the file that we know.
    boot(dir, image);
    let kept = format!("{image}.kept");
    std::fs::rename(image, &kept).unwrap();
    run("cp", &["--sparse=always", &kept, image]);
    let watcher = Watcher::start(dir, &class);
    wait_for(dir, "the copy is refused", || file(dir).0 == "Refused");
    println!("result: {}", file(dir).1);
    wait_for(dir, "its disk is missing", || {
        let status = status(dir);
        let disks = status["disks"].as_array().unwrap();
        disks.iter().any(|disk| disk["state"] == "Missing")
    });
    std::fs::rename(&kept, image).unwrap();
    run("udevadm", &["trigger", "--settle", "-s", "block"]);
    wait_for(dir, "it is back", || is_disk_ready(dir));
    drop(watcher);
    run("lvm", &["lvchange", "-q", "-ay", "-K", "fast/data"]);
    assert_eq!(sum(), before, "the data is there still");
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
    detach(image);
    run("losetup", &["-d", &format!("/dev/{other}")]);
    run("umount", &[mount]);
}

#[test]
fn a_file_is_made_only_where_it_lasts_and_can_be_written_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mount = dir.join("mount");
    std::fs::create_dir(&mount).unwrap();
    let at = mount.to_str().unwrap().to_owned();
    let class = CLASS.replace(
        "{transport: [ubd], size: {min: 64Mi}}",
        &format!("{{files: [{{path: {at}/disk.img, size: 96Mi}}]}}"),
    );
    let class = class.replace("allowUniqueIdMissing: true, ", "");
    let disk = disks().pop().unwrap();
    run("modprobe", &["loop"]);
    run("mkdir", &["-p", "/run/layers/up", "/run/layers/work"]);
    let overlay = "lowerdir=/run,upperdir=/run/layers/up,workdir=/run/layers/work";
    let tmpfs = ["-t", "tmpfs", "none", &at];
    let layers = ["-t", "overlay", "none", "-o", overlay, &at];
    for (what, args) in [("tmpfs", &tmpfs[..]), ("overlayfs", &layers)] {
        run("mount", args);
        let watcher = Watcher::start(dir, &class);
        wait_for(dir, what, || file(dir).0 == "Refused");
        let why = file(dir).1;
        println!("result: {why}");
        assert!(why.contains(what), "{why}");
        drop(watcher);
        assert!(!mount.join("disk.img").exists());
        run("umount", &[&at]);
    }
    run("mkfs.btrfs", &["-q", "-f", &disk]);
    run("mount", &[&disk, &at]);
    let watcher = Watcher::start(dir, &class);
    wait_for(dir, "Ready", || is_disk_ready(dir));
    let flags = run("lsattr", &[&format!("{at}/disk.img")]);
    println!("result: on btrfs: {flags}");
    assert!(flags.split(' ').next().unwrap().contains('C'), "{flags}");
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
    detach(&format!("{at}/disk.img"));
    run("umount", &[&at]);
    run("wipefs", &["-qa", &disk]);
}
