//! The decision.

use std::time::Duration;

use super::grant::{estimate, grant};
use super::{Action, Decision, Growth, Hold, Memory, Mode, Part, Pool, Rules, Usage};
use crate::config::WhenFull;

/// A pool that would be full in this time is looked at often.
const NEAR: Duration = Duration::from_secs(5 * 60);
/// What the kernel and LVM want free in the metadata, in bytes (lvm2 `lib/metadata/lv_manip.c`).
const METADATA_LEAST: u64 = 4 << 20;

/// Decides. `memory` says what was tried and how long ago.
pub fn decide(rules: &Rules, pool: &Pool, memory: &Memory) -> Decision {
    let sizes = [
        (Part::Metadata, metadata_wish(rules, pool)),
        (Part::Data, data_wish(rules, pool)),
    ];
    let mut action = None;
    let mut wanted = Vec::new();
    for (part, size) in sizes {
        let Some(size) = size else { continue };
        let answer = match hold(rules, pool, memory, part) {
            Some(hold) => Err(hold),
            None => grant(rules, pool, part, size),
        };
        match answer {
            Ok(to) if action.is_none() => {
                action = Some(Action::Extend(part, to));
                wanted.push((part, None));
            }
            // One at a time; what this one takes changes what the other may.
            Ok(_) => wanted.push((part, Some(Hold::Cooldown))),
            Err(hold) => wanted.push((part, Some(hold))),
        }
    }
    // What a part needs comes first, and has to find the room that it waits for.
    if wanted.is_empty() {
        action = follow(rules, pool, memory);
    }
    let data_hold = lasting_hold(rules, pool, memory, Part::Data);
    let wants_data = wanted.iter().any(|(part, _)| *part == Part::Data);
    if action.is_none() {
        action = when_full(rules, pool, wants_data, data_hold.as_ref()).map(Action::ErrorWhenFull);
    }
    let time_to_full = pool.rate.time_to_fill(pool.data_bytes.free());
    Decision {
        soon: action.is_some()
            || wanted
                .iter()
                .any(|(_, hold)| hold.as_ref().is_none_or(|h| !h.lasts()))
            || pool.mode == Mode::OutOfSpace
            || time_to_full.is_some_and(|time| time < NEAR),
        action,
        wanted,
        data_hold,
        metadata_hold: lasting_hold(rules, pool, memory, Part::Metadata),
        time_to_full,
    }
}

/// Grows the data to its share of a group that grew. It does not need that room, so what is not there is not missed,
/// and what a disk that leaves has to be moved to is left to that: a pool cannot give it back.
fn follow(rules: &Rules, pool: &Pool, memory: &Memory) -> Option<Action> {
    let may = rules.follow > pool.data
        && !pool.leaving
        && hold(rules, pool, memory, Part::Data).is_none();
    let to = may.then(|| grant(rules, pool, Part::Data, rules.follow))?;
    Some(Action::Extend(Part::Data, to.ok()?))
}

/// The size the data should have, in extents; `None` while it has enough.
fn data_wish(rules: &Rules, pool: &Pool) -> Option<u64> {
    let ahead = pool.rate.lasting.saturating_mul(rules.horizon.as_secs());
    let room = rules.data.min_free.max(ahead);
    let wanted = pool.mode == Mode::OutOfSpace || wants(&rules.data, pool.data_bytes, room);
    wanted.then(|| {
        let least = least(&rules.data, pool.data_bytes, room, pool.extent.0);
        least.max(pool.data.saturating_add(rules.data.step))
    })
}

/// The size the metadata should have, in extents; `None` while it has enough.
fn metadata_wish(rules: &Rules, pool: &Pool) -> Option<u64> {
    let room = rules
        .metadata
        .min_free
        .max(METADATA_LEAST.min(pool.metadata_bytes.total / 4));
    wants(&rules.metadata, pool.metadata_bytes, room).then(|| {
        let least = least(&rules.metadata, pool.metadata_bytes, room, pool.extent.0);
        let step = pool.metadata.saturating_add(rules.metadata.step);
        // Once, to what all the data the pool may get takes, rather than often.
        least.max(step).max(estimate(pool, rules.data.max))
    })
}

fn wants(growth: &Growth, usage: Usage, room: u64) -> bool {
    usage.reaches(growth.threshold) || usage.free() < room
}

/// The smallest size with which `usage` wants no more, in extents.
fn least(growth: &Growth, usage: Usage, room: u64, extent: u64) -> u64 {
    let below = u128::from(usage.used) * 100 / u128::from(growth.threshold.max(1)) + 1;
    let bytes = below.max(u128::from(usage.used) + u128::from(room));
    u64::try_from(bytes.div_ceil(u128::from(extent.max(1)))).unwrap_or(u64::MAX)
}

/// Why `part` does not grow now, whatever room there is.
fn hold(rules: &Rules, pool: &Pool, memory: &Memory, part: Part) -> Option<Hold> {
    forbidden(rules, pool).or_else(|| {
        if let Some(wait) = memory.back_off(part) {
            return Some(Hold::BackOff(wait));
        }
        // Full before the pause is over: no pause.
        let (usage, rate) = match part {
            Part::Data => (pool.data_bytes, pool.rate.now.max(pool.rate.lasting)),
            Part::Metadata => (pool.metadata_bytes, pool.metadata_rate),
        };
        let full_in = usage.free().checked_div(rate).map(Duration::from_secs);
        let in_haste =
            pool.mode == Mode::OutOfSpace || full_in.is_some_and(|time| time < rules.cooldown * 2);
        (!in_haste && memory.grew_within(part, rules.cooldown)).then_some(Hold::Cooldown)
    })
}

fn forbidden(rules: &Rules, pool: &Pool) -> Option<Hold> {
    if !rules.enabled {
        Some(Hold::Off)
    } else if pool.mode == Mode::Sick {
        Some(Hold::Sick)
    } else {
        pool.obstacles.first().cloned().map(Hold::Obstacle)
    }
}

/// Why `part` could not grow by its smallest step if it had to.
fn lasting_hold(rules: &Rules, pool: &Pool, memory: &Memory, part: Part) -> Option<Hold> {
    let (has, growth) = match part {
        Part::Data => (pool.data, &rules.data),
        Part::Metadata => (pool.metadata, &rules.metadata),
    };
    forbidden(rules, pool)
        .or_else(|| memory.back_off(part).map(Hold::BackOff))
        .or_else(|| grant(rules, pool, part, has.saturating_add(growth.min_step)).err())
}

/// Whether LVM should be asked to change what happens to writes when the pool is full.
fn when_full(rules: &Rules, pool: &Pool, wants_data: bool, hold: Option<&Hold>) -> Option<bool> {
    if forbidden(rules, pool).is_some_and(|hold| hold != Hold::Off) {
        return None;
    }
    let error = match rules.when_full {
        WhenFull::Queue => false,
        WhenFull::Error => true,
        WhenFull::Auto if pool.asks_error => {
            // Back only with room for two steps, so that it does not flap (stratisd's rule).
            let two = pool
                .data
                .saturating_add(rules.data.min_step.saturating_mul(2));
            grant(rules, pool, Part::Data, two) != Ok(two)
        }
        WhenFull::Auto => wants_data && hold.is_some_and(Hold::lasts),
    };
    (error != pool.asks_error).then_some(error)
}
