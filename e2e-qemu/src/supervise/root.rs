//! A root for the kernel, put together from a tree and folders of the host.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

/// A root put together from a tree and folders of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Root {
    /// The tree; read-only.
    pub(crate) tree: PathBuf,
    /// How much memory files on /dev/shm may take, in MiB.
    pub(crate) shm_mib: u32,
    /// Folders and files of the host, in this order.
    pub(crate) binds: Vec<Bind>,
}

/// Something of the host in the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) writable: bool,
}

/// Folders of a tree that are empty and get their content when the root is used.
const EMPTY: [&str; 5] = ["/dev", "/proc", "/sys", "/run", "/tmp"];

/// A tmpfs with the tree bound into it, read-only, and the host's folders on top.
pub(super) fn make_root(root: &Root, at: &Path) -> io::Result<()> {
    fs::create_dir_all(at)?;
    mount_at(
        Some(Path::new("root")),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )?;
    lay_out(root, at, Path::new("/"))?;
    for node in ["null", "zero", "full", "random", "urandom", "net/tun"] {
        let source = Path::new("/dev").join(node);
        if source.exists() {
            bind(&source, &at.join("dev").join(node), true)?;
        }
    }
    let shm = at.join("dev/shm");
    fs::create_dir_all(&shm)?;
    let options = format!("mode=1777,size={}m", root.shm_mib);
    mount_at(
        Some(Path::new("shm")),
        &shm,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(&options),
    )?;
    mount_at(
        Some(Path::new("proc")),
        &at.join("proc"),
        Some("proc"),
        MsFlags::empty(),
        None,
    )?;
    for Bind {
        source,
        target,
        writable,
    } in &root.binds
    {
        bind(source, &below(at, target), *writable)?;
    }
    Ok(())
}

/// Binds what the tree has in `dir`. A folder in which a bind needs a place that the tree does not have is made
/// anew and filled in the same way.
fn lay_out(root: &Root, at: &Path, dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(below(&root.tree, dir))? {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        let target = below(at, &path);
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if EMPTY.iter().any(|empty| path == Path::new(empty)) {
            fs::create_dir(target)?;
        } else if root
            .binds
            .iter()
            .any(|bind| bind.target != path && bind.target.starts_with(&path))
        {
            fs::create_dir(target)?;
            lay_out(root, at, &path)?;
        } else {
            bind(&entry.path(), &target, false)?;
        }
    }
    Ok(())
}

/// An absolute path, seen from another root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(source: &Path, target: &Path, writable: bool) -> io::Result<()> {
    if source.is_dir() {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(target)?;
    }
    mount_at(Some(source), target, None, MsFlags::MS_BIND, None)?;
    if !writable {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount_at(None, target, None, flags, None)?;
    }
    Ok(())
}

pub(super) fn mount_at(
    source: Option<&Path>,
    target: &Path,
    fstype: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> io::Result<()> {
    mount(source, target, fstype, flags, options).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("mount {}: {error}", target.display()))
    })
}
