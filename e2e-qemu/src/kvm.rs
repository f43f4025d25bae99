//! Does hardware virtualisation work here?
//!
//! The device node says nothing, and neither does a processor that starts: on some nested hosts a few real-mode
//! instructions run and a kernel hangs. So the kernel that the guests boot is started without a root and has to
//! get as far as to miss it. The verdict is kept until the host reboots.

use std::fs;
use std::io;
use std::path::Path;

use extension::progress::Step;

use crate::host;

/// A kernel that works is through in one second; an emulated one needs three.
const SECONDS: &str = "6";

/// What the kernel says when it has come up and finds no root.
const UP: &str = "Unable to mount root fs";

/// Tries, or remembers from an earlier try since the host booted.
pub(crate) fn works(kernel: &Path, memory: &Path) -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let verdict = memory.join(format!("kvm-{}", boot.trim()));
    match fs::read_to_string(&verdict).as_deref() {
        Ok("works") => true,
        Ok("broken") => false,
        _ => {
            let works = try_it(kernel).unwrap_or(false);
            let word = if works { "works" } else { "broken" };
            // Not remembered: tried again next time.
            let _ = fs::create_dir_all(memory).and_then(|()| fs::write(&verdict, word));
            works
        }
    }
}

fn try_it(kernel: &Path) -> io::Result<bool> {
    let step = Step::start("trying hardware virtualisation");
    let mut command = host::command("timeout");
    command
        .args(["--signal=KILL", SECONDS, "qemu-system-x86_64"])
        .args([
            "-machine",
            "q35,accel=kvm",
            "-cpu",
            "host",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args([
            "-no-reboot",
            "-serial",
            "stdio",
            "-append",
            "console=ttyS0 panic=-1",
            "-kernel",
        ])
        .arg(kernel.join("vmlinuz"));
    let output = host::die_with_caller(&mut command)
        .stdin(std::process::Stdio::null())
        .output()?;
    step.done();
    Ok(String::from_utf8_lossy(&output.stdout).contains(UP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_remembered() {
        if !Path::new("/dev/kvm").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        for (word, expected) in [("works", true), ("broken", false)] {
            fs::write(dir.path().join(format!("kvm-{}", boot.trim())), word).unwrap();
            assert_eq!(works(Path::new("/nonexistent"), dir.path()), expected);
        }
    }
}
