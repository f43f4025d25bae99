//! What ships, built twice from nothing: the same bytes wherever it is built, and not too many of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use e2e_qemu::host;
use e2e_qemu::release_tools::make;
use extension::rootfs::{Node, Rootfs};
use extension::talos::build::lvm_thin_tools;
use extension::thin_tools::ThinTools;
use extension::{Arch, Cache};

use crate::registry::workspace;

/// What the image may have, and the extension, both packed, in bytes.
const LIMIT: usize = 40_000_000;
const ARCHIVES: [&str; 3] = [
    "image/basalt-amd64.tar",
    "extension/lvm-disk-watcher-amd64.oci.tar",
    "extension/lvm-thin-tools-amd64.oci.tar",
];

/// The files of image and extensions, and the programs of ours in them.
type Built = BTreeMap<PathBuf, Vec<u8>>;

/// What is committed, and nothing else.
fn cloned(from: &Path, dir: PathBuf) -> PathBuf {
    let mut clone = host::command("git");
    clone.args(["clone", "--quiet"]).arg(from).arg(&dir);
    host::capture(&mut clone).unwrap();
    dir
}

/// Builds the clone at `dir` with crates from `cargo_home` and the root tree of this workspace.
fn built(dir: &Path, cargo_home: &Path) -> Built {
    let mut make = make(dir);
    make.args(["image", "extension", "sysext"])
        .env("CARGO_HOME", cargo_home)
        .env("BASALT_TREE_CACHE", workspace().join(".cache/tree"));
    host::capture(&mut make).unwrap();
    let target = dir.join("target");
    let mut todo = ["image", "extension", "sysext"]
        .map(|name| target.join(name))
        .to_vec();
    todo.extend(["hypertopolvm", "disk-watcher"].map(|name| target.join("release").join(name)));
    let mut built = Built::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let name = path.strip_prefix(&target).unwrap().to_owned();
            built.insert(name, bytes);
        }
    }
    // Gigabytes that nobody needs any more.
    std::fs::remove_dir_all(dir.join("target")).unwrap();
    built
}

#[test]
#[ignore = "half an hour: builds everything that ships twice from nothing"]
fn image_and_extension_are_the_same_from_two_folders_and_not_above_40_mb() {
    let work = tempfile::tempdir_in(workspace().join("target")).unwrap();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"));
    // The same crates, elsewhere.
    let other_home = work.path().join("crates-of-another-machine");
    std::os::unix::fs::symlink(&home, &other_home).unwrap();

    let one = cloned(workspace(), work.path().join("one"));
    let other = cloned(&one, work.path().join("deeper/and-of-another-length"));
    let one = built(&one, &home);
    let other = built(&other, &other_home);
    let names = |built: &Built| built.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    let differ = |(name, bytes): &(&PathBuf, &Vec<u8>)| other[*name] != **bytes;
    let differ: Vec<_> = one.iter().filter(differ).map(|(name, _)| name).collect();
    assert!(differ.is_empty(), "{differ:?} differ");
    for archive in ARCHIVES {
        let size = one[Path::new(archive)].len();
        println!("{archive}  {size} bytes");
        assert!(size <= LIMIT, "{archive} has {size} bytes");
    }
}

#[test]
#[ignore = "minutes: builds the thin tools twice from nothing, for each processor"]
fn the_thin_tools_are_the_same_from_two_folders() {
    let work = tempfile::tempdir_in(workspace().join("target")).unwrap();
    let files = |folder: &str, arch: Arch| -> Vec<Vec<u8>> {
        let cache = Cache::new(work.path().join(folder));
        let root: Rootfs = lvm_thin_tools(&ThinTools::get(&cache, arch).unwrap()).unwrap();
        let files = root.iter().filter_map(|(_, node)| match node {
            Node::File { from, .. } => Some(from.read().unwrap()),
            _ => None,
        });
        files.collect()
    };
    for arch in [Arch::Amd64, Arch::Arm64] {
        let one = files("one", arch);
        assert_eq!(one.len(), 5, "manifest, program, lvm.conf, COPYING, SOURCE");
        assert!(one == files("deeper/and-of-another-length", arch));
    }
}
