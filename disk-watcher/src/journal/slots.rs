//! Where each disk of ours was last seen: its links by path, so that another one in its place
//! is told from the disk itself.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Journal, JournalError, read_json, write_json};

/// By PV: links under `/dev/disk/by-path`.
pub type Slots = BTreeMap<String, Vec<String>>;

const FILE: &str = "slots.json";

/// What was kept. It decides nothing, so what is damaged is begun anew.
pub(super) fn read(dir: &Path) -> Result<Slots, JournalError> {
    match read_json(&dir.join(FILE)) {
        Err(JournalError::Damaged { .. }) => Ok(Slots::new()),
        read => Ok(read?.unwrap_or_default()),
    }
}

impl Journal {
    /// Where the disks of ours were last seen.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Notes where disks are now; of disks that are not there the last place stays, of PVs
    /// without a claim none.
    ///
    /// # Errors
    /// When it is not on disk; the old places then stay in force.
    pub fn see_slots(&mut self, seen: Slots) -> Result<(), JournalError> {
        let mut slots = self.slots.clone();
        slots.extend(seen);
        slots.retain(|uuid, _| self.claims.contains_key(uuid));
        if slots == self.slots {
            return Ok(());
        }
        write_json(&self.dir.join(FILE), &slots)?;
        self.slots = slots;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_begins_anew_and_what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Slots::new());
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Slots::new());
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(matches!(read(dir.path()), Err(JournalError::Io { .. })));
    }
}
