//! Names that people wrote: bound to the disk that has them when it is first judged.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::{Judged, Watcher};
use crate::config::Config;
use crate::journal::{Bound, Journal};
use crate::node;

impl<R> Watcher<R> {
    /// The configuration with each name's disk, where it has one.
    pub(super) fn with_bound_names(&self, config: &Config) -> Config {
        let mut config = config.clone();
        let names = self.journal.as_ref().map(Journal::names);
        for named in config
            .classes
            .iter_mut()
            .filter_map(|class| class.select.named.as_mut())
            .flatten()
        {
            named.bound = names
                .and_then(|names| names.get(&named.path))
                .map(|bound| bound.disk.clone());
        }
        config
    }

    /// The digest of the disk when a name was bound to it.
    pub(super) fn bound_fingerprint(&self, disk: &crate::facts::DiskFacts) -> Option<&str> {
        let id = disk.identify();
        let names = self.journal.as_ref()?.names();
        let bound = names.values().find(|bound| Some(&bound.disk) == id.id())?;
        Some(&bound.fingerprint)
    }

    /// Binds names that are new, and forgets those that are no longer written: taking a
    /// name out of the file and putting it back is how a person binds it anew. While the file
    /// cannot be used all stay as they are.
    pub(super) fn bind_names(&mut self, config: &Config, judged: &[Judged]) {
        let (Some(journal), None) = (&mut self.journal, config.why_held()) else {
            return;
        };
        let written: Vec<&str> = config
            .classes
            .iter()
            .filter_map(|class| class.select.named.as_ref())
            .flatten()
            .map(|named| named.path.as_str())
            .collect();
        let mut names: BTreeMap<String, Bound> = journal.names().clone();
        names.retain(|name, _| written.contains(&name.as_str()));
        for name in written {
            if names.contains_key(name) {
                continue;
            }
            let has_it = |j: &&Judged| j.facts.is_called(name);
            if let Some(disk) = judged.iter().find(has_it)
                && let (Some(id), Some(reading)) = (disk.judgement.id.id(), &disk.reading)
            {
                info!(name, disk = %id, "the name is bound to this disk");
                let bound = Bound {
                    disk: id.clone(),
                    fingerprint: reading.fingerprint.clone(),
                };
                names.insert(name.to_owned(), bound);
            }
        }
        if let Err(error) = journal.set_names(names) {
            warn!(error = %node::chain(&error), "names cannot be kept");
        }
    }
}
