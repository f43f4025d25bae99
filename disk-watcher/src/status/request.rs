//! What became of the requests about single disks.

use comfy_table::Table;
use serde::Serialize;

use super::text::lines;

use crate::facts::DiskId;

/// A request, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRequest {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The disk that it names, where that is known.
    pub disk: Option<DiskId>,
    /// How it stands.
    pub state: RequestState,
    /// Why, or how far.
    pub message: String,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RequestState {
    /// It is not done, and nothing was changed for it.
    Refused,
    /// Something outside is waited for.
    Waiting,
    /// What is on the disk is being moved away.
    Moving,
    /// The disk is being wiped.
    Wiping,
    /// It is done.
    Done,
}

/// The requests as a table; empty where there are none.
pub(super) fn text(requests: &[NodeRequest]) -> String {
    if requests.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["REQUEST", "KIND", "DISK", "STATE", ""]);
    for request in requests {
        table.add_row([
            request.name.clone(),
            request.kind.to_owned(),
            request
                .disk
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            format!("{:?}", request.state),
            request.message.clone(),
        ]);
    }
    format!("\n{}", lines(&table))
}
