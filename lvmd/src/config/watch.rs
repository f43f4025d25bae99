//! Takes up a changed lvmd.yaml while lvmd runs.
//!
//! The folder is watched, not the file: a ConfigMap swaps a symlink, an editor renames,
//! and a file that is gone has nothing to watch. An event only says "look"; what counts
//! is whether the content differs. A slow tick looks as well, for folders that went away.
//! A file that cannot be used changes nothing: the old configuration stays, and the
//! reason is logged once and can be read from [`Status`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::folders::Folders;
use crate::config::{Config, ConfigError, LvmPathConflict};

/// Where a configuration comes from, and what the command line adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The deprecated `--lvm-path`.
    pub lvm_path: Option<String>,
}

/// Why a source gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// File and command line contradict each other.
    #[error(transparent)]
    LvmPath(#[from] LvmPathConflict),
}

impl Source {
    /// Reads and checks the file and applies the command line.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn load(&self) -> Result<Config, SourceError> {
        self.finish(Config::load(&self.path)?)
    }

    fn parse(&self, text: &str) -> Result<Config, SourceError> {
        self.finish(Config::parse(text, &self.path)?)
    }

    fn finish(&self, config: Config) -> Result<Config, SourceError> {
        match &self.lvm_path {
            Some(path) => Ok(config.with_lvm_path(path)?),
            None => Ok(config),
        }
    }
}

/// How fast changes are taken up.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long the folder must be quiet before the file is read.
    pub settle: Duration,
    /// How often the file is looked at without an event.
    pub tick: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(250),
            tick: Duration::from_secs(10),
        }
    }
}

/// How the last look at the file ended; for status and health pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// How many changed files were taken up since the start.
    pub applied: u64,
    /// How many changed files were refused since the start.
    pub refused: u64,
    /// Why the file as it is now is not in use; `None` when it is.
    pub error: Option<String>,
    /// What of the configuration in use takes effect at the next start only.
    pub restart_needed: Option<String>,
}

/// What a changed file led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in use.
    Applied,
    /// It cannot be used, or is gone; the old one stays.
    Refused,
}

/// The configuration in use, and how its file is doing.
#[derive(Debug, Clone)]
pub struct Watching {
    /// The configuration in use; changes when a new one was taken up.
    pub config: watch::Receiver<Arc<Config>>,
    /// How the file is doing.
    pub status: watch::Receiver<Status>,
}

impl Watching {
    /// A configuration that never changes, such as that of the shorthand flags.
    pub fn fixed(config: Arc<Config>) -> Self {
        Self {
            config: watch::channel(config).1,
            status: watch::channel(Status::default()).1,
        }
    }
}

/// Watches `source` in a task of its own until `stop`. `first` is the configuration in
/// use; `told` hears of every outcome (for metrics). Needs a tokio runtime.
pub fn watch(
    source: Source,
    first: Arc<Config>,
    pace: Pace,
    stop: CancellationToken,
    told: impl FnMut(Outcome) + Send + 'static,
) -> Watching {
    let socket = first.socket.clone();
    let (config, config_out) = watch::channel(first);
    let (status, status_out) = watch::channel(Status::default());
    let look = Arc::new(Notify::new());
    let file = File {
        folders: Folders::new(Arc::clone(&look)),
        source,
        socket,
        seen: None,
        config,
        status,
        told,
    };
    tokio::spawn(run(file, look, pace, stop));
    Watching {
        config: config_out,
        status: status_out,
    }
}

async fn run<F: FnMut(Outcome)>(
    mut file: File<F>,
    look: Arc<Notify>,
    pace: Pace,
    stop: CancellationToken,
) {
    loop {
        // Watch first, read then: nothing that happens in between is missed.
        file.folders.follow(&file.source.path);
        file.look().await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pace.tick) => {}
            () = look.notified() => settle(&look, pace).await,
        }
    }
}

/// Waits until no event came for a while, at most eight times as long.
async fn settle(look: &Notify, pace: Pace) {
    for _ in 0..8 {
        let quiet = tokio::time::timeout(pace.settle, look.notified()).await;
        if quiet.is_err() {
            return;
        }
    }
}

struct File<F> {
    source: Source,
    folders: Folders,
    /// Where the daemon listens since its start.
    socket: PathBuf,
    /// What the last look found: the content, or why there is none.
    seen: Option<Result<String, String>>,
    config: watch::Sender<Arc<Config>>,
    status: watch::Sender<Status>,
    told: F,
}

impl<F: FnMut(Outcome)> File<F> {
    async fn look(&mut self) {
        let path = &self.source.path;
        let found = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| format!("cannot read {}: {error}", path.display()));
        if self.seen.as_ref() == Some(&found) {
            return;
        }
        self.seen = Some(found.clone());
        let config = found.and_then(|text| self.source.parse(&text).map_err(|e| e.to_string()));
        match config {
            Ok(config) if config == **self.config.borrow() => self.clear(),
            Ok(config) => self.apply(config),
            Err(reason) => self.refuse(reason),
        }
    }

    /// The file says what is in use already.
    fn clear(&mut self) {
        self.status.send_if_modified(|s| s.error.take().is_some());
    }

    fn apply(&mut self, config: Config) {
        for oddity in &config.warnings {
            warn!(oddity, "configuration");
        }
        let restart_needed = (config.socket != self.socket).then(|| {
            format!(
                "socket-name is now {}, and lvmd listens at {} until it is started again",
                config.socket.display(),
                self.socket.display()
            )
        });
        if let Some(reason) = &restart_needed {
            warn!(reason, "restart needed");
        }
        info!(file = %self.source.path.display(), "configuration reloaded");
        self.config.send_replace(Arc::new(config));
        self.status.send_modify(|status| {
            status.applied += 1;
            status.error = None;
            status.restart_needed = restart_needed;
        });
        (self.told)(Outcome::Applied);
    }

    fn refuse(&mut self, reason: String) {
        error!(
            reason,
            "new configuration refused, the old one stays in use"
        );
        self.status.send_modify(|status| {
            status.refused += 1;
            status.error = Some(reason);
        });
        (self.told)(Outcome::Refused);
    }
}

#[cfg(test)]
mod tests;
