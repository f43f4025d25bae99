//! A disk that is to leave and cannot be read everywhere, as one that dies.

use std::fs;

use super::status::{entry, status};
use crate::harness::{Bystanders, Watcher, output, run, wait_for};
use crate::scsi::{Bench, class};

const NODE: [&str; 2] = ["--node-name", "n1"];
/// Sector of the disk, 10 MiB from its begin: within the third extent.
const BAD: &str = "20480";
const OPTIONS: &str = "/sys/bus/pseudo/drivers/scsi_debug/opts";

/// pvmove would go on over it, say nothing, and the volume would have something else there.
#[test]
#[ignore = "long: `make test-all` runs it"]
fn what_cannot_be_read_is_not_moved_and_moves_when_it_can() {
    let bystanders = Bystanders::beside(0);
    let bench = Bench::with(&[
        "dev_size_mb=96",
        "sector_size=512",
        &format!("medium_error_start={BAD}"),
        "medium_error_count=8",
    ]);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let config = class("HeadAndTail", 2).replace("maxDisks: 2", "minDisks: 2, maxDisks: 2");
    let [one, two] = [bench.add(), bench.add()];
    let watcher = Watcher::with(dir, &config, &NODE);
    wait_for(dir, "both are Ready", || {
        [&one, &two]
            .iter()
            .all(|disk| entry(dir, &disk.name())["state"] == "Ready")
    });
    let node = one.node().to_str().unwrap().to_owned();
    run(
        "lvm",
        &["lvcreate", "-y", "-L", "16M", "-n", "data", "fast", &node],
    );
    let direct = ["bs=1M", "count=16", "status=none"];
    let write = [
        "if=/dev/urandom",
        "of=/dev/fast/data",
        "oflag=direct",
        "conv=fsync",
    ];
    run("dd", &[&write[..], &direct].concat());
    let sum = run("sha256sum", &["/dev/fast/data"]);
    let reads = || {
        let read = ["if=/dev/fast/data", "of=/dev/null", "iflag=direct"];
        output("dd", &[&read[..], &direct].concat())
            .status
            .success()
    };

    // 2: SDEBUG_OPT_MEDIUM_ERR (Linux, drivers/scsi/scsi_debug.c).
    fs::write(OPTIONS, "2").unwrap();
    assert!(!reads(), "the disk has a sector that cannot be read");
    let uuid = run("lvm", &["pvs", "--noheadings", "-o", "pv_uuid", &node]);
    let asked = format!(
        "{config}---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\n\
         spec: {{node: n1, pvUUID: {uuid}}}\n"
    );
    fs::write(dir.join("config.yaml"), &asked).unwrap();
    let answer = || status(dir)["requests"][0].clone();
    wait_for(dir, "it says why it waits", || {
        let why = answer()["message"].to_string();
        answer()["state"] == "Waiting" && why.contains("cannot be read at byte 10485760")
    });
    let log = fs::read_to_string(dir.join("log")).unwrap();
    assert!(!log.contains("lvm pvmove"), "nothing is moved: {log}");

    fs::write(OPTIONS, "0").unwrap();
    wait_for(dir, "it leaves", || answer()["state"] == "Done");
    assert!(reads());
    assert_eq!(run("sha256sum", &["/dev/fast/data"]), sum);
    watcher.terminate();
    run("lvm", &["vgremove", "-ff", "-y", "fast"]);
    bystanders.check();
}
