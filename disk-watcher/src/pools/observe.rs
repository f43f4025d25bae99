//! From LVM's metadata and the kernel's status to the numbers that are decided on. Pure.

use lvmd::dm::PoolMode;
use lvmd::lvm::model::Vg;
use lvmd::pool::{self, Active};
use lvmd::units::{Bytes, SECTOR};

use super::Seen;
use crate::extend::rate::Meter;
use crate::extend::{Mode, Pool, Usage};

/// The kernel counts thin metadata in blocks of this many bytes.
const METADATA_BLOCK: u64 = 4096;

/// Used and whole data and metadata, in bytes.
pub(super) fn usage(active: &Active) -> (Usage, Usage) {
    let of = |(used, total): (u64, u64), unit: u64| Usage {
        used: used.saturating_mul(unit),
        total: total.saturating_mul(unit),
    };
    let chunk = active.table.chunk_sectors.saturating_mul(SECTOR);
    (
        of(active.status.data_chunks, chunk),
        of(active.status.metadata_blocks, METADATA_BLOCK),
    )
}

/// The pool, with what else stands in the way.
pub(super) fn pool(
    seen: &Seen,
    active: &Active,
    data: &Meter,
    metadata: &Meter,
    mut obstacles: Vec<String>,
    leaving: bool,
) -> Pool {
    let (vg, lv) = (&seen.view.vg, &seen.lv);
    let (data_bytes, metadata_bytes) = usage(active);
    obstacles.extend(seen.view.frozen.iter().map(ToString::to_string));
    obstacles.extend(pool::not_grown(lv, active).iter().map(|part| {
        format!("NotGrown: {part}; deactivate the pool and its volumes and activate them again")
    }));
    obstacles.extend(conversion(vg));
    Pool {
        extent: vg.extent_size,
        free: vg.free_count,
        data: lv.size.extents(vg.extent_size),
        metadata: lv.metadata_size.extents(vg.extent_size),
        spare: spare(vg).extents(vg.extent_size),
        chunk: Bytes(active.table.chunk_sectors.saturating_mul(SECTOR)),
        data_bytes,
        metadata_bytes,
        mode: mode(active),
        asks_error: active.table.asks_error,
        rate: data.rate(),
        metadata_rate: metadata.rate().now,
        obstacles,
        leaving,
    }
}

fn mode(active: &Active) -> Mode {
    match active.status.mode {
        PoolMode::Failed | PoolMode::ReadOnly => Mode::Sick,
        _ if active.status.needs_check => Mode::Sick,
        PoolMode::OutOfDataSpace => Mode::OutOfSpace,
        PoolMode::ReadWrite => Mode::Writable,
    }
}

/// The size of the group's spare for metadata.
fn spare(vg: &Vg) -> Bytes {
    let spares = vg
        .lvs
        .iter()
        .filter(|lv| lv.hidden && lv.name.ends_with("_pmspare"));
    spares.map(|lv| lv.size).max().unwrap_or_default()
}

/// A pvmove or a conversion that goes on (lvs(8): `p`, `c`); LVM resizes nothing it touches.
pub(super) fn conversion(vg: &Vg) -> Option<String> {
    let moving = vg
        .lvs
        .iter()
        .find(|lv| matches!(lv.attr.kind(), 'p' | 'c'))?;
    Some(format!(
        "Converting: {} is being moved or converted",
        moving.name
    ))
}
