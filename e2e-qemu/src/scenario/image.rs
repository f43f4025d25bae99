//! The node image does its work in a guest, from its own root and nothing else.

use anyhow::{Context as _, ensure};
use extension::{Arch, Cache, Recipe, image, layer};

use super::Context;
use crate::guest::Guest;
use crate::spec::{Backend, Disk};

/// Every program of the image starts; LVM and the file systems' tools work in it; there is no shell; and two
/// builds are the same bytes.
pub(super) fn works(context: &Context) -> anyhow::Result<()> {
    let tree = Cache::of_workspace(&context.workspace).tree(&Recipe::node())?;
    let programs = context.workspace.join("target/debug");
    let pack = || -> anyhow::Result<_> {
        let root = image::rootfs(&tree, &programs)?;
        Ok(image::layout(&root, Arch::Amd64, "basalt:test", "0.0.0")?)
    };
    let layout = pack()?;
    ensure!(layout == pack()?, "two builds differ");
    println!("image with unstripped programs: {} bytes", layout.size());

    let dir = context.artifacts();
    std::fs::create_dir_all(&dir)?;
    let mut tar = std::fs::File::create(dir.join("rootfs.tar"))?;
    layer::write_tar(&image::rootfs(&tree, &programs)?, image::EPOCH, &mut tar)?;
    let spec = context
        .spec(Backend::Uml, "image")
        .memory_mib(1024)
        .share_read_only(&dir)
        .disk(Disk::new(512 << 20))
        .disk(Disk::new(512 << 20));
    let guest = Guest::boot(spec)?;
    let disks: Vec<String> = guest.disks().iter().map(crate::Attached::path).collect();
    let said = guest
        .shell(
            SCRIPT
                .replace("DISKS", &disks.join(" "))
                .replace("TAR", &format!("{}/rootfs.tar", dir.display())),
        )
        .context("the image failed in the guest")?;
    print!("{said}");
    ensure!(said.contains("all programs start"), "{said}");
    Ok(guest.shutdown()?)
}

/// Runs with the guest's shell outside, and only the image's programs inside the chroot.
const SCRIPT: &str = r#"
set -eu
mkdir -p /run/image && mount -t tmpfs -o size=700m none /run/image
tar -xf TAR -C /run/image
for dir in dev proc sys run; do mkdir -p /run/image/$dir; mount --rbind /$dir /run/image/$dir; done
inside() { PATH=/usr/sbin:/usr/bin:/ chroot /run/image "$@"; }
for shell in sh bash dash busybox; do
  ! find /run/image/usr /run/image/hypertopolvm -name "$shell" | grep . || { echo "there is a $shell"; exit 1; }
done
# Status 127 is "not found or not loadable"; anything else comes from the program itself.
for path in /run/image/usr/sbin/* /run/image/usr/bin/* /run/image/lvmd /run/image/topolvm-scheduler; do
  name=${path#/run/image}
  status=0; inside "$name" --version </dev/null >/run/out 2>&1 || status=$?
  [ $status -ne 127 ] && [ $status -ne 126 ] && ! grep -q 'error while loading' /run/out ||
    { echo "$name: status $status"; cat /run/out; exit 1; }
done
echo "all programs start"
export LVM_SYSTEM_DIR=/run/lvm-test; mkdir -p /run/lvm-test
echo "activation { monitoring = 0 }" >/run/lvm-test/lvm.conf
inside vgcreate vg DISKS
inside lvcreate -q --type thin-pool -L 400M -n pool vg
for fs in ext4 xfs btrfs; do
  inside lvcreate -q -V 320M -T vg/pool -n $fs
  inside mkfs.$fs -q /dev/vg/$fs
  mkdir -p /run/image/run/m; mount /dev/vg/$fs /run/image/run/m; echo data >/run/image/run/m/file
  inside lvextend -L 400M vg/$fs
  case $fs in ext4) inside resize2fs /dev/vg/$fs;; xfs) inside xfs_growfs /run/m;; btrfs) inside btrfs filesystem resize max /run/m;; esac >&2
  [ "$(cat /run/image/run/m/file)" = data ]
  [ "$(df --output=size -m /run/image/run/m | tail -1)" -gt 330 ] || { df -m /run/image/run/m; exit 1; }
  umount /run/image/run/m
done
inside e2fsck -fn /dev/vg/ext4 >/dev/null 2>&1
inside xfs_repair -n /dev/vg/xfs >/dev/null 2>&1
inside btrfs check /dev/vg/btrfs >/dev/null 2>&1
inside vgchange -an vg
inside thin_check --version
echo "three file systems made, grown and checked"
"#;
