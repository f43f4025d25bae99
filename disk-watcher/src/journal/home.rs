//! The journal's folder, and whose it has to be.

use std::path::PathBuf;

use tracing::info;

use super::{Journal, JournalError, Kin, Machine, owner_in};
use crate::node;

/// See the module.
#[derive(Debug, Clone)]
pub struct Home {
    /// The folder.
    pub dir: PathBuf,
    /// The name of the node.
    pub node: String,
    /// The code by which a person said that it is this machine's.
    pub accepted: Option<String>,
}

impl Home {
    /// Opens the journal and attaches the files that stand in for disks, so that what looks for
    /// groups afterwards finds them.
    ///
    /// # Errors
    /// Why no disk is acted on.
    pub fn open(&self) -> Result<Journal, String> {
        let open = || -> Result<Journal, JournalError> {
            let machine = Machine::here(&self.node);
            // What says nothing of its machine yet says it from now on.
            machine.check(&self.dir, self.accepted.as_deref())?;
            Journal::open(&self.dir)
        };
        let mut journal = open().map_err(|error| node::chain(&error))?;
        info!(owner = %journal.owner(), claims = journal.claims().count(), "the journal is open");
        crate::files::keep_made(&mut journal);
        Ok(journal)
    }

    /// The value of our tag `basalt.owner`; `None` before the journal was made: nothing is ours
    /// then. The journal need not be in order.
    ///
    /// # Errors
    /// When the id cannot be read.
    pub fn owner(&self) -> Result<Option<String>, JournalError> {
        owner_in(&self.dir)
    }

    /// Why groups with our tag may be another machine's. What is in use here is cared for
    /// nevertheless; nothing is activated.
    pub fn doubt(&self) -> Option<String> {
        match Machine::here(&self.node).kin_of(&self.dir) {
            Ok(Kin::Same | Kin::Renamed) => None,
            Ok(Kin::Other) => {
                Some("the journal was made on another machine, or that cannot be told".to_owned())
            }
            Err(error) => Some(node::chain(&error)),
        }
    }
}
