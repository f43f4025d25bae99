//! The files that we made to stand in for disks, by their paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Journal, JournalError, read_json, write_json};
use crate::files::MadeFile;

/// By path.
pub type Files = BTreeMap<PathBuf, MadeFile>;

const FILE: &str = "files.json";

pub(super) fn read(dir: &Path) -> Result<Files, JournalError> {
    Ok(read_json(&dir.join(FILE))?.unwrap_or_default())
}

impl Journal {
    /// All of them.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The one with this path.
    pub fn file(&self, path: &Path) -> Option<&MadeFile> {
        self.files.get(path)
    }

    /// Writes a file down, so that it is known after a power cut.
    ///
    /// # Errors
    /// When it is not on disk; the file then counts as not made.
    pub fn record_file(&mut self, made: MadeFile) -> Result<(), JournalError> {
        let mut files = self.files.clone();
        files.insert(made.path.clone(), made);
        self.set_files(files)
    }

    /// Forgets a file that never had its name.
    ///
    /// # Errors
    /// When that is not on disk; it is known still.
    pub fn forget_file(&mut self, path: &Path) -> Result<(), JournalError> {
        let mut files = self.files.clone();
        files.remove(path);
        self.set_files(files)
    }

    fn set_files(&mut self, files: Files) -> Result<(), JournalError> {
        write_json(&self.dir.join(FILE), &files)?;
        self.files = files;
        Ok(())
    }
}
