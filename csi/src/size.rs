//! How large a volume becomes: TopoLVM's rules, number for number.

use lvmd::units::{Bytes, GIB, MIB};

use crate::capability::{Access, Capability};
use crate::error::Error;
use crate::filesystem::Kind;
use crate::proto::CapacityRange;

/// The size of a volume whose request names none: 1 GiB.
pub const DEFAULT: Bytes = Bytes(GIB);
/// Sizes are multiples of this many bytes.
pub const STEP: u64 = 4096;

/// The range of sizes a request allows, checked for sense.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// At least this; 0: the request does not say.
    pub required: Bytes,
    /// At most this; `None`: any.
    pub limit: Option<Bytes>,
}

impl Range {
    /// Reads a request's range.
    ///
    /// # Errors
    /// A size is negative, or nothing lies between the two.
    pub fn read(range: Option<&CapacityRange>) -> Result<Self, Error> {
        let Some(range) = range else {
            return Ok(Self::default());
        };
        let size = |name: &str, bytes: i64| {
            let negative =
                |_| Error::Invalid(format!("{name} is {bytes}: a size is never negative"));
            u64::try_from(bytes).map(Bytes).map_err(negative)
        };
        let required = size("required_bytes", range.required_bytes)?;
        let limit = Some(size("limit_bytes", range.limit_bytes)?).filter(|limit| limit.0 > 0);
        Ok(Self { required, limit })
    }

    /// The size of a new volume: `required` or `minimum`, whichever is more, rounded up
    /// to [`STEP`]; [`DEFAULT`] when neither says anything.
    ///
    /// # Errors
    /// That is more than the limit.
    pub fn choose(self, minimum: Bytes) -> Result<Bytes, Error> {
        let too_much = |wanted: Bytes, limit: Bytes| {
            let Self { required, .. } = self;
            Error::Invalid(format!(
                "the volume would be of {} bytes and limit_bytes is {} (required_bytes {}, the least a volume of \
                 its kind has {}, sizes are multiples of {STEP}): ask for less or raise the limit",
                wanted.0, limit.0, required.0, minimum.0
            ))
        };
        let wanted = self.required.max(minimum);
        let above = |wanted: Bytes| self.limit.filter(|limit| wanted > *limit);
        if let Some(limit) = above(wanted) {
            return Err(too_much(wanted, limit));
        }
        if wanted.0 == 0 {
            let size = self
                .limit
                .map_or(DEFAULT, |limit| DEFAULT.min(limit.round_down(STEP)));
            return if size.0 > 0 {
                Ok(size)
            } else {
                Err(too_much(Bytes(STEP), self.limit.unwrap_or_default()))
            };
        }
        let rounded = wanted
            .round_up(STEP)
            .filter(|size| i64::try_from(size.0).is_ok())
            .ok_or_else(|| Error::OutOfRange(format!("{wanted} is more than a volume can have")))?;
        match above(rounded) {
            Some(limit) => Err(too_much(rounded, limit)),
            None => Ok(rounded),
        }
    }

    /// Whether a volume that was asked for with `size` bytes answers this request too.
    pub fn holds(self, size: Bytes) -> bool {
        size >= self.required && self.limit.is_none_or(|limit| size <= limit)
    }
}

/// The least a volume gets, by what it is for. A file system on less would not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minimums {
    /// Raw block volumes.
    pub block: Bytes,
    /// Volumes with ext4.
    pub ext4: Bytes,
    /// Volumes with XFS.
    pub xfs: Bytes,
    /// Volumes with Btrfs.
    pub btrfs: Bytes,
}

impl Default for Minimums {
    fn default() -> Self {
        Self {
            block: Bytes(8 * MIB),
            ext4: Bytes(32 * MIB),
            xfs: Bytes(300 * MIB),
            btrfs: Bytes(200 * MIB),
        }
    }
}

impl Minimums {
    /// The least a volume with these capabilities gets; the first decides. Upstream knows
    /// no least size for a volume that does not name its file system; it gets ext4.
    pub fn of(&self, capabilities: &[Capability]) -> Bytes {
        let first = capabilities.first();
        first.map_or(Bytes(0), |capability| self.of_access(&capability.access))
    }

    /// The least a volume that is used so gets.
    pub fn of_access(&self, access: &Access) -> Bytes {
        match access {
            Access::Block => self.block,
            Access::Mount { kind, .. } => match kind {
                Kind::Ext4 => self.ext4,
                Kind::Xfs => self.xfs,
                Kind::Btrfs => self.btrfs,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Writers;

    fn choose(required: i64, limit: i64, minimum: u64) -> Result<u64, Error> {
        let range = CapacityRange {
            required_bytes: required,
            limit_bytes: limit,
        };
        Range::read(Some(&range))?
            .choose(Bytes(minimum))
            .map(|b| b.0)
    }

    /// Upstream's `Test_convertRequestCapacityBytes`.
    #[test]
    fn sizes_are_upstreams() {
        const GI: i64 = 1 << 30;
        let rows: [_; 12] = [
            (-1, 10, None),
            (10, -1, None),
            (20, 10, None),
            (GI + 1, GI + 1, None),
            (0, 4095, None),
            (0, 4097, Some(4096)),
            (1, 8192, Some(4096)),
            (0, 2 * GI, Some(1 << 30)),
            (1, 0, Some(4096)),
            (GI, GI, Some(1 << 30)),
            (0, 0, Some(1 << 30)),
            (i64::MAX, 0, None),
        ];
        for (required, limit, size) in rows {
            assert_eq!(choose(required, limit, 0).ok(), size, "{required} {limit}");
        }
    }

    #[test]
    fn a_minimum_counts_as_if_it_were_asked_for() {
        const GI: i64 = 1 << 30;
        let rows: [_; 5] = [
            (GI, 2 * GI, 0, Some(1 << 30)),
            (0, 2 * GI, 1 << 30, Some(1 << 30)),
            (2 * GI, 2 * GI, 1 << 30, Some(2 << 30)),
            (0, GI, 2 << 30, None),
            (0, 0, 300 << 20, Some(300 << 20)),
        ];
        for (required, limit, minimum, size) in rows {
            assert_eq!(
                choose(required, limit, minimum).ok(),
                size,
                "{required} {limit} {minimum}"
            );
        }
    }

    #[test]
    fn the_first_capability_decides_the_minimum() {
        let minimums = Minimums {
            block: Bytes(1),
            ext4: Bytes(2),
            xfs: Bytes(3),
            btrfs: Bytes(4),
        };
        let with = |access| Capability {
            access,
            writers: Writers::Many,
        };
        let mount = |kind| {
            with(Access::Mount {
                kind,
                flags: vec![],
            })
        };
        let block = || with(Access::Block);
        let rows: [_; 5] = [
            (vec![], 0),
            (vec![block()], 1),
            (vec![mount(Kind::Ext4), block()], 2),
            (vec![mount(Kind::Xfs)], 3),
            (vec![mount(Kind::Btrfs)], 4),
        ];
        for (capabilities, minimum) in rows {
            assert_eq!(
                minimums.of(&capabilities),
                Bytes(minimum),
                "{capabilities:?}"
            );
        }
    }

    #[test]
    fn a_repeated_request_finds_a_volume_in_its_range_only() {
        let range = |required, limit| {
            Range::read(Some(&CapacityRange {
                required_bytes: required,
                limit_bytes: limit,
            }))
            .unwrap()
        };
        assert!(range(10, 20).holds(Bytes(20)) && range(0, 0).holds(Bytes(1)));
        assert!(!range(10, 20).holds(Bytes(21)) && !range(10, 0).holds(Bytes(9)));
    }
}
