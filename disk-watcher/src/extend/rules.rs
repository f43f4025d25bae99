//! A class's settings, in extents of a group of known size.

use std::time::Duration;

use lvmd::units::Bytes;

use super::Part;
use crate::config::{DiskClass, ThinPool, WhenFull};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether the pool grows.
    pub enabled: bool,
    /// When and how its data grows.
    pub data: Growth,
    /// When and how its metadata grows.
    pub metadata: Growth,
    /// The data also grows when it would be full in this time.
    pub horizon: Duration,
    /// Extents of the group that stay free.
    pub reserve: u64,
    /// Extents of the reserve that [`Rules::emergency_for`] may take.
    pub emergency: u64,
    /// The parts that may take them.
    pub emergency_for: Vec<Part>,
    /// Time between two extensions.
    pub cooldown: Duration,
    /// What happens to writes when it is full.
    pub when_full: WhenFull,
    /// The data grows to so many extents, filled or not, as far as it may.
    pub follow: u64,
}

/// When and how one part grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// It grows when so many percent are used.
    pub threshold: u8,
    /// It grows when less is free, in bytes.
    pub min_free: u64,
    /// It grows by at least so many extents, for its present size.
    pub step: u64,
    /// With less than this many extents it is not worth it.
    pub min_step: u64,
    /// It never has more extents.
    pub max: u64,
}

impl Rules {
    /// The settings of `class` for a pool with `data` and `metadata` extents in a group of
    /// `extents` extents of `extent` bytes.
    pub fn of(
        class: &DiskClass,
        pool: &ThinPool,
        (extents, extent): (u64, Bytes),
        (data, metadata): (u64, u64),
    ) -> Self {
        let group = Bytes(extents.saturating_mul(extent.0));
        let in_extents = |size: Bytes| size.0 / extent.0.max(1);
        let auto = &pool.auto_extend;
        let bytes = |extents: u64| Bytes(extents.saturating_mul(extent.0));
        let up = |size: Bytes| size.extents(extent).max(1);
        let min_step = up(auto.data.min_step_in(group));
        let reserve = class.volume_group.reserve.within(group).extents(extent);
        Self {
            enabled: auto.enabled,
            data: Growth {
                threshold: auto.data.threshold.whole_percent().unwrap_or(70),
                min_free: auto.data.min_free_of(bytes(data)).0,
                step: up(auto.data.step.of(bytes(data))).max(min_step),
                min_step,
                max: in_extents(auto.data.max_size.within(group)),
            },
            metadata: Growth {
                threshold: auto.metadata.threshold.whole_percent().unwrap_or(50),
                min_free: auto.metadata.min_free_of(bytes(metadata)).0,
                step: up(auto.metadata.step.of(bytes(metadata))),
                min_step: 1,
                max: in_extents(auto.metadata.max_size),
            },
            horizon: auto.data.horizon,
            reserve,
            emergency: in_extents(auto.emergency.reserve.within(group)).min(reserve),
            emergency_for: auto.emergency.use_for.clone(),
            cooldown: auto.cooldown,
            when_full: pool.when_full,
            follow: match pool.follow_vg {
                true => in_extents(pool.size.within(group)),
                false => 0,
            },
        }
    }

    /// What must stay free in the group when `part` grows, in extents.
    pub fn kept_from(&self, part: Part) -> u64 {
        if self.emergency_for.contains(&part) {
            self.reserve.saturating_sub(self.emergency)
        } else {
            self.reserve
        }
    }
}
