//! LVM does in the guest what it does on a node.

use anyhow::ensure;

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::spec::{Backend, Bus, Disk};

/// From two disks to a thin volume with a file system, a snapshot of it, and back.
pub(super) fn works(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let spec = context
        .spec(backend, "lvm")
        .disk(Disk::new(256 << 20).bus(Bus::Virtio))
        .disk(
            Disk::new(256 << 20)
                .bus(Bus::Scsi)
                .wwn(0x5000_0000_0000_0001),
        );
    let guest = Guest::boot(spec)?;
    let disks: Vec<String> = guest.disks().iter().map(crate::Attached::path).collect();
    let lvm = |args: &str| guest.check(Command::new("lvm").args(args.split(' ')));
    lvm(&format!("pvcreate {}", disks.join(" ")))?;
    lvm(&format!("vgcreate vg {}", disks.join(" ")))?;
    lvm("lvcreate --type thin-pool -L 128M -n pool vg")?;
    lvm("lvcreate -V 256M -T vg/pool -n thin")?;
    guest.shell(
        "mkfs.ext4 -q /dev/vg/thin; mkdir /run/m; mount /dev/vg/thin /run/m
         seq 10000 >/run/m/numbers; umount /run/m",
    )?;
    lvm("lvcreate -s vg/thin -n copy -kn")?;
    let sum = guest.shell(
        "mount -o ro /dev/vg/copy /run/m
         sha256sum </run/m/numbers; umount /run/m; seq 10000 | sha256sum",
    )?;
    let mut sums = sum.lines();
    ensure!(
        sums.next() == sums.next(),
        "the snapshot does not have what was written: {sum}"
    );
    lvm("lvcreate --type raid1 -m 1 -L 32M -n mirror vg")?;
    let segments = lvm("lvs --noheadings -o segtype --sort lv_name vg")?;
    let segments: Vec<&str> = segments.split_whitespace().collect();
    ensure!(
        segments == ["thin", "raid1", "thin-pool", "thin"],
        "{segments:?}"
    );
    lvm("vgremove --yes vg")?;
    lvm(&format!("pvremove {}", disks.join(" ")))?;
    Ok(guest.shutdown()?)
}
