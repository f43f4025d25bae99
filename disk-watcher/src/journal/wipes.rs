//! Which disks were wiped at a person's request: begun, and done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Journal, JournalError, read_json, write_json};
use crate::config::WipeMethod;
use crate::facts::DiskId;

/// One wipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wiped {
    /// The name of the request.
    pub request: String,
    /// The disk.
    pub disk: DiskId,
    /// What stood on it, as the request names it.
    pub fingerprint: String,
    /// How.
    pub method: WipeMethod,
    /// Whether it came to its end.
    pub finished: bool,
}

impl Journal {
    /// Where wipes are recorded, and the bytes of erased signatures kept.
    pub fn wipes_dir(&self) -> PathBuf {
        self.dir.join("wipes")
    }

    /// Writes down that a wipe is about to begin, or has ended.
    ///
    /// # Errors
    /// When that is not on disk; nothing may be wiped then.
    pub fn record_wipe(&self, wiped: &Wiped) -> Result<(), JournalError> {
        write_json(&self.wipe_path(&wiped.fingerprint), wiped)
    }

    /// What became of the wipe of a disk on which this stood.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn wiped(&self, fingerprint: &str) -> Result<Option<Wiped>, JournalError> {
        read_json(&self.wipe_path(fingerprint))
    }

    fn wipe_path(&self, fingerprint: &str) -> PathBuf {
        self.wipes_dir().join(format!("{fingerprint}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_wipe_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut wiped = Wiped {
            request: "w".into(),
            disk: DiskId::from("naa.1".to_owned()),
            fingerprint: "ab".into(),
            method: WipeMethod::Full,
            finished: false,
        };
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.wiped("ab").unwrap(), None);
        journal.record_wipe(&wiped).unwrap();
        wiped.finished = true;
        journal.record_wipe(&wiped).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.wiped("ab").unwrap(), Some(wiped));
        fs::write(journal.wipes_dir().join("ab.json"), "{").unwrap();
        assert!(journal.wiped("ab").is_err());
    }
}
