//! disk-watcher from an image for systemd-sysext, on a system that systemd boots.
//!
//! systemd is process 1 of a namespace of processes, in a root like that of a system with an immutable /usr: the guest's
//! own, in which what a person writes lies in an overlay. Its kernel, devices and /run are the guest's; udevd is the one
//! that it starts.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use extension::talos::build::LVM_DISK_WATCHER;
use extension::{Arch, Cache, Recipe, squashfs, sysext};

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Disk};

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  discovery: Continuous
  select: {transport: [ubd], size: {min: 128Mi}}
  limits: {settle: 1s}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast, activation: Watcher}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";
const DISK: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_mins(3);

/// The image is merged as the system boots, and its service started; a disk that is plugged in becomes a pool; killed, and
/// with its image merged anew, it goes on; stopped, it ends and stays so.
pub(super) fn serves(context: &Context) -> anyhow::Result<()> {
    let system = System::boot(context)?;
    let result = |what: &str| context.result(what);

    system.until("the service runs", || {
        Ok(!system.main_process()?.is_empty())
    })?;
    let first = system.main_process()?;
    system.verified()?;
    system.confined(&first)?;
    result(
        "booted: the image is merged, its units are sound, the service runs, and changes nothing of the system",
    );

    system.guest.plug(Disk::new(DISK))?;
    system.until("a pool", || {
        let status = system.inside("cat /run/disk-watcher/status.json || true")?;
        Ok(status.contains("\"Ready\"") && system.has("dmsetup ls", "fast-pool0")?)
    })?;
    // The host's own lvm beside it, and what a person asks.
    system.inside(
        "lvm lvcreate -q -y -V 64M -T fast/pool0 -n data
        yes basalt | head -c 4M | dd of=/dev/fast/data bs=1M iflag=fullblock conv=fsync status=none",
    )?;
    let shown = system.inside(&format!("nsenter -t {first} -m disk-watcher status"))?;
    ensure!(shown.contains("fast"), "{shown}");
    result("a disk that was plugged in became a pool");

    system.inside("systemctl kill --kill-whom=main --signal=KILL lvm-disk-watcher.service")?;
    system.until("it is back", || {
        Ok(!["", &first].contains(&system.main_process()?.as_str()))
    })?;
    let second = system.main_process()?;
    system.inside("systemd-sysext unmerge; ! systemctl cat lvm-disk-watcher.service")?;
    system.inside("systemd-sysext merge; systemctl cat lvm-disk-watcher.service")?;
    ensure!(system.main_process()? == second, "the merge restarted it");
    system.guest.plug(Disk::new(DISK))?;
    system.until("the second disk joined", || {
        system.has("lvm vgs --noheadings -o pv_count fast", "2")
    })?;
    result("after SIGKILL it was back, and with the image merged anew under it took a second disk");

    system.inside("systemctl stop lvm-disk-watcher.service")?;
    let ended = system
        .inside("sleep 3; ! pgrep -x disk-watcher >&2; systemctl show lvm-disk-watcher.service")?;
    for line in [
        "ActiveState=inactive",
        "Result=success",
        "ExecMainCode=1",
        "ExecMainStatus=0",
    ] {
        ensure!(ended.lines().any(|one| one == line), "{line}: {ended}");
    }
    system.inside("yes basalt | head -c 4M | cmp -n 4M - /dev/fast/data; ls /run/lock/lvm")?;
    result("stopped, it ended cleanly and was not started again; the volume is as it was written");

    system.inside(
        "rm /etc/disk-watcher/config.yaml; systemctl start lvm-disk-watcher.service
        [ $(systemctl show -P ConditionResult lvm-disk-watcher.service) = no ]",
    )?;
    result("without a configuration it is not started");
    system.ended()
}

/// A guest with systemd in it.
struct System {
    guest: Guest,
    systemd: Process,
}

impl System {
    /// Makes the image, and boots with it until everything that boots is done.
    fn boot(context: &Context) -> anyhow::Result<Self> {
        let dir = context.empty_artifacts()?;
        let tree = Cache::of_workspace(&context.workspace).tree(&Recipe::node())?;
        let programs = context.workspace.join("target/debug");
        let root = sysext::lvm_disk_watcher(&tree, &programs, Arch::Amd64)?;
        let [image, again] =
            [LVM_DISK_WATCHER, "again"].map(|name| dir.join(format!("{name}.raw")));
        for out in [&image, &again] {
            // Less well packed than what ships.
            squashfs::write(&root, out, 1, Some(sysext::label))?;
        }
        ensure!(
            std::fs::read(&image)? == std::fs::read(&again)?,
            "two builds differ"
        );
        std::fs::write(dir.join("class.yaml"), CLASS)?;
        let spec = context
            .spec(Backend::Uml, "sysext")
            .memory_mib(1024)
            .limit(Duration::from_mins(15))
            .share_read_only(&dir)
            .module("loop")
            .module("overlay")
            .module("squashfs")
            .without_udev();
        let guest = Guest::boot(spec)?;
        let script = BOOT.replace("SHARED", &dir.display().to_string());
        let namespaces = ["--pid", "--fork", "--mount", "--kill-child"];
        let boot = Command::new("unshare").args(namespaces);
        let boot = boot.args(["sh", "-euc", &script]);
        let systemd = guest.spawn(boot.timeout(Duration::from_hours(1)))?;
        let system = Self { guest, systemd };
        system.until("it is booted", || {
            let said = system.inside("systemctl is-system-running 2>&1 || true");
            Ok(said.is_ok_and(|said| said == "running"))
        })?;
        Ok(system)
    }

    /// Runs a script beside systemd, in its root as it is then.
    fn inside(&self, script: &str) -> anyhow::Result<String> {
        let enter = format!(
            "exec nsenter --target $(pgrep -P {}) --mount --pid sh -euc \"$1\"",
            self.systemd.pid()
        );
        let enter = Command::shell(enter).arg("enter").arg(script);
        Ok(self.guest.check(enter)?.trim().to_owned())
    }

    /// Whether this is one of the words that it prints.
    fn has(&self, script: &str, word: &str) -> anyhow::Result<bool> {
        let said = self.inside(script)?;
        Ok(said.split_whitespace().any(|one| one == word))
    }

    fn until(&self, what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let started = Instant::now();
        while !holds()? {
            if self.systemd.status().is_some() || started.elapsed() > PATIENCE {
                let said = self.inside("systemctl --failed; journalctl -b | tail -n 60");
                bail!("not: {what}: {said:?}");
            }
            self.guest.shell("sleep 0.5")?;
        }
        Ok(())
    }

    /// The service's process, while it runs.
    fn main_process(&self) -> anyhow::Result<String> {
        let show = "systemctl show -P SubState -P MainPID lvm-disk-watcher.service";
        let said = self.inside(show)?;
        let words: Vec<&str> = said.split_whitespace().collect();
        Ok(match words[..] {
            ["running", pid] | [pid, "running"] => pid.to_owned(),
            _ => String::new(),
        })
    }

    /// systemd-analyze finds nothing in the units, but that it looks for the program in the system's root.
    fn verified(&self) -> anyhow::Result<()> {
        let said = self.inside(
            "systemd-analyze verify --man=no lvm-disk-watcher.service lvm-disk-watcher.target multi-user.target 2>&1 || true",
        )?;
        let known = "Command /usr/bin/disk-watcher is not executable";
        let others = said.lines().filter(|line| !line.contains(known));
        ensure!(others.count() == 0, "{said}");
        Ok(())
    }

    /// It has no shell, no right to load modules, and of the system nothing that it could write to but its folders.
    fn confined(&self, pid: &str) -> anyhow::Result<()> {
        self.inside(&CONFINED.replace("PID", pid))?;
        Ok(())
    }

    fn ended(self) -> anyhow::Result<()> {
        Ok(self.guest.shutdown()?)
    }
}

/// systemd finds /run and cgroups mounted, as in any container. It takes them for its own, but shares no mounts with what it
/// starts, so the merge would not be seen outside of the tool's own namespace. disk-watcher takes nothing where it sees a
/// namespace's processes only, so its service gets the guest's.
const BOOT: &str = r#"
layer=/run/layer
mkdir -p $layer && mount -t tmpfs tmpfs $layer && cd $layer && mkdir written work root
mount -t overlay -o lowerdir=/,upperdir=written,workdir=work overlay root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount --bind /run run
mount -t tmpfs tmpfs tmp
mkdir -p processes etc/systemd/system/lvm-disk-watcher.service.d
mount --bind /proc processes
printf '[Service]\nBindPaths=/processes:/proc\n' >etc/systemd/system/lvm-disk-watcher.service.d/guest.conf
mkdir -p etc/systemd/system/sysinit.target.wants etc/modules-load.d etc/disk-watcher var/lib/extensions
echo dm_thin_pool >etc/modules-load.d/dm-thin-pool.conf
cp SHARED/class.yaml etc/disk-watcher/config.yaml
cp SHARED/lvm-disk-watcher.raw var/lib/extensions/
ln -s /usr/lib/systemd/system/systemd-sysext.service etc/systemd/system/sysinit.target.wants/
ln -s /usr/lib/systemd/system/multi-user.target etc/systemd/system/default.target
for unit in getty.target drbd.service; do ln -s /dev/null etc/systemd/system/$unit; done
echo 0123456789abcdef0123456789abcdef >etc/machine-id
mkdir old
pivot_root . old
umount -l old
mount --make-rshared /
exec env -i container=guest PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd
"#;

const CONFINED: &str = r#"
cd /proc/PID/root
for shell in sh bash dash busybox; do [ ! -e usr/bin/$shell ]; done
capabilities=$((0x$(sed -n 's/^CapBnd:.//p' /proc/PID/status)))
[ $((capabilities >> 16 & 1)) = 0 ] # SYS_MODULE
[ $((capabilities >> 21 & 1)) = 1 ] # SYS_ADMIN
writes() { (: >>$1) 2>/dev/null; }
attribute=sys/module/dm_thin_pool/parameters/no_space_timeout
writes /$attribute
writes run/disk-watcher/new
for place in usr/new etc/new etc/disk-watcher/config.yaml $attribute proc/sys/kernel/hostname run/udev/new host/run/new; do
  if writes $place; then echo "the service writes to /$place" >&2; exit 1; fi
done
"#;
