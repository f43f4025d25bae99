//! The configuration file, read again when it changes. A bad one keeps the old one.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::{error, info};

use crate::args;
use crate::config::Config;

/// A configuration file and what tells that it changed.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    stamp: Option<Stamp>,
}

type Stamp = (SystemTime, u64);

impl ConfigFile {
    /// The file and what it says now.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn open(path: PathBuf) -> anyhow::Result<(Self, Config)> {
        let stamp = stamp(&path);
        let config = args::load(&path)?;
        Ok((Self { path, stamp }, config))
    }

    /// The new configuration, if the file changed and can be used.
    pub(super) fn changed(&mut self) -> Option<Config> {
        let now = stamp(&self.path);
        if now == self.stamp {
            return None;
        }
        self.stamp = now;
        match args::load(&self.path) {
            Ok(config) => {
                info!(file = %self.path.display(), classes = config.classes.len(), "the new configuration is in use");
                Some(config)
            }
            Err(error) => {
                error!(error = %format!("{error:#}"), "the old configuration stays in use");
                None
            }
        }
    }
}

/// ConfigMaps swap a symlink, so it is followed.
fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
