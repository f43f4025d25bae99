//! Claims that lead nowhere: the disk died, or something stands against it by now.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::status::{commands, entry, looked_twice, status};
use crate::harness::{Bystanders, Watcher, run, wait_for};
use crate::scsi::{Bench, Disk, class};

const NODE: [&str; 2] = ["--node-name", "n1"];

fn request(spec: &str) -> String {
    format!(
        "---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\nspec: {{node: n1, {spec}}}\n"
    )
}

fn is_ready(dir: &Path, disk: &Disk) -> bool {
    entry(dir, &disk.name())["state"] == "Ready"
}

/// The claims in the journal, with their files.
fn claims(dir: &Path) -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(dir.join("journal/claims")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .map(|path| {
            let text = fs::read(&path).unwrap();
            (path, serde_json::from_slice(&text).unwrap())
        })
        .collect()
}

#[test]
fn a_disk_that_died_is_forgotten_on_request_and_another_takes_its_place() {
    let bystanders = Bystanders::beside(0);
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let config = class("HeadAndTail", 2)
        .replace("maxDisks: 2", "minDisks: 2, maxDisks: 2")
        .replace(
            "  mode: Enforce\n",
            "  mode: Enforce\n  discovery: Continuous\n",
        );
    let [one, two] = [bench.add(), bench.add()];
    let watcher = Watcher::with(dir, &config, &NODE);
    wait_for(dir, "both are Ready", || {
        is_ready(dir, &one) && is_ready(dir, &two)
    });
    let id = entry(dir, &two.name())["id"].as_str().unwrap().to_owned();
    two.pull();
    wait_for(dir, "its group is frozen", || {
        entry(dir, &one.name())["state"] == "Frozen"
    });

    // As long as the group counts on it, it is not forgotten.
    let asked = format!(
        "{config}{}",
        request(&format!("diskId: '{id}', lost: true"))
    );
    let answer = || status(dir)["requests"][0].clone();
    fs::write(dir.join("config.yaml"), &asked).unwrap();
    wait_for(dir, "it is refused", || answer()["state"] == "Refused");
    let why = answer()["message"].to_string();
    assert!(why.contains("vgreduce --removemissing"), "{why}");
    assert_eq!(claims(dir).len(), 2);

    run("lvm", &["vgreduce", "-q", "--removemissing", "fast"]);
    run("udevadm", &["trigger", "--settle", "-s", "block"]);
    wait_for(dir, "it is forgotten", || answer()["state"] == "Done");
    wait_for(dir, "the other is Ready again", || is_ready(dir, &one));
    assert_eq!(claims(dir).len(), 1);
    let three = bench.add();
    wait_for(dir, "another takes its place", || is_ready(dir, &three));

    // It was not dead after all: it is a stranger now, and stays as it is.
    two.plug();
    let (sum, written) = (two.sum(), two.written());
    looked_twice(dir);
    let state = entry(dir, &two.name())["state"].clone();
    println!("\nresult: the one that came back is {state}");
    assert_eq!(state, "Stale");
    assert_eq!((two.sum(), two.written()), (sum, written));
    assert_eq!(claims(dir).len(), 2, "of the other two");
    drop(watcher);
    two.pull();
    bystanders.check();
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}

#[test]
fn a_claimed_disk_is_not_labelled_while_something_stands_against_it() {
    let bench = Bench::new(64, 512);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let config = class("HeadAndTail", 1);
    let disk = bench.add();
    let watcher = Watcher::with(dir, &config, &NODE);
    wait_for(dir, "Ready", || is_ready(dir, &disk));
    let id = entry(dir, &disk.name())["id"].as_str().unwrap().to_owned();
    drop(watcher);
    // As a cut between the claim and pvcreate leaves it.
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
    let to = format!("of={}", disk.node().display());
    run(
        "dd",
        &[
            "if=/dev/zero",
            &to,
            "bs=1M",
            "count=64",
            "oflag=direct",
            "status=none",
        ],
    );
    run("udevadm", &["settle"]);
    let (path, mut claim) = claims(dir).remove(0);
    claim["stage"] = "Claimed".into();
    claim["vgUuid"] = Value::Null;
    fs::write(&path, claim.to_string()).unwrap();
    let (before, ran) = (disk.written(), commands(dir));

    let without = "mode: Enforce\n  exclude: {model: [scsi_debug]}";
    let excluded = config.replace("mode: Enforce", without);
    let watcher = Watcher::with(dir, &excluded, &NODE);
    looked_twice(dir);
    assert_eq!(disk.written(), before, "nothing was written");
    assert_eq!(commands(dir), ran, "nothing was run");
    assert_eq!(claims(dir)[0].1["stage"], "Claimed");
    println!("\nresult: {}", entry(dir, &disk.name())["plan"][0]);

    let asked = format!("{excluded}{}", request(&format!("diskId: '{id}'")));
    fs::write(dir.join("config.yaml"), asked).unwrap();
    wait_for(dir, "the claim is taken back", || claims(dir).is_empty());
    assert_eq!(disk.written(), before, "nothing was written");
    fs::write(dir.join("config.yaml"), &config).unwrap();
    wait_for(dir, "it is taken as any other", || is_ready(dir, &disk));
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
