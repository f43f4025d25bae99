//! Objects that people wrote, read like the documents of a file, and those that are in force
//! on this node, kept in the journal's folder for a start without an API server.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::node_selector::NodeSelector;
use crate::config::{API_VERSION, Config, DiskClass, DiskLabels};
use crate::journal::{recall, remember};
use crate::native::ObjectClaims;

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
    /// What stands beside `spec` and has no place there.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub beside: Map<String, Value>,
    /// Why what it says cannot be read.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

impl Written {
    /// Reads it as a file with this one document would be read.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn read(&self, kind: Kind) -> Result<Config, String> {
        self.readable()?;
        let mut document = self.beside.clone();
        document.extend([
            ("apiVersion".to_owned(), json!(API_VERSION)),
            ("kind".to_owned(), json!(kind.name())),
            ("metadata".to_owned(), json!({"name": self.name})),
            ("spec".to_owned(), self.spec.clone()),
        ]);
        // JSON is YAML; on lines of its own, so that what is wrong can be pointed at.
        let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
        Config::load(&text).map_err(|error| error.to_string())
    }

    fn readable(&self) -> Result<(), String> {
        match &self.unreadable {
            Some(why) => Err(format!("it cannot be read: {why}")),
            None => Ok(()),
        }
    }

    /// Its selector and class. The class is an error of its own, so that a node that is not
    /// meant need not speak of it.
    ///
    /// # Errors
    /// What is wrong with the selector.
    pub(crate) fn class(&self) -> Result<(NodeSelector, Result<DiskClass, String>), String> {
        self.readable()?;
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
    /// The labels of the NodeDisk objects of this node.
    #[serde(default, skip_serializing_if = "DiskLabels::is_empty")]
    pub disk_labels: DiskLabels,
    /// What objects of other systems claim on it; `None`: nobody told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<ObjectClaims>,
}

impl Kept {
    /// What was in force when the last disk-watcher ended. A file that cannot be read is as
    /// none: nothing is taken for a class that nobody knows.
    pub fn load(journal: &Path) -> Self {
        recall(&file(journal), "what of the cluster was in force")
    }

    pub(crate) fn store(&self, journal: &Path) -> Result<(), String> {
        remember(&file(journal), self).map_err(|error| crate::node::chain(&error))
    }
}

/// What is in force, and its copy in the journal's folder.
#[derive(Debug)]
pub struct Keeper {
    journal: PathBuf,
    kept: Kept,
    /// Whether the copy is what it should be, and else whether that was said.
    copy: Copy,
}

#[derive(Debug, PartialEq)]
enum Copy {
    Whole,
    Due,
    Failed,
}

impl Keeper {
    /// What was in force when the last disk-watcher ended.
    pub fn open(journal: PathBuf) -> Self {
        Self {
            kept: Kept::load(&journal),
            journal,
            copy: Copy::Whole,
        }
    }

    /// What is in force.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Something else is in force now.
    pub fn keep(&mut self, kept: Kept) {
        if kept != self.kept {
            self.kept = kept;
            self.copy = Copy::Due;
            self.store();
        }
    }

    /// Writes the copy, if it is not what it should be.
    pub fn store(&mut self) {
        if self.copy == Copy::Whole {
            return;
        }
        self.copy = match self.kept.store(&self.journal) {
            Ok(()) => Copy::Whole,
            Err(error) => {
                if self.copy != Copy::Failed {
                    warn!(%error, "what is asked in the cluster is not kept for a start without the API server yet; it is tried again");
                }
                Copy::Failed
            }
        };
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
                beside: Map::new(),
                unreadable: None,
            }],
            removals: Vec::new(),
            disk_labels: [("d".to_owned(), [("a".to_owned(), "1".to_owned())].into())].into(),
            owners: Some(ObjectClaims::unheard()),
        };
        kept.store(dir.path()).unwrap();
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

    #[test]
    fn what_could_not_be_kept_is_kept_later() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("away");
        std::fs::write(&journal, "in the way").unwrap();
        let mut keeper = Keeper::open(journal.clone());
        let kept = Kept {
            removals: vec![Written {
                name: "a".into(),
                uid: "u".into(),
                generation: 1,
                spec: json!({}),
                beside: Map::new(),
                unreadable: None,
            }],
            ..Kept::default()
        };
        keeper.keep(kept.clone());
        assert_eq!(keeper.kept(), &kept);
        std::fs::remove_file(&journal).unwrap();
        keeper.keep(kept.clone());
        assert_eq!(Kept::load(&journal), Kept::default(), "not tried again yet");
        keeper.store();
        assert_eq!(Kept::load(&journal), kept);
        std::fs::remove_file(file(&journal)).unwrap();
        keeper.store();
        assert_eq!(Kept::load(&journal), Kept::default(), "nothing was due");
    }
}
