//! Disks that left on request, by the UUIDs that their PVs had. As long as such a request stands its disk is not taken again,
//! and one that names the UUID alone tells of no disk once the claim is gone: its class may be gone too.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Journal, JournalError, read_json, write_json};
use crate::facts::DiskId;

/// The disk of each PV.
pub(super) type Left = BTreeMap<String, DiskId>;

const FILE: &str = "left.json";

/// What was kept.
pub(super) fn read(dir: &Path) -> Result<Left, JournalError> {
    Ok(read_json(&dir.join(FILE))?.unwrap_or_default())
}

impl Journal {
    /// Withdraws the claim of a disk that leaves on request.
    ///
    /// # Errors
    /// When that is not on disk; the claim then stands.
    pub fn let_go(&mut self, pv_uuid: &str) -> Result<(), JournalError> {
        if let Some(claim) = self.claims.get(pv_uuid) {
            let mut left = self.left.clone();
            left.insert(pv_uuid.to_owned(), claim.disk.clone());
            self.set_left(left)?;
        }
        self.withdraw(pv_uuid)
    }

    /// Forgets those of which nobody asks any more that they stay away.
    ///
    /// # Errors
    /// When it is not on disk; all are kept then.
    pub fn keep_left(
        &mut self,
        is_asked: impl Fn(&str, &DiskId) -> bool,
    ) -> Result<(), JournalError> {
        let mut left = self.left.clone();
        left.retain(|uuid, disk| is_asked(uuid, disk));
        self.set_left(left)
    }

    /// The UUIDs of the PVs that this disk has or had: those claimed now, and those that left.
    pub fn pvs_of<'a>(&'a self, disk: &'a DiskId) -> impl Iterator<Item = &'a str> {
        let claims = self
            .claims
            .values()
            .filter(move |claim| claim.disk == *disk);
        let left = self.left.iter().filter(move |(_, was)| *was == disk);
        claims
            .map(|claim| claim.pv_uuid.as_str())
            .chain(left.map(|(uuid, _)| uuid.as_str()))
    }

    fn set_left(&mut self, left: Left) -> Result<(), JournalError> {
        if left != self.left {
            write_json(&self.dir.join(FILE), &left)?;
            self.left = left;
        }
        Ok(())
    }
}
