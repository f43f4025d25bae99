//! Where each disk of ours was last seen: its links by path, so that another one in its place
//! is told from the disk itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{Journal, JournalError, at, durable};

/// By PV: links under `/dev/disk/by-path`.
pub type Slots = BTreeMap<String, Vec<String>>;

const FILE: &str = "slots.json";

/// What was kept. It decides nothing, so what is damaged is begun anew.
pub(super) fn read(dir: &Path) -> Result<Slots, JournalError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Slots::new()),
        Err(error) => Err(at(&path)(error)),
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
        let path = self.dir.join(FILE);
        let text = serde_json::to_string_pretty(&slots).map_err(|error| JournalError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        })?;
        durable(&path, text.as_bytes())?;
        self.slots = slots;
        Ok(())
    }
}
