//! The configuration in use: the files', and with them the objects' of a cluster where there
//! is one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::reload::ConfigFile;
use crate::config::Config;
use crate::kubernetes::compose::{Told, Verdict, compose};
use crate::kubernetes::written::Kept;

/// How long a start waits for the API server, so that nothing is taken for a class that was
/// deleted meanwhile.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    file: ConfigFile,
    /// What the files say.
    written: Config,
    cluster: Option<Cluster>,
}

/// The objects of a cluster, and what became of them.
#[derive(Debug)]
pub(super) struct Cluster {
    told: watch::Receiver<Arc<Told>>,
    /// What of it the configuration in use was made of.
    used: Arc<Told>,
    kept: Kept,
    journal: PathBuf,
    verdicts: watch::Sender<Arc<Vec<Verdict>>>,
}

impl Cluster {
    /// A cluster of which `told` is heard; what was in force before is in the journal's folder.
    pub(super) fn new(
        told: watch::Receiver<Arc<Told>>,
        journal: PathBuf,
        verdicts: watch::Sender<Arc<Vec<Verdict>>>,
    ) -> Self {
        Self {
            told,
            used: Arc::default(),
            kept: Kept::load(&journal),
            journal,
            verdicts,
        }
    }

    fn has_news(&self) -> bool {
        !Arc::ptr_eq(&self.used, &self.told.borrow())
    }

    fn compose(&mut self, written: &Config) -> Config {
        self.used = self.told.borrow_and_update().clone();
        let composed = compose(written, &self.used, &self.kept);
        if composed.kept != self.kept {
            composed.kept.store(&self.journal);
            self.kept = composed.kept;
        }
        let verdicts = Arc::new(composed.verdicts);
        self.verdicts.send_if_modified(|before| {
            if *before == verdicts {
                return false;
            }
            log_refusals(before, &verdicts);
            *before = verdicts;
            true
        });
        composed.config
    }
}

impl Source {
    /// A source with what is known now.
    pub(super) fn new(
        file: ConfigFile,
        written: Config,
        cluster: Option<Cluster>,
    ) -> (Self, Config) {
        let mut this = Self {
            file,
            written,
            cluster,
        };
        let config = this.compose();
        (this, config)
    }

    fn compose(&mut self) -> Config {
        match &mut self.cluster {
            None => self.written.clone(),
            Some(cluster) => cluster.compose(&self.written),
        }
    }

    /// Waits until files are read and the API server told of all objects; not for long.
    pub(super) async fn first_answer(&mut self) {
        self.file.first().await;
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let all = |told: &Arc<Told>| {
            told.classes.is_some() && told.labels.is_some() && told.removals.is_some()
        };
        let mut told = cluster.told.clone();
        let answered = tokio::time::timeout(FIRST_ANSWER, told.wait_for(all)).await;
        if answered.is_err() {
            warn!(
                classes = cluster.kept.classes.len(),
                "the API server does not answer; the classes that were in force stay so"
            );
        }
    }

    /// Something changed.
    pub(super) async fn touched(&mut self) {
        match &mut self.cluster {
            None => self.file.touched().await,
            Some(cluster) => tokio::select! {
                () = self.file.touched() => {}
                changed = cluster.told.changed() => if changed.is_err() {
                    // Nobody tells any more: the program ends.
                    std::future::pending::<()>().await;
                },
            },
        }
    }

    /// The new configuration, if it is another than `now` and can be used.
    pub(super) fn changed(&mut self, now: &Config) -> Option<Config> {
        let file = self.file.changed();
        let told = self.cluster.as_ref().is_some_and(Cluster::has_news);
        if file.is_none() && !told {
            return None;
        }
        if let Some(written) = file {
            self.written = written;
        }
        Some(self.compose()).filter(|config| config != now)
    }
}

/// One line for each object that is refused now, or no longer.
fn log_refusals(before: &[Verdict], now: &[Verdict]) {
    for verdict in now.iter().filter(|verdict| !before.contains(verdict)) {
        let (kind, name) = (verdict.kind.name(), &verdict.name);
        match &verdict.refusal {
            Some(why) => {
                warn!(kind, name, reason = why.reason, message = %why.message, "refused");
            }
            None => info!(kind, name, generation = verdict.generation, "in use"),
        }
    }
}
