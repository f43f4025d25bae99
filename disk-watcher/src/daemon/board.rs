//! What the daemon's loops last saw, kept as files for `disk-watcher status`, and asked by
//! health pages and metrics.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tracing::warn;

use crate::args::View;
use crate::status::{NodeStatus, NodeThinPool};

/// See the module. Shared by all loops; each sets its part.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    dir: PathBuf,
    node: NodeStatus,
    /// By class: the pool, and when it was looked at.
    pools: BTreeMap<String, (Option<NodeThinPool>, Instant)>,
    /// Who else shows it.
    told: watch::Sender<Arc<NodeStatus>>,
}

impl Board {
    /// A board whose files are in `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Parts {
            dir,
            node: NodeStatus::default(),
            pools: BTreeMap::new(),
            told: watch::Sender::default(),
        })))
    }

    /// The status, as it becomes known.
    pub(super) fn told(&self) -> watch::Receiver<Arc<NodeStatus>> {
        self.parts().told.subscribe()
    }

    /// Replaces the disks and groups.
    pub(super) fn set_node(&self, node: NodeStatus) {
        let mut parts = self.parts();
        let looks = parts.node.looks + 1;
        parts.node = NodeStatus { looks, ..node };
        parts.keep();
    }

    /// Replaces the pool of a class.
    pub(super) fn set_pool(&self, class: &str, pool: Option<NodeThinPool>, at: Instant) {
        let mut parts = self.parts();
        parts.pools.insert(class.to_owned(), (pool, at));
        parts.keep();
    }

    /// Nobody looks at the pool of this class any more.
    pub(super) fn forget_pool(&self, class: &str) {
        let mut parts = self.parts();
        parts.pools.remove(class);
        parts.keep();
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut status = self.node.clone();
        let pools = self.pools.values().filter_map(|(pool, _)| pool.clone());
        status.pools = pools.collect();
        self.told.send_if_modified(|told| {
            let changed = **told != status;
            if changed {
                *told = Arc::new(status.clone());
            }
            changed
        });
        std::fs::create_dir_all(&self.dir)?;
        for view in View::ALL {
            let next = self.dir.join(format!(".{}.next", view.file()));
            std::fs::write(&next, view.render(&status)?)?;
            std::fs::rename(next, self.dir.join(view.file()))?;
        }
        Ok(())
    }
}
