//! The CSI programs: who starts what.
//!
//! A node is one process: lvmd embedded (or asked over its socket), the CSI services on one socket, the HTTP side
//! door, and with Kubernetes the watch of its LogicalVolumes, its capacity in the Node
//! object, and its registration with the kubelet. Standalone it serves the controller too.

mod backend;
mod controller;
mod node;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lvmd::run::{inode, listen};
use tokio::net::UnixListener;

pub use controller::controller;
pub use node::node;

/// A socket that is removed at the end, unless the next program has it already.
#[derive(Debug)]
pub(crate) struct Bound {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Bound {
    fn new(path: &Path) -> anyhow::Result<(UnixListener, Self)> {
        let listener =
            listen(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok((listener, Self::of(path)))
    }

    /// The socket that is at this path now.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            inode: inode(path),
        }
    }

    /// The same under another name.
    pub(crate) fn renamed(self, to: &Path) -> io::Result<Self> {
        std::fs::rename(&self.path, to)?;
        let path = to.to_owned();
        Ok(Self { path, ..self })
    }

    pub(crate) fn remove(self) -> io::Result<()> {
        if inode(&self.path) == self.inode {
            std::fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}
