//! How a record is written and read: JSON, replaced whole.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::error;

use super::{JournalError, at, durable};

/// Replaces a record; its folder is made.
///
/// # Errors
/// When it is not on disk; the old one then stands.
pub(super) fn write_json(path: &Path, record: &impl Serialize) -> Result<(), JournalError> {
    let text = serde_json::to_string_pretty(record).map_err(damaged(path))?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(at(dir))?;
    }
    durable(path, text.as_bytes())
}

/// A record; `None` when there is none.
///
/// # Errors
/// When it cannot be read or is not what we wrote.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, JournalError> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(damaged(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// What was kept for a later start; nothing where that cannot be read or is not what we wrote.
/// `what` says in the log what is missing then.
pub(crate) fn recall<T: DeserializeOwned + Default>(path: &Path, what: &str) -> T {
    let read = read_json(path).unwrap_or_else(|error| {
        error!(error = %crate::node::chain(&error), "{what} cannot be read");
        None
    });
    read.unwrap_or_default()
}

/// Keeps it.
///
/// # Errors
/// When it is not on disk.
pub(crate) fn remember(path: &Path, record: &impl Serialize) -> Result<(), JournalError> {
    write_json(path, record)
}

fn damaged(path: &Path) -> impl Fn(serde_json::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError::Damaged {
        path: path.clone(),
        why: error.to_string(),
    }
}
