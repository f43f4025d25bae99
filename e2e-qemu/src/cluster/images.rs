//! The images of a cluster that nodes import: ours, the CSI sidecars, and a small one for pods.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use extension::image::EPOCH;
use extension::oci::{ImageSpec, Layout};
use extension::rootfs::{Node, Rootfs, Source};
use extension::{Arch, Cache, Recipe, image, layer};
use serde_json::{Value, json};

use super::binaries::Binaries;
use super::upstream::Release;

/// The node image, as the charts are told to use it.
pub const BASALT: &str = "basalt.test/basalt:dev";
/// A shell and coreutils for pods.
pub const BUSYBOX: &str = "basalt.test/busybox:1";
/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "basalt.test/pause:1";

/// Programs of busybox that pods of tests use.
const APPLETS: &[&str] = &[
    "blockdev",
    "cat",
    "cp",
    "dd",
    "df",
    "echo",
    "head",
    "ls",
    "md5sum",
    "mkdir",
    "mount",
    "mv",
    "od",
    "rm",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "stat",
    "sync",
    "tail",
    "test",
    "touch",
    "true",
    "wc",
];

/// The image of one of the sidecars: `basalt.test/<name>:1`.
#[must_use]
pub fn sidecar(name: &str) -> String {
    format!("basalt.test/{name}:1")
}

/// What a chart gets as `image`: where ours is and, for topolvm's chart, where the sidecars' are.
#[must_use]
pub fn chart_value(sidecars: bool) -> Value {
    let (repository, tag) = BASALT.rsplit_once(':').unwrap_or((BASALT, "latest"));
    let mut image = json!({"repository": repository, "reference": tag, "pullPolicy": "Never"});
    if sidecars {
        image["csi"] = chart_sidecars();
    }
    image
}

/// What topolvm's chart gets as `image.csi`.
#[must_use]
pub fn chart_sidecars() -> Value {
    json!({
        "csiProvisioner": sidecar("csi-provisioner"),
        "csiResizer": sidecar("csi-resizer"),
        "csiSnapshotter": sidecar("csi-snapshotter"),
    })
}

/// Writes the archives that nodes import into `dir`; their paths. Ours is among them with the programs from `programs`.
///
/// # Errors
/// A tree or program is missing, or `dir` cannot be written.
pub(super) fn write(
    workspace: &Path,
    programs: Option<&Path>,
    binaries: &Binaries,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let cache = Cache::of_workspace(workspace);
    let mut archives = Vec::new();
    let mut keep = |name: &str, layout: &Layout| -> Result<()> {
        let path = dir.join(format!("{name}.tar"));
        layout.write_archive(&path, EPOCH)?;
        archives.push(path);
        Ok(())
    };

    let busybox = busybox(&cache.tree(&Recipe::guest())?.join("usr/bin/busybox"))?;
    keep("busybox", &pack(BUSYBOX, &["/bin/sh"], PATH, &busybox)?)?;
    let wait = "trap 'exit 0' TERM INT; sleep 2147483647 & wait";
    let wait = ["/bin/sh", "-c", wait];
    keep("pause", &pack(PAUSE, &wait, PATH, &busybox)?)?;

    for name in [
        "csi-provisioner",
        "csi-resizer",
        "csi-snapshotter",
        "snapshot-controller",
    ] {
        let mut root = Rootfs::default();
        program(&mut root, name, &binaries.path(name))?;
        root.put(Path::new("tmp"), Node::Dir { mode: 0o1777 })?;
        let entry = format!("/{name}");
        keep(name, &pack(&sidecar(name), &[&entry], PATH, &root)?)?;
    }

    if let Some(programs) = programs {
        let root = image::rootfs(&cache.tree(&Recipe::node())?, programs)?;
        let layout = image::layout(&root, Arch::Amd64, BASALT, "0.0.0")?;
        keep("basalt", &layout)?;
    }
    Ok(archives)
}

/// Writes the archive of our image with the programs of another version into `dir`; its path.
///
/// # Errors
/// As [`write`].
pub(super) fn write_other(
    workspace: &Path,
    programs: &Path,
    reference: &str,
    dir: &Path,
) -> Result<PathBuf> {
    let tree = Cache::of_workspace(workspace).tree(&Recipe::node())?;
    let root = image::rootfs(&tree, programs)?;
    let path = dir.join("other.tar");
    image::layout(&root, Arch::Amd64, reference, "0.0.0")?.write_archive(&path, EPOCH)?;
    Ok(path)
}

/// Writes the archives that a release of upstream's needs beside these into `dir`; their paths.
///
/// # Errors
/// As [`write`].
pub(super) fn write_upstream(
    workspace: &Path,
    release: &Release,
    binaries: &Binaries,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    let mut keep = |name: &str, layout: &Layout| -> Result<()> {
        let path = dir.join(format!("{name}.tar"));
        layout.write_archive(&path, EPOCH)?;
        archives.push(path);
        Ok(())
    };
    let root = release.rootfs(workspace)?;
    let path = "/usr/sbin:/usr/bin:/";
    let image = pack(release.image(), &["/hypertopolvm"], path, &root)?;
    keep("topolvm", &image)?;
    // Its chart has a shell remove the registrar's socket.
    let shell = Cache::of_workspace(workspace).tree(&Recipe::guest())?;
    for name in ["csi-node-driver-registrar", "livenessprobe"] {
        let mut root = busybox(&shell.join("usr/bin/busybox"))?;
        program(&mut root, name, &binaries.path("standins"))?;
        let entry = format!("/{name}");
        keep(name, &pack(&sidecar(name), &[&entry], PATH, &root)?)?;
    }
    Ok(archives)
}

/// Where an image's programs are.
const PATH: &str = "/bin:/";

fn pack(reference: &str, entrypoint: &[&str], path: &str, root: &Rootfs) -> Result<Layout> {
    let spec = ImageSpec {
        reference: reference.to_owned(),
        architecture: "amd64",
        entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![format!("PATH={path}")],
        labels: Vec::new(),
        epoch: EPOCH,
    };
    Ok(Layout::new(&spec, layer::pack(root, EPOCH)?))
}

fn busybox(from: &Path) -> Result<Rootfs> {
    let mut root = Rootfs::default();
    program(&mut root, "bin/busybox", from)?;
    for applet in APPLETS {
        let target = "busybox".into();
        root.put(&Path::new("bin").join(applet), Node::Link { target })?;
    }
    root.put(Path::new("tmp"), Node::Dir { mode: 0o1777 })?;
    Ok(root)
}

pub(super) fn program(root: &mut Rootfs, at: &str, from: &Path) -> Result<()> {
    let from = from
        .canonicalize()
        .with_context(|| format!("no program {}", from.display()))?;
    let from = Source::Path(from);
    Ok(root.put(Path::new(at), Node::File { mode: 0o755, from })?)
}
