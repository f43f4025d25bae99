//! A disk is wiped when a person asked for it as it is, and no other byte of the machine changes.

use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::faults::status::status;
use crate::harness::{Watcher, output, run, wait_for};
use crate::scsi::{Bench, Disk, class};

/// The spec of the request that status offers for this disk, once it does.
fn offered(dir: &Path, disk: &Disk) -> String {
    let name = disk.name();
    let mut spec = None;
    wait_for(dir, "a request is offered", || {
        let status = status(dir);
        let disks = status["disks"].as_array().cloned().unwrap_or_default();
        let found = disks.into_iter().find(|d| d["name"] == name.as_str());
        spec = found.and_then(|d| Some(d["wipe"].as_str()?.to_owned()));
        spec.is_some()
    });
    spec.unwrap()
}

/// Writes the class and a request.
fn ask(dir: &Path, name: &str, spec: &str) {
    let class = class("HeadAndTail", 1).replace("mode: Enforce", "mode: Plan");
    let text = format!(
        "{class}---\napiVersion: basalt.storage/v1alpha1\nkind: DiskWipeRequest\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    );
    std::fs::write(dir.join("next"), text).unwrap();
    std::fs::rename(dir.join("next"), dir.join("config.yaml")).unwrap();
}

/// Waits until the request stands so; gives its message.
fn stands(dir: &Path, name: &str, state: &str) -> String {
    let mut message = String::new();
    wait_for(dir, &format!("{name} is {state}"), || {
        let status = status(dir);
        let requests = status["requests"].as_array().cloned().unwrap_or_default();
        let found = requests
            .into_iter()
            .find(|r| r["name"] == name && r["state"] == state);
        if let Some(found) = &found {
            message = found["message"].as_str().unwrap().to_owned();
        }
        found.is_some()
    });
    message
}

fn confirmed(spec: &str) -> String {
    let (_, rest) = spec.split_once("diskId: ").unwrap();
    let (id, _) = rest.split_once(',').unwrap();
    let body = spec.strip_suffix('}').unwrap();
    format!("{body}, confirm: \"destroy {id} on n1\"}}")
}

#[test]
fn a_disk_is_wiped_as_it_was_seen_and_nothing_else_is() {
    let bench = Bench::new(64, 512);
    let [target, mounted, bystander] = [bench.add(), bench.add(), bench.add()];
    for disk in [&target, &mounted, &bystander] {
        run("mkfs.ext4", &["-q", "-F", disk.node().to_str().unwrap()]);
    }
    run("udevadm", &["settle"]);
    let dir = tempfile::tempdir().unwrap();
    let plan = class("HeadAndTail", 1).replace("mode: Enforce", "mode: Plan");
    let watcher = Watcher::with(dir.path(), &plan, &["--node-name", "n1"]);
    let first = offered(dir.path(), &target);
    let of_mounted = offered(dir.path(), &mounted);
    let before = [target.sum(), bystander.sum()];

    // Nothing is done without the confirmation, and what would be is said.
    ask(dir.path(), "a", &first);
    let message = stands(dir.path(), "a", "Waiting");
    assert!(
        message.contains("ext4 at byte") && message.contains(&target.name()),
        "{message}"
    );
    assert_eq!(target.sum(), before[0]);

    // A byte changed since: void, whatever is confirmed.
    let node = std::fs::File::options()
        .write(true)
        .open(target.node())
        .unwrap();
    node.write_all_at(b"x", 200).unwrap();
    node.sync_all().unwrap();
    drop(node);
    let changed = target.sum();
    ask(dir.path(), "b", &confirmed(&first));
    let message = stands(dir.path(), "b", "Refused");
    assert!(message.contains("it is void"), "{message}");
    assert_eq!(target.sum(), changed);

    // In use.
    std::fs::create_dir_all("/run/mounted").unwrap();
    run("mount", &[mounted.node().to_str().unwrap(), "/run/mounted"]);
    std::fs::write("/run/mounted/file", "data").unwrap();
    run("sync", &[]);
    ask(dir.path(), "c", &confirmed(&of_mounted));
    stands(dir.path(), "c", "Refused");
    assert_eq!(std::fs::read("/run/mounted/file").unwrap(), b"data");

    // Its signatures only.
    let bytes = std::fs::read(target.node()).unwrap();
    let second = offered(dir.path(), &target);
    ask(
        dir.path(),
        "d",
        &confirmed(&second.replace("method: Full", "method: SignaturesOnly")),
    );
    stands(dir.path(), "d", "Done");
    output(
        "blockdev",
        &["--flushbufs", target.node().to_str().unwrap()],
    );
    let now = std::fs::read(target.node()).unwrap();
    let differ = (0..bytes.len()).filter(|at| bytes[*at] != now[*at]).count();
    println!(
        "result: {differ} bytes of {} were erased as signatures",
        bytes.len()
    );
    assert!((2..=512).contains(&differ), "{differ}");
    assert!(
        !output("blkid", &["-p", target.node().to_str().unwrap()])
            .status
            .success()
    );
    let kept = dir.path().join("journal/wipes");
    assert!(
        std::fs::read_dir(kept).unwrap().count() >= 2,
        "what was erased is kept"
    );

    // All of it, with partitions.
    run("sgdisk", &["-n", "1:0:0", target.node().to_str().unwrap()]);
    run("udevadm", &["settle"]);
    let mut third = String::new();
    wait_for(dir.path(), "the table is in the request", || {
        third = offered(dir.path(), &target);
        third.contains("gpt")
    });
    ask(dir.path(), "e", &confirmed(&third));
    stands(dir.path(), "e", "Done");
    output(
        "blockdev",
        &["--flushbufs", target.node().to_str().unwrap()],
    );
    assert!(
        std::fs::read(target.node())
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
    let partitions = std::fs::read_to_string("/proc/partitions").unwrap();
    assert!(
        !partitions.contains(&format!("{}1", target.name())),
        "{partitions}"
    );

    // What was somebody else's is as it was.
    assert_eq!(bystander.sum(), before[1]);
    assert_eq!(std::fs::read("/run/mounted/file").unwrap(), b"data");
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        !log.contains("running command="),
        "no command was needed: {log}"
    );
    drop(watcher);
    run("umount", &["/run/mounted"]);
}

#[test]
fn what_stands_in_partitions_is_confirmed_and_a_member_in_one_is_not_wiped() {
    let bench = Bench::new(64, 512);
    let [member, filled] = [bench.add(), bench.add()];
    let node = |disk: &Disk| disk.node().to_str().unwrap().to_owned();
    for disk in [&member, &filled] {
        run("sgdisk", &["-n", "1:0:+24M", "-n", "2:0:+24M", &node(disk)]);
    }
    run("udevadm", &["settle"]);
    let dir = tempfile::tempdir().unwrap();
    let plan = class("HeadAndTail", 1).replace("mode: Enforce", "mode: Plan");
    let watcher = Watcher::with(dir.path(), &plan, &["--node-name", "n1"]);
    let empty = offered(dir.path(), &member);
    let before = offered(dir.path(), &filled);

    let part = format!("{}2", node(&member));
    run("lvm", &["pvcreate", "-q", &part]);
    run("lvm", &["vgcreate", "-q", "theirs", &part]);
    run(
        "lvm",
        &[
            "lvcreate", "-q", "-l1", "-an", "-Zn", "-Wn", "-n", "data", "theirs",
        ],
    );
    run("mkfs.ext4", &["-q", &format!("{}1", node(&filled))]);
    run("udevadm", &["settle"]);
    let sums = [member.sum(), filled.sum()];

    // Of an empty partition table something else was confirmed.
    ask(dir.path(), "a", &confirmed(&before));
    let message = stands(dir.path(), "a", "Refused");
    assert!(message.contains("it is void"), "{message}");
    let mut now = String::new();
    wait_for(dir.path(), "ext4 is to be confirmed", || {
        now = offered(dir.path(), &filled);
        now.contains("ext4")
    });
    ask(dir.path(), "b", &now);
    let message = stands(dir.path(), "b", "Waiting");
    println!("result: {message}");
    assert!(message.contains("ext4 at byte"), "{message}");

    // The request that fits what stands there now, by its fingerprint and its signatures.
    ask(dir.path(), "c", &confirmed(&empty));
    let message = stands(dir.path(), "c", "Refused");
    let (_, fingerprint) = message.split_once("is now ").unwrap();
    let (head, rest) = empty.split_once("\"sha256:").unwrap();
    let (_, tail) = rest.split_once('"').unwrap();
    let spec = format!("{head}\"{fingerprint}\"{tail}");
    ask(dir.path(), "d", &confirmed(&spec));
    let message = stands(dir.path(), "d", "Refused");
    let (_, kinds) = message.split_once("there are [").unwrap();
    let (kinds, _) = kinds.split_once(']').unwrap();
    let (head, rest) = spec.split_once("signatures: [").unwrap();
    let (_, tail) = rest.split_once(']').unwrap();
    ask(
        dir.path(),
        "e",
        &confirmed(&format!("{head}signatures: [{kinds}]{tail}")),
    );
    let message = stands(dir.path(), "e", "Refused");
    println!("result: {message}");
    assert!(message.contains("PV of a volume group"), "{message}");
    assert_eq!([member.sum(), filled.sum()], sums, "nothing was written");
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "theirs"]);
}
