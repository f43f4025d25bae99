//! Mounts in all mount namespaces: kubelet, containers and services have their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::mountinfo::{self, Mount};
use super::sysfs::names_in;
use super::{DevNo, Root};

/// A device node that is mounted as a file, as kubelet mounts a raw block volume
/// (volumeDevices/<volume>/<pod>): who holds it may use the device at any time, and neither the
/// kernel nor the disk shows that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeMount {
    /// The node's device, where it could be asked.
    pub dev: Option<DevNo>,
    /// The node's path, where it is one of `/dev`.
    pub node: Option<String>,
    /// Where it is mounted.
    pub mount_point: String,
    /// A process that sees it there.
    pub pid: u32,
}

/// A mount that PID 1 does not have, of a file system on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignMount {
    /// The mount.
    pub mount: Mount,
    /// A process that sees it.
    pub pid: u32,
}

/// The mounts of one mount namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    /// A process in it.
    pid: u32,
    mounts: Vec<Mount>,
}

impl Namespace {
    pub(super) fn new(pid: u32, mounts: Vec<Mount>) -> Self {
        Self { pid, mounts }
    }

    /// The device nodes that are mounted in it.
    pub(super) fn nodes(&self, root: &Root) -> Vec<NodeMount> {
        let seen_from = root.join(format!("proc/{}/root", self.pid));
        let parts = self.mounts.iter().filter(|m| m.is_part() && m.is_local());
        parts
            .filter(|mount| self.is_reached_locally(&mount.mount_point))
            .filter_map(|mount| {
                let point = mount.mount_point.trim_start_matches('/');
                let dev = device_of(&seen_from.join(point));
                // devtmpfs has no file that is bound but nodes; its node may be gone with the disk.
                let path = mount.root.trim_end_matches("//deleted");
                let node = (mount.fs_type == "devtmpfs").then(|| format!("/dev{path}"));
                (dev.is_some() || node.is_some()).then(|| NodeMount {
                    dev,
                    node,
                    mount_point: mount.mount_point.clone(),
                    pid: self.pid,
                })
            })
            .collect()
    }

    /// Whether the way to this path leads through file systems of this machine only: a server that
    /// is gone keeps everybody waiting who goes through what is mounted of it, to whatever is below.
    pub(super) fn is_reached_locally(&self, path: &str) -> bool {
        let path = Path::new(path);
        let on_the_way = self.mounts.iter();
        let mut on_the_way = on_the_way.filter(|mount| path.starts_with(&mount.mount_point));
        on_the_way.all(Mount::is_local)
    }
}

/// The block device that a file is the node of, by its number; `None` for any other file.
pub(super) fn device_of(file: &Path) -> Option<DevNo> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let file = std::fs::symlink_metadata(file).ok()?;
    let is_node = file.file_type().is_block_device();
    is_node.then(|| crate::busy::devno(file.rdev()))
}

/// Every mount namespace that a process is in but PID 1's. Best effort: what may not be looked into
/// is left out, and so is a namespace without a process.
pub(super) fn others(root: &Root) -> Vec<Namespace> {
    let proc = root.join("proc");
    let namespace =
        |pid: &str| -> Option<PathBuf> { std::fs::read_link(proc.join(pid).join("ns/mnt")).ok() };
    let mut known: BTreeSet<PathBuf> = namespace("1").into_iter().collect();
    let mut found = Vec::new();
    for name in names_in(&proc).unwrap_or_default() {
        let Ok(pid) = name.parse() else { continue };
        let Some(of) = namespace(&name).filter(|of| !known.contains(of)) else {
            continue;
        };
        // A process may end while it is asked; another one of the namespace is asked then.
        let table = std::fs::read(proc.join(&name).join("mountinfo"));
        if let Some(mounts) = table.ok().and_then(|table| mountinfo::parse(&table).ok()) {
            known.insert(of);
            found.push(Namespace::new(pid, mounts));
        }
    }
    found
}

/// The mounts of others that are of a device and not of one of `hosts`, each device once.
pub(super) fn foreign(others: &[Namespace], hosts: &[Mount]) -> Vec<ForeignMount> {
    let is_on_a_device = |m: &Mount| m.dev.major != 0 || m.named_devices().next().is_some();
    let key = |m: &Mount| (m.dev, m.source.clone());
    let mut known: BTreeSet<(DevNo, String)> = hosts.iter().map(key).collect();
    let mut found = Vec::new();
    for namespace in others {
        let mounts = namespace.mounts.iter().filter(|m| is_on_a_device(m));
        for mount in mounts.filter(|mount| known.insert(key(mount))) {
            found.push(ForeignMount {
                mount: mount.clone(),
                pid: namespace.pid,
            });
        }
    }
    found
}

/// Which mounts are local, of all namespaces, by their number.
pub(crate) fn local_mounts(root: &Root) -> BTreeMap<u64, bool> {
    let table = std::fs::read(root.join("proc/1/mountinfo")).unwrap_or_default();
    let hosts = Namespace::new(1, mountinfo::parse(&table).unwrap_or_default());
    let all = others(root).into_iter().chain([hosts]);
    all.flat_map(|namespace| namespace.mounts)
        .map(|mount| (mount.id, mount.is_local()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_server_is_not_gone_to() {
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:40 / /data rw - nfs4 host:/x rw\n\
            3 2 8:1 /kept /data/config.yaml rw - ext4 /dev/sda1 rw\n";
        let mounts = mountinfo::parse(table.as_bytes()).unwrap();
        let view = Namespace::new(7, mounts);
        for (path, local) in [
            ("/etc/hosts", true),
            ("/data2", true),
            ("/data/x", false),
            ("/data/config.yaml", false),
        ] {
            assert_eq!(view.is_reached_locally(path), local, "{path}");
        }
    }
}
