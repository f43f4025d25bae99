//! One disk-watcher acts on a node: the one that has the lock beside LVM's own, which all
//! programs that change groups of the node share. Another one looks and waits.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lvmd::cmd::Host;
use lvmd::names;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::alive::Passed;
use crate::config::{Config, Sources};
use crate::metrics::{Measured, Metrics, WorkMetrics};
use crate::pass::Watcher;
use crate::status::NodeCheck;

/// The name of the lock; LVM's begin with `P_` and `V_`.
const FILE: &str = "disk-watcher";
/// How often one that waits asks for the lock.
const ASK: Duration = Duration::from_secs(1);
/// How often one that waits looks at the disks.
const LOOK: Duration = Duration::from_secs(10);

/// The lock. It ends with the process.
#[derive(Debug)]
pub(super) struct Post {
    /// `None`: there is no directory for it. Then LVM has none either, and nothing is changed.
    _lock: Option<Flock<File>>,
}

impl Post {
    /// Takes it; gives the file back where another process has it.
    pub(super) fn take(dir: &Path) -> Result<Self, File> {
        match open(dir) {
            Ok(file) => Self::lock(file),
            Err(error) => {
                error!(%error, dir = %dir.display(), "there can be no lock");
                Ok(Self { _lock: None })
            }
        }
    }

    fn lock(file: File) -> Result<Self, File> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: Some(lock) }),
            Err((file, Errno::EWOULDBLOCK)) => Err(file),
            Err((_, error)) => {
                error!(%error, "there can be no lock");
                Ok(Self { _lock: None })
            }
        }
    }
}

fn open(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let mut options = File::options();
    options.create(true).append(true).open(dir.join(FILE))
}

/// What looks while it waits.
#[derive(Debug, Clone)]
pub(super) struct Standby {
    pub(super) sources: Sources,
    pub(super) node: String,
    pub(super) metrics: Metrics,
    pub(super) work: WorkMetrics,
    pub(super) passed: Arc<watch::Sender<Passed>>,
}

impl Standby {
    /// Takes the post, at once or when the other one ends; `None` when told to stop before.
    pub(super) async fn wait(self, stop: &CancellationToken) -> Option<Post> {
        let mut file = match Post::take(Path::new(names::LVM_LOCK_DIR)) {
            Ok(post) => return Some(post),
            Err(file) => file,
        };
        warn!(
            "another disk-watcher acts on this node; this one looks, and acts when that one has ended"
        );
        let ended = stop.child_token();
        // A look that is under way when the other ends keeps nobody waiting; it changes nothing.
        tokio::spawn(self.look(ended.clone()));
        loop {
            tokio::select! {
                () = tokio::time::sleep(ASK) => {}
                () = stop.cancelled() => return None,
            }
            match Post::lock(file) {
                Ok(post) => {
                    ended.cancel();
                    info!("the other disk-watcher has ended; this one acts");
                    return Some(post);
                }
                Err(again) => file = again,
            }
        }
    }

    async fn look(self, ended: CancellationToken) {
        let runner = Measured::new(Host, self.work);
        let mut watcher = Watcher::new(runner, None, None, self.node);
        while !ended.is_cancelled() {
            let config = self.sources.load().unwrap_or_else(|error| Config {
                held: Some(format!("{error:#}")),
                ..Config::default()
            });
            match watcher.pass(&config).await {
                Ok(mut node) if !ended.is_cancelled() => {
                    let why = "another disk-watcher acts on this node".to_owned();
                    let acts = NodeCheck::new(NodeCheck::ACTS, Some(why));
                    node.preflight.push(acts);
                    self.metrics.set(&node);
                    self.passed.send_replace(Passed::now(&node));
                }
                Ok(_) => {}
                Err(error) => error!(%error, "the disks cannot be listed"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = ended.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_post_and_the_next_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let locks = dir.path().join("lvm");
        let first = Post::take(&locks).unwrap();
        let waiting = Post::take(&locks).expect_err("it is taken");
        let waiting = Post::lock(waiting).expect_err("still");
        drop(first);
        let second = Post::lock(waiting).unwrap();
        assert!(second._lock.is_some());
        assert!(Post::take(&locks).is_err());
    }

    #[test]
    fn where_there_is_no_folder_for_locks_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Post::take(&file).unwrap()._lock.is_none());
    }
}
