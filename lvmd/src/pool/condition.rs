//! What is wrong with a pool, in stable codes.

use super::{Active, closed, mark_is_ours, not_grown};
use crate::dm::PoolMode;
use crate::lvm::model::Lv;

/// The code of a pool whose low-water mark is not ours.
pub const NOT_ARMED: &str = "PoolLowWaterNotArmed";

/// Codes of what is as somebody wants it, or will be so without anybody.
const NOTED: [&str; 4] = [
    "PoolInactive",
    "PoolErrorIfNoSpace",
    "PoolBlocksNotZeroed",
    "CopyUnderWay",
];

/// Whether a person has to see to what has this code. A code that is not known here is of another version, and counts.
pub fn needs_somebody(code: &str) -> bool {
    !NOTED.contains(&code)
}

/// Something a person should know of a class or a volume. Equal conditions are equal in
/// every byte: no text has a number that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its stable code, as in metrics and logs.
    pub code: &'static str,
    /// Whether volumes suffer, or soon will, unless somebody acts.
    pub abnormal: bool,
    /// What it means, and what to do.
    pub message: String,
}

/// What is wrong with `pool`; `active` is `None` while it is not active. `gate` is the real
/// usage, in percent, from which on it takes no new volumes.
pub fn conditions(pool: &Lv, active: Option<&Active>, gate: u8) -> Vec<Condition> {
    let mut found = Vec::new();
    let mut add = |code, abnormal, message: String| {
        found.push(Condition {
            code,
            abnormal,
            message,
        });
    };
    let name = &pool.name;
    let Some(active) = active else {
        add("PoolInactive", false, format!("pool {name} is not active"));
        return found;
    };
    let status = &active.status;
    match status.mode {
        PoolMode::ReadWrite => {}
        PoolMode::OutOfDataSpace if status.error_if_no_space => add(
            "PoolOutOfDataSpace",
            true,
            format!(
                "pool {name} has no data space left: writes that need new space fail; extend it or remove volumes"
            ),
        ),
        PoolMode::OutOfDataSpace => add(
            "PoolOutOfDataSpace",
            true,
            format!(
                "pool {name} has no data space left: writes that need new space wait, and will soon fail; extend it or remove volumes"
            ),
        ),
        PoolMode::ReadOnly => add(
            "PoolReadOnly",
            true,
            format!(
                "pool {name} is read-only: its metadata could not be written; see lvmthin(7), metadata check and repair"
            ),
        ),
        PoolMode::Failed => add(
            "PoolFailed",
            true,
            format!(
                "pool {name} has failed: its volumes give errors; deactivate its volumes and it, and activate them again; if that does not help, see lvmthin(7), metadata check and repair"
            ),
        ),
    }
    if status.needs_check {
        add(
            "PoolNeedsCheck",
            true,
            format!(
                "the metadata of pool {name} must be checked: with all its volumes inactive, run thin_check --clear-needs-check-flag on it, or lvconvert --repair; see lvmthin(7)"
            ),
        );
    }
    if status.error_if_no_space {
        add(
            "PoolErrorIfNoSpace",
            false,
            format!("when pool {name} is full, writes fail at once instead of waiting for space"),
        );
    }
    // One behind is a command at work, or one that was cut off and is made up for.
    if status
        .transaction
        .is_some_and(|reached| reached.saturating_add(1) < pool.transaction)
    {
        add(
            "PoolBehindLvm",
            true,
            format!(
                "pool {name} lags behind LVM's metadata by more than one transaction: LVM makes no new volumes in it; see lvmthin(7), metadata check and repair"
            ),
        );
    }
    if !active.table.zeroing {
        add(
            "PoolBlocksNotZeroed",
            false,
            format!(
                "pool {name} does not zero new blocks: a new volume may show what a removed one had; lvchange --zero y changes that"
            ),
        );
    }
    if let Some(closed) = closed(Some(status), gate).filter(|c| c.is_full()) {
        add(
            "PoolFull",
            true,
            format!("pool {name} takes no more volumes: {closed}"),
        );
    }
    for part in not_grown(pool, active) {
        let code = if part.metadata {
            "PoolMetadataNotGrown"
        } else {
            "PoolDataNotGrown"
        };
        add(
            code,
            true,
            format!("an extension of pool {name} did not arrive: {part}"),
        );
    }
    if status.mode == PoolMode::ReadWrite && !mark_is_ours(pool, active, gate) {
        add(
            NOT_ARMED,
            false,
            format!("the kernel would not report that pool {name} fills"),
        );
    }
    found
}
