//! Holding a disk exclusively while it is read, and naming who else has it open.
//!
//! A claim opens with `O_RDONLY | O_EXCL`. The kernel grants the exclusive claim for
//! `O_EXCL` alone, whatever the access mode (block/bdev.c, `bd_prepare_to_claim`), and
//! refuses it while the disk or a partition of it is mounted, swapped to, or held by
//! device-mapper or md. Opening for writing would do no better and would make udev
//! report a change when it is closed.
//!
//! Programs that open without `O_EXCL`, such as a hypervisor with a raw disk, do not
//! stand in the way of a claim; [`OpenDevices`] finds them by their open files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::facts::{self, DevNo, Family, Root};
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

/// A block device as an open file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Number(DevNo),
    /// Its path, where the file itself could not be asked.
    Path(String),
}

/// The block devices that processes other than this one have open.
#[derive(Debug, Default)]
pub struct OpenDevices(Vec<(Name, Opener)>);

impl OpenDevices {
    /// Looks through all open files. Best effort: what may not be looked into is left out, and so
    /// is a file of a network file system, which could keep us waiting.
    pub fn read(root: &Root) -> Self {
        let proc = root.join("proc");
        // In the numbers of this /proc, which may not be those of our own namespace.
        let me = std::fs::read_link(proc.join("self")).unwrap_or_default();
        let local = facts::local_mounts(root);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&proc).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if me.as_os_str() == name {
                continue;
            }
            let dir = entry.path();
            let fds = std::fs::read_dir(dir.join("fd"));
            for fd in fds.into_iter().flatten().flatten() {
                let info = || {
                    let path = dir.join("fdinfo").join(fd.file_name());
                    std::fs::read_to_string(path).unwrap_or_default()
                };
                let is_local = || mount_of(&info()).is_some_and(|id| local.get(&id) == Some(&true));
                if let Some(device) = device(&fd.path(), is_local) {
                    let opener = Opener {
                        pid,
                        name: comm(&dir),
                        writes: may_write(&info()),
                    };
                    found.push((device, opener));
                }
            }
        }
        Self(found)
    }

    /// Who has a device of the family open, in the order of their pids.
    pub fn of(&self, family: &Family) -> Vec<Opener> {
        let mut found: BTreeMap<i32, Opener> = BTreeMap::new();
        let is_of = |name: &Name| match name {
            Name::Number(dev) => family.devs.contains(dev),
            Name::Path(path) => family.paths.contains(path),
        };
        for (_, opener) in self.0.iter().filter(|(name, _)| is_of(name)) {
            let known = found.entry(opener.pid).or_insert_with(|| opener.clone());
            known.writes |= opener.writes;
        }
        found.into_values().collect()
    }
}

/// The processes, other than this one, that have a device of the family open now.
pub fn openers(root: &Root, family: &Family) -> Vec<Opener> {
    OpenDevices::read(root).of(family)
}

/// The block device that an open file is, under whatever path it was opened: a container and
/// kubelet have nodes of disks in other places than `/dev`.
fn device(fd: &Path, is_local: impl Fn() -> bool) -> Option<Name> {
    let target = std::fs::read_link(fd).ok()?;
    let in_dev = target.starts_with("/dev/");
    // Sockets, pipes and the like have no path.
    let is_asked = in_dev || target.is_absolute() && is_local();
    if !is_asked {
        return None;
    }
    match std::fs::metadata(fd) {
        Ok(file) if file.file_type().is_block_device() => Some(Name::Number(devno(file.rdev()))),
        Ok(_) => None,
        Err(_) if in_dev => target.to_str().map(|path| Name::Path(path.to_owned())),
        Err(_) => None,
    }
}

/// `mnt_id:` of fdinfo, the number of the mount that the file was opened in.
fn mount_of(fdinfo: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    line?.trim().parse().ok()
}

/// `flags:` of fdinfo, octal (proc_pid_fdinfo(5)); unreadable counts as writing.
fn may_write(fdinfo: &str) -> bool {
    let flags = fdinfo
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
