//! A machine boots and finds a copy of its disk beside it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Context, onboarding};
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Disk};

const MIB: u64 = 1 << 20;
/// How long a look may take to come to an end; ten times what it does.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where the disk and its copy are.
const PLACES: [&str; 2] = ["ubdb", "ubdc"];

/// The machine itself activates nothing of it.
pub(super) fn class() -> String {
    let theirs = "volumeGroup: {name: fast}";
    onboarding::CLASS.replace(theirs, "volumeGroup: {name: fast, activation: Watcher}")
}

/// Neither is chosen, whichever comes first: nothing is activated and nothing is written to them. When the copy is gone
/// the volume is there again with its data.
pub(super) fn is_not_chosen(context: &Context) -> anyhow::Result<()> {
    let spec = context.spec(Backend::Uml, "clone").memory_mib(768);
    let spec = [256, 256, 64]
        .iter()
        .fold(spec, |spec, mib| spec.disk(Disk::new(mib * MIB)));
    let mut guest = Guest::boot(spec)?;
    let images: Vec<_> = guest
        .disks()
        .iter()
        .map(|disk| disk.image().to_owned())
        .collect();
    let [disk, copy, _] = &images[..] else {
        bail!("{} disks", images.len());
    };
    guest.shell("mkfs.ext4 -q /dev/ubdd")?;
    let start = |guest: &Guest| onboarding::start_with(context, guest, &class());
    let watcher = start(&guest)?;
    onboarding::ready(&guest, &watcher)?;
    let sum = "sha256sum </dev/fast/data";
    let data = guest.shell(format!(
        "lvm lvcreate -qq -y -V 64M -T fast/pool0 -n data >&2 && \
         dd if=/dev/urandom of=/dev/fast/data bs=1M count=64 conv=fsync status=none && {sum}"
    ))?;
    drop(watcher);
    guest.cut_power()?;

    fs::copy(disk, copy)?;
    let before = fs::read(disk)?;
    for order in ["behind the disk", "before the disk"] {
        guest = guest.reboot()?;
        let watcher = start(&guest)?;
        wait(
            &guest,
            &watcher,
            &format!("the copy {order} is seen"),
            |states| {
                PLACES
                    .iter()
                    .all(|place| states.get(place) == Some("Conflict"))
            },
        )?;
        let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
        ensure!(log.contains("DuplicatePV"), "it does not say why: {log}");
        ensure!(
            !log.contains("running command="),
            "it changed something: {log}"
        );
        let mapped = guest.shell("dmsetup ls | grep ^fast || true")?;
        ensure!(
            mapped.is_empty(),
            "activated of one of the two: {mapped}\n{log}"
        );
        drop(watcher);
        guest.cut_power()?;
        for (image, name) in [(disk, "disk"), (copy, "copy")] {
            ensure!(
                fs::read(image)? == before,
                "the {name} changed, the copy {order}"
            );
        }
        // The other way round at the next boot.
        let third = disk.with_extension("third");
        fs::rename(disk, &third)?;
        fs::rename(copy, disk)?;
        fs::rename(&third, copy)?;
    }

    fs::File::create(copy)?.set_len(256 * MIB)?;
    guest = guest.reboot()?;
    let watcher = start(&guest)?;
    wait(&guest, &watcher, "the disk is whole again", |states| {
        states.get(PLACES[0]) == Some("Ready")
    })?;
    wait(&guest, &watcher, "its pool is active", |states| {
        states.pool_is_active()
    })?;
    let now = guest.shell(format!("lvm lvchange -qq -ay fast/data && {sum}"))?;
    ensure!(now == data, "the volume changed");
    context.result("a copy of a disk, behind it and before it at boot: nothing activated, nothing written; its data is there when the copy is gone");
    Ok(())
}

/// What status.json says.
struct States(Value);

impl States {
    /// The state of the disk of this name.
    fn get(&self, name: &str) -> Option<&str> {
        let mut disks = self.0["disks"].as_array()?.iter();
        disks.find(|disk| disk["name"] == name)?["state"].as_str()
    }

    fn pool_is_active(&self) -> bool {
        self.0["pools"][0]["state"] == "Active"
    }
}

fn wait(
    guest: &Guest,
    watcher: &Process,
    what: &str,
    holds: impl Fn(&States) -> bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let text = guest.shell("cat /run/status/status.json 2>/dev/null || true")?;
        let states = States(serde_json::from_str(&text).unwrap_or_default());
        if holds(&states) {
            return Ok(());
        }
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
            return Err(anyhow::anyhow!("{text}\n{log}"))
                .with_context(|| format!("still not: {what}"));
        }
    }
}
