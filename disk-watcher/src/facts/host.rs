//! Who on this host uses block devices: mounts, swap, file systems of several devices,
//! exported targets, multipath.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use super::mountinfo::{self, Mount};
use super::namespaces::{self, ForeignMount, Namespace, NodeMount};
use super::sysfs::{Dir, names_in};
use super::{DevNo, Root};

/// Whether `/proc/1` is the host's. The caller proves it (see the design, Locks);
/// without proof nothing is concluded from its mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum HostProof {
    /// It is, and this is how that is known.
    Proven(String),
    /// It is not, or nobody knows; this is what was found.
    Unproven(String),
}

/// What uses block devices on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// Whether the mounts below are the host's.
    pub proof: HostProof,
    /// The mounts of PID 1, or why they are not known.
    pub mounts: Result<Vec<Mount>, String>,
    /// What others have mounted besides, in mount namespaces of their own.
    pub foreign: Vec<ForeignMount>,
    /// The device nodes that are mounted as files, in whatever mount namespace.
    pub nodes: Vec<NodeMount>,
    /// The files and devices swapped to, or why they are not known.
    pub swaps: Result<Vec<String>, String>,
    /// The devices of mounted file systems, by `/sys/fs`, whatever mount namespace.
    pub fs_members: Vec<FsMember>,
    /// What loops, LIO and NVMe targets hand on.
    pub backings: Vec<Backing>,
    /// The WWIDs that multipath has taken.
    pub multipath_wwids: Vec<String>,
    /// What else could not be read.
    pub problems: Vec<String>,
}

/// A block device in use by a file system or cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FsMember {
    /// The directory of `/sys/fs`, such as `btrfs`.
    pub fs: String,
    /// The kernel name of the device.
    pub device: String,
}

/// A file or device that something hands on as a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backing {
    /// Who: `loop0`, or a directory of configfs.
    pub user: String,
    /// The path it opened, in its own view.
    pub path: String,
    /// The device behind it, where it is one and the user can be asked: a loop device.
    pub dev: Option<DevNo>,
}

impl HostFacts {
    /// Reads everything. Nothing fails: what is not known says so.
    pub fn read(root: &Root, proof: HostProof) -> Self {
        let mut problems = Vec::new();
        let mut note = |what: &str, result: std::io::Result<()>| {
            if let Err(error) = result {
                problems.push(format!("{what}: {error}"));
            }
        };
        let mounts = std::fs::read(root.join("proc/1/mountinfo"))
            .map_err(|error| format!("/proc/1/mountinfo: {error}"))
            .and_then(|table| mountinfo::parse(&table).map_err(|e| e.to_string()));
        let hosts = Namespace::new(1, mounts.clone().unwrap_or_default());
        let others = namespaces::others(root);
        let mut nodes = hosts.nodes(root);
        nodes.extend(others.iter().flat_map(|other| other.nodes(root)));
        let mut fs_members = Vec::new();
        note(
            "/sys/fs",
            read_fs_members(&root.join("sys/fs"), &mut fs_members),
        );
        let mut backings = Vec::new();
        let views = || others.iter().chain([&hosts]);
        let is_local = |path: &str| views().all(|view| view.is_reached_locally(path));
        note("loop devices", read_loops(root, is_local, &mut backings));
        note("/sys/kernel/config", read_targets(root, &mut backings));
        let mut multipath_wwids = Vec::new();
        note("multipath's wwids", read_wwids(root, &mut multipath_wwids));
        Self {
            proof,
            foreign: namespaces::foreign(&others, mounts.as_deref().unwrap_or_default()),
            mounts,
            nodes,
            swaps: std::fs::read(root.join("proc/swaps"))
                .map_err(|error| format!("/proc/swaps: {error}"))
                .and_then(|table| swaps(&table)),
            fs_members,
            backings,
            multipath_wwids,
            problems,
        }
    }
}

/// `/proc/swaps`: a header, then a path and four more columns in each line.
fn swaps(table: &[u8]) -> Result<Vec<String>, String> {
    let mut lines = table.split(|byte| *byte == b'\n');
    if !lines
        .next()
        .is_some_and(|header| header.starts_with(b"Filename"))
    {
        return Err("/proc/swaps has no header".to_owned());
    }
    Ok(lines
        .filter_map(|line| line.split(|b| matches!(b, b' ' | b'\t')).next())
        .filter(|path| !path.is_empty())
        .map(mountinfo::unescape)
        .collect())
}

/// `/etc/multipath/wwids` of the host: one `/<wwid>/` in each line.
fn read_wwids(root: &Root, found: &mut Vec<String>) -> std::io::Result<()> {
    let text = match std::fs::read_to_string(root.join("proc/1/root/etc/multipath/wwids")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    let lines = text.lines().map(str::trim);
    found.extend(
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.trim_matches('/').to_owned()),
    );
    Ok(())
}

/// Three layouts: `ext4/sda1`; `btrfs/<uuid>/devices/sda`; and links to a device's
/// directory, `bcachefs/<uuid>/dev-0/block` and `bcache/<uuid>/bdev0`.
fn read_fs_members(fs: &Path, found: &mut Vec<FsMember>) -> std::io::Result<()> {
    for kind in names_in(fs)? {
        if matches!(
            kind.as_str(),
            "cgroup" | "selinux" | "pstore" | "bpf" | "fuse" | "resctrl"
        ) {
            continue;
        }
        let mut add = |device: String| {
            found.push(FsMember {
                fs: kind.clone(),
                device,
            });
        };
        for instance in names_in(&fs.join(&kind))? {
            let dir = fs.join(&kind).join(&instance);
            for device in names_in(&dir.join("devices"))? {
                add(device);
            }
            for entry in names_in(&dir)? {
                for link in [dir.join(&entry), dir.join(&entry).join("block")] {
                    link_target(&link).into_iter().for_each(&mut add);
                }
            }
            add(instance);
        }
    }
    Ok(())
}

/// The names on the end of a link: the device, or the parent of its `bcache` directory.
fn link_target(link: &Path) -> Vec<String> {
    let Ok(target) = std::fs::read_link(link) else {
        return Vec::new();
    };
    target
        .iter()
        .rev()
        .take(2)
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "..")
        .collect()
}

/// Loop devices are asked: the path they were given is often a mount of a node, and in a view of
/// others. One whose file may be on another machine is not, for it could keep us waiting; in whose view
/// its path was given is not known.
fn read_loops(
    root: &Root,
    is_local: impl Fn(&str) -> bool,
    found: &mut Vec<Backing>,
) -> std::io::Result<()> {
    for name in names_in(&root.join("sys/block"))? {
        let mut dir = Dir::new(root.join("sys/block").join(&name));
        if let Some(path) = dir.optional("loop/backing_file") {
            let path = path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned();
            let dev = if is_local(&path) {
                crate::files::device_behind(&root.join("dev").join(&name))?
            } else {
                None
            };
            found.push(Backing {
                user: name,
                path,
                dev,
            });
        }
    }
    Ok(())
}

/// LIO (vhost-scsi and iSCSI use it), NVMe targets, USB gadgets.
fn read_targets(root: &Root, found: &mut Vec<Backing>) -> std::io::Result<()> {
    const LAYOUTS: [(&str, &str); 4] = [
        ("target/core/*/*", "udev_path"),
        // Words, among them the path: `File: /dev/sdb Size: 1`.
        ("target/core/*/*", "info"),
        ("nvmet/subsystems/*/namespaces/*", "device_path"),
        ("usb_gadget/*/functions/*/*", "file"),
    ];
    let base = root.join("sys/kernel/config");
    for (layout, attribute) in LAYOUTS {
        let mut dirs = vec![base.clone()];
        for part in layout.split('/') {
            let mut next = Vec::new();
            for dir in dirs {
                if part == "*" {
                    next.extend(names_in(&dir)?.into_iter().map(|name| dir.join(name)));
                } else {
                    next.push(dir.join(part));
                }
            }
            dirs = next;
        }
        for dir in dirs {
            let text = Dir::new(dir.clone())
                .optional(attribute)
                .unwrap_or_default();
            let user = dir.strip_prefix(&base).unwrap_or(&dir).to_string_lossy();
            for path in text.split_whitespace().filter(|word| word.starts_with('/')) {
                let backing = Backing {
                    user: user.clone().into_owned(),
                    path: path.to_owned(),
                    dev: None,
                };
                if !found.contains(&backing) {
                    found.push(backing);
                }
            }
        }
    }
    Ok(())
}
