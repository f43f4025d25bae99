//! Notices that something happened where a file is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::warn;

/// The folders events come from: the file's own, and the one a symlink leads to.
#[derive(Debug)]
pub struct Folders {
    watcher: Option<RecommendedWatcher>,
    /// Each watched folder with its device and inode, since a folder may be replaced.
    watched: Vec<(PathBuf, (u64, u64))>,
}

impl Folders {
    /// Wakes `look` when something happens in them; none is watched yet.
    pub fn new(look: Arc<Notify>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading must not wake us again.
            if !event.is_ok_and(|e| e.kind.is_access()) {
                look.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| warn!(%error, "no file events, configuration is looked at on a timer"),
            )
            .ok();
        Self {
            watcher,
            watched: Vec::new(),
        }
    }

    /// Watches the folders `file` is in now; one that vanished is tried again next time.
    pub fn follow(&mut self, file: &Path) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let named = file.parent().map(|p| match p.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => p.to_owned(),
        });
        let real = file
            .canonicalize()
            .ok()
            .and_then(|f| f.parent().map(Path::to_owned));
        let mut wanted: Vec<(PathBuf, (u64, u64))> = Vec::new();
        for folder in [named, real].into_iter().flatten() {
            let Ok(meta) = folder.metadata() else {
                continue;
            };
            let id = (meta.dev(), meta.ino());
            if !wanted.iter().any(|(_, known)| *known == id) {
                wanted.push((folder, id));
            }
        }
        for gone in self.watched.iter().filter(|w| !wanted.contains(w)) {
            // A folder that was deleted is no longer watched, which is what we want.
            let _ = watcher.unwatch(&gone.0);
        }
        wanted.retain(|entry| {
            self.watched.contains(entry)
                || watcher
                    .watch(&entry.0, RecursiveMode::NonRecursive)
                    .inspect_err(|error| {
                        warn!(%error, folder = %entry.0.display(), "folder cannot be watched");
                    })
                    .is_ok()
        });
        self.watched = wanted;
    }
}
