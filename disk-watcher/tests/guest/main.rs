//! The disk watcher on a real kernel with real LVM. Run by `e2e-qemu test`.
//!
//! The guest's own disks have no serial number, so the class of these tests allows that.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod adopt;
mod join;

use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  select: {transport: [ubd], size: {min: 64Mi}}
  limits: {settle: 1s, maxDisks: 1}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";

fn output(program: &str, args: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn run(program: &str, args: &[&str]) -> String {
    let out = output(program, args);
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn disks() -> Vec<String> {
    let list = std::env::vars()
        .find(|(key, _)| key == "BASALT_DISKS")
        .map(|(_, value)| value);
    let list = list.expect("BASALT_DISKS is not set: run guest tests with `e2e-qemu test`");
    list.split(',').map(str::to_owned).collect()
}

/// The disk watcher, running in a folder of its own.
struct Watcher {
    child: Child,
}

impl Watcher {
    fn start(dir: &Path, class: &str) -> Self {
        Self::with(dir, class, &[])
    }

    /// With more flags.
    fn with(dir: &Path, class: &str, flags: &[&str]) -> Self {
        let config = dir.join("config.yaml");
        std::fs::write(&config, class).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_disk-watcher"))
            .args([
                "run",
                "--config",
                config.to_str().unwrap(),
                "--journal",
                &path("journal"),
            ])
            .args([
                "--status-dir",
                &path("status"),
                "--metrics-bind-address",
                "0",
            ])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// As a power cut: nothing is asked, and its lvm goes too.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        output("pkill", &["-9", "-x", "lvm"]);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The stage of the one claim in the journal.
fn stage(dir: &Path) -> Option<String> {
    let entry = std::fs::read_dir(dir.join("journal/claims"))
        .ok()?
        .flatten()
        .find(|e| e.path().extension().is_some_and(|x| x == "json"))?;
    let claim: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(entry.path()).ok()?).ok()?;
    Some(claim["stage"].as_str()?.to_owned())
}

fn wait_for(dir: &Path, what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "after 90 s still not: {what}\n{}",
            log()
        );
        std::thread::yield_now();
    }
}

fn clean() {
    output("lvm", &["vgchange", "-an", "fast"]);
    for disk in disks() {
        run("wipefs", &["-aq", &disk]);
        run(
            "dd",
            &[
                "if=/dev/zero",
                &format!("of={disk}"),
                "bs=1M",
                "count=8",
                "oflag=direct",
                "status=none",
            ],
        );
    }
    run("udevadm", &["settle"]);
}

#[test]
fn an_onboarding_killed_after_each_step_goes_on() {
    for cut in ["Claimed", "Labelled", "Grouped"] {
        clean();
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), &format!("stage {cut}"), || {
            stage(dir.path()).is_some_and(|s| s == cut || s == "Ready")
        });
        watcher.kill();
        println!("killed at {cut}, the journal says {:?}", stage(dir.path()));
        let watcher = Watcher::start(dir.path(), CLASS);
        wait_for(dir.path(), "Ready", || {
            stage(dir.path()).as_deref() == Some("Ready")
        });
        let tags = run("lvm", &["vgs", "--noheadings", "-o", "vg_tags", "fast"]);
        assert!(
            tags.contains("basalt.class=fast") && tags.contains("basalt.owner="),
            "{tags}"
        );
        let pool = run(
            "lvm",
            &["lvs", "--noheadings", "-o", "segtype,lv_tags", "fast/pool0"],
        );
        assert_eq!(
            pool.trim(),
            "thin-pool",
            "whole, and no longer tagged as being made"
        );
        assert_eq!(
            run(
                "lvm",
                &["pvs", "--noheadings", "-o", "pv_name", "-S", "vg_name=fast"]
            )
            .lines()
            .count(),
            1,
            "maxDisks"
        );
        drop(watcher);
        println!("  and went on to Ready");
        run("lvm", &["vgremove", "-y", "fast"]);
    }
}

/// Makes each signature on a disk, and shows that the disk is refused with the code and
/// that not a byte of it changes.
fn refused(makers: &[(&str, &[&str])]) {
    let disk = disks()[0].clone();
    let name = disk.trim_start_matches("/dev/").to_owned();
    let stat = || {
        std::fs::read_to_string(format!("/sys/block/{name}/stat"))
            .unwrap()
            .split_whitespace()
            .nth(4)
            .unwrap()
            .to_owned()
    };
    let only = CLASS.replace(
        "select: {transport: [ubd]",
        &format!("select: {{paths: [{disk}], allowUnstableNames: true, transport: [ubd]"),
    );
    for (code, maker) in makers.iter().copied() {
        clean();
        let target = if maker[0] == "dd" {
            format!("of={disk}")
        } else {
            disk.clone()
        };
        let args: Vec<&str> = maker[1..]
            .iter()
            .copied()
            .chain([target.as_str()])
            .collect();
        run(maker[0], &args);
        run("udevadm", &["settle"]);
        let (sum, writes) = (run("sha256sum", &[&disk]), stat());
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(dir.path(), &only);
        let status =
            || std::fs::read_to_string(dir.path().join("status/status.json")).unwrap_or_default();
        wait_for(dir.path(), &format!("{code} is reported"), || {
            status().contains(&format!("\"{code}\""))
        });
        // Past the time after which a cleared disk would have been taken.
        wait_for(dir.path(), "the disk settled", || {
            !status().contains("NotSettled")
        });
        drop(watcher);
        assert_eq!(stage(dir.path()), None, "{code}: never claimed");
        assert_eq!(
            (run("sha256sum", &[&disk]), stat()),
            (sum, writes),
            "{code}: not a byte, not a write"
        );
        println!("{code}: refused, unchanged");
    }
    clean();
}

#[test]
fn a_disk_with_a_file_system_is_refused_and_not_written_to() {
    refused(&[
        ("Signature:ext4", &["mkfs.ext4", "-q", "-F"]),
        ("Signature:xfs", &["mkfs.xfs", "-q", "-f"]),
        ("Signature:btrfs", &["mkfs.btrfs", "-q", "-f"]),
    ]);
}

#[test]
fn a_disk_with_swap_a_foreign_pv_or_plain_data_is_refused_and_not_written_to() {
    let noise = [
        "dd",
        "if=/dev/urandom",
        "bs=1M",
        "count=1",
        "oflag=direct",
        "status=none",
    ];
    refused(&[
        ("Signature:swap", &["mkswap", "-q"]),
        ("ForeignPV", &["pvcreate", "-q"]),
        ("NotZeroed", &noise),
    ]);
}
