//! The only module that starts processes for this crate, on the host and in the guest.

use std::path::PathBuf;
use std::process::Command;

pub use extension::host::{HostError, capture, command, die_with_caller};

/// This program's own executable, also after a rebuild has replaced the file.
///
/// # Errors
/// /proc is not mounted.
pub fn own_executable() -> std::io::Result<PathBuf> {
    std::fs::read_link("/proc/self/exe").map(|path| {
        // The kernel marks a file that was replaced; the new one at that path serves as well.
        let text = path.to_string_lossy();
        text.strip_suffix(" (deleted)")
            .map_or_else(|| path.clone(), PathBuf::from)
    })
}

/// A command with an empty environment, started without the caller's.
#[must_use]
pub fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = command(program);
    command.env_clear();
    command
}
