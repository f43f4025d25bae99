//! The health pages.

use std::time::{Duration, Instant};

use lvmd::runtime::http::{Check, Health};
use tokio::sync::watch;

use crate::status::{NodeCheck, NodeStatus};

/// How old the last pass may be.
const TOO_OLD: Duration = Duration::from_secs(600);

/// A pass that was made.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    at: Instant,
    /// What is wrong with ourselves.
    wrong: Vec<NodeCheck>,
}

impl Passed {
    /// The beginning.
    pub(super) fn none() -> Self {
        Self {
            at: Instant::now(),
            wrong: Vec::new(),
        }
    }

    /// One that ended now and came to this.
    pub(super) fn now(node: &NodeStatus) -> Self {
        let checks = node.preflight.iter();
        let wrong = checks.filter(|check| check.keeps_pools() && check.problem.is_some());
        Self {
            at: Instant::now(),
            wrong: wrong.cloned().collect(),
        }
    }
}

/// Live while passes are made: a restart cures nothing else, and would end the care of pools
/// for a while. Ready when it can do all that it is there for.
#[derive(Debug, Clone)]
pub(super) struct Alive(pub(super) watch::Receiver<Passed>);

impl Alive {
    fn passes(&self) -> Check {
        let age = self.0.borrow().at.elapsed();
        let text = format!("last pass {}s ago", age.as_secs());
        if age < TOO_OLD {
            Check::ok("passes", text)
        } else {
            Check::failed("passes", text)
        }
    }
}

impl Health for Alive {
    async fn live(&self) -> Vec<Check> {
        vec![self.passes()]
    }

    async fn ready(&self) -> Vec<Check> {
        let mut checks = vec![self.passes()];
        for wrong in &self.0.borrow().wrong {
            let problem = wrong.problem.clone().unwrap_or_default();
            checks.push(Check::failed(wrong.check, problem));
        }
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_configuration_is_no_reason_to_be_restarted_and_is_seen() {
        let node = |check, problem: Option<&str>| NodeStatus {
            preflight: vec![NodeCheck::new(check, problem.map(str::to_owned))],
            ..NodeStatus::default()
        };
        let (passed, last) = watch::channel(Passed::none());
        let alive = Alive(last);
        for (status, ready) in [
            (node(NodeCheck::CONFIGURATION, None), true),
            (node(NodeCheck::CONFIGURATION, Some("a typo")), false),
            (node(NodeCheck::JOURNAL, Some("damaged")), false),
            (node("ThinPools", Some("of the host")), true),
        ] {
            passed.send_replace(Passed::now(&status));
            assert!(!alive.live().await.iter().any(Check::has_failed));
            assert_eq!(
                !alive.ready().await.iter().any(Check::has_failed),
                ready,
                "{status:?}"
            );
        }
    }
}
