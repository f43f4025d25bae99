//! The images of a release, each for all architectures, with what it is made of.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::crates::{self, Linked};
use super::sbom::{self, Package, Subject};
use super::{Options, Pushed, Release, debian};
use crate::arch::Arch;
use crate::image::{self, EPOCH};
use crate::oci::Layout;
use crate::rootfs::Rootfs;
use crate::talos::CONTAINERS;
use crate::talos::build::{self, LVM_DISK_WATCHER, LVM_THIN_TOOLS};
use crate::thin_tools::ThinTools;
use crate::tree::Cache;
use crate::{squashfs, sysext};

/// What the images for one architecture are made from.
#[derive(Debug)]
pub(super) struct From {
    pub(super) arch: Arch,
    /// Debian's part.
    pub(super) tree: PathBuf,
    /// The folder with our own.
    pub(super) programs: PathBuf,
}

/// An image for one architecture, and what it is made of.
struct Image {
    arch: Arch,
    layout: Layout,
    made_of: Vec<Package>,
}

/// Adds the node image.
pub(super) fn node(release: &mut Release, sources: &[From], options: &Options) -> Result<()> {
    let name = "basalt";
    let reference = format!("{}:{}", options.reference(name), options.version);
    let crates = &["basalt-csi", "basalt-disk-watcher"];
    let mut images = Vec::new();
    for from in sources {
        let root = image::rootfs(&from.tree, &from.programs)?;
        images.push(Image {
            arch: from.arch,
            layout: image::layout(&root, from.arch, &reference, &options.version)?,
            made_of: made_of(options, from.arch, (&root, Path::new("")), crates)?,
        });
    }
    release.image(name, options, &images)
}

/// Adds the extension, its flat tars, and the same for systemd-sysext.
pub(super) fn watcher(release: &mut Release, sources: &[From], options: &Options) -> Result<()> {
    let name = LVM_DISK_WATCHER;
    let reference = format!("{}:{}", options.reference(name), options.version);
    let at = Path::new("rootfs").join(CONTAINERS).join(name);
    let mut images = Vec::new();
    for from in sources {
        let root = build::lvm_disk_watcher(&from.tree, &from.programs)?;
        let packed = build::pack(&root, from.arch, name, &reference)?;
        let flat = format!("{name}-{}-{}.tar", options.version, from.arch.name());
        release.files.insert(flat, packed.tar);
        let sysext = sysext::lvm_disk_watcher(&from.tree, &from.programs, from.arch)?;
        release.raw(name, options, from.arch, &sysext)?;
        images.push(Image {
            arch: from.arch,
            layout: packed.layout,
            made_of: made_of(options, from.arch, (&root, &at), &["basalt-disk-watcher"])?,
        });
    }
    release.image(name, options, &images)
}

/// Adds the extension with the thin tools, its flat tars, the same for systemd-sysext, and Debian's source package, which their licence asks for.
pub(super) fn thin_tools(release: &mut Release, cache: &Cache, options: &Options) -> Result<()> {
    let name = LVM_THIN_TOOLS;
    let reference = format!("{}:{}", options.reference(name), options.version);
    let mut images = Vec::new();
    for (arch, _) in options.architectures() {
        let tools = ThinTools::get(cache, arch)?;
        let packed = build::pack(&build::lvm_thin_tools(&tools)?, arch, name, &reference)?;
        let flat = format!("{name}-{}-{}.tar", options.version, arch.name());
        release.files.insert(flat, packed.tar);
        release.raw(name, options, arch, &sysext::lvm_thin_tools(&tools)?)?;
        let linked = Linked {
            crates: &["thinp"],
            target: arch.static_target(),
        };
        let mut made_of = vec![debian::source_package(&tools)?];
        made_of.extend(crates::packages(&tools.unpacked(), linked)?);
        images.push(Image {
            arch,
            layout: packed.layout,
            made_of,
        });
        for path in tools.archives()? {
            let file = path.file_name().unwrap_or_default();
            let bytes = std::fs::read(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            release.files.insert(file.display().to_string(), bytes);
        }
    }
    release.image(name, options, &images)
}

/// The packages of a closure, which is in the root at a place, and the crates of our programs in it.
fn made_of(
    options: &Options,
    arch: Arch,
    (root, at): (&Rootfs, &Path),
    crates: &[&str],
) -> Result<Vec<Package>> {
    let target = arch.target();
    let linked = Linked { crates, target };
    let mut all = debian::packages(root, at)?;
    all.extend(crates::packages(&options.workspace, linked)?);
    Ok(all)
}

impl Release {
    /// Adds what systemd-sysext takes.
    fn raw(&mut self, name: &str, options: &Options, arch: Arch, root: &Rootfs) -> Result<()> {
        let work = tempfile::tempdir().context("no folder to pack an image in")?;
        let raw = work.path().join("raw");
        squashfs::write(root, &raw, sysext::LEVEL, Some(sysext::label))?;
        let raw = std::fs::read(&raw).context("the image for systemd-sysext")?;
        let file = format!("{name}-{}-{}.raw", options.version, arch.name());
        self.files.insert(file, raw);
        Ok(())
    }

    /// Adds an image: its archive, its bills of materials, and its name in the registry.
    fn image(&mut self, name: &str, options: &Options, images: &[Image]) -> Result<()> {
        let version = &options.version;
        for image in images {
            let architecture = image.arch.name();
            let subject = Subject {
                name,
                version,
                architecture,
                digest: &image.layout.digest,
            };
            let file = format!("{name}-{version}-{architecture}.spdx.json");
            let document = sbom::document(subject, &image.made_of);
            self.files.insert(file, document);
        }
        let layouts: Vec<Layout> = images.iter().map(|image| image.layout.clone()).collect();
        let reference = format!("{}:{version}", options.reference(name));
        let layout = Layout::join(&layouts, &reference);
        let file = format!("{name}-{version}.oci.tar");
        self.files.insert(file, layout.archive(EPOCH)?);
        let name = name.to_owned();
        self.pushed.push(Pushed { name, layout });
        Ok(())
    }
}
