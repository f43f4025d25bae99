//! Which pool of a class was active since the machine was booted, kept through restarts of
//! the watcher: what was active and is not any more was deactivated by somebody.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::journal::durable;

/// See the module.
#[derive(Debug)]
pub struct Booted {
    path: PathBuf,
    /// The kernel's name for this boot; `None`: it cannot be told.
    boot: Option<String>,
    last: Option<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    boot: String,
    /// The UUID of the pool.
    pool: String,
}

impl Booted {
    /// The record of the class `class`, in the folder `active` of the journal; `boot` is this
    /// boot, where it can be told.
    pub fn open(journal: &Path, class: &str, boot: Option<String>) -> Self {
        let path = journal.join("active").join(format!("{class}.json"));
        let text = std::fs::read(&path).ok();
        // A damaged one counts as that of another boot.
        let last = text.and_then(|text| serde_json::from_slice(&text).ok());
        Self { path, boot, last }
    }

    /// Whether the pool was active since the machine was booted; where that cannot be told, yes.
    pub fn was_active(&self, pool: &str) -> bool {
        let Some(boot) = &self.boot else { return true };
        let is_this = |last: &Record| last.boot == *boot && last.pool == pool;
        self.last.as_ref().is_some_and(is_this)
    }

    /// Notes that the pool is active.
    pub fn note(&mut self, pool: &str) {
        if self.was_active(pool) {
            return;
        }
        if let Some(boot) = self.boot.clone() {
            let pool = pool.to_owned();
            self.keep(Record { boot, pool });
        }
    }

    /// It was deactivated by us, and may be activated again.
    pub fn forget(&mut self) {
        self.keep(Record {
            boot: String::new(),
            pool: String::new(),
        });
    }

    fn keep(&mut self, record: Record) {
        let written = || -> anyhow::Result<()> {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            durable(&self.path, &serde_json::to_vec(&record)?)?;
            Ok(())
        };
        if let Err(error) = written() {
            warn!(file = %self.path.display(), error = %format!("{error:#}"), "that the pool is active cannot be kept");
        }
        self.last = Some(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_was_active_in_this_boot_only() {
        let dir = tempfile::tempdir().unwrap();
        let open = |boot: &str| Booted::open(dir.path(), "fast", Some(boot.to_owned()));
        let mut first = open("one");
        assert!(!first.was_active("u"));
        first.note("u");
        assert!(first.was_active("u") && !first.was_active("another pool"));
        assert!(open("one").was_active("u"), "through a restart");
        assert!(!open("two").was_active("u"), "not through a reboot");
        first.forget();
        assert!(!open("one").was_active("u"));
        let unknown = Booted::open(dir.path(), "fast", None);
        assert!(unknown.was_active("u"), "what cannot be told is a no");
    }
}
