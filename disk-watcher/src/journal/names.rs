//! Names such as `/dev/sdb`, bound to the disk that had them when they were first judged.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Journal, JournalError, at, durable};
use crate::facts::DiskId;

/// The disk behind a name, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bound {
    /// The disk.
    pub disk: DiskId,
    /// The digest of what stood on it.
    pub fingerprint: String,
}

const FILE: &str = "names.json";

pub(super) fn read(dir: &std::path::Path) -> Result<BTreeMap<String, Bound>, JournalError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| JournalError::Damaged {
            path,
            why: error.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(at(&path)(error)),
    }
}

impl Journal {
    /// The names that are bound.
    pub fn names(&self) -> &BTreeMap<String, Bound> {
        &self.names
    }

    /// Replaces the names that are bound, if they changed.
    ///
    /// # Errors
    /// When they are not on disk; the old ones then stay in force.
    pub fn set_names(&mut self, names: BTreeMap<String, Bound>) -> Result<(), JournalError> {
        if names == self.names {
            return Ok(());
        }
        let path = self.dir.join(FILE);
        let text = serde_json::to_string_pretty(&names).map_err(|error| JournalError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        })?;
        durable(&path, text.as_bytes())?;
        self.names = names;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_bound_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let bound = Bound {
            disk: DiskId::from("naa.1".to_owned()),
            fingerprint: "ab".to_owned(),
        };
        let names: BTreeMap<_, _> = [("/dev/sdb".to_owned(), bound)].into();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.set_names(names.clone()).unwrap();
        drop(journal);
        assert_eq!(Journal::open(dir.path()).unwrap().names(), &names);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(matches!(
            Journal::open(dir.path()),
            Err(JournalError::Damaged { .. })
        ));
    }
}
