//! Holding a disk exclusively while it is read, and naming who else has it open.
//!
//! A claim opens with `O_RDONLY | O_EXCL`. The kernel grants the exclusive claim for
//! `O_EXCL` alone, whatever the access mode (block/bdev.c, `bd_prepare_to_claim`), and
//! refuses it while the disk or a partition of it is mounted, swapped to, or held by
//! device-mapper or md. Opening for writing would do no better and would make udev
//! report a change when it is closed.
//!
//! Programs that open without `O_EXCL`, such as a hypervisor with a raw disk, do not
//! stand in the way of a claim; [`openers`] finds them by their open files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::facts::{DevNo, Family, Root};
use crate::rules::{ClaimSeen, Opener};

/// A disk held exclusively. Dropping it lets go.
#[derive(Debug)]
pub struct Claim {
    _exclusive: File,
    direct: File,
}

/// Why a disk is not held.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else holds it.
    #[error("{} is held exclusively by another", path.display())]
    Busy {
        /// The node.
        path: PathBuf,
    },
    /// The path is no block device.
    #[error("{} is no block device", path.display())]
    NotABlockDevice {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The node.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Claim {
    /// Claims the disk at `path`.
    ///
    /// # Errors
    /// See [`ClaimError`]; nothing is left open then.
    pub fn open(path: &Path) -> Result<Self, ClaimError> {
        let fault = |source: io::Error| ClaimError::Open {
            path: path.to_owned(),
            source,
        };
        // O_NONBLOCK: an empty drive must not make us wait for a medium.
        let open = |flags: OFlag| {
            OpenOptions::new()
                .read(true)
                .custom_flags((flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits())
                .open(path)
        };
        let exclusive = open(OFlag::O_EXCL).map_err(|source| {
            if source.raw_os_error() == Some(Errno::EBUSY as i32) {
                ClaimError::Busy {
                    path: path.to_owned(),
                }
            } else {
                fault(source)
            }
        })?;
        let held = exclusive.metadata().map_err(fault)?;
        if !held.file_type().is_block_device() {
            return Err(ClaimError::NotABlockDevice {
                path: path.to_owned(),
            });
        }
        // Past the page cache: what another path or host wrote must be seen.
        let direct = open(OFlag::O_DIRECT).map_err(fault)?;
        if direct.metadata().map_err(fault)?.rdev() != held.rdev() {
            return Err(fault(io::Error::other(
                "the node changed while it was opened",
            )));
        }
        Ok(Self {
            _exclusive: exclusive,
            direct,
        })
    }

    /// The disk, for reading past the page cache: offset, length and memory must be
    /// multiples of its sector size. A clone of it does not prolong the claim.
    pub fn direct(&self) -> &File {
        &self.direct
    }
}

/// What the rules are told of an attempt to claim, and of who else is there.
pub fn seen(claim: &Result<Claim, ClaimError>, openers: Vec<Opener>) -> ClaimSeen {
    match claim {
        Ok(_) => ClaimSeen::Held(openers),
        Err(ClaimError::Busy { .. }) => ClaimSeen::Refused(openers),
        Err(ClaimError::Open { source, .. }) => ClaimSeen::Unknown(source.to_string()),
        Err(error @ ClaimError::NotABlockDevice { .. }) => ClaimSeen::Unknown(error.to_string()),
    }
}

/// The processes, other than this one, that have a device of the family open, in the
/// order of their pids. Best effort: what may not be looked into is left out, and so
/// is a file that was opened under a path outside `/dev` of its mount namespace.
pub fn openers(root: &Root, family: &Family) -> Vec<Opener> {
    let proc = root.join("proc");
    // In the numbers of this /proc, which may not be those of our own namespace.
    let me = std::fs::read_link(proc.join("self")).unwrap_or_default();
    let mut found: BTreeMap<i32, Opener> = BTreeMap::new();
    for entry in std::fs::read_dir(&proc).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if me.as_os_str() == name {
            continue;
        }
        let dir = entry.path();
        for fd in std::fs::read_dir(dir.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !is_of(&fd.path(), family) {
                continue;
            }
            let writes = may_write(&dir.join("fdinfo").join(fd.file_name()));
            let opener = found.entry(pid).or_insert_with(|| Opener {
                pid,
                name: comm(&dir),
                writes: false,
            });
            opener.writes |= writes;
        }
    }
    found.into_values().collect()
}

/// Whether an open file is a device of the family. Only files under `/dev` are looked
/// at more closely, so that a dead network file system cannot make us wait.
fn is_of(fd: &Path, family: &Family) -> bool {
    let Ok(target) = std::fs::read_link(fd) else {
        return false;
    };
    if !target.starts_with("/dev/") {
        return false;
    }
    match std::fs::metadata(fd) {
        Ok(file) => file.file_type().is_block_device() && family.devs.contains(&devno(file.rdev())),
        Err(_) => target
            .to_str()
            .is_some_and(|path| family.paths.contains(path)),
    }
}

/// `flags:` of fdinfo, octal (proc_pid_fdinfo(5)); unreadable counts as writing.
fn may_write(fdinfo: &Path) -> bool {
    let text = std::fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = text
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
    flags.is_none_or(|flags| flags & OFlag::O_ACCMODE.bits() != OFlag::O_RDONLY.bits())
}

fn comm(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("comm"))
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The device number in a file's `st_rdev`.
pub(crate) fn devno(rdev: u64) -> DevNo {
    let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    DevNo {
        major: number(nix::sys::stat::major(rdev)),
        minor: number(nix::sys::stat::minor(rdev)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fixture::Tree;

    #[test]
    fn what_is_no_block_device_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Claim::open(file.path()).unwrap_err();
        assert!(
            matches!(error, ClaimError::NotABlockDevice { .. }),
            "{error:?}"
        );
        let missing = Claim::open(Path::new("/nonexistent")).unwrap_err();
        assert!(matches!(
            seen(&Err(missing), Vec::new()),
            ClaimSeen::Unknown(_)
        ));
        let busy = Err(ClaimError::Busy {
            path: PathBuf::new(),
        });
        assert_eq!(seen(&busy, Vec::new()), ClaimSeen::Refused(Vec::new()));
    }

    #[test]
    fn openers_are_named_and_told_apart_by_what_they_may_do() {
        let tree = Tree::new();
        let process = |pid: i32, comm: &str, flags: &str, target: &str| {
            tree.write(&format!("proc/{pid}/comm"), format!("{comm}\n"));
            tree.write(
                &format!("proc/{pid}/fdinfo/3"),
                format!("pos:\t0\nflags:\t{flags}\n"),
            );
            tree.link(target, &format!("proc/{pid}/fd/3"));
        };
        process(7, "qemu", "0100002", "/dev/nosuchdisk");
        process(8, "hexdump", "0100000", "/dev/nosuchdisk1");
        process(9, "us", "02", "/dev/nosuchdisk");
        process(10, "other", "02", "/dev/otherdisk");
        process(11, "file", "02", "/data/nosuchdisk");
        tree.link("9", "proc/self");
        let family = Family {
            paths: ["/dev/nosuchdisk".to_owned(), "/dev/nosuchdisk1".to_owned()].into(),
            ..Family::default()
        };
        let found = openers(&tree.root(), &family);
        let short: Vec<(i32, &str, bool)> = found
            .iter()
            .map(|o| (o.pid, o.name.as_str(), o.writes))
            .collect();
        assert_eq!(short, [(7, "qemu", true), (8, "hexdump", false)]);
    }
}
