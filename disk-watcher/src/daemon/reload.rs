//! The configuration, read again when a file of it changes. A bad one keeps the old one.

use tracing::{error, info};

use crate::config::{Config, Sources, Stamp};

/// The files and what tells that one changed.
#[derive(Debug)]
pub(super) struct ConfigFile {
    sources: Sources,
    stamp: Stamp,
}

impl ConfigFile {
    /// The files and what they say now.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(super) fn open(sources: Sources) -> anyhow::Result<(Self, Config)> {
        let stamp = sources.stamp();
        let config = sources.load()?;
        Ok((Self { sources, stamp }, config))
    }

    /// The new configuration, if a file changed and all can be used.
    pub(super) fn changed(&mut self) -> Option<Config> {
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
