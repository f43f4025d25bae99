//! Mounting, by the kernel's own calls.
//!
//! A file system is made a mount first and put at its place last (fsopen(2), fsmount(2),
//! move_mount(2)): a publish that is cut off leaves either nothing or the whole. All of
//! this may sleep on a device and runs on a thread of its own.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lvmd::mountinfo::{self, Mount};
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind, mount_remount, move_mount,
    unmount,
};

use super::device::{Devno, Open, block_devno};
use super::options::Options;
use crate::filesystem::Kind;

/// The mounts of this mount namespace.
///
/// # Errors
/// The table cannot be read.
pub(super) fn table() -> io::Result<Vec<Mount>> {
    fs::read_to_string("/proc/self/mountinfo").map(|text| mountinfo::parse(&text))
}

/// The mount in force at exactly this path.
pub(super) fn at<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts.iter().rev().find(|mount| mount.at == path)
}

/// Whether a mount shows this device: its file system, or the device's own node.
pub(super) fn shows(mount: &Mount, devno: Devno) -> bool {
    let (major, minor) = devno;
    if mount.device == format!("{major}:{minor}") || is_node(mount, devno) {
        return true;
    }
    // Btrfs has numbers of its own; what was mounted tells.
    let source = || fs::metadata(&mount.source).ok();
    mount.kind == "btrfs" && source().is_some_and(|node| block_devno(&node) == Some(devno))
}

/// Whether it is a bind mount of the device's node.
fn is_node(mount: &Mount, devno: Devno) -> bool {
    mount.kind == "devtmpfs"
        && mount.root == format!("/dm-{}", devno.1)
        && fs::metadata(&mount.at).is_ok_and(|node| block_devno(&node) == Some(devno))
}

/// Mounts the file system of `device` at `target`; its root gets `root_mode`. With
/// `elsewhere` it is mounted already, and only this mount is read-only if any.
///
/// # Errors
/// The kernel's, with what the file system says to it.
pub(super) fn mount(
    device: &Open,
    kind: Kind,
    options: &Options,
    target: &Path,
    root_mode: Option<u32>,
    elsewhere: bool,
) -> io::Result<()> {
    let context = fsopen(kind.name(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configured = (|| {
        fsconfig_set_string(context.as_fd(), "source", device.path.as_path())?;
        for parameter in &options.parameters {
            match parameter.split_once('=') {
                Some((key, value)) => {
                    fsconfig_set_string(context.as_fd(), key, value.trim_matches('"'))?
                }
                None => fsconfig_set_flag(context.as_fd(), parameter.as_str())?,
            }
        }
        if options.read_only && !elsewhere {
            fsconfig_set_flag(context.as_fd(), "ro")?;
        }
        fsconfig_create(context.as_fd())
    })();
    configured.map_err(|error| explained(error.into(), &context))?;
    let made = fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        options.attributes,
    )
    .map_err(|error| explained(error.into(), &context))?;
    if let Some(mode) = root_mode.filter(|_| !options.read_only && !elsewhere) {
        set_mode(&made, mode)?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(made.as_fd(), "", CWD, target, flags)?)
}

fn set_mode(root: &OwnedFd, mode: u32) -> io::Result<()> {
    let now = rustix::fs::statat(root, ".", AtFlags::empty())?.st_mode & 0o7777;
    if now != mode {
        rustix::fs::chmodat(root, ".", Mode::from_raw_mode(mode), AtFlags::empty())?;
    }
    Ok(())
}

/// The kernel's error with the lines the file system left for it in the context.
fn explained(error: io::Error, context: &OwnedFd) -> io::Error {
    let mut lines = Vec::new();
    if let Ok(mut log) = context.try_clone().map(File::from) {
        // Each read gives one message, `e file system: words`.
        let mut line = [0; 1024];
        while let Ok(length @ 1..) = log.read(&mut line) {
            lines.push(String::from_utf8_lossy(&line[..length]).trim().to_owned());
        }
    }
    if lines.is_empty() {
        return error;
    }
    io::Error::new(error.kind(), format!("{error}: {}", lines.join("; ")))
}

/// Shows the device's node at `target`, an existing file.
///
/// # Errors
/// The kernel's.
pub(super) fn bind(device: &Open, target: &Path, read_only: bool) -> io::Result<()> {
    mount_bind(&device.path, target)?;
    if read_only { lock(target) } else { Ok(()) }
}

/// Makes the bind mount at `target` read-only.
///
/// # Errors
/// The kernel's.
pub(super) fn lock(target: &Path) -> io::Result<()> {
    Ok(mount_remount(
        target,
        MountFlags::BIND | MountFlags::RDONLY,
        "",
    )?)
}

/// Takes away every mount at `target`, and then the empty folder or file itself.
/// Nothing is ever taken away by force or later.
///
/// # Errors
/// The kernel's: it is in use, or the folder has something in it.
pub(super) fn clear(target: &Path) -> io::Result<()> {
    while at(&table()?, target).is_some() {
        unmount(target, UnmountFlags::NOFOLLOW)?;
    }
    let removed = match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => fs::remove_dir(target),
        Ok(found) if found.is_file() && found.size() == 0 => fs::remove_file(target),
        Ok(_) => {
            return Err(io::Error::other(
                "it is neither an empty folder nor an empty file",
            ));
        }
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
