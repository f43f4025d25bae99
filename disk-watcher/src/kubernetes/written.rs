//! Objects that people wrote, read like the documents of a file, and those that are in force
//! on this node, kept in the journal's folder for a start without an API server.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::node_selector::NodeSelector;
use crate::config::{API_VERSION, Config, DiskClass};
use crate::journal::{recall, remember};

/// The kinds that people write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// DiskClass.
    Class,
    /// DiskRemovalRequest.
    Removal,
    /// DiskWipeRequest.
    Wipe,
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Class => "DiskClass",
            Self::Removal => "DiskRemovalRequest",
            Self::Wipe => "DiskWipeRequest",
        }
    }
}

/// An object that a person wrote, as far as it matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// Its uid: another object may get its name.
    pub uid: String,
    /// Its version.
    pub generation: i64,
    /// What it says.
    pub spec: Value,
}

impl Written {
    /// Reads it as a file with this one document would be read.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn read(&self, kind: Kind) -> Result<Config, String> {
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": kind.name(),
            "metadata": {"name": self.name},
            "spec": self.spec,
        });
        // JSON is YAML; on lines of its own, so that what is wrong can be pointed at.
        let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
        Config::load(&text).map_err(|error| error.to_string())
    }

    /// Its selector and class. The class is an error of its own, so that a node that is not
    /// meant need not speak of it.
    ///
    /// # Errors
    /// What is wrong with the selector.
    pub(super) fn class(&self) -> Result<(NodeSelector, Result<DiskClass, String>), String> {
        let mut rest = self.clone();
        let selector = NodeSelector::take(&mut rest.spec)?;
        let class = rest.read(Kind::Class).and_then(|mut config| {
            let class = config.classes.pop();
            class.ok_or_else(|| "spec: there is no class in it".to_owned())
        });
        Ok((selector, class))
    }
}

/// What is in force on this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Classes, each in the version that is used.
    #[serde(default)]
    pub classes: Vec<Written>,
    /// Removal requests. Wipes are not kept: none begins without the API server.
    #[serde(default)]
    pub removals: Vec<Written>,
}

impl Kept {
    /// What was in force when the last disk-watcher ended. A file that cannot be read is as
    /// none: nothing is taken for a class that nobody knows.
    pub fn load(journal: &Path) -> Self {
        recall(&file(journal), "what of the cluster was in force")
    }

    /// Keeps it.
    pub fn store(&self, journal: &Path) {
        if let Err(error) = remember(&file(journal), self) {
            let error = crate::node::chain(&error);
            warn!(%error, "the classes of the cluster are not kept for a start without the API server");
        }
    }
}

fn file(journal: &Path) -> PathBuf {
    journal.join("kubernetes.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_survives_a_restart_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Kept::load(dir.path()), Kept::default());
        let kept = Kept {
            classes: vec![Written {
                name: "a".into(),
                uid: "u".into(),
                generation: 3,
                spec: json!({"mode": "Plan"}),
            }],
            removals: Vec::new(),
        };
        kept.store(dir.path());
        assert_eq!(Kept::load(dir.path()), kept);
        let later = r#"{"classes": [], "aKindOfTomorrow": []}"#;
        std::fs::write(file(dir.path()), later).unwrap();
        assert_eq!(
            Kept::load(dir.path()),
            Kept::default(),
            "of another version"
        );
        std::fs::write(file(dir.path()), "{").unwrap();
        assert_eq!(Kept::load(dir.path()), Kept::default());
    }
}
