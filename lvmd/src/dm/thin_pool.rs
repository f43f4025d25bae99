//! What the kernel says of a thin pool. Pure.
//!
//! Source: Linux `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "Table"
//! and "Status".

use std::fmt;

use crate::lvm::percent::Percent;

/// What a pool does with writes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolMode {
    /// All is well.
    ReadWrite,
    /// All data space is used: writes to space that is mapped already work, others do not.
    OutOfDataSpace,
    /// The metadata cannot be changed: writes to space that is mapped already work, others fail.
    ReadOnly,
    /// Nothing works.
    Failed,
}

impl fmt::Display for PoolMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadWrite => "rw",
            Self::OutOfDataSpace => "out_of_data_space",
            Self::ReadOnly => "ro",
            Self::Failed => "Fail",
        })
    }
}

/// Usage and mode of an active thin pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// The transaction LVM and the pool agreed on last; `None` when the pool is lost.
    pub transaction: Option<u64>,
    /// Used and total metadata, in blocks of 4 KiB.
    pub metadata_blocks: (u64, u64),
    /// Used and total data, in chunks of the pool.
    pub data_chunks: (u64, u64),
    /// What it does with writes.
    pub mode: PoolMode,
    /// The metadata must be checked before it may be written again.
    pub needs_check: bool,
    /// Writes that need new space fail at once when there is none, instead of waiting for it.
    pub error_if_no_space: bool,
}

impl PoolStatus {
    /// Reads the status text of a `thin-pool` target; `None` when it is not understood.
    pub fn parse(params: &str) -> Option<Self> {
        let words: Vec<&str> = params.split_ascii_whitespace().collect();
        if let ["Fail" | "Error", ..] = words[..] {
            return Some(Self {
                transaction: None,
                metadata_blocks: (0, 0),
                data_chunks: (0, 0),
                mode: PoolMode::Failed,
                needs_check: false,
                error_if_no_space: false,
            });
        }
        let [transaction, metadata, data, _held, mode, rest @ ..] = &words[..] else {
            return None;
        };
        Some(Self {
            transaction: Some(transaction.parse().ok()?),
            metadata_blocks: fraction(metadata)?,
            data_chunks: fraction(data)?,
            mode: match *mode {
                "rw" => PoolMode::ReadWrite,
                "out_of_data_space" => PoolMode::OutOfDataSpace,
                "ro" => PoolMode::ReadOnly,
                _ => return None,
            },
            needs_check: rest.contains(&"needs_check"),
            error_if_no_space: rest.contains(&"error_if_no_space"),
        })
    }

    /// Used data; `None` when the pool is lost.
    pub fn data(&self) -> Option<Percent> {
        self.share(self.data_chunks)
    }

    /// Used metadata; `None` when the pool is lost.
    pub fn metadata(&self) -> Option<Percent> {
        self.share(self.metadata_blocks)
    }

    fn share(&self, (used, total): (u64, u64)) -> Option<Percent> {
        (self.mode != PoolMode::Failed).then(|| Percent::of(used, total))
    }

    /// Used data in percent, 0 to 100, rounded as lvs does; 0 when the pool is lost.
    pub fn data_percent(&self) -> f64 {
        self.data().map_or(0.0, Percent::rounded)
    }

    /// Used metadata in percent, 0 to 100, rounded as lvs does; 0 when the pool is lost.
    pub fn metadata_percent(&self) -> f64 {
        self.metadata().map_or(0.0, Percent::rounded)
    }

    /// The larger of both, in percent.
    pub fn used_percent(&self) -> f64 {
        self.data_percent().max(self.metadata_percent())
    }

    /// Whether it can take writes that need new space.
    pub fn is_writable(&self) -> bool {
        self.mode == PoolMode::ReadWrite && !self.needs_check
    }
}

/// The table of an active thin pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolTable {
    /// Its chunk size in sectors of 512 bytes.
    pub chunk_sectors: u64,
    /// With so many free chunks an event comes; 0: never.
    pub low_water: u64,
    /// New chunks come zeroed.
    pub zeroing: bool,
    /// LVM asked for writes to fail at once when there is no space. The kernel itself may
    /// turn to that for a while; that is in [`PoolStatus::error_if_no_space`].
    pub asks_error: bool,
}

impl PoolTable {
    /// Reads the table text of a `thin-pool` target; `None` when it is not understood.
    pub fn parse(params: &str) -> Option<Self> {
        let mut words = params.split_ascii_whitespace().skip(2);
        let table = Self {
            chunk_sectors: words.next()?.parse().ok()?,
            low_water: words.next()?.parse().ok()?,
            zeroing: !words.clone().any(|feature| feature == "skip_block_zeroing"),
            asks_error: words.any(|word| word == "error_if_no_space"),
        };
        (table.chunk_sectors > 0).then_some(table)
    }
}

fn fraction(text: &str) -> Option<(u64, u64)> {
    let (used, total) = text.split_once('/')?;
    Some((used.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_pool_in_each_mode() {
        let pool = PoolStatus::parse(
            "2 112/1024 640/1280 - rw no_discard_passdown queue_if_no_space - 256 ",
        )
        .unwrap();
        assert_eq!(
            (pool.data_percent(), pool.metadata_percent()),
            (50.0, 10.94)
        );
        assert!(pool.is_writable() && !pool.error_if_no_space);
        let full = PoolStatus::parse(
            "1 20/1024 1280/1280 - out_of_data_space discard_passdown error_if_no_space - 256",
        )
        .unwrap();
        assert_eq!(
            (full.mode, full.used_percent()),
            (PoolMode::OutOfDataSpace, 100.0)
        );
        assert!(full.error_if_no_space && !full.is_writable());
        let sick = PoolStatus::parse(
            "1 20/1024 1280/1280 - ro discard_passdown queue_if_no_space needs_check 256",
        )
        .unwrap();
        assert!(sick.needs_check && sick.mode == PoolMode::ReadOnly);
        for lost in ["Fail", "Error"] {
            assert_eq!(PoolStatus::parse(lost).unwrap().mode, PoolMode::Failed);
        }
        assert_eq!(PoolStatus::parse("1 2"), None);
        assert_eq!(
            PoolStatus::parse("1 20/1024 1/2 - new_mode x y - 256"),
            None
        );
    }

    #[test]
    fn a_table_gives_chunk_size_and_low_water_mark() {
        assert_eq!(
            PoolTable::parse("254:0 254:1 128 384 0 "),
            Some(PoolTable {
                chunk_sectors: 128,
                low_water: 384,
                zeroing: true,
                asks_error: false,
            })
        );
        let bare = PoolTable::parse("254:0 254:1 128 0 2 skip_block_zeroing error_if_no_space ");
        let bare = bare.unwrap();
        assert!(!bare.zeroing && bare.asks_error);
        assert_eq!(PoolTable::parse("254:0"), None);
        assert_eq!(PoolTable::parse("254:0 254:1 0 0"), None);
    }
}
