//! The files of the configuration, read again when one changes.
//!
//! A changed file is used once it was left alone for a second: whoever writes it may not be done.
//! One that cannot be used begins nothing and ends nothing ([`Config::held`]): what the files
//! said before stays in force for the care of pools. It is kept in the journal's folder, so that
//! a restart with a bad file cares for them too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lvmd::config::folders::Folders;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::config::{Config, Sources, Stamp, Texts};
use crate::journal::{recall, remember};

/// How long a file has to be left alone.
const STILL: Duration = Duration::from_secs(1);
/// How long a start waits for files that are being written.
const FIRST: Duration = Duration::from_secs(5);
/// Where the last good ones are kept.
const KEPT: &str = "config.json";

/// See the module.
#[derive(Debug)]
pub(super) struct ConfigFile {
    sources: Sources,
    kept: PathBuf,
    /// What the files said when they could be used last.
    good: Texts,
    /// That is not on disk yet.
    unkept: bool,
    /// What is in force.
    config: Config,
    /// The files as they were judged last.
    judged: Option<Stamp>,
    /// How they are since, and since when.
    changing: Option<(Stamp, Instant)>,
    folders: Vec<Folders>,
    look: Arc<Notify>,
}

impl ConfigFile {
    /// The files, and what is in force until [`Self::changed`] says more: what they said when
    /// they could be used last. `journal` is the journal's folder.
    pub(super) fn open(sources: Sources, journal: &Path) -> (Self, Config) {
        let kept = journal.join(KEPT);
        let good: Texts = recall(&kept, "the last good configuration");
        let mut config = sources.parse(&good).unwrap_or_else(|error| {
            error!(error = %format!("{error:#}"), "what the files said before cannot be used either");
            Config::default()
        });
        // What was good before and stands there unchanged is not being written.
        let stamp = sources.stamp();
        let same = good != Texts::default() && sources.read().is_ok_and(|texts| texts == good);
        let judged = (same && sources.stamp() == stamp).then_some(stamp);
        if judged.is_none() {
            config.held = Some("the files were not read yet".to_owned());
        }
        let look = Arc::new(Notify::new());
        let folders = sources.files().map(|_| Folders::new(look.clone()));
        let mut this = Self {
            folders: folders.collect(),
            sources,
            kept,
            good,
            unkept: false,
            config: config.clone(),
            judged,
            changing: None,
            look,
        };
        this.follow();
        (this, config)
    }

    /// Waits until the files can be judged for the first time; not for long.
    pub(super) async fn first(&mut self) {
        if self.judged.is_none() {
            let _ = tokio::time::timeout(FIRST, self.touched()).await;
        }
    }

    /// A file changed, and was left alone since.
    pub(super) async fn touched(&mut self) {
        loop {
            let rest = match self.rest(Instant::now()) {
                Some(Duration::ZERO) => return,
                Some(rest) => rest,
                // Until somebody notices something.
                None => Duration::from_secs(3600),
            };
            tokio::select! {
                () = self.look.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// How long the files have to be left alone until they can be judged; `None`: they are as
    /// they were judged.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        let stamp = self.sources.stamp();
        if self.judged == Some(stamp) {
            self.changing = None;
            return None;
        }
        let since = match self.changing {
            Some((before, since)) if before == stamp => since,
            _ => now,
        };
        self.changing = Some((stamp, since));
        Some(STILL.saturating_sub(now.saturating_duration_since(since)))
    }

    /// A folder may have been replaced, as those of ConfigMaps are.
    fn follow(&mut self) {
        for (folders, file) in self.folders.iter_mut().zip(self.sources.files()) {
            folders.follow(file);
        }
    }

    /// What is in force now, where that is something else.
    pub(super) fn changed(&mut self) -> Option<Config> {
        self.follow();
        if self.unkept {
            self.keep();
        }
        let bad = self.judged.is_some() && self.config.held.is_some();
        match self.rest(Instant::now()) {
            Some(Duration::ZERO) => {}
            // What kept it from being read may be over.
            None if bad => {}
            _ => return None,
        }
        let stamp = self.sources.stamp();
        let read = self.read();
        if self.sources.stamp() != stamp {
            return None;
        }
        let first = self.judged.replace(stamp).is_none();
        let config = match read {
            Ok((texts, config)) => {
                let classes = config.classes.len();
                if first {
                    info!(classes, "the configuration is in use");
                } else {
                    info!(classes, "the new configuration is in use");
                }
                if texts != self.good {
                    self.good = texts;
                    self.keep();
                }
                config
            }
            Err(error) => Config {
                held: Some(format!("{error:#}")),
                ..self.config.clone()
            },
        };
        if config == self.config {
            return None;
        }
        if let Some(error) = &config.held {
            error!(%error, "the configuration cannot be used: pools are cared for as it said before, and nothing else is begun");
        }
        self.config = config.clone();
        Some(config)
    }

    fn read(&self) -> anyhow::Result<(Texts, Config)> {
        let texts = self.sources.read()?;
        self.sources.check_lost(&self.good, &texts)?;
        let config = self.sources.parse(&texts)?;
        Ok((texts, config))
    }

    fn keep(&mut self) {
        let was = self.unkept;
        match remember(&self.kept, &self.good) {
            Ok(()) => self.unkept = false,
            Err(error) => {
                self.unkept = true;
                if !was {
                    let error = crate::node::chain(&error);
                    warn!(%error, "the configuration is not kept for a start with a bad file");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
