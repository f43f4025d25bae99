//! The configuration, read again when a file of it changes. A bad one keeps the old one.

use std::sync::Arc;

use lvmd::config::folders::Folders;
use tokio::sync::Notify;
use tracing::{error, info};

use crate::config::{Config, Sources, Stamp};

/// The files and what tells that one changed.
#[derive(Debug)]
pub(super) struct ConfigFile {
    sources: Sources,
    stamp: Stamp,
    folders: Vec<Folders>,
    look: Arc<Notify>,
}

impl ConfigFile {
    /// The files and what they say now.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(super) fn open(sources: Sources) -> anyhow::Result<(Self, Config)> {
        let stamp = sources.stamp();
        let config = sources.load()?;
        let look = Arc::new(Notify::new());
        let folders = sources.files().map(|_| Folders::new(look.clone()));
        let mut this = Self {
            folders: folders.collect(),
            sources,
            stamp,
            look,
        };
        this.follow();
        Ok((this, config))
    }

    /// A file changed; other files in its folder do not count.
    pub(super) async fn touched(&self) {
        loop {
            self.look.notified().await;
            if self.sources.stamp() != self.stamp {
                return;
            }
        }
    }

    /// A folder may have been replaced, as those of ConfigMaps are.
    fn follow(&mut self) {
        for (folders, file) in self.folders.iter_mut().zip(self.sources.files()) {
            folders.follow(file);
        }
    }

    /// The new configuration, if a file changed and all can be used.
    pub(super) fn changed(&mut self) -> Option<Config> {
        self.follow();
        let now = self.sources.stamp();
        if now == self.stamp {
            return None;
        }
        self.stamp = now;
        match self.sources.load() {
            Ok(config) => {
                info!(
                    classes = config.classes.len(),
                    "the new configuration is in use"
                );
                Some(config)
            }
            Err(error) => {
                error!(error = %format!("{error:#}"), "the old configuration stays in use");
                None
            }
        }
    }
}
