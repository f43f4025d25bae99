//! What the daemon's loops last saw, kept as files for `disk-watcher status`, and asked by
//! health pages and metrics.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::warn;

use crate::status::asked::{Answer, LATE, View};
use crate::status::{NodeStatus, NodeThinPool};

/// See the module. Shared by all loops; each sets its part.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    dir: PathBuf,
    node: NodeStatus,
    /// When the disks were looked at.
    looked: Option<Instant>,
    /// By class.
    pools: BTreeMap<String, Pool>,
    /// Who else shows it.
    told: watch::Sender<Arc<NodeStatus>>,
}

/// The pool of a class.
#[derive(Debug)]
struct Pool {
    pool: Option<NodeThinPool>,
    looked: Instant,
    /// How soon it is looked at again.
    again: Duration,
}

impl Board {
    /// A board whose files are in `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Parts {
            dir,
            node: NodeStatus::default(),
            looked: None,
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
        parts.looked = Some(Instant::now());
        parts.keep();
    }

    /// Replaces the pool of a class, which was looked at then and is again after a while.
    pub(super) fn set_pool(
        &self,
        class: &str,
        pool: Option<NodeThinPool>,
        looked: Instant,
        again: Duration,
    ) {
        let seen = Pool {
            pool,
            looked,
            again,
        };
        let mut parts = self.parts();
        parts.pools.insert(class.to_owned(), seen);
        parts.keep();
    }

    /// What is known now, and what of it is old.
    ///
    /// # Errors
    /// Those of [`View::render`].
    pub(super) fn answer(&self, view: View) -> serde_json::Result<Answer> {
        let parts = self.parts();
        Ok(Answer {
            late: parts.late(),
            text: view.render(&parts.status())?,
        })
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

    fn status(&self) -> NodeStatus {
        let pools = self.pools.values().filter_map(|seen| seen.pool.clone());
        NodeStatus {
            pools: pools.collect(),
            ..self.node.clone()
        }
    }

    /// What was not looked at for too long.
    fn late(&self) -> Vec<String> {
        let mut late = Vec::new();
        match self.looked {
            None => late.push("the disks were not looked at yet".to_owned()),
            Some(looked) if looked.elapsed() > LATE => {
                let age = looked.elapsed().as_secs();
                late.push(format!("the disks were looked at {age} s ago"));
            }
            Some(_) => {}
        }
        for (class, seen) in &self.pools {
            let age = seen.looked.elapsed();
            if age > seen.again + LATE {
                let age = age.as_secs();
                late.push(format!(
                    "the pool of class {class} was looked at {age} s ago"
                ));
            }
        }
        late
    }

    /// Keeps the status in each form, replaced whole.
    fn publish(&self) -> anyhow::Result<()> {
        let status = self.status();
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
