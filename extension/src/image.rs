//! The node image: our programs, LVM, and the makers and checkers of file systems. No shell, no package manager.

use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::closure::{Closure, ClosureError};
use crate::layer::{self, LayerError};
use crate::oci::{ImageSpec, Layout};
use crate::rootfs::{ClashError, Node, Rootfs, Source};

/// LVM, what it calls, and what a person needs who looks after a pool.
pub(crate) const FROM_LVM: &[&str] = &[
    "usr/sbin/lvm",
    "usr/sbin/dmsetup",
    "usr/sbin/thin_check",
    "usr/sbin/thin_dump",
    "usr/sbin/thin_repair",
    "usr/sbin/thin_restore",
];

/// What the CSI driver calls, and what a person needs who looks into a node.
const FOR_VOLUMES: &[&str] = &[
    "usr/sbin/mkfs.ext4",
    "usr/sbin/e2fsck",
    "usr/sbin/resize2fs",
    "usr/sbin/tune2fs",
    "usr/sbin/mkfs.xfs",
    "usr/sbin/xfs_repair",
    "usr/sbin/xfs_growfs",
    "usr/sbin/xfs_db",
    "usr/sbin/mkfs.btrfs",
    "usr/bin/btrfs",
    "usr/sbin/blkid",
    "usr/bin/lsblk",
    "usr/bin/mount",
    "usr/bin/umount",
    "usr/bin/nsenter",
];

/// Which packages, and which versions of them, the tree was made from.
pub(crate) const PACKAGES: &str = "usr/share/basalt/packages.tsv";

/// The copyright file of each package that the root has a file of, by its name.
pub(crate) const COPYRIGHT: &str = "usr/share/basalt/copyright";

/// Folders that something is mounted on.
const DIRS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc/lvm", 0o755),
    ("host", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var/lib", 0o755),
];

/// The names under which TopoLVM's charts start `hypertopolvm`, all at the root as in its image.
const HYPERTOPOLVM_NAMES: &[&str] = &[
    "lvmd",
    "topolvm-controller",
    "topolvm-node",
    "topolvm-scheduler",
    "livenessprobe",
    "csi-node-driver-registrar",
];

/// The time that everything in an image says, so that two builds are the same bytes: 2026-01-01.
pub const EPOCH: u64 = 1_767_225_600;

/// The image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A program, or what it needs.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// Two files at one path.
    #[error(transparent)]
    Clash(#[from] ClashError),
    /// Packing.
    #[error(transparent)]
    Pack(#[from] LayerError),
    /// Something that every tree has is not in this one.
    #[error("could not read {}: a tree made by this version has it", path.display())]
    Tree {
        /// On this machine.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The root of the node image: from `tree`, and from `programs`, the folder with our own binaries.
///
/// # Errors
/// A program is missing, is a script, or needs a library that the tree does not have.
pub fn rootfs(tree: &Path, programs: &Path) -> Result<Rootfs, ImageError> {
    let ours = [
        ("hypertopolvm", programs.join("hypertopolvm")),
        ("usr/bin/disk-watcher", programs.join("disk-watcher")),
    ];
    let mut root = base(tree, &[FROM_LVM, FOR_VOLUMES].concat(), &ours)?;
    Closure::new(tree, &mut root).file("etc/mke2fs.conf")?;
    for name in HYPERTOPOLVM_NAMES {
        link(&mut root, name, "hypertopolvm")?;
    }
    link(&mut root, "disk-watcher", "usr/bin/disk-watcher")?;
    Ok(root)
}

/// A root for programs of ours: `ours` (where they go, and where they are on this machine) and `theirs` of `tree`, what
/// both need, and the files that any program expects.
///
/// # Errors
/// As [`rootfs`].
pub(crate) fn base(
    tree: &Path,
    theirs: &[&str],
    ours: &[(&str, PathBuf)],
) -> Result<Rootfs, ImageError> {
    let mut root = Rootfs::default();
    for (dir, mode) in DIRS {
        root.put(Path::new(dir), Node::Dir { mode: *mode })?;
    }
    let mut closure = Closure::new(tree, &mut root);
    for program in theirs {
        closure.program(program)?;
    }
    closure.file(PACKAGES)?;
    for (path, from) in ours {
        closure.program_from(path, from)?;
    }
    lvm_names(tree, &mut root)?;
    link(&mut root, "etc/mtab", "../proc/self/mounts")?;
    // The links of Debian's merged /usr, also where no program came through them.
    for name in ["bin", "lib", "sbin"] {
        link(&mut root, name, &format!("usr/{name}"))?;
    }
    for (path, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534::/:/sbin/nologin\n",
        ),
        ("etc/group", "root:x:0:\ndisk:x:6:\nnobody:x:65534:\n"),
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
    ] {
        let from = Source::Bytes(text.into());
        root.put(Path::new(path), Node::File { mode: 0o644, from })?;
    }
    licences(tree, &mut root)?;
    Ok(root)
}

/// Packs the root, whose programs are for `arch`, into an image.
///
/// # Errors
/// A file cannot be read.
pub fn layout(
    root: &Rootfs,
    arch: Arch,
    reference: &str,
    version: &str,
) -> Result<Layout, ImageError> {
    let spec = ImageSpec {
        reference: reference.to_owned(),
        architecture: arch.name(),
        entrypoint: vec!["/hypertopolvm".to_owned()],
        env: vec!["PATH=/usr/sbin:/usr/bin:/".to_owned()],
        labels: labels(
            "basalt",
            "Local storage on LVM for Kubernetes nodes",
            version,
        ),
        epoch: EPOCH,
    };
    Ok(Layout::new(&spec, layer::pack(root, EPOCH)?))
}

/// What an image of the closure says of itself (OCI image specification, annotations).
pub(crate) fn labels(title: &str, description: &str, version: &str) -> Vec<(String, String)> {
    let all = [
        ("title", title),
        ("description", description),
        (
            "licenses",
            "Apache-2.0 AND GPL-2.0-or-later AND GPL-3.0-or-later",
        ),
        ("version", version),
    ];
    let named = |(key, value): (&str, &str)| {
        let key = format!("org.opencontainers.image.{key}");
        (key, value.to_owned())
    };
    all.map(named).into()
}

fn link(root: &mut Rootfs, path: &str, target: &str) -> Result<(), ClashError> {
    let target = target.into();
    root.put(Path::new(path), Node::Link { target })
}

/// lvm's commands by their own names, for people; our programs call `lvm <command>`.
fn lvm_names(tree: &Path, root: &mut Rootfs) -> Result<(), ImageError> {
    let dir = tree.join("usr/sbin");
    let entries = std::fs::read_dir(&dir).map_err(|source| ImageError::Tree {
        path: dir.clone(),
        source,
    })?;
    for name in entries.flatten().map(|entry| entry.file_name()) {
        if std::fs::read_link(dir.join(&name)).is_ok_and(|target| target == Path::new("lvm")) {
            link(root, &format!("usr/sbin/{}", name.display()), "lvm")?;
        }
    }
    Ok(())
}

/// Puts the copyright file of each package that a file in `root` is of into it.
fn licences(tree: &Path, root: &mut Rootfs) -> Result<(), ImageError> {
    let path = tree.join("usr/share/basalt/files.tsv");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ImageError::Tree { path, source }),
    };
    let is_file = |path: &str| {
        // Packages of before the merge of /usr still say lib/x.
        [path.to_owned(), format!("usr/{path}")]
            .iter()
            .any(|path| matches!(root.get(Path::new(path)), Some(Node::File { .. })))
    };
    let mut packages: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(path, _)| is_file(path))
        .map(|(_, package)| package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    let mut closure = Closure::new(tree, root);
    for package in packages {
        closure.file(&format!("{COPYRIGHT}/{package}"))?;
    }
    Ok(())
}
