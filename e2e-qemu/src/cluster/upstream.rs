//! TopoLVM itself, from its Go module: its image, made as ours is, and its own chart. To move from, and to measure beside.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use extension::closure::Closure;
use extension::rootfs::{Node, Rootfs};
use extension::{Cache, Recipe};
use serde_json::{Value, json};

use super::{binaries, images};
use crate::host;
use crate::peer::Module;

/// A release of TopoLVM.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its programs, and the makers and growers of file systems that they call; the sidecars are images of their own. The tag
    /// is its module's version.
    image: &'static str,
    module: PathBuf,
    program: PathBuf,
}

impl Release {
    /// 0.41.0, with chart 16.0.1: what is measured beside.
    ///
    /// # Errors
    /// Its module is not to be had, or Go does not build it.
    pub fn newest(workspace: &Path) -> Result<Self> {
        let image = "basalt.test/topolvm:0.41.0";
        Self::of(workspace, image, MODULE, &binaries::SIDECARS)
    }

    /// 0.36.3, with chart 15.5.2: the oldest whose chart is in a module that is to be had. Asked for outside a cluster's
    /// network.
    ///
    /// # Errors
    /// As [`Self::newest`].
    pub fn older(workspace: &Path) -> Result<Self> {
        let image = "basalt.test/topolvm:0.36.3";
        let module = format!("{MODULE}@v0.36.3");
        Self::of(workspace, image, &module, &binaries::OLDER_TOPOLVM)
    }

    fn of(workspace: &Path, image: &'static str, name: &str, built: &Module) -> Result<Self> {
        let programs = built.build(&workspace.join(".cache"))?;
        Ok(Self {
            image,
            module: module(workspace, name)?,
            program: programs.join("hypertopolvm"),
        })
    }

    /// Its image.
    #[must_use]
    pub const fn image(&self) -> &str {
        self.image
    }

    /// What its chart gets as `image`.
    #[must_use]
    pub fn chart_value(&self) -> Value {
        let (repository, tag) = self
            .image
            .rsplit_once(':')
            .unwrap_or((self.image, "latest"));
        json!({"repository": repository, "tag": tag, "pullPolicy": "Never", "csi": {
            "nodeDriverRegistrar": images::sidecar("csi-node-driver-registrar"),
            "livenessProbe": images::sidecar("livenessprobe"),
            "csiProvisioner": images::sidecar("csi-provisioner"),
            "csiResizer": images::sidecar("csi-resizer"),
            "csiSnapshotter": images::sidecar("csi-snapshotter"),
        }})
    }

    /// A copy of its chart in `dir`, as [`chart_of`].
    ///
    /// # Errors
    /// The chart is not built as it was.
    pub fn chart(&self, dir: &Path) -> Result<PathBuf> {
        chart_of(&self.module, &dir.join("upstream"))
    }

    /// The root of its image.
    pub(super) fn rootfs(&self, workspace: &Path) -> Result<Rootfs> {
        let tree = Cache::of_workspace(workspace).tree(&Recipe::node())?;
        let mut root = Rootfs::default();
        images::program(&mut root, "hypertopolvm", &self.program)?;
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
}

/// Its Go module.
const MODULE: &str = "github.com/topolvm/topolvm";

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

/// A copy of the chart in a version of its module, as `copy`. The chart's own dependency, cert-manager, is left out: it is off
/// unless asked for, and helm wants it there all the same.
///
/// # Errors
/// The chart is not built as it was.
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
