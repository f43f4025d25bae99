//! Makes a booted kernel usable: mounts, modules, udev; and ends it in order.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, reboot};

use super::processes::Processes;
use crate::protocol::{Setup, ShareMount};

/// Where a writable tmpfs is laid over the read-only root: path, mode.
const WRITABLE: [(&str, &str); 5] = [
    ("/run", "mode=755"),
    ("/tmp", "mode=1777"),
    ("/var/lib", "mode=755"),
    ("/etc/lvm", "mode=755"),
    ("/dev/shm", "mode=1777"),
];

/// What the agent itself needs before it can talk.
pub(super) fn first_mounts() -> io::Result<()> {
    plain("proc", "/proc", "")?;
    plain("sysfs", "/sys", "")?;
    if !Path::new("/dev/null").exists() {
        plain("devtmpfs", "/dev", "mode=755")?;
    }
    Ok(())
}

/// Does the rest as the host asks.
pub(super) fn apply(setup: &Setup, processes: &Processes) -> io::Result<()> {
    nix::unistd::sethostname(&setup.hostname)?;
    fs::create_dir_all("/dev/pts")?;
    fs::create_dir_all("/dev/shm")?;
    plain("devpts", "/dev/pts", "ptmxmode=666")?;
    for (path, options) in WRITABLE {
        plain("tmpfs", path, options)?;
    }
    plain("cgroup2", "/sys/fs/cgroup", "")?;
    if setup.lock_tmpfs {
        fs::create_dir_all("/run/lock")?;
        plain("tmpfs", "/run/lock", "mode=1777")?;
    }
    for dir in ["/run/lock/lvm", "/run/lvm", "/run/udev"] {
        fs::create_dir_all(dir)?;
    }
    for share in &setup.shares {
        mount_share(share)?;
    }
    // The shares have their places now; from here on the root is what a node has.
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, "/", None::<&str>, read_only, None::<&str>)
        .map_err(|errno| named("/", errno))?;
    must(processes, &["ip", "link", "set", "lo", "up"])?;
    if !setup.modules.is_empty() {
        let modules = setup.modules.iter().map(String::as_str);
        must(
            processes,
            &[&["modprobe", "-a"], &modules.collect::<Vec<_>>()[..]].concat(),
        )?;
    }
    if setup.udev {
        start_udev(processes)?;
    }
    more_processors()
}

/// Starts the processors that the kernel was told to leave alone: while it boots it changes its own code, which an emulated
/// second processor does not always survive.
fn more_processors() -> io::Result<()> {
    let Ok(processors) = fs::read_dir("/sys/devices/system/cpu") else {
        return Ok(());
    };
    for processor in processors {
        let online = processor?.path().join("online");
        if fs::read_to_string(&online).is_ok_and(|text| text.trim() == "0") {
            fs::write(online, "1")?;
        }
    }
    Ok(())
}

/// Only disks are announced again: a user-mode kernel has hundreds of terminals, and each costs a worker.
fn start_udev(processes: &Processes) -> io::Result<()> {
    must(processes, &["/usr/lib/systemd/systemd-udevd", "--daemon"])?;
    must(
        processes,
        &[
            "udevadm",
            "trigger",
            "--action=add",
            "--subsystem-match=block",
        ],
    )?;
    must(processes, &["udevadm", "settle", "--timeout=30"])
}

/// Unmounts what can be unmounted and powers off. If even that fails, ending process 1 stops the kernel.
pub(super) fn power_off() -> ! {
    nix::unistd::sync();
    for target in mounted_disks() {
        let _ = umount2(target.as_str(), MntFlags::empty());
    }
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    #[expect(clippy::exit, reason = "process 1 has no caller to return to")]
    std::process::exit(1)
}

/// Mount points of block devices, the newest first.
fn mounted_disks() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut targets: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let source = words.next()?;
            let target = words.next()?;
            (source.starts_with("/dev/") && target != "/").then(|| target.replace("\\040", " "))
        })
        .collect();
    targets.reverse();
    targets
}

fn mount_share(share: &ShareMount) -> io::Result<()> {
    fs::create_dir_all(&share.target)?;
    let options = match share.fstype.as_str() {
        // Unlike mount(8), mount(2) hands the options to hostfs as they are: a path.
        "hostfs" => share.source.clone(),
        _ => {
            let cache = if share.writable { "mmap" } else { "loose" };
            format!("trans=virtio,version=9p2000.L,msize=512000,cache={cache}")
        }
    };
    let flags = if share.writable {
        MsFlags::empty()
    } else {
        MsFlags::MS_RDONLY
    };
    mount(
        Some(share.source.as_str()),
        &share.target,
        Some(share.fstype.as_str()),
        flags,
        Some(options.as_str()),
    )
    .map_err(|errno| named(&share.target.display().to_string(), errno))
}

fn plain(fstype: &str, target: &str, options: &str) -> io::Result<()> {
    mount(
        Some(fstype),
        target,
        Some(fstype),
        MsFlags::empty(),
        Some(options),
    )
    .map_err(|errno| named(target, errno))
}

fn named(target: &str, errno: nix::errno::Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("mount {target}: {error}"))
}

fn must(processes: &Processes, argv: &[&str]) -> io::Result<()> {
    let status = processes.run(argv)?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{}: {status}", argv.join(" "))))
}
