//! The files that stand in for disks.

use std::path::PathBuf;

use comfy_table::Table;
use lvmd::units::Bytes;
use serde::Serialize;

use super::text::lines;

/// A file, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size: Bytes,
    /// The class that names it; empty when none does any more and its disk is in a group.
    pub class: String,
    /// How it stands.
    pub state: FileState,
    /// Its loop device, or why it has none.
    pub message: String,
}

/// How a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum FileState {
    /// It would be made; its class does not act.
    Planned,
    /// It is there, and a disk.
    Attached,
    /// It is not, and nothing was changed.
    Refused,
}

/// The files as a table; empty where there are none.
pub(super) fn text(files: &[NodeFile]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["FILE", "SIZE", "CLASS", "STATE", ""]);
    for file in files {
        table.add_row([
            file.path.display().to_string(),
            file.size.to_string(),
            file.class.clone(),
            format!("{:?}", file.state),
            file.message.clone(),
        ]);
    }
    format!("\n{}", lines(&table))
}
