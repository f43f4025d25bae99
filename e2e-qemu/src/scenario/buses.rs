//! Disks of every bus a virtual machine has, taken by what each is known by, and the machine comes back with all of them
//! in another order.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Context, onboarding};
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Bus, Disk, Spec};

const MIB: u64 = 1 << 20;
const WWN: u64 = 0x5000_c500_1234_5678;
/// How long disks may take to be taken on an emulated processor; ten times what they do.
const PATIENCE: Duration = Duration::from_mins(5);
/// Name of the class and of its group, and what it picks its one disk by.
const CLASSES: [(&str, &str); 4] = [
    ("link", "paths: [/dev/disk/by-id/virtio-LINK]"),
    ("wwn", "wwid: [naa.5000c50012345678]"),
    ("serial", "serial: [NV-77]"),
    // Named, and nobody allowed its bus.
    ("usb", "paths: ['/dev/disk/by-id/usb-*USB1*']"),
];

/// The disks, in the order of the first boot. The last two are nobody's to take: one on USB, and one with data.
fn disks() -> [Disk; 6] {
    let disk = |bus, serial: &str| Disk::new(96 * MIB).bus(bus).serial(serial);
    [
        disk(Bus::Virtio, "LINK"),
        disk(Bus::Virtio, "JOURNAL"),
        disk(Bus::Scsi, "OTHER").wwn(WWN),
        disk(Bus::Nvme, "NV-77"),
        disk(Bus::Usb, "USB1"),
        disk(Bus::Virtio, "THEIRS"),
    ]
}

fn config() -> String {
    let class = |(name, by): (&str, &str)| {
        format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: {name}}}\nspec:\n  mode: Enforce\n  \
             select: {{{by}, size: {{min: 64Mi}}}}\n  limits: {{settle: 1s}}\n  safety: {{requireZeroed: HeadAndTail}}\n  \
             volumeGroup: {{name: {name}}}\n"
        )
    };
    CLASSES.map(class).join("---\n")
}

/// Each is found by its link, its WWN or its serial number; none on USB is taken that only has a name; and after a boot
/// with all disks in the reverse order each is who it was, without a command.
pub(super) fn known_by_their_ids(context: &Context) -> anyhow::Result<()> {
    let spec = |name| {
        context
            .spec(Backend::Qemu, name)
            .limit(Duration::from_mins(25))
    };
    let first = Guest::boot(disks().into_iter().fold(spec("first"), Spec::disk))?;
    let images: Vec<PathBuf> = first.disks().iter().map(|d| d.image().to_owned()).collect();
    first.shell(
        "udevadm settle; mkfs.ext4 -q -L journal /dev/disk/by-id/virtio-JOURNAL
         dd if=/dev/urandom of=/dev/disk/by-id/virtio-THEIRS bs=1M count=96 conv=fsync status=none",
    )?;
    let theirs = [fs::read(&images[4])?, fs::read(&images[5])?];
    let watcher = start(context, &first)?;
    let names = settled(&first, &watcher)?;
    let members = first.shell("lvm pvs --noheadings -o vg_name,pv_uuid | sort")?;
    drop(watcher);
    first.shell("sync")?;
    first.cut_power()?;
    let unchanged = |images: [&PathBuf; 2]| -> anyhow::Result<()> {
        for (image, before) in images.into_iter().zip(&theirs) {
            ensure!(fs::read(image)? == *before, "{} changed", image.display());
        }
        Ok(())
    };
    unchanged([&images[4], &images[5]])?;

    // Another machine as far as order goes, with the same disks.
    let copies = disks().into_iter().zip(&images).rev();
    let copies = copies.map(|(disk, image)| disk.from_image(image));
    let second = Guest::boot(copies.fold(spec("second"), Spec::disk))?;
    drop(first);
    let images: Vec<PathBuf> = second
        .disks()
        .iter()
        .map(|d| d.image().to_owned())
        .collect();
    let watcher = start(context, &second)?;
    let later = settled(&second, &watcher)?;
    let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
    ensure!(
        !log.contains("running command="),
        "it changed something: {log}"
    );
    ensure!(
        second.shell("lvm pvs --noheadings -o vg_name,pv_uuid | sort")? == members,
        "the groups have other members"
    );
    ensure!(names != later, "no disk has another name: {names:?}");
    drop(watcher);
    second.cut_power()?;
    unchanged([&images[1], &images[0]])?;
    context.result(format!(
        "taken by link, WWN and serial number: {names:?}; with the disks in reverse order: {later:?}; the one on USB and the \
         one with data have not a byte changed"
    ));
    Ok(())
}

fn start(context: &Context, guest: &Guest) -> anyhow::Result<Process> {
    guest.shell("udevadm settle; mkdir -p /run/j; mount LABEL=journal /run/j")?;
    onboarding::start_with(context, guest, &config())
}

/// Waits until three disks are Ready and the one on USB is refused; gives the kernel's names of the three, by class.
fn settled(guest: &Guest, watcher: &Process) -> anyhow::Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let text = guest.shell("cat /run/status/status.json 2>/dev/null || echo null")?;
        let status: Value = serde_json::from_str(&text).context("status.json")?;
        let all = status["disks"].as_array().cloned().unwrap_or_default();
        let of = |class: &str| all.iter().find(|disk| disk["class"] == class);
        let ready: Vec<String> = CLASSES[..3]
            .iter()
            .filter_map(|(class, _)| of(class).filter(|disk| disk["state"] == "Ready"))
            .filter_map(|disk| Some(disk["name"].as_str()?.to_owned()))
            .collect();
        let usb = of("usb").and_then(|disk| disk["reasons"].as_array());
        let refused = usb.is_some_and(|reasons| {
            let mut codes = reasons.iter().map(|reason| &reason["code"]);
            codes.any(|code| code == "TransportNotAllowed")
        });
        if ready.len() == 3 && refused {
            return Ok(ready);
        }
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
            bail!("{ready:?} are Ready, USB refused: {refused}\n{text}\n{log}");
        }
        guest.shell("sleep 1")?;
    }
}
