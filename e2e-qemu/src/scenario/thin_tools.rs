//! The thin tools of the extension lvm-thin-tools, from its tree alone, on a real pool.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use extension::rootfs::Rootfs;
use extension::talos::build;
use extension::thin_tools::{NAMES, ThinTools};
use extension::{Arch, Cache, image, layer, squashfs, sysext};

use super::Context;
use crate::guest::Guest;
use crate::spec::{Backend, Disk};

/// They start without a library, a loader or a shell; check, copy and repair a pool's metadata; and the lvm of the system
/// calls them with the folder that the tree has for it.
pub(super) fn serve_lvm(context: &Context) -> anyhow::Result<()> {
    let tools = ThinTools::get(&Cache::of_workspace(&context.workspace), Arch::Amd64)?;
    let dir = context.empty_artifacts()?;
    let tree = packed(&build::lvm_thin_tools(&tools)?, &dir)?;
    let spec = context
        .spec(Backend::Uml, "thin-tools")
        .share_read_only(&dir)
        .module("overlay")
        .disk(Disk::new(256 << 20));
    let guest = Guest::boot(spec)?;
    let disk = guest.disks()[0].path();
    let script = [DAMAGE, SCRIPT]
        .concat()
        .replace("DISK", &disk)
        .replace("TREE", &tree.display().to_string())
        .replace("NAMES", &NAMES.join(" "));
    let said = guest.shell(script)?;
    for line in RESULTS {
        ensure!(said.lines().any(|one| one == *line), "not: {line}\n{said}");
        context.result(*line);
    }
    Ok(guest.shutdown()?)
}

/// systemd-sysext merges the image into /usr, under its own name alone; lvm calls what is in it then; and it goes again.
pub(super) fn are_merged(context: &Context) -> anyhow::Result<()> {
    let tools = ThinTools::get(&Cache::of_workspace(&context.workspace), Arch::Amd64)?;
    let dir = context.empty_artifacts()?;
    let root = sysext::lvm_thin_tools(&tools)?;
    let [image, again] = ["image", "again"].map(|name| dir.join(name));
    for out in [&image, &again] {
        squashfs::write(&root, out, sysext::LEVEL, Some(sysext::label))?;
    }
    ensure!(
        std::fs::read(&image)? == std::fs::read(&again)?,
        "two builds differ"
    );
    let spec = context
        .spec(Backend::Uml, "sysext")
        .share_read_only(&dir)
        .module("loop")
        .module("overlay")
        .module("squashfs")
        .disk(Disk::new(256 << 20));
    let guest = Guest::boot(spec)?;
    let local = butane_file("/etc/lvm/lvmlocal.conf")?;
    std::fs::write(dir.join("lvmlocal.conf"), local)?;
    let script = [DAMAGE, MERGE]
        .concat()
        .replace("DISK", &guest.disks()[0].path())
        .replace("SHARED", &dir.display().to_string());
    let said = guest.shell(script)?;
    for line in MERGED {
        ensure!(said.lines().any(|one| one == *line), "not: {line}\n{said}");
        context.result(*line);
    }
    Ok(guest.shutdown()?)
}

/// What the Butane snippet writes there.
fn butane_file(path: &str) -> anyhow::Result<String> {
    let text = include_str!("../../../extension/sysext/lvm-thin-tools.bu");
    let butane: serde_json::Value = serde_saphyr::from_str(text)?;
    let files = butane["storage"]["files"].as_array();
    let file = files.and_then(|files| files.iter().find(|file| file["path"] == path));
    let inline = file.and_then(|file| file["contents"]["inline"].as_str());
    Ok(inline.context("not in the snippet")?.to_owned())
}

const MERGED: &[&str] = &[
    "systemd-sysext refuses the image under another name, and for another processor",
    "systemd-sysext merges the image, and nothing of /usr is gone",
    "lvm calls the merged tools by lvmlocal.conf: a damaged pool is refused, then repaired",
    "unmerged, /usr is as it was",
];

const MERGE: &str = r#"
set -eu
fails() { if "$@" >/run/out 2>&1; then echo "went well: $*"; exit 1; fi; }
# As under systemd: what its tool mounts in a child is seen outside of it.
mount --make-rshared /
: >/run/none; mount --bind /run/none /usr/sbin/pdata_tools
fails thin_check --version
mkdir -p /var/lib/extensions
list() { find /usr ! -path '/usr/lib/lvm-thin-tools*' ! -path '/usr/lib/extension-release.d*' ! -path '/usr/.systemd-sysext*' | sort | md5sum; }
before=$(list)
image=/var/lib/extensions/lvm-thin-tools.raw
cp SHARED/image /var/lib/extensions/other.raw
fails systemd-sysext merge
rm /var/lib/extensions/other.raw
mkdir -p /var/lib/extensions/lvm-thin-tools/usr/lib/extension-release.d
printf 'ID=_any\nARCHITECTURE=arm64\n' >/var/lib/extensions/lvm-thin-tools/usr/lib/extension-release.d/extension-release.lvm-thin-tools
systemd-sysext merge >/run/out 2>&1 || true
[ ! -e /usr/lib/extension-release.d/extension-release.lvm-thin-tools ]
rm -r /var/lib/extensions/lvm-thin-tools
echo "systemd-sysext refuses the image under another name, and for another processor"

cp SHARED/image $image
systemd-sysext merge >/run/out 2>&1 || { cat /run/out; exit 1; }
systemd-sysext status | grep -q '^/usr *lvm-thin-tools '
[ "$(list)" = "$before" ]
/usr/lib/lvm-thin-tools/bin/thin_check --version >/dev/null
echo "systemd-sysext merges the image, and nothing of /usr is gone"

mkdir -p /etc/lvm; cp SHARED/lvmlocal.conf /etc/lvm/lvmlocal.conf
lvm vgcreate -q vg DISK
lvm lvcreate -q --type thin-pool -L 96M --poolmetadatasize 8M -n pool vg
lvm lvcreate -q -V 64M -T vg/pool -n data
yes basalt | head -c 20M | dd of=/dev/vg/data bs=1M iflag=fullblock conv=fsync status=none
sum=$(head -c 20M /dev/vg/data | md5sum)
lvm vgchange -q -an vg
damage
fails lvm lvchange -q -ay vg/pool
grep -q 'Check of pool vg/pool failed' /run/out || { cat /run/out; exit 1; }
lvm lvconvert -q -y --repair vg/pool
lvm vgchange -q -ay vg
[ "$(head -c 20M /dev/vg/data | md5sum)" = "$sum" ]
lvm vgchange -q -an vg
echo "lvm calls the merged tools by lvmlocal.conf: a damaged pool is refused, then repaired"

systemd-sysext unmerge >/dev/null 2>&1
[ ! -e /usr/lib/lvm-thin-tools ]
[ "$(list)" = "$before" ]
echo "unmerged, /usr is as it was"
"#;

/// Overwrites a block of the metadata of the inactive pool vg/pool: the superblock has the block of the data space map's
/// root at its byte 80.
const DAMAGE: &str = r#"
damage() {
  at=$(lvm lvs -a --noheadings --units b --nosuffix -o devices vg/pool_tmeta | tr -dc '0-9a-z/(' | cut -d'(' -f2)
  start=$(($(lvm pvs --noheadings --units b --nosuffix -o pe_start DISK) + at * 4194304))
  root=$(od -An -t u8 -j $((start + 80)) -N 8 DISK | tr -d ' ')
  dd if=/dev/urandom of=DISK bs=4k seek=$((start / 4096 + root)) count=1 conv=notrunc,fsync status=none
}
"#;

fn packed(root: &Rootfs, dir: &Path) -> anyhow::Result<PathBuf> {
    let path = dir.join("tree.tar");
    layer::write_tar(root, image::EPOCH, &mut std::fs::File::create(&path)?)?;
    Ok(path)
}

/// What the script says when it got that far.
const RESULTS: &[&str] = &[
    "each name starts in a root that has nothing else",
    "a pool's metadata: checked, dumped, restored, repaired, the same mappings",
    "lvm calls them: a sound pool is activated, a damaged one is not",
    "lvconvert --repair mends the damaged one, and the volume is as it was written",
];

/// Every program of the guest's own that has to do with thin pools is hidden first.
const SCRIPT: &str = r#"
set -eu
mkdir -p /run/tree /run/alone/usr /run/alone/dev /run/alone/tmp
tar -xf TREE -C /run/tree
mount --bind /run/tree/rootfs/usr /run/alone/usr
mount --rbind /dev /run/alone/dev
alone() { name=$1; shift; chroot /run/alone /usr/local/sbin/$name "$@"; }
: >/run/none; mount --bind /run/none /usr/sbin/pdata_tools
fails() { if "$@" >/run/out 2>&1; then echo "went well: $*"; exit 1; fi; }
fails thin_check --version
[ "$(find /run/alone/usr -type f ! -path '/run/alone/usr/local/*' | wc -l)" = 0 ]

for name in NAMES; do alone $name --version | grep -q . || { echo "$name does not start"; exit 1; }; done
echo "each name starts in a root that has nothing else"

# As an extension's tree is laid over a system's.
mount -t overlay -o ro,lowerdir=/run/tree/rootfs/usr:/usr overlay /usr
export LVM_SYSTEM_DIR=/usr/local/etc/lvm-thin-tools
lvm vgcreate -q vg DISK
lvm lvcreate -q --type thin-pool -L 96M --poolmetadatasize 8M -n pool vg
lvm lvcreate -q -V 64M -T vg/pool -n data
yes basalt | head -c 20M | dd of=/dev/vg/data bs=1M iflag=fullblock conv=fsync status=none
lvm lvcreate -q -s -n snap vg/data
sum=$(head -c 20M /dev/vg/data | md5sum)
lvm vgchange -q -an vg
# A component of an inactive pool can be activated for reading.
lvm lvchange -q -y -ay vg/pool_tmeta
alone thin_check /dev/vg/pool_tmeta >/dev/null
alone thin_dump /dev/vg/pool_tmeta >/run/alone/tmp/one.xml
grep -q '<device dev_id="2"' /run/alone/tmp/one.xml
for made in restored repaired; do truncate -s 8M /run/alone/tmp/$made; done
alone thin_restore -i /tmp/one.xml -o /tmp/restored >/dev/null
alone thin_repair -i /dev/vg/pool_tmeta -o /tmp/repaired >/dev/null
for made in restored repaired; do
  alone thin_check /tmp/$made >/dev/null
  # Parts that volumes share are named by the block that they are in.
  alone thin_dump /tmp/$made | sed 's/name="[0-9]*"/name/' >/run/again
  sed 's/name="[0-9]*"/name/' /run/alone/tmp/one.xml | cmp - /run/again
done
dd if=/dev/urandom of=/run/alone/tmp/restored bs=4k count=1 conv=notrunc status=none
fails alone thin_check /tmp/restored
echo "a pool's metadata: checked, dumped, restored, repaired, the same mappings"

lvm lvchange -q -an vg/pool_tmeta
lvm lvchange -q -ay vg/pool
lvm vgchange -q -an vg
damage
fails lvm lvchange -q -ay vg/pool
grep -q 'Check of pool vg/pool failed' /run/out || { cat /run/out; exit 1; }
fails dmsetup info vg-pool-tpool
echo "lvm calls them: a sound pool is activated, a damaged one is not"

lvm lvconvert -q -y --repair vg/pool
lvm vgchange -q -ay vg
[ "$(head -c 20M /dev/vg/data | md5sum)" = "$sum" ]
echo "lvconvert --repair mends the damaged one, and the volume is as it was written"
lvm vgchange -q -an vg
"#;
