//! Names such as `/dev/sdb`, bound to the disk that had them when they were first judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Journal, JournalError, read_json, write_json};
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
    Ok(read_json(&dir.join(FILE))?.unwrap_or_default())
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
        write_json(&self.dir.join(FILE), &names)?;
        self.names = names;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
