//! The rules of the thin pool: sizes it can have, and that it fits its group.

use lvmd::units::{Bytes, GIB, KIB};

use super::Check;
use crate::config::raw::{self, ChunkPolicy};
use crate::config::values::{Percent, SizeOr};
use crate::config::{METADATA_MAX, METADATA_MIN, Metadata, PoolSize, ThinPool, lvm_name};
use crate::geometry;

/// A pool's chunk is a multiple of this (lvmthin(7)).
const CHUNK_STEP: u64 = 64 * KIB;
/// The largest chunk (lvmthin(7)).
const CHUNK_MAX: u64 = GIB;

impl Check<'_> {
    pub(super) fn thin_pool(
        &mut self,
        raw: raw::ThinPool,
        min_disk: Bytes,
        min_disks: u32,
    ) -> ThinPool {
        self.rule("spec.thinPool.name", lvm_name::logical_volume(&raw.name));
        let pool = ThinPool {
            name: raw.name,
            size: raw.size.unwrap_or(PoolSize::OfGroup(Percent::whole(80))),
            expected_max_size: raw.expected_max_size,
            chunk_size: self.chunk_size(raw.chunk_size),
            metadata: self.metadata(raw.metadata),
            spare: raw.spare.unwrap_or(true),
            zero: raw.zero.unwrap_or(true),
            discards: raw.discards,
            follow_vg: raw.follow_vg,
            when_full: raw.when_full,
            auto_extend: raw.auto_extend,
        };
        for (field, what) in pool.auto_extend.faults() {
            self.fault(&format!("spec.thinPool.autoExtend.{field}"), what);
        }
        if pool.follow_vg && matches!(pool.size, PoolSize::Absolute(_)) {
            self.fault(
                "spec.thinPool.followVG",
                format!("size {} is no share of the group that could be followed; write one such as 80%, or remove followVG", pool.size),
            );
        }
        self.expected_max_size(&pool);
        // The smallest group this class makes; a larger one only has more room.
        let group = Bytes(min_disk.0.saturating_mul(u64::from(min_disks.max(1))));
        let data = pool.size.within(group);
        let copies: u64 = if pool.spare { 2 } else { 1 };
        let metadata = pool.metadata.floor(group);
        let needed = metadata.0.saturating_mul(copies).saturating_add(data.0);
        if needed > group.0 {
            self.fault(
                "spec.thinPool.size",
                format!(
                    "{} and {copies} x {metadata} of metadata{} need {}, more than the smallest \
                     group this class makes ({group} = limits.minDisks x select.size.min); make \
                     the pool or its metadata smaller, or select larger disks",
                    pool.size,
                    if pool.spare {
                        " (one is the spare)"
                    } else {
                        ""
                    },
                    Bytes(needed),
                ),
            );
        }
        pool
    }

    /// A chunk is for ever, and what it cannot address the pool never gets.
    fn expected_max_size(&mut self, pool: &ThinPool) {
        const FIELD: &str = "spec.thinPool.expectedMaxSize";
        let Some(expected) = pool.expected_max_size else {
            return;
        };
        if let PoolSize::Absolute(size) = pool.size
            && expected < size
        {
            self.fault(FIELD, format!("{expected} is less than size {size}"));
        }
        let chunk = (pool.chunk_size).unwrap_or_else(|| geometry::chunk_for(expected.0));
        let metadata = match pool.metadata {
            Metadata::Fixed(size) => size,
            Metadata::Auto { .. } => METADATA_MIN,
        };
        let metadata = metadata.max(pool.auto_extend.metadata.max_size);
        let most = geometry::addressable(chunk, metadata);
        if most < expected {
            self.fault(
                FIELD,
                format!(
                    "with {metadata} of metadata, all it may get (autoExtend.metadata.maxSize), a chunk of {chunk} addresses {most}; \
                     write a larger chunkSize, or leave it out"
                ),
            );
        }
    }

    fn chunk_size(&mut self, raw: Option<SizeOr<raw::Chunk>>) -> Option<Bytes> {
        const FIELD: &str = "spec.thinPool.chunkSize";
        let chunk = match raw? {
            SizeOr::Size(size) => size,
            SizeOr::Map(raw::Chunk { policy, value }) => match (policy.value, value) {
                (ChunkPolicy::Auto, None) => return None,
                (ChunkPolicy::Static, Some(value)) => value,
                (ChunkPolicy::Auto, Some(_)) => {
                    self.fault(
                        FIELD,
                        "policy Auto takes no value; write policy: Static, or remove the value",
                    );
                    return None;
                }
                (ChunkPolicy::Static, None) => {
                    self.fault(FIELD, "policy Static needs a value, such as value: 256Ki");
                    return None;
                }
                (ChunkPolicy::Performance, _) => {
                    self.not_yet(
                        "spec.thinPool.chunkSize.policy: Performance",
                        policy.referenced.line(),
                    );
                    return None;
                }
            },
        };
        if !chunk.0.is_multiple_of(CHUNK_STEP) || !(CHUNK_STEP..=CHUNK_MAX).contains(&chunk.0) {
            self.fault(
                FIELD,
                format!("{chunk} is no multiple of 64Ki from 64Ki to 1Gi"),
            );
        }
        Some(chunk)
    }

    fn metadata(&mut self, raw: Option<SizeOr<raw::PoolMetadata>>) -> Metadata {
        const FIELD: &str = "spec.thinPool.metadata";
        let metadata = match raw {
            None => Metadata::Auto {
                min: None,
                max: METADATA_MAX,
                snapshot_factor: 1,
            },
            Some(SizeOr::Size(size)) => Metadata::Fixed(size),
            Some(SizeOr::Map(raw)) => {
                let factor = raw.snapshot_factor;
                let bounds = raw.min.is_some() || raw.max.is_some() || raw.policy.is_some();
                if raw.size.is_some() && (bounds || factor.is_some()) {
                    self.fault(
                        FIELD,
                        "size stands alone; remove it, or remove policy, min, max and snapshotFactor",
                    );
                }
                if factor.is_some_and(|factor| !(1..=16).contains(&factor)) {
                    self.fault(FIELD, "snapshotFactor is a whole number from 1 to 16");
                }
                match raw.size {
                    Some(size) => Metadata::Fixed(size),
                    None => Metadata::Auto {
                        min: raw.min,
                        max: raw.max.unwrap_or(METADATA_MAX),
                        snapshot_factor: factor.unwrap_or(1),
                    },
                }
            }
        };
        let bounds: &[Bytes] = match &metadata {
            Metadata::Fixed(size) => &[*size],
            Metadata::Auto { min: None, max, .. } => &[*max],
            Metadata::Auto {
                min: Some(min),
                max,
                ..
            } => &[*min, *max],
        };
        for bound in bounds
            .iter()
            .filter(|b| !(METADATA_MIN..=METADATA_MAX).contains(b))
        {
            self.fault(
                FIELD,
                format!("{bound} is not from 2Mi to 15.8Gi, what a thin pool can have"),
            );
        }
        if let [min, max] = bounds
            && min > max
        {
            self.fault(FIELD, format!("min {min} is more than max {max}"));
        }
        metadata
    }
}
