//! Whether and how a thin pool grows. Pure: numbers in, a decision out.
//!
//! The algorithm is the one of the specification (4.6): metadata before data, since a pool
//! without metadata is lost and one without data only waits; in bytes and in percent; with
//! the rate at which it fills; never beyond its maximum, what its chunk can address, or
//! into the group's reserve. [`rate`] measures, [`Rules`] are a class's settings in a
//! group of known size, [`decide`] decides, and [`Memory`] keeps what was tried.

mod grant;
mod memory;
mod policy;
pub mod rate;
mod rules;

use std::fmt;
use std::time::Duration;

use lvmd::units::Bytes;

pub use self::memory::{Attempt, Memory};
pub use self::policy::decide;
pub use self::rules::{Growth, Rules};
pub use crate::config::Part;

/// A pool at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The group's extent, in bytes.
    pub extent: Bytes,
    /// Free extents of the group.
    pub free: u64,
    /// Size of the data in LVM's metadata, in extents.
    pub data: u64,
    /// Size of the pool's metadata, in extents.
    pub metadata: u64,
    /// Size of the group's spare for metadata, in extents; 0 where there is none.
    pub spare: u64,
    /// Chunk size, in bytes.
    pub chunk: Bytes,
    /// Used and whole data, in bytes, as the kernel has it.
    pub data_bytes: Usage,
    /// Used and whole metadata, in bytes, as the kernel has it.
    pub metadata_bytes: Usage,
    /// What it does with writes now.
    pub mode: Mode,
    /// LVM asked the kernel to fail writes at once when it is full.
    pub asks_error: bool,
    /// How fast the data fills.
    pub rate: Rate,
    /// How fast the metadata fills, in bytes a second.
    pub metadata_rate: u64,
    /// Why it must not be changed, each with a stable code first; empty when it may.
    pub obstacles: Vec<String>,
    /// A disk of the group is to leave it, or that cannot be told: the room is for what is on that disk.
    pub leaving: bool,
}

/// Used and whole bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Used.
    pub used: u64,
    /// All.
    pub total: u64,
}

impl Usage {
    /// What is free.
    pub fn free(self) -> u64 {
        self.total.saturating_sub(self.used)
    }

    /// Whether at least `percent` is used. Of nothing, everything is used.
    pub fn reaches(self, percent: u8) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.total) * u128::from(percent)
    }

    /// The used share in percent, rounded down.
    pub fn percent(self) -> u64 {
        let share = u128::from(self.used) * 100 / u128::from(self.total.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// What a pool does with writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All is well.
    Writable,
    /// Its data is used up; room brings it back.
    OutOfSpace,
    /// It is read-only, failed or needs a check; room does not help.
    Sick,
}

/// How fast a pool fills, in bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rate {
    /// Over the last minutes; sizes follow it.
    pub lasting: u64,
    /// Over the last seconds; haste follows it.
    pub now: u64,
}

impl Rate {
    /// When `free` bytes are used at this rate; `None` while nothing fills it.
    pub fn time_to_fill(self, free: u64) -> Option<Duration> {
        let rate = self.lasting.max(self.now);
        free.checked_div(rate).map(Duration::from_secs)
    }
}

/// What is done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Grow a part to this many extents.
    Extend(Part, u64),
    /// Fail writes at once when full (`true`), or let them wait (`false`).
    ErrorWhenFull(bool),
}

/// Why a part that should grow does not, or could not if it had to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The settings say so.
    Off,
    /// The pool is read-only, failed or needs a check.
    Sick,
    /// The group or the pool must not be changed now.
    Obstacle(String),
    /// It has its largest size, in bytes.
    AtMaximum(Bytes),
    /// Its chunk can address no more than this, in bytes.
    ChunkTooSmall(Bytes),
    /// The group has not enough left outside its reserve, both in bytes.
    GroupFull {
        /// What may still be taken.
        left: Bytes,
        /// The smallest step.
        step: Bytes,
    },
    /// The last extension was a moment ago.
    Cooldown,
    /// It was tried and failed; it is tried again after this time.
    BackOff(Duration),
}

impl Hold {
    /// The stable code, as in conditions, metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off => "AutoExtendOff",
            Self::Sick => "PoolNotWritable",
            Self::Obstacle(_) => "GroupFrozen",
            Self::AtMaximum(_) => "AtMaximumSize",
            Self::ChunkTooSmall(_) => "ChunkTooSmall",
            Self::GroupFull { .. } => "GroupFull",
            Self::Cooldown => "Cooldown",
            Self::BackOff(_) => "BackOff",
        }
    }

    /// Whether waiting alone does not end it.
    pub fn lasts(&self) -> bool {
        !matches!(self, Self::Cooldown | Self::BackOff(_))
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("autoExtend.enabled is false"),
            Self::Sick => {
                f.write_str("the pool is read-only, failed or needs a check; room does not help")
            }
            Self::Obstacle(why) => f.write_str(why),
            Self::AtMaximum(size) => write!(
                f,
                "it has its largest size, {size}; raise autoExtend's maxSize"
            ),
            Self::ChunkTooSmall(size) => write!(
                f,
                "with this chunk size and maxSize of the metadata it can address {size}; make another pool for more"
            ),
            Self::GroupFull { left, step } => write!(
                f,
                "the group has {left} left outside its reserve, less than a step of {step}; add a disk, or lower vgReserve"
            ),
            Self::Cooldown => f.write_str("it grew a moment ago"),
            Self::BackOff(wait) => write!(
                f,
                "the last attempt failed, the next is in {}s",
                wait.as_secs()
            ),
        }
    }
}

/// A decision, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is done now, if anything.
    pub action: Option<Action>,
    /// The parts that should grow, whether or not they do, and why not.
    pub wanted: Vec<(Part, Option<Hold>)>,
    /// Why the data could not grow if it had to; `None`: it could.
    pub data_hold: Option<Hold>,
    /// Why the metadata could not grow if it had to; `None`: it could.
    pub metadata_hold: Option<Hold>,
    /// When it is full at the present rate.
    pub time_to_full: Option<Duration>,
    /// Whether it is to be looked at again soon.
    pub soon: bool,
}

#[cfg(test)]
mod tests;
