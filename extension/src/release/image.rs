//! The images of a release, each with what it is made of.

use std::path::Path;

use anyhow::Result;

use super::crates::{self, Linked};
use super::sbom::{self, Subject};
use super::{Options, Pushed, Release, debian};
use crate::image::{self, EPOCH};
use crate::oci::Layout;
use crate::rootfs::Rootfs;
use crate::talos::CONTAINERS;
use crate::talos::build::{self, LVM_DISK_WATCHER};

/// What is built for so far: Go's name, Rust's.
const ARCHITECTURE: (&str, &str) = ("amd64", "x86_64-unknown-linux-gnu");

/// Adds the node image.
pub(super) fn node(release: &mut Release, tree: &Path, options: &Options) -> Result<()> {
    let name = "basalt";
    let root = image::rootfs(tree, &options.programs)?;
    let reference = format!("{}:{}", options.reference(name), options.version);
    let image = image::layout(&root, &reference, &options.version)?;
    let crates = &["basalt-csi", "basalt-disk-watcher"];
    let sbom = made_of(&options.workspace, (&root, Path::new("")), crates)?;
    release.image(name, options, &image, &sbom)
}

/// Adds the extension, and its flat tar.
pub(super) fn watcher(release: &mut Release, tree: &Path, options: &Options) -> Result<()> {
    let name = LVM_DISK_WATCHER;
    let root = build::lvm_disk_watcher(tree, &options.programs)?;
    let reference = format!("{}:{}", options.reference(name), options.version);
    let packed = build::pack(&root, name, &reference)?;
    let at = Path::new("rootfs").join(CONTAINERS).join(name);
    let sbom = made_of(&options.workspace, (&root, &at), &["basalt-disk-watcher"])?;
    let flat = format!("{name}-{}-{}.tar", options.version, ARCHITECTURE.0);
    release.files.insert(flat, packed.tar);
    release.image(name, options, &packed.layout, &sbom)
}

/// The packages of a closure, which is in the root at a place, and the crates of our programs in it.
fn made_of(
    workspace: &Path,
    (root, at): (&Rootfs, &Path),
    crates: &[&str],
) -> Result<Vec<sbom::Package>> {
    let target = ARCHITECTURE.1;
    let linked = Linked { crates, target };
    let mut all = debian::packages(root, at)?;
    all.extend(crates::packages(workspace, linked)?);
    Ok(all)
}

impl Release {
    /// Adds an image: its archive, its bill of materials, and its name in the registry.
    fn image(
        &mut self,
        name: &str,
        options: &Options,
        image: &Layout,
        made_of: &[sbom::Package],
    ) -> Result<()> {
        let version = &options.version;
        let reference = format!("{}:{version}", options.reference(name));
        let layout = Layout::join(std::slice::from_ref(image), &reference);
        let subject = Subject {
            name,
            version,
            architecture: ARCHITECTURE.0,
            digest: &image.digest,
        };
        let file = format!("{name}-{version}-{}.spdx.json", ARCHITECTURE.0);
        self.files.insert(file, sbom::document(subject, made_of));
        let file = format!("{name}-{version}.oci.tar");
        self.files.insert(file, layout.archive(EPOCH)?);
        let name = name.to_owned();
        self.pushed.push(Pushed { name, layout });
        Ok(())
    }
}
