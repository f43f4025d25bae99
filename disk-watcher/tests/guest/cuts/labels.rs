//! What a power cut in pvcreate leaves of a label.

use std::fs;
use std::path::Path;

use super::{blank, whole};
use crate::harness::{
    Bystanders, CLASS, Watcher, clean, disks, is_ready, run, stage, sum, wait_for,
};

/// The UUID that the journal has for the PV of a disk.
const CLAIMED: &str = "abcdef-abcd-abcd-abcd-abcd-abcd-abcdef";

/// The claim of a disk without an id, as a boot before this one left it.
fn claim_of_another_boot(dir: &Path, disk: &str) {
    let size = run("blockdev", &["--getsize64", disk]);
    let uuid = CLAIMED;
    let claim = format!(
        r#"{{"pvUuid": "{uuid}", "disk": "session.0b7c3a35-0000-4000-8000-000000000000.3", "class": "fast",
            "volumeGroup": "fast", "vgUuid": null, "size": {size}, "zeroes": "HeadAndTail", "fingerprint": "sha256:0",
            "stage": "Claimed"}}"#
    );
    fs::create_dir_all(dir.join("journal/claims")).unwrap();
    fs::write(dir.join(format!("journal/claims/{uuid}.json")), claim).unwrap();
}

/// The first write of pvcreate alone: an empty metadata area, without a label.
fn first_write_of_pvcreate(disk: &str) {
    run("lvm", &["pvcreate", "-qq", disk]);
    let (input, output) = (format!("if={disk}"), format!("of={disk}"));
    run(
        "dd",
        &[
            &input,
            "of=/run/header",
            "bs=512",
            "skip=8",
            "count=1",
            "iflag=direct",
        ],
    );
    blank(1);
    run(
        "dd",
        &[
            "if=/run/header",
            &output,
            "bs=512",
            "seek=8",
            "oflag=direct",
        ],
    );
    run("udevadm", &["trigger", "--settle", "--action=change", disk]);
}

/// What pvcreate wrote, but for the metadata area: a power cut may lose any write that was not
/// flushed, also one before another that it keeps.
fn label_of_pvcreate(disk: &str) {
    blank(1);
    run(
        "lvm",
        &[
            "pvcreate",
            "-qq",
            "--norestorefile",
            "--uuid",
            CLAIMED,
            disk,
        ],
    );
    let output = format!("of={disk}");
    run(
        "dd",
        &[
            "if=/dev/zero",
            &output,
            "bs=512",
            "seek=8",
            "count=1",
            "oflag=direct",
        ],
    );
    run("udevadm", &["trigger", "--settle", "--action=change", disk]);
}

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_label_whose_metadata_area_was_lost_is_written_anew() {
    clean();
    let bystanders = Bystanders::beside(1);
    let disk = &disks()[0];
    label_of_pvcreate(disk);
    let dir = tempfile::tempdir().unwrap();
    claim_of_another_boot(dir.path(), disk);
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    assert!(dir.path().join("journal/wrecks").exists(), "it was kept");
    whole(dir.path());
    bystanders.check();
    run("lvm", &["vgremove", "-y", "fast"]);
    clean();
}

#[test]
fn a_pvcreate_cut_before_its_label_goes_on_in_the_next_boot() {
    clean();
    let bystanders = Bystanders::beside(1);
    let disk = &disks()[0];
    first_write_of_pvcreate(disk);
    let dir = tempfile::tempdir().unwrap();
    claim_of_another_boot(dir.path(), disk);
    // As after a boot: at the first look no disk has settled.
    let class = CLASS.replace("settle: 1s", "settle: 5s");
    assert_ne!(class, CLASS);
    let watcher = Watcher::start(dir.path(), &class);
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    drop(watcher);
    whole(dir.path());
    run("lvm", &["vgremove", "-y", "fast"]);

    // One byte more than that, and it is somebody's.
    first_write_of_pvcreate(disk);
    let output = format!("of={disk}");
    run(
        "dd",
        &[
            "if=/dev/urandom",
            &output,
            "bs=512",
            "seek=100",
            "count=1",
            "oflag=direct",
        ],
    );
    let before = sum(disk);
    let dir = tempfile::tempdir().unwrap();
    claim_of_another_boot(dir.path(), disk);
    let watcher = Watcher::start(dir.path(), CLASS);
    wait_for(dir.path(), "it is refused and its claim withdrawn", || {
        let status = fs::read_to_string(dir.path().join("status/status.json"));
        status.is_ok_and(|text| text.contains("NotZeroed")) && stage(dir.path()).is_none()
    });
    drop(watcher);
    assert_eq!(sum(disk), before, "not a byte of it changed");
    bystanders.check();
    clean();
}
