//! Our extensions, as data.

use std::path::{Path, PathBuf};

use super::{CONTAINERS, SERVICES};
use crate::arch::Arch;
use crate::image::{self, EPOCH, ImageError, labels};
use crate::layer;
use crate::oci::{ImageSpec, Layout};
use crate::rootfs::{Node, Rootfs, Source};
use crate::thin_tools::{Places, ThinTools};

/// The watcher's name: of the extension, of its service, and of the ExtensionServiceConfig that configures it.
pub const LVM_DISK_WATCHER: &str = "lvm-disk-watcher";

/// The thin tools for Talos' own lvm, without a service.
pub const LVM_THIN_TOOLS: &str = "lvm-thin-tools";

/// Where Talos takes files of an extension.
const THIN_TOOLS: Places = Places {
    programs: "/usr/local/sbin",
    lvm: "/usr/local/etc/lvm-thin-tools",
    texts: "/usr/local/share/lvm-thin-tools",
};

const MANIFEST: &str = include_str!("../../talos/lvm-disk-watcher.manifest.yaml");
const THIN_TOOLS_MANIFEST: &str = include_str!("../../talos/lvm-thin-tools.manifest.yaml");
/// The description of the watcher's service.
pub const SERVICE: &str = include_str!("../../talos/lvm-disk-watcher.service.yaml");

/// Folders of the service's root that something is mounted on, beside those of every root.
const MOUNT_POINTS: &[&str] = &[
    "etc/disk-watcher",
    "run/disk-watcher",
    "run/lock/lvm",
    "run/topolvm",
    "run/udev",
    "var/lib/disk-watcher",
];

/// The extension whose service is disk-watcher, from `tree` and from `programs`, the folder with our own binaries.
///
/// # Errors
/// A program, or something that it needs, is not there.
pub fn lvm_disk_watcher(tree: &Path, programs: &Path) -> Result<Rootfs, ImageError> {
    let service = watcher_root(tree, programs)?;
    extension(LVM_DISK_WATCHER, manifest(), SERVICE, &service)
}

/// The root of disk-watcher's service.
///
/// # Errors
/// As [`lvm_disk_watcher`].
pub(crate) fn watcher_root(tree: &Path, programs: &Path) -> Result<Rootfs, ImageError> {
    let ours = [("usr/bin/disk-watcher", programs.join("disk-watcher"))];
    let mut service = image::base(tree, image::FROM_LVM, &ours)?;
    for dir in MOUNT_POINTS {
        service.put(Path::new(dir), Node::Dir { mode: 0o755 })?;
    }
    // Nobody but root is in there.
    service.put(Path::new("tmp"), Node::Dir { mode: 0o755 })?;
    Ok(service)
}

/// The extension that has nothing but the thin tools.
///
/// # Errors
/// What the cache has of them is damaged.
pub fn lvm_thin_tools(tools: &ThinTools) -> anyhow::Result<Rootfs> {
    let mut root = Rootfs::default();
    let from = Source::Bytes(thin_tools_manifest().into_bytes());
    root.put(Path::new("manifest.yaml"), Node::File { mode: 0o644, from })?;
    tools.put(&mut root, Path::new("rootfs"), THIN_TOOLS)?;
    Ok(root)
}

/// The manifest of the watcher's extension.
#[must_use]
pub fn manifest() -> String {
    MANIFEST.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// The manifest of the thin tools' extension.
#[must_use]
pub fn thin_tools_manifest() -> String {
    THIN_TOOLS_MANIFEST.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// An extension with one service, whose root is `service`.
fn extension(
    name: &str,
    manifest: String,
    description: &str,
    service: &Rootfs,
) -> Result<Rootfs, ImageError> {
    let mut root = Rootfs::default();
    let mut text = |path: PathBuf, text: String| {
        let from = Source::Bytes(text.into_bytes());
        root.put(&path, Node::File { mode: 0o644, from })
    };
    text("manifest.yaml".into(), manifest)?;
    let rootfs = Path::new("rootfs");
    let service_file = rootfs.join(SERVICES).join(format!("{name}.yaml"));
    text(service_file, description.to_owned())?;
    let own_root = rootfs.join(CONTAINERS).join(name);
    for (path, node) in service.iter() {
        root.put(&own_root.join(path), node.clone())?;
    }
    Ok(root)
}

/// An extension as an image, and as the flat tar that Talos' imager takes as `tarballPath`.
#[derive(Debug)]
pub struct Packed {
    /// The image.
    pub layout: Layout,
    /// What the image's one layer is before it is compressed.
    pub tar: Vec<u8>,
}

/// Packs an extension, whose programs are for `arch`; the image gets `reference` as its name.
///
/// # Errors
/// A file cannot be read.
pub fn pack(
    extension: &Rootfs,
    arch: Arch,
    name: &str,
    reference: &str,
) -> Result<Packed, ImageError> {
    let spec = ImageSpec {
        reference: reference.to_owned(),
        architecture: arch.name(),
        entrypoint: Vec::new(),
        env: Vec::new(),
        labels: labels(
            name,
            "System extension for Talos",
            env!("CARGO_PKG_VERSION"),
        ),
        epoch: EPOCH,
    };
    let mut tar = Vec::new();
    layer::write_tar(extension, EPOCH, &mut tar)?;
    let layout = Layout::new(&spec, layer::pack(extension, EPOCH)?);
    Ok(Packed { layout, tar })
}
