//! What is known about the disks of this node, read and never judged.
//!
//! [`Root`] is where `/sys` and `/proc` are looked for, so that tests run on trees of
//! their own. A value that cannot be read stays `None` and is named in
//! [`DiskFacts::problems`]; the rules turn both into a denial, nothing here guesses.
//! No disk is opened: contents and exclusive claims are the business of the probes
//! and of [`crate::busy`]. Loop devices are, to ask what is behind them.

mod disk;
mod host;
mod id;
mod mountinfo;
mod namespaces;
mod part;
mod sysfs;
mod transport;
mod udev;

use std::path::{Path, PathBuf};

pub use self::disk::{DiskFacts, Family, Holder, IoStat, Partition};
pub use self::host::{Backing, FsMember, HostFacts, HostProof};
pub use self::id::{DiskId, Identified, is_junk};
pub use self::mountinfo::{BadMountinfo, Mount};
pub(crate) use self::namespaces::local_mounts;
pub use self::namespaces::{ForeignMount, NodeMount};
pub use self::part::{Part, PartEntry, Past};
pub use self::sysfs::DevNo;
pub use self::transport::Transport;
pub use self::udev::{UdevDb, UdevRecord};

/// The directory that holds `sys` and `proc`: `/` in production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// This machine.
    pub fn host() -> Self {
        Self(PathBuf::from("/"))
    }

    /// Another tree, with `sys` and `proc` in it.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// A path below the root; `path` has no leading slash.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }
}

/// Reads every whole block device, loops and the like included, in the order of
/// their names.
///
/// # Errors
/// `/sys/block` cannot be listed. A device that cannot be read is in the list, with
/// its problems.
pub fn read_all(root: &Root, udev: &UdevDb) -> std::io::Result<Vec<DiskFacts>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("sys/block"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let drivers = sysfs::block_drivers(root);
    Ok(names
        .into_iter()
        .filter_map(|name| disk::read(root, &name, udev, &drivers))
        .collect())
}

/// Reads one whole block device by its kernel name; `None` when there is none.
pub fn read(root: &Root, name: &str, udev: &UdevDb) -> Option<DiskFacts> {
    disk::read(root, name, udev, &sysfs::block_drivers(root))
}

/// Reads a partition of `disk` as a disk of its own, by its kernel name. What the partition table
/// says of it is for the caller to add.
pub fn read_partition(
    root: &Root,
    disk: &DiskFacts,
    name: &str,
    udev: &UdevDb,
) -> Option<DiskFacts> {
    part::read(root, disk, name, udev)
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
