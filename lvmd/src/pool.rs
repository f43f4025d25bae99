//! A thin pool as the kernel has it, and what follows from that.
//!
//! LVM's metadata says what a pool should be; only device-mapper says what it is. Both
//! daemons decide from the same functions: whether a pool takes more volumes
//! ([`closed`]), what is wrong with it ([`conditions`]), whether the kernel's low-water
//! mark is ours ([`mark_is_ours`]) and whether an extension arrived ([`not_grown`]). All
//! but [`look`] are pure.

mod condition;

use std::fmt;
use std::io;

pub use condition::{Condition, NOT_ARMED, conditions, needs_somebody};

use crate::dm::{self, PoolMode, PoolStatus, PoolTable};
use crate::lvm::model::{Lv, Vg};
use crate::names;
use crate::units::{Bytes, SECTOR};

/// The threshold of a pool that carries no tag, in percent.
pub const DEFAULT_THRESHOLD: u8 = 70;

/// The most LVM gives the kernel of a metadata LV (lvm2 `libdevmapper.h`,
/// `DM_THIN_MAX_METADATA_SIZE`).
const METADATA_MAX: Bytes = Bytes((255 * (1 << 14) * 8 - 256 * 1024) * SECTOR);
const METADATA_BLOCK: u64 = 4096;

/// An active pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Its usage and mode.
    pub status: PoolStatus,
    /// Its chunk size and low-water mark.
    pub table: PoolTable,
}

/// The uuids of the devices that may carry a pool's status: its own, and that which it has
/// while no thin volume uses it.
pub fn uuids(vg: &Vg, pool: &Lv) -> [String; 2] {
    [pool.dm_uuid(vg, "tpool"), pool.dm_uuid(vg, "")]
}

/// Asks device-mapper for the pool with these [`uuids`]; `None` when it is not active. Blocks
/// while the pool is suspended or its disk hangs.
///
/// # Errors
/// When device-mapper refuses, or says what is not understood.
pub fn look(control: &dm::Control, uuids: &[String; 2]) -> io::Result<Option<Active>> {
    for uuid in uuids {
        let of = |targets: Option<Vec<dm::Target>>| {
            let mut targets = targets.into_iter().flatten();
            targets.find(|t| t.kind == "thin-pool")
        };
        let (Some(status), Some(table)) = (of(control.status(uuid)?), of(control.table(uuid)?))
        else {
            continue;
        };
        let unknown = |what: &str, params: &str| {
            let text = format!("{what} {params:?} of pool {uuid} is not understood");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        return Ok(Some(Active {
            status: PoolStatus::parse(&status.params)
                .ok_or_else(|| unknown("status", &status.params))?,
            table: PoolTable::parse(&table.params)
                .ok_or_else(|| unknown("table", &table.params))?,
        }));
    }
    Ok(None)
}

/// The threshold in the pool's tag, in percent; LVM takes 50 to 100.
pub fn threshold(pool: &Lv) -> u8 {
    names::tag_value(&pool.tags, names::TAG_THRESHOLD)
        .and_then(|text| text.parse().ok())
        .filter(|percent| (50..=100).contains(percent))
        .unwrap_or(DEFAULT_THRESHOLD)
}

/// The threshold a command that may reload the pool carries: the pool's own while usage is
/// below it, else `gate`, since LVM makes no thin volume above the one it is given.
pub fn carried(pool: &Lv, status: Option<&PoolStatus>, gate: u8) -> u8 {
    let threshold = threshold(pool);
    match status {
        Some(status) if status.used_percent() >= f64::from(threshold) => gate.max(threshold),
        _ => threshold,
    }
}

/// The low-water mark, in chunks, that LVM loads for a threshold in percent; 0 for 100
/// (lvm2 `lib/thin/thin.c`).
pub fn low_water(total_chunks: u64, threshold: u8) -> u64 {
    total_chunks * u64::from(100 - threshold.min(100)) / 100
}

/// Whether an event will come when the pool reaches its threshold, or has come. One that is
/// past its threshold may have any mark: commands then carry a gate of their class.
pub fn mark_is_ours(pool: &Lv, active: &Active, gate: u8) -> bool {
    let (now, total) = (active.table.low_water, active.status.data_chunks.1);
    let carried = carried(pool, Some(&active.status), gate);
    let is_past = carried != threshold(pool);
    now == low_water(total, carried) || is_past && now > 0
}

/// Why a pool takes no more volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// It is lost, read-only, or needs a check.
    Unusable(PoolMode),
    /// Its metadata must be checked first.
    NeedsCheck,
    /// Its data space is used up.
    OutOfDataSpace,
    /// Its data is used to this gate, in percent.
    Data(u8),
    /// Its metadata is used to this gate, in percent.
    Metadata(u8),
}

impl Closed {
    /// Whether room would open it again.
    pub fn is_full(self) -> bool {
        matches!(
            self,
            Self::OutOfDataSpace | Self::Data(_) | Self::Metadata(_)
        )
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(mode) => write!(f, "its mode is {mode}"),
            Self::NeedsCheck => f.write_str("its metadata needs a check (thin_check)"),
            Self::OutOfDataSpace => f.write_str("its data space is used up"),
            Self::Data(gate) => write!(
                f,
                "its data is really used to {gate}% or more, where it takes no new volumes"
            ),
            Self::Metadata(gate) => write!(
                f,
                "its metadata is used to {gate}% or more, where it takes no new volumes"
            ),
        }
    }
}

/// The decision "no more volumes here". `gate` is in percent of real usage. A pool that
/// cannot be grown is not closed by that, and one that is not active is not closed: the
/// first request activates it and asks again.
pub fn closed(status: Option<&PoolStatus>, gate: u8) -> Option<Closed> {
    let status = status?;
    match status.mode {
        PoolMode::Failed | PoolMode::ReadOnly => return Some(Closed::Unusable(status.mode)),
        _ if status.needs_check => return Some(Closed::NeedsCheck),
        PoolMode::OutOfDataSpace => return Some(Closed::OutOfDataSpace),
        PoolMode::ReadWrite => {}
    }
    let gate_percent = f64::from(gate);
    if status.data_percent() >= gate_percent {
        Some(Closed::Data(gate))
    } else if status.metadata_percent() >= gate_percent {
        Some(Closed::Metadata(gate))
    } else {
        None
    }
}

/// A part of a pool that is smaller in the kernel than in LVM's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotGrown {
    /// Whether it is the metadata, else the data.
    pub metadata: bool,
    /// Its size in LVM's metadata.
    pub wanted: Bytes,
    /// Its size in the kernel.
    pub is: Bytes,
}

impl fmt::Display for NotGrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.metadata { "metadata" } else { "data" };
        let Self { wanted, is, .. } = self;
        write!(f, "its {what} is {wanted} for LVM, and {is} in the kernel")
    }
}

/// Whether the kernel has less than LVM's metadata says. LVM ends with 0 for an extension
/// of the metadata that the kernel refused. A pool that has failed does not tell its sizes.
pub fn not_grown(pool: &Lv, active: &Active) -> Vec<NotGrown> {
    if active.status.mode == PoolMode::Failed {
        return Vec::new();
    }
    let chunk = active.table.chunk_sectors.saturating_mul(SECTOR);
    let blocks = Bytes(
        active
            .status
            .metadata_blocks
            .1
            .saturating_mul(METADATA_BLOCK),
    );
    let parts = [
        (
            true,
            pool.metadata_size.min(METADATA_MAX),
            blocks,
            METADATA_BLOCK,
        ),
        (
            false,
            pool.size,
            Bytes(active.status.data_chunks.1.saturating_mul(chunk)),
            chunk,
        ),
    ];
    let smaller = |&(_, wanted, is, unit): &(bool, Bytes, Bytes, u64)| {
        // The kernel leaves out what is less than a unit.
        wanted.0 >= is.0.saturating_add(unit)
    };
    parts
        .into_iter()
        .filter(smaller)
        .map(|(metadata, wanted, is, _)| NotGrown {
            metadata,
            wanted,
            is,
        })
        .collect()
}

#[cfg(test)]
mod tests;
