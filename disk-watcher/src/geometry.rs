//! The thin pool of a class in a group of known size, in whole extents. Pure.
//!
//! Sizes are computed here and given to lvcreate as numbers; `%FREE` rounds
//! differently each time and never converges. Source of the rules: lvmthin(7).

use lvmd::lvm::mutation::Mutation;
use lvmd::units::{Bytes, GIB, KIB};

use crate::config::{Metadata, ThinPool};

/// A pool is expected to grow to this many times its first size; its chunk cannot be
/// changed later, and a chunk too small for the final size stops it from growing.
const EXPECTED_GROWTH: u64 = 4;
/// Metadata one mapped chunk takes, in bytes, by lvmthin(7).
const PER_CHUNK: u64 = 64;
/// What metadata may take before a larger chunk is chosen.
const METADATA_GOAL: u64 = GIB;
/// Smallest and largest chunk, in bytes.
const CHUNKS: (u64, u64) = (64 * KIB, GIB);

/// A pool that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Data size in extents.
    pub data_extents: u64,
    /// Metadata size in extents.
    pub metadata_extents: u64,
    /// Chunk size in bytes.
    pub chunk: Bytes,
}

/// The pool does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "pool {pool} does not fit: it takes {needed} extents (data {data}, metadata {metadata}, spare as asked), and the group has {there}; make thinPool.size or metadata smaller"
)]
pub struct DoesNotFit {
    /// Its name.
    pub pool: String,
    /// What it takes, in extents.
    pub needed: u64,
    /// Of that, data.
    pub data: u64,
    /// Of that, metadata.
    pub metadata: u64,
    /// What the group has, in extents.
    pub there: u64,
}

/// Computes the pool for a group of `extents` extents of `extent_size`.
///
/// # Errors
/// When it does not fit.
pub fn pool(
    wanted: &ThinPool,
    extents: u64,
    extent_size: Bytes,
) -> Result<PoolGeometry, DoesNotFit> {
    let group = Bytes(extents.saturating_mul(extent_size.0));
    let data = wanted.size.within(group).round_down(extent_size.0).0 / extent_size.0.max(1);
    let bytes = data.saturating_mul(extent_size.0);
    let expected = match wanted.expected_max_size {
        Some(expected) => expected.0.max(bytes),
        None => bytes.saturating_mul(EXPECTED_GROWTH),
    };
    let chunk = wanted.chunk_size.unwrap_or_else(|| chunk_for(expected));
    let estimate = expected.div_ceil(chunk.0.max(1)).saturating_mul(PER_CHUNK);
    let metadata = match wanted.metadata {
        Metadata::Auto {
            max,
            snapshot_factor,
            ..
        } => {
            let estimate = estimate.saturating_mul(snapshot_factor.into());
            Bytes(estimate.max(wanted.metadata.floor(group).0).min(max.0))
        }
        Metadata::Fixed(size) => size,
    };
    let metadata_extents = metadata.extents(extent_size);
    let needed = data + metadata_extents * (1 + u64::from(wanted.spare));
    if data == 0 || needed > extents {
        return Err(DoesNotFit {
            pool: wanted.name.clone(),
            needed,
            data,
            metadata: metadata_extents,
            there: extents,
        });
    }
    Ok(PoolGeometry {
        data_extents: data,
        metadata_extents,
        chunk,
    })
}

/// How much data a pool with this chunk can ever have, with so much metadata.
pub fn addressable(chunk: Bytes, metadata: Bytes) -> Bytes {
    Bytes((metadata.0 / PER_CHUNK).saturating_mul(chunk.0))
}

/// The smallest chunk with which the metadata of `bytes` stays within its goal.
pub fn chunk_for(bytes: u64) -> Bytes {
    let mut chunk = CHUNKS.0;
    while chunk < CHUNKS.1 && bytes.div_ceil(chunk).saturating_mul(PER_CHUNK) > METADATA_GOAL {
        chunk *= 2;
    }
    Bytes(chunk)
}

impl PoolGeometry {
    /// The change that makes it.
    pub fn creation(&self, wanted: &ThinPool, extent_size: Bytes, tags: Vec<String>) -> Mutation {
        Mutation::CreatePool {
            name: wanted.name.clone(),
            extents: self.data_extents,
            chunk_bytes: self.chunk.0,
            metadata_bytes: self.metadata_extents * extent_size.0,
            spare: wanted.spare,
            zero: wanted.zero,
            discards: wanted.discards.as_str(),
            tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PoolSize;
    use lvmd::units::{MIB, TIB};

    fn wanted(size: &str) -> ThinPool {
        let size: PoolSize = size.parse().unwrap();
        ThinPool {
            name: "pool0".into(),
            size,
            expected_max_size: None,
            chunk_size: None,
            metadata: Metadata::Auto {
                min: None,
                max: Bytes(15 * GIB),
                snapshot_factor: 1,
            },
            spare: true,
            zero: true,
            discards: crate::config::Discards::Passdown,
            follow_vg: false,
            when_full: crate::config::WhenFull::Queue,
            auto_extend: crate::config::AutoExtend::default(),
        }
    }

    #[test]
    fn the_chunk_is_chosen_for_the_size_the_pool_may_grow_to() {
        let extent = Bytes(4 * MIB);
        for (size, chunk) in [(GIB, 64 * KIB), (TIB, 256 * KIB), (10 * TIB, 2048 * KIB)] {
            let geometry = pool(&wanted("80%"), size / extent.0, extent).unwrap();
            assert_eq!(geometry.chunk, Bytes(chunk), "{}", Bytes(size));
            assert!(geometry.metadata_extents * extent.0 <= GIB + extent.0);
        }
    }

    #[test]
    fn chunk_and_metadata_are_those_of_the_size_a_person_expects() {
        let extent = Bytes(4 * MIB);
        let made = |change: fn(&mut ThinPool)| {
            let mut wanted = wanted("50%");
            change(&mut wanted);
            pool(&wanted, 10 * TIB / extent.0, extent).unwrap()
        };
        // Else 20 TiB, four times its first size.
        let small = made(|pool| pool.expected_max_size = Some(Bytes(6 * TIB)));
        assert_eq!(small.chunk, Bytes(512 * KIB));
        assert_eq!(small.metadata_extents * extent.0, GIB);
        let large = made(|pool| pool.expected_max_size = Some(Bytes(100 * TIB)));
        assert_eq!(large.chunk, Bytes(8 * MIB));
        let less = made(|pool| pool.expected_max_size = Some(Bytes(GIB)));
        assert_eq!(less.chunk, Bytes(512 * KIB), "it is made larger than that");
        let fixed = made(|pool| {
            pool.chunk_size = Some(Bytes(256 * KIB));
            pool.expected_max_size = Some(Bytes(32 * TIB));
        });
        assert_eq!(fixed.metadata_extents * extent.0, 8 * GIB);
        let snapshots = made(|pool| {
            pool.expected_max_size = Some(Bytes(8 * TIB));
            pool.metadata = Metadata::Auto {
                min: None,
                max: Bytes(15 * GIB),
                snapshot_factor: 3,
            };
        });
        assert_eq!(snapshots.metadata_extents * extent.0, 3 * GIB);
    }

    #[test]
    fn data_metadata_and_spare_fit_or_the_class_is_told() {
        let extent = Bytes(4 * MIB);
        let geometry = pool(&wanted("80%"), 63, extent).unwrap();
        assert_eq!(geometry.data_extents, 50);
        assert!(geometry.data_extents + 2 * geometry.metadata_extents <= 63);
        let error = pool(&wanted("500Gi"), 63, extent).unwrap_err();
        assert_eq!((error.data, error.there), (128_000, 63));
    }
}
