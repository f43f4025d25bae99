//! The configuration in use: the files', and with them the objects' of a cluster where there
//! is one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::reload::ConfigFile;
use crate::config::Config;
use crate::journal::Held;
use crate::kubernetes::compose::{Told, Verdict, compose};
use crate::kubernetes::lease::Standing;
use crate::kubernetes::written::Keeper;

/// How long the first look at the disks waits for the API server.
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
    /// The groups of the journal at that time; `None`: it was not open.
    held: Option<Held>,
    keeper: Keeper,
    verdicts: watch::Sender<Arc<Vec<Verdict>>>,
    /// Whose the node's Lease is.
    lease: watch::Receiver<Standing>,
    /// Why the configuration in use is held for it.
    other_acts: Option<String>,
}

impl Cluster {
    /// A cluster of which `told` is heard; what was in force before is in the journal's folder.
    pub(super) fn new(
        told: watch::Receiver<Arc<Told>>,
        journal: PathBuf,
        verdicts: watch::Sender<Arc<Vec<Verdict>>>,
        lease: watch::Receiver<Standing>,
    ) -> Self {
        Self {
            told,
            used: Arc::default(),
            held: None,
            keeper: Keeper::open(journal),
            verdicts,
            lease,
            other_acts: None,
        }
    }

    fn has_news(&self, held: Option<&Held>) -> bool {
        !Arc::ptr_eq(&self.used, &self.told.borrow())
            || self.held.as_ref() != held
            || self.lease.borrow().against() != self.other_acts.as_deref()
    }

    fn compose(&mut self, written: &Config, held: Option<Held>) -> Config {
        self.used = self.told.borrow_and_update().clone();
        self.held = held;
        self.other_acts = self.lease.borrow_and_update().against().map(str::to_owned);
        let composed = compose(written, &self.used, self.keeper.kept(), self.held.as_ref());
        self.keeper.keep(composed.kept);
        let verdicts = Arc::new(composed.verdicts);
        self.verdicts.send_if_modified(|before| {
            if *before == verdicts {
                return false;
            }
            log_refusals(before, &verdicts);
            *before = verdicts;
            true
        });
        Config {
            other_acts: self.other_acts.clone(),
            ..composed.config
        }
    }
}

impl Source {
    /// A source with what is known now.
    pub(super) fn new(
        file: ConfigFile,
        written: Config,
        cluster: Option<Cluster>,
        held: Option<Held>,
    ) -> (Self, Config) {
        let mut this = Self {
            file,
            written,
            cluster,
        };
        let config = this.compose(held);
        (this, config)
    }

    fn compose(&mut self, held: Option<Held>) -> Config {
        match &mut self.cluster {
            None => self.written.clone(),
            Some(cluster) => cluster.compose(&self.written, held),
        }
    }

    /// Waits until files are read and the API server told of all objects; not for long.
    pub(super) async fn first_answer(&mut self) {
        self.file.first().await;
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let (mut told, mut lease) = (cluster.told.clone(), cluster.lease.clone());
        let all = async {
            let _ = told
                .wait_for(|told| told.is_complete() && told.owners.is_some())
                .await;
            let _ = lease
                .wait_for(|standing| *standing != Standing::Unknown)
                .await;
        };
        if tokio::time::timeout(FIRST_ANSWER, all).await.is_err() {
            warn!(
                classes = cluster.keeper.kept().classes.len(),
                "the API server does not answer; the classes that were in force only look after what is there"
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
                changed = cluster.lease.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
            },
        }
    }

    /// The new configuration, if it is another than `now` and can be used. `held`: the groups of
    /// the journal.
    pub(super) fn changed(&mut self, now: &Config, held: Option<Held>) -> Option<Config> {
        if let Some(cluster) = &mut self.cluster {
            cluster.keeper.store();
        }
        let file = self.file.changed();
        let news = |cluster: &Cluster| cluster.has_news(held.as_ref());
        let told = self.cluster.as_ref().is_some_and(news);
        if file.is_none() && !told {
            return None;
        }
        if let Some(written) = file {
            self.written = written;
        }
        Some(self.compose(held)).filter(|config| config != now)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const CLASS: &str = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: a}\nspec:\n  mode: Enforce\n  select: {model: [x]}\n  volumeGroup: {name: g}\n";

    #[tokio::test]
    async fn while_another_has_the_lease_nothing_is_begun_and_without_an_answer_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = Sources::documents(dir.path().join("config.yaml"));
        sources.kubernetes = true;
        std::fs::write(&sources.config, CLASS).unwrap();
        let (file, written) = ConfigFile::open(sources, dir.path());
        let (lease, standing) = watch::channel(Standing::Unknown);
        let (_tell, told) = watch::channel(Arc::default());
        let verdicts = watch::Sender::default();
        let cluster = Cluster::new(told, dir.path().to_owned(), verdicts, standing);
        let (mut source, mut config) = Source::new(file, written, Some(cluster), None);
        source.file.first().await;
        config = source.changed(&config, None).unwrap();
        let class = config.clone();
        assert!(class.classes.iter().all(|c| c.may_change_disks()) && class.classes.len() == 1);
        for (standing, held) in [
            (Standing::Ours { token: 1 }, None),
            (Standing::Denied("b has it".into()), Some("b has it")),
            (Standing::Denied("c has it".into()), Some("c has it")),
            (Standing::Unknown, None),
        ] {
            lease.send_replace(standing.clone());
            config = source.changed(&config, None).unwrap_or(config);
            assert_eq!(config.why_held(), held, "{standing:?}");
            assert_eq!(
                config.classes, class.classes,
                "pools are cared for as before"
            );
        }
    }
}
