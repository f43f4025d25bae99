//! What the daemon's loops last saw, kept as files for `disk-watcher status`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::args::View;
use crate::status::NodeStatus;

/// See the module. Shared by all loops; each sets its part.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    dir: PathBuf,
    node: NodeStatus,
}

impl Board {
    /// A board whose files are in `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Parts {
            dir,
            node: NodeStatus::default(),
        })))
    }

    /// Replaces the disks and groups.
    pub(super) fn set_node(&self, node: NodeStatus) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.node = node;
        parts.keep();
    }
}

impl Parts {
    /// A status that cannot be kept is a pity, never a reason to stop.
    fn keep(&self) {
        if let Err(error) = self.publish() {
            warn!(%error, dir = %self.dir.display(), "the status cannot be kept");
        }
    }

    /// Keeps the status in each form, replaced whole.
    fn publish(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        for view in View::ALL {
            let next = self.dir.join(format!(".{}.next", view.file()));
            std::fs::write(&next, view.render(&self.node)?)?;
            std::fs::rename(next, self.dir.join(view.file()))?;
        }
        Ok(())
    }
}
