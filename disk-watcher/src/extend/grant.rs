//! How much a part may get: its maximum, its chunk and its group decide.

use lvmd::units::Bytes;

use super::{Hold, Mode, Part, Pool, Rules};

/// Metadata a mapped chunk takes, in bytes, by lvmthin(7).
const PER_CHUNK: u64 = 64;

/// The size `part` gets, in extents, when it should have `wanted`.
pub(super) fn grant(rules: &Rules, pool: &Pool, part: Part, wanted: u64) -> Result<u64, Hold> {
    let has = match part {
        Part::Data => pool.data,
        Part::Metadata => pool.metadata,
    };
    let growth = match part {
        Part::Data => &rules.data,
        Part::Metadata => &rules.metadata,
    };
    let bytes = |extents: u64| Bytes(extents.saturating_mul(pool.extent.0));
    let addressable = match part {
        Part::Data => addressable(rules, pool),
        Part::Metadata => u64::MAX,
    };
    let ceiling = growth.max.min(addressable);
    if has >= ceiling {
        return Err(if addressable < growth.max {
            Hold::ChunkTooSmall(bytes(addressable))
        } else {
            Hold::AtMaximum(bytes(growth.max))
        });
    }
    let to = wanted.clamp(has + 1, ceiling);
    let free = pool.free.saturating_sub(rules.kept_from(part));
    let most = match part {
        Part::Metadata => metadata_within(pool, free),
        Part::Data => {
            // Room for the metadata of what is added must be left.
            let later = metadata_cost(pool, estimate(pool, to).min(rules.metadata.max));
            has.saturating_add(free.saturating_sub(later))
        }
    };
    // A pool that is out of space takes what there is; its writers wait.
    let worth = match pool.mode {
        Mode::OutOfSpace => 1,
        _ => growth.min_step.min(to - has),
    };
    if most < has.saturating_add(worth) {
        return Err(Hold::GroupFull {
            left: bytes(most.saturating_sub(has)),
            step: bytes(worth),
        });
    }
    Ok(to.min(most))
}

/// The most data the metadata can ever describe, in extents.
fn addressable(rules: &Rules, pool: &Pool) -> u64 {
    let metadata = u128::from(rules.metadata.max.max(pool.metadata)) * u128::from(pool.extent.0);
    let bytes = metadata / u128::from(PER_CHUNK) * u128::from(pool.chunk.0);
    u64::try_from(bytes / u128::from(pool.extent.0.max(1))).unwrap_or(u64::MAX)
}

/// Metadata for `data` extents when all of it is mapped once, in extents.
pub(super) fn estimate(pool: &Pool, data: u64) -> u64 {
    let chunks =
        (u128::from(data) * u128::from(pool.extent.0)).div_ceil(u128::from(pool.chunk.0.max(1)));
    let extents = (chunks * u128::from(PER_CHUNK)).div_ceil(u128::from(pool.extent.0.max(1)));
    u64::try_from(extents).unwrap_or(u64::MAX)
}

/// What metadata of `to` extents costs the group: itself and a spare as large, which lvextend
/// makes or enlarges unasked.
pub(super) fn metadata_cost(pool: &Pool, to: u64) -> u64 {
    let spare = to.saturating_sub(pool.spare);
    match to.saturating_sub(pool.metadata) {
        0 => 0,
        more => more.saturating_add(spare),
    }
}

/// The largest metadata that `free` extents pay for.
fn metadata_within(pool: &Pool, free: u64) -> u64 {
    // Costs rise by one or two for each extent, so the answer is one of few.
    let mut most = pool.metadata.saturating_add(free);
    if metadata_cost(pool, most) > free {
        // Itself and the spare: 2 x most - metadata - spare <= free.
        let paid = free
            .saturating_add(pool.metadata)
            .saturating_add(pool.spare)
            / 2;
        most = paid.max(pool.metadata);
        if metadata_cost(pool, most) > free {
            most = pool.metadata;
        }
    }
    most
}
