//! TopoLVM itself, from its Go module: its image, made as ours is, and its own chart. To move from, and to measure beside.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use extension::closure::Closure;
use extension::rootfs::{Node, Rootfs};
use extension::{Cache, Recipe};
use serde_json::{Value, json};

use super::binaries::Binaries;
use super::images;
use crate::host;

/// Its programs, and the makers and growers of file systems that they call; the sidecars are images of their own. The tag
/// is its module's version.
pub const IMAGE: &str = "basalt.test/topolvm:0.41.0";

/// What upstream's driver calls in its own image; lvm is the node's, through nsenter.
const TOOLS: &[&str] = &[
    "usr/bin/btrfs",
    "usr/bin/findmnt",
    "usr/bin/mount",
    "usr/bin/nsenter",
    "usr/bin/umount",
    "usr/sbin/blkid",
    "usr/sbin/blockdev",
    "usr/sbin/dumpe2fs",
    "usr/sbin/e2fsck",
    "usr/sbin/fsck",
    "usr/sbin/mkfs.btrfs",
    "usr/sbin/mkfs.ext4",
    "usr/sbin/mkfs.xfs",
    "usr/sbin/resize2fs",
    "usr/sbin/wipefs",
    "usr/sbin/xfs_growfs",
    "usr/sbin/xfs_io",
    "usr/sbin/xfs_repair",
];

/// The names under which its chart starts it.
const NAMES: &[&str] = &[
    "lvmd",
    "topolvm-controller",
    "topolvm-node",
    "topolvm-scheduler",
];

/// What its chart gets as `image`.
#[must_use]
pub fn chart_value() -> Value {
    let (repository, tag) = IMAGE.rsplit_once(':').unwrap_or((IMAGE, "latest"));
    json!({"repository": repository, "tag": tag, "pullPolicy": "Never", "csi": {
        "nodeDriverRegistrar": images::sidecar("csi-node-driver-registrar"),
        "livenessProbe": images::sidecar("livenessprobe"),
        "csiProvisioner": images::sidecar("csi-provisioner"),
        "csiResizer": images::sidecar("csi-resizer"),
        "csiSnapshotter": images::sidecar("csi-snapshotter"),
    }})
}

/// The root of its image.
pub(super) fn rootfs(workspace: &Path, binaries: &Binaries) -> Result<Rootfs> {
    let tree = Cache::of_workspace(workspace).tree(&Recipe::node())?;
    let mut root = Rootfs::default();
    images::program(&mut root, "hypertopolvm", &binaries.path("hypertopolvm"))?;
    let mut link = |path: &str, target: &str| {
        let target = target.into();
        root.put(Path::new(path), Node::Link { target })
    };
    for name in NAMES {
        link(name, "hypertopolvm")?;
    }
    for name in ["bin", "lib", "sbin"] {
        link(name, &format!("usr/{name}"))?;
    }
    link("etc/mtab", "../proc/self/mounts")?;
    root.put(Path::new("tmp"), Node::Dir { mode: 0o1777 })?;
    let mut closure = Closure::new(&tree, &mut root);
    for tool in TOOLS {
        closure.program(tool)?;
    }
    closure.file("etc/mke2fs.conf")?;
    Ok(root)
}

/// A copy of its chart in `dir`. The chart's own dependency, cert-manager, is left out: it is off unless asked for, and helm
/// wants it there all the same.
///
/// # Errors
/// Its module is not to be had, or the chart is not built as it was.
pub fn chart(workspace: &Path, dir: &Path) -> Result<PathBuf> {
    let module = module(workspace, "github.com/topolvm/topolvm")?;
    chart_of(&module, &dir.join("upstream"))
}

/// The same of any version of its module, as `copy`.
///
/// # Errors
/// As [`chart`].
pub fn chart_of(module: &Path, copy: &Path) -> Result<PathBuf> {
    let from = module.join("charts/topolvm");
    let copying = ["-r", "--no-preserve=mode"];
    host::capture(host::command("cp").args(copying).arg(&from).arg(copy))?;
    let file = copy.join("Chart.yaml");
    let text = std::fs::read_to_string(&file)?;
    let (before, after) = text
        .split_once("dependencies:")
        .context("no dependencies")?;
    let (_, after) = after
        .split_once("\nannotations:")
        .context("nothing after them")?;
    std::fs::write(&file, format!("{before}annotations:{after}"))?;
    std::fs::remove_file(copy.join("Chart.lock"))?;
    Ok(copy.to_owned())
}

/// Where the sources of a Go module are: of the version that the sidecars are built from, or of the one after its `@`.
///
/// # Errors
/// go does not have it and cannot get it.
pub fn module(workspace: &Path, name: &str) -> Result<PathBuf> {
    let mut go = host::command("go");
    go.args(["mod", "download", "-json", name])
        .current_dir(workspace.join("e2e-qemu/kubernetes/sidecars"));
    let found: Value = serde_json::from_slice(&host::capture(&mut go)?)?;
    let dir = found["Dir"].as_str().context("go names no folder")?;
    Ok(dir.into())
}
