//! Making a file: whole before it has its name, and on record before that.
//!
//! It has no name while it is made (O_TMPFILE, open(2)), so nothing is left of it after a cut; it
//! gets its name by linkat(2), which never replaces another.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lvmd::units::Bytes;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, IFlags, Mode, OFlags, fallocate, fstatfs, ioctl_getflags,
    ioctl_setflags, linkat, open, statfs, statvfs,
};
use tracing::info;

use super::{FileError, Inode, MadeFile, WantedFile, refused};
use crate::facts::DiskId;
use crate::journal::Journal;

/// How much of a file system stays free, in percent: below 10 kubelet evicts pods.
const STAYS_FREE: u64 = 15;

/// The file that is wanted: as it was made, or made now.
pub(super) fn make(journal: &mut Journal, wanted: &WantedFile) -> Result<MadeFile, FileError> {
    let path = &wanted.path;
    let io = |what| move |source| FileError::io(path, what, source);
    if let Some(made) = journal.file(path).cloned() {
        if made.named {
            return same_size(made, wanted);
        }
        // Cut between the record and the name, or just after it.
        match File::open(path) {
            Ok(file) if Inode::of(&file).map_err(io("look at"))?.as_ref() == Some(&made.inode) => {
                return named(journal, made);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("open")(error)),
        }
        journal.forget_file(path)?;
    }
    let dir = folder(path)?;
    if path.symlink_metadata().is_ok() {
        return Err(taken(path));
    }
    not_kubelets(path, &dir)?;
    not_on_a_pool(path, &dir)?;
    enough_room(path, &dir, wanted.size)?;
    lasts(path, &dir)?;
    create(journal, wanted, &dir)
}

/// Makes the file in this folder.
pub(super) fn create(
    journal: &mut Journal,
    wanted: &WantedFile,
    dir: &Path,
) -> Result<MadeFile, FileError> {
    let path = &wanted.path;
    let io = |what| move |source: io::Error| FileError::io(path, what, source);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = open(dir, flags, mode).map_err(|error| io("make")(error.into()))?;
    let file = File::from(file);
    no_copy_on_write(&file, path)?;
    fallocate(&file, FallocateFlags::empty(), 0, wanted.size.0)
        .map_err(|error| io("reserve the space of")(error.into()))?;
    file.sync_all().map_err(io("write"))?;
    let inode = Inode::of(&file).map_err(io("look at"))?;
    let inode = inode.ok_or_else(|| FileError::Refused {
        path: path.clone(),
        why:
            "its file system keeps no time of birth, by which it is known again; use ext4, xfs or \
              btrfs"
                .to_owned(),
    })?;
    let made = MadeFile {
        id: DiskId::for_file(journal.owner(), path, &inode),
        path: path.clone(),
        size: wanted.size,
        inode,
        named: false,
    };
    journal.record_file(made.clone())?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    if let Err(error) = linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        journal.forget_file(path)?;
        let error = io::Error::from(error);
        return Err(match error.kind() {
            io::ErrorKind::AlreadyExists => taken(path),
            _ => io("name")(error),
        });
    }
    info!(file = %path.display(), size = %wanted.size, "made");
    named(journal, made)
}

/// Has the name survive, and then says so.
fn named(journal: &mut Journal, mut made: MadeFile) -> Result<MadeFile, FileError> {
    let dir = made.path.parent().unwrap_or(Path::new("/"));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| FileError::io(&made.path, "keep the name of", error))?;
    made.named = true;
    journal.record_file(made.clone())?;
    Ok(made)
}

fn same_size(made: MadeFile, wanted: &WantedFile) -> Result<MadeFile, FileError> {
    if made.size == wanted.size {
        return Ok(made);
    }
    Err(FileError::Refused {
        why: format!(
            "it was made with {}, and spec.select.files says {}; files do not change: write the old \
             size, and add another file",
            made.size, wanted.size
        ),
        path: made.path,
    })
}

/// The folder, without links that lead elsewhere.
fn folder(path: &Path) -> Result<PathBuf, FileError> {
    let refuse = |why: String| FileError::Refused {
        path: path.to_owned(),
        why,
    };
    let dir = path.parent().unwrap_or(Path::new("/"));
    let real = (dir.canonicalize()).map_err(|error| {
        refuse(format!(
            "its folder {}: {error}; make it first",
            dir.display()
        ))
    })?;
    match refused(&real.join(path.file_name().unwrap_or_default())) {
        Some(why) => Err(refuse(format!("its folder leads elsewhere: {why}"))),
        None => Ok(real),
    }
}

fn taken(path: &Path) -> FileError {
    FileError::Refused {
        path: path.to_owned(),
        why:
            "there is a file that disk-watcher did not make; it is left alone: choose another name"
                .to_owned(),
    }
}

/// The file system is not on a thin volume, which could not be written to while its pool waits for
/// this file.
fn not_on_a_pool(path: &Path, dir: &Path) -> Result<(), FileError> {
    let stat = dir
        .metadata()
        .map_err(|error| FileError::io(path, "look at the folder of", error))?;
    let device = PathBuf::from(format!("/sys/dev/block/{}", crate::busy::devno(stat.dev())));
    let uuid = |dir: &Path| fs::read_to_string(dir.join("dm/uuid")).unwrap_or_default();
    // A pool that is active has a device of its own between its volumes and its parts.
    let below = fs::read_dir(device.join("slaves"));
    let is_thin = uuid(&device).starts_with("LVM-")
        && (below.into_iter().flatten().flatten())
            .any(|lower| uuid(&lower.path()).trim_end().ends_with("-tpool"));
    if !is_thin {
        return Ok(());
    }
    Err(FileError::Refused {
        path: path.to_owned(),
        why: "its file system is on a thin volume; choose one on a disk".to_owned(),
    })
}

/// The folder is in none that a kubelet has, wherever it was told to have it (`--root-dir`, as k0s
/// and microk8s do): it counts, moves and deletes what is there.
fn not_kubelets(path: &Path, dir: &Path) -> Result<(), FileError> {
    let has = |dir: &Path, name: &str| dir.join(name).is_dir();
    let kubelets = dir.ancestors();
    let mut kubelets = kubelets.filter(|dir| has(dir, "pods") && has(dir, "plugins"));
    match kubelets.next() {
        None => Ok(()),
        Some(root) => Err(FileError::Refused {
            path: path.to_owned(),
            why: format!(
                "{} looks like a folder of kubelet's (it has pods and plugins); choose a folder such \
                 as /var/lib/basalt",
                root.display()
            ),
        }),
    }
}

/// The file system keeps its files over a reboot and writes to a block where it stands.
fn lasts(path: &Path, dir: &Path) -> Result<(), FileError> {
    let stat = statfs(dir)
        .map_err(|error| FileError::io(path, "look at the file system of", error.into()))?;
    suits(stat.f_type.cast_unsigned()).map_err(|why| FileError::Refused {
        path: path.to_owned(),
        why,
    })
}

/// Whether a file system of this type (statfs(2)) is one for files that stand in for disks.
pub(super) fn suits(kind: u64) -> Result<(), String> {
    let what = match kind {
        0xef53 | 0x5846_5342 | BTRFS => return Ok(()),
        0x794c_7630 => "overlayfs, a container's own, and is gone with it",
        0x0102_1994 | 0x8584_58f6 => "in memory (tmpfs), and is gone after a reboot",
        _ => "of a kind that may move a block when it is written to, and then fail when it is full",
    };
    Err(format!(
        "its file system is {what}; choose a folder of the host on ext4, xfs or btrfs"
    ))
}

/// btrfs, by statfs(2).
const BTRFS: u64 = 0x9123_683e;

/// Has btrfs write to the file's blocks where they stand, as `chattr +C` does: with copy-on-write a
/// write to a block that was reserved needs another one, and fails when there is none.
fn no_copy_on_write(file: &File, path: &Path) -> Result<(), FileError> {
    let io =
        |error: rustix::io::Errno| FileError::io(path, "look at the file system of", error.into());
    if fstatfs(file).map_err(io)?.f_type.cast_unsigned() != BTRFS {
        return Ok(());
    }
    let set = ioctl_getflags(file).and_then(|flags| {
        ioctl_setflags(file, flags | IFlags::NOCOW)?;
        ioctl_getflags(file)
    });
    match set {
        Ok(flags) if flags.contains(IFlags::NOCOW) => Ok(()),
        _ => Err(FileError::Refused {
            path: path.to_owned(),
            why: "its file system, btrfs, does not let it be written without copies (chattr +C); \
                  choose a folder on ext4 or xfs"
                .to_owned(),
        }),
    }
}

/// The file system keeps room for others.
fn enough_room(path: &Path, dir: &Path, size: Bytes) -> Result<(), FileError> {
    let stat = statvfs(dir)
        .map_err(|error| FileError::io(path, "look at the file system of", error.into()))?;
    let all = Bytes(stat.f_blocks.saturating_mul(stat.f_frsize));
    let free = Bytes(stat.f_bavail.saturating_mul(stat.f_frsize));
    room(all, free, size).map_err(|why| FileError::Refused {
        path: path.to_owned(),
        why,
    })
}

/// Whether a file of this size leaves room on a file system of `all`, of which `free` is free.
pub(super) fn room(all: Bytes, free: Bytes, size: Bytes) -> Result<(), String> {
    let stays = Bytes(all.0 / 100 * STAYS_FREE);
    if free.0 >= stays.0.saturating_add(size.0) {
        return Ok(());
    }
    Err(format!(
        "{free} of its file system are free and {STAYS_FREE} % of it ({stays}) stay so, because \
         kubelet evicts pods on a full one; make it smaller or choose another file system"
    ))
}
