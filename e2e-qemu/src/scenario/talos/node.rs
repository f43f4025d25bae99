//! A guest that becomes a node of Talos: from process 1 on, everything in it has a root like Talos'.
//!
//! As Talos' first process lays it: squashfs images on loop devices, the extension's over the node's, in one overlay
//! that nothing can write to, /etc included; /run, /system and /tmp of memory, /var from a disk (EPHEMERAL). In it are
//! udevd with the rules that Talos keeps of LVM's (69-lvm.rules is not one of them), LVM's two programs and runc. There
//! is no shell, and of the thin tools none. What looks into it from aside is a folder that Talos does not have.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension::closure::Closure;
use extension::rootfs::{Node as Entry, Rootfs, Source};
use extension::talos::build;
use extension::{Cache, Recipe, squashfs};

use crate::command::Command;
use crate::guest::Guest;
use crate::scenario::Context;
use crate::spec::{Backend, Disk};

/// What looks into the node from aside: the guest's own root.
const ASIDE: &str = "/system/guest";
/// A static program there: the way in.
const BUSYBOX: &str = "/system/guest/usr/bin/busybox";
/// The node's root, seen from aside.
pub(super) const ROOT: &str = "/proc/1/root";
const UDEVD: &str = "usr/lib/systemd/systemd-udevd";

const PROGRAMS: &[&str] = &[
    "usr/sbin/lvm",
    "usr/sbin/dmsetup",
    "usr/sbin/runc",
    "usr/bin/udevadm",
    UDEVD,
];

const RULES: &[&str] = &[
    "50-udev-default",
    "55-dm",
    "56-lvm",
    "60-block",
    "60-persistent-storage",
    "60-persistent-storage-dm",
    "95-dm-notify",
];

/// What Talos' own lvm.conf says, whole (siderolabs/pkgs, lvm2).
const LVM_CONF: &str = "backup {\n\tbackup = 0\n\tarchive = 0\n}\n";

/// Something is mounted on these.
const DIRS: &[&str] = &["dev", "proc", "run", "sys", "system", "tmp", "var"];

/// Runs in the guest's root; $1 is the folder with the images.
const ENTER: &str = r#"
mkdir -p /run/layers/node /run/layers/extension /run/root
for layer in node extension; do mount -t squashfs -o loop,ro "$1/$layer.sqsh" /run/layers/$layer; done
mount -t overlay -o ro,lowerdir=/run/layers/extension:/run/layers/node overlay /run/root
cd /run/root
mount --bind /proc proc
mount --bind /run run
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs system
mount "$(blkid -L EPHEMERAL)" var
mkdir -p system/guest system/overlays
pivot_root . system/guest
"#;

/// The node.
pub(super) struct Node {
    pub(super) guest: Guest,
    images: PathBuf,
    /// How many files it was given.
    files: Cell<u32>,
}

impl Node {
    /// Makes the images, boots a guest, and has it become the node.
    pub(super) fn boot(context: &Context, backend: Backend) -> anyhow::Result<Self> {
        let images = context.empty_artifacts()?;
        pack(context, &images)?;
        let spec = context
            .spec(backend, "talos")
            .memory_mib(1024)
            .limit(Duration::from_mins(25))
            .share_read_only(&images)
            .module("loop")
            .module("overlay")
            .module("squashfs")
            .without_udev();
        let guest = Guest::boot(spec)?;
        let disk = guest.plug(Disk::new(64 << 20))?;
        guest.shell(format!("mkfs.ext4 -q -L EPHEMERAL {}", disk.path()))?;
        Self {
            guest,
            images,
            files: Cell::new(0),
        }
        .entered()
    }

    /// The same after a reboot.
    pub(super) fn reboot(self) -> anyhow::Result<Self> {
        let guest = self.guest.reboot()?;
        Self { guest, ..self }.entered()
    }

    fn entered(self) -> anyhow::Result<Self> {
        let enter = Command::shell(ENTER)
            .arg("enter")
            .arg(self.images.display().to_string());
        self.guest.check(enter).context("the root of the node")?;
        self.guest
            .check(Command::new(format!("/{UDEVD}")).arg("--daemon"))?;
        let announced = ["trigger", "--action=add", "--subsystem-match=block"];
        for args in [&announced[..], &["settle"]] {
            self.guest
                .check(Command::new("udevadm").args(args.iter().copied()))?;
        }
        Ok(self)
    }

    /// Runs a script aside, with all tools; /run, /dev, /proc and /sys are the node's.
    pub(super) fn aside(&self, script: &str) -> anyhow::Result<String> {
        Ok(self.guest.check(aside(script))?)
    }

    /// Makes a file that is seen aside; its path. Each has a new name: what a virtual machine has seen it keeps.
    pub(super) fn shared(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.images.join(format!("{}-{name}", self.files.get()));
        self.files.set(self.files.get() + 1);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Runs the node's own lvm.
    pub(super) fn lvm(&self, args: &[&str]) -> anyhow::Result<String> {
        Ok(self
            .guest
            .check(Command::new("lvm").args(args.iter().copied()))?)
    }

    /// It is what Talos is to programs on it.
    pub(super) fn is_bare(&self) -> anyhow::Result<()> {
        let programs = self.aside(&format!("cd {ROOT}; find bin/ sbin/ usr/bin usr/sbin"))?;
        let names = |name: &str| programs.lines().any(|p| p.ends_with(&format!("/{name}")));
        ensure!(names("lvm") && names("udevadm"), "{programs}");
        for name in ["sh", "bash", "dash", "busybox", "thin_check", "thin_repair"] {
            ensure!(!names(name), "the node has {name}: {programs}");
        }
        for file in ["etc/lvm/lvm.conf", "etc/new", "usr/bin/new"] {
            let said = self.aside(&format!("! touch {ROOT}/{file} 2>&1"))?;
            ensure!(said.contains("Read-only"), "touch {file}: {said:?}");
        }
        Ok(())
    }

    /// Activates groups as machined does once in each boot (`LVMActivationController`).
    pub(super) fn machined_activates(&self) -> anyhow::Result<()> {
        let volumes = self.lvm(&["pvs", "--noheadings", "-o", "pv_name"])?;
        for device in volumes.split_whitespace() {
            let scan = "pvscan --cache --listvg --checkcomplete --vgonline --autoactivation event --udevoutput";
            let args: Vec<&str> = scan.split(' ').chain([device]).collect();
            let said = self.lvm(&args)?;
            let complete = said
                .lines()
                .find_map(|line| line.strip_prefix("LVM_VG_NAME_COMPLETE='"));
            if let Some(group) = complete {
                let group = group.trim_end_matches('\'');
                self.lvm(&["vgchange", "-aay", "--autoactivation", "event", group])?;
            }
        }
        Ok(())
    }
}

fn aside(script: &str) -> Command {
    Command::new(BUSYBOX).args(["chroot", ASIDE, "/usr/bin/sh", "-euc", script])
}

/// The extension, as `make extension` has it, of this build's programs.
pub(super) fn extension(context: &Context) -> anyhow::Result<Rootfs> {
    let tree = Cache::of_workspace(&context.workspace).tree(&Recipe::node())?;
    let programs = context.workspace.join("target/debug");
    Ok(build::lvm_disk_watcher(&tree, &programs)?)
}

/// Makes the node's image and the extension's.
fn pack(context: &Context, dir: &Path) -> anyhow::Result<()> {
    let tree = Cache::of_workspace(&context.workspace).tree(&Recipe::guest())?;
    // As Talos' imager does, but for the level, which is 18 there.
    let image = |name: &str| dir.join(format!("{name}.sqsh"));
    squashfs::write(&root(&tree)?, &image("node"), 1, None)?;
    let extension = extension(context)?.below(Path::new("rootfs"));
    squashfs::write(&extension, &image("extension"), 1, None)
}

/// The node's root without an extension.
fn root(tree: &Path) -> anyhow::Result<Rootfs> {
    let mut root = Rootfs::default();
    for dir in DIRS {
        root.put(Path::new(dir), Entry::Dir { mode: 0o755 })?;
    }
    let from = Source::Bytes(LVM_CONF.into());
    let conf = Entry::File { mode: 0o644, from };
    root.put(Path::new("etc/lvm/lvm.conf"), conf)?;
    for name in ["bin", "lib", "sbin"] {
        let target = Path::new("usr").join(name);
        root.put(Path::new(name), Entry::Link { target })?;
    }
    let mut closure = Closure::new(tree, &mut root);
    for program in PROGRAMS {
        closure.program(program)?;
    }
    for file in ["etc/group", "etc/passwd"] {
        closure.file(file)?;
    }
    for rules in RULES {
        closure.file(&format!("usr/lib/udev/rules.d/{rules}.rules"))?;
    }
    Ok(root)
}
