//! Whether a pool that is not active is to be activated. Pure.
//!
//! A person deactivates a pool to repair it, and must not find it active again: a pool that
//! was active since the machine was booted is never activated by us, and neither is one
//! whose metadata did not pass thin_check.

use std::time::{Duration, Instant};

use crate::config::{Activation, Mode};

/// How long the host may take to activate a group that is there.
const HOSTS_TIME: Duration = Duration::from_secs(60);
/// How soon what failed for a reason that may go away is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no thin_check.
    ThinCheckMissing,
    /// thin_check found damage.
    ThinCheckFailed,
    /// thin_check did not end in time.
    ThinCheckTimedOut,
    /// lvm did not do it.
    NotActivated,
}

/// An attempt that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// When.
    pub at: Instant,
    /// Why.
    pub failure: Failure,
    /// Why, for people.
    pub why: String,
}

/// What is known of a pool that is not active.
#[derive(Debug)]
pub struct Inactive<'a> {
    /// Who activates its group.
    pub activation: Activation,
    /// What the class may do.
    pub mode: Mode,
    /// Why nothing may be changed: its group is not whole, the host is not fit.
    pub obstacles: &'a [String],
    /// It was active since the machine was booted; unknown is yes.
    pub was_active: bool,
    /// Since when it is seen to be inactive.
    pub since: Instant,
    /// The last attempt of this process.
    pub failed: Option<&'a Failed>,
}

/// Why it is left as it is, as a stable code and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The code.
    pub code: &'static str,
    /// The words.
    pub why: String,
}

impl Failure {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::ThinCheckMissing => "ThinCheckMissing",
            Self::ThinCheckFailed => "ThinCheckFailed",
            Self::ThinCheckTimedOut => "ThinCheckTimedOut",
            Self::NotActivated => "NotActivated",
        }
    }

    /// Whether the same would come of it again, so that a person has to look first.
    fn is_final(self) -> bool {
        matches!(self, Self::ThinCheckFailed | Self::ThinCheckTimedOut)
    }
}

/// Decides: `Err` says why it is left.
///
/// # Errors
/// The reason.
pub fn decide(pool: &Inactive<'_>, now: Instant) -> Result<(), Left> {
    let left = |code, why: &str| {
        let why = why.to_owned();
        Err(Left { code, why })
    };
    if pool.mode != Mode::Enforce {
        return left("Inactive", "its class is not in mode Enforce");
    }
    if !pool.obstacles.is_empty() {
        return left("GroupFrozen", &pool.obstacles.join("; "));
    }
    if pool.was_active {
        return left(
            "Deactivated",
            "it was active since the machine was booted, so somebody deactivated it; activate it with lvchange -a y",
        );
    }
    if let Some(failed) = pool.failed {
        let waits = now.saturating_duration_since(failed.at) < AGAIN;
        if failed.failure.is_final() || waits {
            return left(failed.failure.code(), &failed.why);
        }
    }
    let waited = now.saturating_duration_since(pool.since);
    if pool.activation == Activation::Host && waited < HOSTS_TIME {
        return left("WaitsForHost", "the host may be about to activate it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(since: Instant) -> Inactive<'static> {
        Inactive {
            activation: Activation::Watcher,
            mode: Mode::Enforce,
            obstacles: &[],
            was_active: false,
            since,
            failed: None,
        }
    }

    fn code(pool: &Inactive<'_>, now: Instant) -> &'static str {
        decide(pool, now).map_or_else(|left| left.code, |()| "activate")
    }

    #[test]
    fn only_what_was_not_active_since_the_boot_and_may_be_changed_is_activated() {
        let now = Instant::now();
        let frozen = ["a disk is missing".to_owned()];
        assert_eq!(code(&pool(now), now), "activate");
        for mode in [Mode::Plan, Mode::Paused] {
            assert_eq!(code(&Inactive { mode, ..pool(now) }, now), "Inactive");
        }
        let obstacles = &frozen;
        let partial = Inactive {
            obstacles,
            ..pool(now)
        };
        assert_eq!(code(&partial, now), "GroupFrozen");
        let was_active = Inactive {
            was_active: true,
            ..pool(now)
        };
        assert_eq!(code(&was_active, now), "Deactivated");
    }

    #[test]
    fn the_host_has_its_time_first() {
        let since = Instant::now();
        let host = Inactive {
            activation: Activation::Host,
            ..pool(since)
        };
        assert_eq!(code(&host, since), "WaitsForHost");
        assert_eq!(code(&host, since + HOSTS_TIME), "activate");
    }

    #[test]
    fn damage_is_for_a_person_and_what_may_go_away_is_tried_again() {
        let at = Instant::now();
        for (failure, later) in [
            (Failure::ThinCheckFailed, "ThinCheckFailed"),
            (Failure::ThinCheckTimedOut, "ThinCheckTimedOut"),
            (Failure::ThinCheckMissing, "activate"),
            (Failure::NotActivated, "activate"),
        ] {
            let why = String::new();
            let failed = Failed { at, failure, why };
            let tried = Inactive {
                failed: Some(&failed),
                ..pool(at)
            };
            assert_eq!(code(&tried, at), failure.code());
            assert_eq!(code(&tried, at + AGAIN), later);
        }
    }
}
