//! Blank disks that pods have as raw block volumes: nothing stands on them, nobody holds them
//! exclusively, and they are others' all the same.

use std::path::Path;
use std::process::{Child, Stdio};

use super::devices::CLASS;
use super::status::{codes, entry, looked_twice};
use crate::harness::{Watcher, clean, output, run, stages, wait_for};
use crate::scsi::{Bench, Disk};

/// Where kubelet has its nodes here.
const NODES: &str = "/run/volumeDevices";

/// A process that keeps something until it is killed.
struct Keeper(Child);

impl Keeper {
    /// Runs a shell, in a mount namespace of its own; returns when it has done `what`.
    fn start(what: &str) -> Self {
        let done = Path::new(NODES).join("done");
        let script = format!("{what} && touch {} && exec sleep 600", done.display());
        #[expect(clippy::disallowed_methods, reason = "it has to stay")]
        let child = std::process::Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let keeper = Self(child);
        wait_for(Path::new(NODES), what, || done.exists());
        std::fs::remove_file(done).unwrap();
        keeper
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets go of everything, whatever happens.
struct Kubelet;

impl Kubelet {
    fn new() -> Self {
        std::fs::create_dir_all(NODES).unwrap();
        run("mount", &["-t", "tmpfs", "nodes", NODES]);
        run("modprobe", &["loop"]);
        Self
    }

    /// Mounts a device node as a file, as kubelet does for each pod (volumepathhandler.MapDevice).
    fn bind(&self, node: &str, name: &str) -> String {
        let target = format!("{NODES}/{name}");
        std::fs::write(&target, "").unwrap();
        run("mount", &["--bind", node, &target]);
        target
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        output("losetup", &["-D"]);
        output("umount", &["-R", NODES]);
    }
}

/// Makes another node of the disk, as a container has one.
fn another_node(disk: &Disk, name: &str) -> String {
    let number = std::fs::read_to_string(format!("/sys/block/{}/dev", disk.name())).unwrap();
    let (major, minor) = number.trim().split_once(':').unwrap();
    let path = format!("{NODES}/{name}");
    run("mknod", &[&path, "b", major, minor]);
    path
}

#[test]
fn a_blank_disk_that_a_pod_has_as_a_raw_block_volume_is_not_taken_until_it_is_released() {
    clean();
    let bench = Bench::new(64, 512);
    let kubelet = Kubelet::new();
    let [mapped, contained, looped, opened, published] = std::array::from_fn(|_| bench.add());
    let node = |disk: &Disk| disk.node().to_str().unwrap().to_owned();
    // A local volume: mounted, and a loop device over the mount.
    let target = kubelet.bind(&node(&mapped), "mapped");
    run("losetup", &["-f", &target]);
    // A container that is given the host's node.
    std::fs::write(format!("{NODES}/contained"), "").unwrap();
    let container = Keeper::start(&format!(
        "mount --bind {} {NODES}/contained",
        node(&contained)
    ));
    // A node beside /dev, handed on, open, and mounted.
    let apart = another_node(&looped, "looped");
    run("losetup", &["-f", &apart]);
    let program = Keeper::start(&format!("exec 3<>{}", another_node(&opened, "opened")));
    let csi = another_node(&published, "csi");
    kubelet.bind(&csi, "published");
    let cases = [
        (
            "mapped as kubelet does",
            &mapped,
            &["BindMounted", "BackingLoop"][..],
        ),
        ("mounted in a container", &contained, &["BindMounted"]),
        ("looped by a node beside /dev", &looped, &["BackingLoop"]),
        ("opened by a node beside /dev", &opened, &["Busy"]),
        (
            "mounted by a node beside /dev",
            &published,
            &["BindMounted"],
        ),
    ];
    run("udevadm", &["settle"]);

    let free = bench.add();
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "the free disk is Ready", || {
        entry(dir.path(), &free.name())["state"] == "Ready"
    });
    looked_twice(dir.path());
    println!();
    for (what, disk, wanted) in cases {
        let found = codes(dir.path(), &disk.name());
        println!("result: {what}: {found:?}");
        assert_eq!(
            found,
            wanted,
            "{what}: {:#}",
            entry(dir.path(), &disk.name())
        );
        assert_eq!(disk.written(), [0; 4], "{what}");
    }
    assert_eq!(stages(dir.path()), ["Ready"], "nothing else was claimed");

    // The volumes are deleted: the disks are as blank as they were.
    drop((container, program, kubelet));
    wait_for(dir.path(), "all are Ready", || {
        looked_twice(dir.path());
        stages(dir.path()) == ["Ready"; 6]
    });
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
