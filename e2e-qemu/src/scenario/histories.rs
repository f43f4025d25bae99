//! The direct reader against lvm without device-mapper: a step takes milliseconds on this machine, so that thousands of
//! random histories are cheap. They run on loop devices, or in guests where there are none.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::host;
use crate::spec::{Backend, Disk};
use crate::suite;

const SUITE: &str = "lvmd::guest_histories";
const FUNCTION: &str = "unmapped::read_as_lvm_reads_without_device_mapper";
/// How many histories in all, and at once; fewer when not everything is run.
const HISTORIES: u64 = 2000;
const FEW: u64 = 40;
const AT_ONCE: u64 = 4;
/// The disks of each.
const DISKS: usize = 3;
const SIZE: u64 = 256 << 20;

/// What the test said it counted.
type Counted = anyhow::Result<Vec<String>>;

pub(super) fn without_device_mapper(context: &Context) -> anyhow::Result<()> {
    let tests = suite::guest_tests(&context.workspace, Some("lvmd::"), false)?;
    let mut tests = tests.into_tests(true);
    let test = tests.find(|test| test.suite == SUITE && test.function == FUNCTION);
    let binary = test.context("the test is not there")?.binary;
    let count = if context.all { HISTORIES } else { FEW } / AT_ONCE;
    let loops: anyhow::Result<Vec<Loops>> = (0..AT_ONCE).map(|_| Loops::attach()).collect();
    let counted = match loops {
        Ok(loops) => side_by_side(loops, |loops| on_this_machine(&binary, loops, count)),
        Err(error) => {
            let why = format!("no loop devices here, so in guests, which takes longer: {error:#}");
            println!("     | {why}");
            context.result(why);
            let names = (0..AT_ONCE).map(|n| format!("histories-{n}")).collect();
            side_by_side(names, |name| in_a_guest(context, &name, &binary, count))
        }
    };
    for counted in counted {
        counted?.into_iter().for_each(|line| context.result(line));
    }
    Ok(())
}

fn side_by_side<T: Send>(all: Vec<T>, run: impl Fn(T) -> Counted + Sync) -> Vec<Counted> {
    let run = &run;
    thread::scope(|scope| {
        let running: Vec<_> = all
            .into_iter()
            .map(|one| scope.spawn(move || run(one)))
            .collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|ended| ended.unwrap_or_else(|_| bail!("it panicked")))
            .collect()
    })
}

fn on_this_machine(binary: &Path, loops: Loops, count: u64) -> Counted {
    let mut command = host::command(binary);
    command
        .args([FUNCTION, "--exact", "--ignored", "--nocapture"])
        .env("BASALT_DISKS", loops.devices.join(","))
        .env("BASALT_HISTORIES", count.to_string())
        .env("RUST_BACKTRACE", "0");
    host::die_with_caller(&mut command);
    let out = command.output().context("cannot start the test")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "on this machine: {text}{errors}");
    Ok(results(&text))
}

fn in_a_guest(context: &Context, name: &str, binary: &Path, count: u64) -> Counted {
    let folder = binary.parent().context("the test has no folder")?;
    let mut spec = context.spec(Backend::Uml, name).share_read_only(folder);
    for _ in 0..DISKS {
        spec = spec.disk(Disk::new(SIZE));
    }
    let guest = Guest::boot(spec)?;
    let command = Command::new(binary.display().to_string())
        .args([FUNCTION, "--exact", "--ignored", "--nocapture"])
        .env("BASALT_DISKS", suite::disk_list(&guest))
        .env("BASALT_HISTORIES", count.to_string())
        .timeout(Duration::from_secs(20) * u32::try_from(count).unwrap_or(u32::MAX));
    let text = guest.check(command)?;
    guest.shutdown()?;
    Ok(results(&text))
}

fn results(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("result: "));
    lines.map(str::to_owned).collect()
}

/// Loop devices on files that are gone with them.
#[derive(Debug)]
struct Loops {
    devices: Vec<String>,
    files: tempfile::TempDir,
}

impl Loops {
    fn attach() -> anyhow::Result<Self> {
        let files = tempfile::tempdir().context("cannot make a folder for disks")?;
        let mut loops = Self {
            devices: Vec::new(),
            files,
        };
        for n in 0..DISKS {
            let path: PathBuf = loops.files.path().join(n.to_string());
            let file = File::create(&path)?;
            file.set_len(SIZE)?;
            let shown = host::capture(
                host::command("losetup")
                    .args(["--find", "--show"])
                    .arg(&path),
            )?;
            let device = String::from_utf8_lossy(&shown).trim().to_owned();
            loops.devices.push(device.clone());
            // In a container losetup may name a device that has no node.
            let opened = File::options().read(true).write(true).open(&device);
            opened.with_context(|| format!("cannot open {device}"))?;
        }
        Ok(loops)
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        for device in &self.devices {
            if let Err(error) = host::capture(host::command("losetup").args(["-d", device])) {
                println!("     | {device} stays: {error}");
            }
        }
    }
}
