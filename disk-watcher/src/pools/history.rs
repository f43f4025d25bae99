//! The last things done to a pool, kept through restarts. A view: nothing is decided from
//! it, so a file that cannot be read or written stops nothing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lvmd::units::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::Part;
use crate::journal::durable;

/// How many are kept.
const KEPT: usize = 32;

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Result {
    /// LVM's metadata and the kernel show it.
    Done,
    /// They do not.
    Failed,
}

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// What grew.
    pub part: Part,
    /// Its size before.
    pub from: u64,
    /// The size it was to have.
    pub to: u64,
    /// How it ended.
    pub result: Result,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Why it failed; empty when it did not.
    pub why: String,
}

impl Entry {
    /// An extension of `part` between two sizes in bytes that ends now.
    pub fn now(
        part: Part,
        from: Bytes,
        to: Bytes,
        took: std::time::Duration,
        failed: Option<String>,
    ) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            at: at.map_or(0, |since| since.as_secs()),
            part,
            from: from.0,
            to: to.0,
            result: if failed.is_some() {
                Result::Failed
            } else {
                Result::Done
            },
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            why: failed.unwrap_or_default(),
        }
    }
}

/// A ring of the last entries, in a file.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    entries: VecDeque<Entry>,
}

impl History {
    /// The history of the class `class`, in the folder `pools` of the journal.
    pub fn open(journal: &std::path::Path, class: &str) -> Self {
        let path = journal.join("pools").join(format!("{class}.json"));
        let entries = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                warn!(file = %path.display(), %error, "the history of the pool begins anew");
                VecDeque::new()
            }),
            Err(_) => VecDeque::new(),
        };
        Self { path, entries }
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Adds one; the oldest goes.
    pub fn add(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        while self.entries.len() > KEPT {
            self.entries.pop_front();
        }
        if let Err(error) = self.keep() {
            warn!(file = %self.path.display(), %error, "the history of the pool cannot be kept");
        }
    }

    fn keep(&self) -> anyhow::Result<()> {
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        durable(&self.path, &serde_json::to_vec_pretty(&self.entries)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(to: u64) -> Entry {
        Entry::now(
            Part::Data,
            Bytes(1),
            Bytes(to),
            Duration::from_millis(3),
            None,
        )
    }

    #[test]
    fn the_last_entries_survive_a_restart_and_damage_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path(), "fast");
        for to in 0..40 {
            history.add(entry(to));
        }
        let again = History::open(dir.path(), "fast");
        let sizes: Vec<u64> = again.entries().map(|e| e.to).collect();
        assert_eq!(sizes, (8..40).collect::<Vec<_>>());
        std::fs::write(dir.path().join("pools/fast.json"), "[{").unwrap();
        assert_eq!(History::open(dir.path(), "fast").entries().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pools"), "a file").unwrap();
        let mut history = History::open(dir.path(), "fast");
        history.add(entry(1));
        assert_eq!(history.entries().count(), 1);
    }
}
