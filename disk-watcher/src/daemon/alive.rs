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
    /// What it came to.
    checks: Vec<NodeCheck>,
}

impl Passed {
    /// The beginning.
    pub(super) fn none() -> Self {
        Self {
            at: Instant::now(),
            checks: Vec::new(),
        }
    }

    /// One that ended now and came to this.
    pub(super) fn now(node: &NodeStatus) -> Self {
        Self {
            at: Instant::now(),
            checks: node.preflight.clone(),
        }
    }
}

/// Live while passes are made: a restart cures nothing else, and would end the care of pools
/// for a while. Ready when nothing is wrong with itself; what is wrong with the host is told.
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
        let last = self.0.borrow();
        checks.extend(last.checks.iter().map(|it| match &it.problem {
            None => Check::ok(it.check, ""),
            Some(problem) if it.keeps_pools() => Check::failed(it.check, problem),
            Some(problem) => Check::warns(it.check, problem),
        }));
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
        let checks = alive.ready().await;
        assert_eq!(
            checks[1],
            Check::warns("ThinPools", "of the host"),
            "it is told"
        );
    }
}
