//! The extension's service at work on a node like one of Talos.

mod node;
mod service;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension::talos::service::Service;
use extension::{image, layer};

use self::node::Node;
use self::service::{Running, described, start};
use super::Context;
use crate::spec::{Backend, Bus, Disk};

/// The disk of a user-mode kernel has nothing to be known by.
const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  select: {transport: [TRANSPORT], size: {min: 128Mi}}
  limits: {settle: 1s}
  safety: {allowUniqueIdMissing: UNKNOWN, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast, activation: Watcher}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";
const DISK: u64 = 256 << 20;
/// What the volume begins with.
const WRITTEN: &str = "yes basalt | head -c 4M";
/// The device-mapper name of the pool.
const POOL: &str = "fast-pool0-tpool";

/// A disk that is plugged in becomes a pool; after a reboot that machined's activation and one that was killed left it
/// inactive, it is activated, and the volume in it is as it was written.
pub(super) fn takes_a_disk(context: &Context) -> anyhow::Result<()> {
    ensure!(packed(context)? == packed(context)?, "two builds differ");
    let stage = Stage::boot(context, Backend::Uml)?;
    stage.onboarded()?;
    let stage = stage.rebooted()?;
    stage.repaired()?;
    stage.ended()
}

/// The extension's thin_check finds damage that the node has no program for: the pool stays inactive until it is mended.
pub(super) fn checks_a_pool(context: &Context) -> anyhow::Result<()> {
    let stage = Stage::boot(context, Backend::Uml)?;
    stage.onboarded()?;
    let stage = stage.rebooted()?;
    stage.checked()?;
    stage.ended()
}

/// A pool that fills grows by itself.
pub(super) fn extends_a_pool(context: &Context) -> anyhow::Result<()> {
    let stage = Stage::boot(context, Backend::Uml)?;
    stage.onboarded()?;
    stage.extended()?;
    stage.ended()
}

/// With a lock directory or processes that are not the node's it changes nothing.
pub(super) fn refuses(context: &Context) -> anyhow::Result<()> {
    let stage = Stage::boot(context, Backend::Uml)?;
    stage.refused()?;
    stage.ended()
}

/// All of it in one life of a virtual machine.
pub(super) fn whole_life(context: &Context) -> anyhow::Result<()> {
    let stage = Stage::boot(context, Backend::Qemu)?;
    stage.refused()?;
    stage.onboarded()?;
    let stage = stage.rebooted()?;
    stage.repaired()?;
    let stage = stage.rebooted()?;
    stage.checked()?;
    stage.extended()?;
    stage.ended()
}

fn packed(context: &Context) -> anyhow::Result<Vec<u8>> {
    let mut tar = Vec::new();
    layer::write_tar(&node::extension(context)?, image::EPOCH, &mut tar)?;
    Ok(tar)
}

/// A node and the service that it has.
struct Stage<'c> {
    context: &'c Context,
    node: Node,
    service: Service,
    class: String,
    patience: Duration,
}

impl<'c> Stage<'c> {
    fn boot(context: &'c Context, backend: Backend) -> anyhow::Result<Self> {
        let node = Node::boot(context, backend)?;
        node.is_bare()?;
        let (transport, unknown, patience) = match backend {
            Backend::Uml => ("ubd", "true", Duration::from_mins(2)),
            Backend::Qemu => ("nvme", "false", Duration::from_mins(10)),
        };
        Ok(Self {
            context,
            service: described(&node)?,
            node,
            class: CLASS
                .replace("TRANSPORT", transport)
                .replace("UNKNOWN", unknown),
            patience,
        })
    }

    /// The service runs.
    fn started(&self) -> anyhow::Result<Running<'_>> {
        start(&self.node, &self.service, &self.class, self.patience)
    }

    fn plugged(&self) -> anyhow::Result<String> {
        let disk = self.node.guest.plug(Disk::new(DISK).bus(Bus::Nvme))?;
        Ok(disk.path())
    }

    fn rebooted(self) -> anyhow::Result<Self> {
        let node = self.node.reboot()?;
        Ok(Self { node, ..self })
    }

    fn ended(self) -> anyhow::Result<()> {
        Ok(self.node.guest.shutdown()?)
    }

    /// Each of these is left out or replaced, and nothing is changed.
    fn refused(&self) -> anyhow::Result<()> {
        let disk = self.plugged()?;
        let sum = format!("sha256sum <{disk}");
        let blank = self.node.aside(&sum)?;
        for (place, instead) in [
            ("/run/lock/lvm", None),
            ("/run/lock/lvm", Some("/run/private")),
            ("/proc", None),
        ] {
            let mut service = self.service.clone();
            service.mounts.retain_mut(|mount| {
                let other = mount.destination != place;
                if let (false, Some(instead)) = (other, instead) {
                    mount.source = instead.to_owned();
                }
                other || instead.is_some()
            });
            ensure!(service != self.service, "nothing is mounted at {place}");
            let what = format!("{} in place of {place}", instead.unwrap_or("its own"));
            let running = start(&self.node, &service, &self.class, self.patience)?;
            running
                .until_status("\"HostNotReady\"")
                .with_context(|| what.clone())?;
            running.stop()?;
            ensure!(self.node.aside(&sum)? == blank, "{what}: the disk changed");
            let result = format!("{what}: HostNotReady, the disk's sha256 unchanged");
            self.context.result(result);
        }
        let last = self.node.guest.disks().pop().context("no disk")?;
        Ok(self.node.guest.pull(&last)?)
    }

    /// A disk comes while the service runs; then there is a volume with data in its pool.
    fn onboarded(&self) -> anyhow::Result<()> {
        let running = self.started()?;
        running.until("it runs", || {
            Ok(self.node.aside("ls /run/disk-watcher")?.contains("status"))
        })?;
        self.plugged()?;
        running.until_status("\"Ready\"")?;
        let create = "lvcreate -y -V 192M -T fast/pool0 -n data";
        self.node.lvm(&create.split(' ').collect::<Vec<_>>())?;
        self.node.aside(&format!(
            "{WRITTEN} | dd of=/dev/fast/data bs=1M iflag=fullblock conv=fsync status=none"
        ))?;
        running.stop()?;
        let result = "a disk that was plugged in became a pool";
        self.context.result(result);
        Ok(())
    }

    /// machined leaves the pool inactive, an activation that was killed has left a part of it: both are seen to.
    fn repaired(&self) -> anyhow::Result<()> {
        self.node.machined_activates()?;
        self.is_inactive()?;
        self.node.aside(
            r#"
            group=$(lvm vgs --noheadings -o vg_uuid fast)
            part=$(lvm lvs -a --noheadings -o lv_uuid fast/pool0_tmeta)
            uuid=LVM-$(echo $group$part | tr -d ' -')-tmeta
            dmsetup create fast-pool0_tmeta --uuid $uuid --table '0 8192 error'
            "#,
        )?;
        let running = self.started()?;
        self.activated(&running)?;
        let log = running.log();
        ensure!(log.contains("its parts are removed"), "{log}");
        running.stop()?;
        let result =
            "after a reboot the pool, half active, was activated and the volume as it was written";
        self.context.result(result);
        Ok(())
    }

    /// Metadata that is damaged is found, and no pool activated on it; mended, the pool is.
    fn checked(&self) -> anyhow::Result<()> {
        self.node.machined_activates()?;
        let block = |dd: &str| {
            self.node.aside(&format!(
                r#"
                set -- $(lvm lvs -a --noheadings --units b --nosuffix -o devices,vg_extent_size fast/pool0_tmeta | tr '()' '  ')
                device=$1 extent=$2 size=$3
                at=$(($(lvm pvs --noheadings --units b --nosuffix -o pe_start $device) + extent * size))
                dd bs=4096 count=1 conv=fsync,notrunc status=none {dd}
                "#
            ))
        };
        block("if=$device of=/run/block iflag=skip_bytes skip=$at")?;
        block("if=/dev/urandom of=$device oflag=seek_bytes seek=$at")?;
        let running = self.started()?;
        running.until_status("\"ThinCheckFailed\"")?;
        running.stop()?;
        self.is_inactive()?;
        block("if=/run/block of=$device oflag=seek_bytes seek=$at")?;
        let running = self.started()?;
        self.activated(&running)?;
        running.stop()?;
        let result = "a pool with damaged metadata: ThinCheckFailed, inactive; mended: active";
        self.context.result(result);
        Ok(())
    }

    /// The pool is filled over its threshold, and has room again.
    fn extended(&self) -> anyhow::Result<()> {
        let running = self.started()?;
        self.activated(&running)?;
        let before = self.sectors()?;
        self.node.aside(
            "dd if=/dev/zero of=/dev/fast/data bs=1M seek=16 count=120 conv=fsync,notrunc status=none",
        )?;
        running.until("the pool grew", || Ok(self.sectors()? > before))?;
        self.is_as_written()?;
        running.stop()?;
        let mib = |sectors| sectors / 2048;
        let (before, after) = (mib(before), mib(self.sectors()?));
        let result = format!("a pool of {before} MiB that filled grew to {after} MiB");
        self.context.result(result);
        Ok(())
    }

    fn activated(&self, running: &Running) -> anyhow::Result<()> {
        running.until("the pool and its volume are active", || {
            let said = self
                .node
                .aside("dmsetup info -c --noheadings -o name; ls /dev/fast || true")?;
            Ok([POOL, "fast-data", "data"]
                .iter()
                .all(|name| said.lines().any(|line| line == *name)))
        })?;
        self.is_as_written()
    }

    fn is_as_written(&self) -> anyhow::Result<()> {
        let same = format!("{WRITTEN} | cmp -n 4M - /dev/fast/data");
        self.node.aside(&same).context("the volume")?;
        Ok(())
    }

    fn is_inactive(&self) -> anyhow::Result<()> {
        let active = self.node.aside("dmsetup info -c --noheadings -o name")?;
        ensure!(!active.contains("fast-"), "{active}");
        Ok(())
    }

    /// The size of the pool as the kernel has it, in sectors of 512 bytes.
    fn sectors(&self) -> anyhow::Result<u64> {
        let table = format!("dmsetup table {POOL} | cut -d ' ' -f 2");
        Ok(self.node.aside(&table)?.parse()?)
    }
}
