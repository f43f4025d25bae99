//! A pool that is being made, on record before its lvcreate runs: what that command leaves
//! when it is cut is told by it from what others made.

use std::fs;
use std::io;
use std::path::PathBuf;

use lvmd::units::Bytes;
use serde::{Deserialize, Serialize};

use super::{Journal, JournalError, at, read_json, write_json};

/// What stood in the group when we began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Making {
    /// The group's UUID.
    pub vg_uuid: String,
    /// How often it had been changed.
    pub seqno: u64,
    /// The UUIDs of all its volumes, hidden ones too: none of them is ours to remove.
    pub volumes: Vec<String>,
    /// The name of the pool.
    pub pool: String,
    /// The size of its metadata and of the group's spare, in bytes.
    pub metadata: Bytes,
}

impl Journal {
    /// Writes that a pool is about to be made.
    ///
    /// # Errors
    /// When it is not on disk; nothing may be made then.
    pub fn begin_pool(&self, making: &Making) -> Result<(), JournalError> {
        write_json(&self.making_path(&making.vg_uuid), making)
    }

    /// The pool that is being made in the group with this UUID.
    ///
    /// # Errors
    /// When the record cannot be read or is not what we wrote.
    pub fn making(&self, vg_uuid: &str) -> Result<Option<Making>, JournalError> {
        let path = self.making_path(vg_uuid);
        match read_json::<Making>(&path)? {
            Some(making) if making.vg_uuid != vg_uuid => Err(JournalError::Damaged {
                path,
                why: format!("it speaks of group {}", making.vg_uuid),
            }),
            making => Ok(making),
        }
    }

    /// The pool is made: from now on nothing in the group is a leftover.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn pool_made(&self, vg_uuid: &str) -> Result<(), JournalError> {
        let path = self.making_path(vg_uuid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(at(&path)),
        }
    }

    fn making_path(&self, vg_uuid: &str) -> PathBuf {
        self.dir.join("making").join(format!("{vg_uuid}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_known_after_a_restart_until_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let making = Making {
            vg_uuid: "g".into(),
            seqno: 1,
            volumes: vec!["u".into()],
            pool: "pool0".into(),
            metadata: Bytes(4 << 20),
        };
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.making("g").unwrap(), None);
        journal.begin_pool(&making).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.making("g").unwrap(), Some(making.clone()));
        fs::copy(journal.making_path("g"), journal.making_path("h")).unwrap();
        assert!(journal.making("h").is_err(), "it speaks of another group");
        journal.pool_made("g").unwrap();
        journal.pool_made("g").unwrap();
        assert_eq!(journal.making("g").unwrap(), None);
    }
}
