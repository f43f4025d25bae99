//! The node's Lease, beside the lock that [`crate::daemon`] has on the node: two disk-watchers that
//! say they are one node and share no lock (a machine that was cloned, a node's name that was given
//! twice) see of each other here.
//!
//! As with leader election of Kubernetes' own clients no clock is compared with another: a Lease
//! that somebody else has ends when it was not renewed for as long as it says, by our own watch.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a Lease lasts that is not renewed.
const LASTS: Duration = Duration::from_secs(30);
/// How long one lasts at most, whatever it says.
const LONGEST: Duration = Duration::from_secs(300);
/// How often ours is renewed.
const RENEW: Duration = Duration::from_secs(8);
/// How often it is asked for otherwise.
const ASK: Duration = Duration::from_secs(2);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Whose the Lease is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// The API server was not asked yet, or does not answer: the lock on the node decides alone.
    #[default]
    Unknown,
    /// Ours.
    Ours {
        /// How often it went from one to another before, the fencing token.
        token: i32,
    },
    /// It cannot be had, and this is why.
    Denied(String),
}

impl Standing {
    /// Why no disk is acted on.
    pub fn against(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Ours { .. } => None,
            Self::Denied(why) => Some(why),
        }
    }
}

/// The name of the Lease of a node.
pub fn name(node: &str) -> String {
    format!("disk-watcher-{node}")
}

/// Takes the Lease of `node` for `me` and keeps it, telling how that stands, until `let_go`; then
/// it is given back, so that the next one need not wait.
pub async fn hold(
    client: Client,
    node: &str,
    me: &str,
    tell: watch::Sender<Standing>,
    let_go: CancellationToken,
) {
    let mut holding = Holding {
        api: Api::default_namespaced(client),
        name: name(node),
        me: me.to_owned(),
        seen: None,
    };
    let mut answered = Instant::now();
    loop {
        let asked = tokio::select! {
            asked = tokio::time::timeout(ANSWER, holding.ask()) => asked,
            () = let_go.cancelled() => break,
        };
        let standing = match asked {
            Ok(Ok(standing)) => {
                answered = Instant::now();
                Some(standing)
            }
            // What it said last counts for as long as a Lease lasts.
            _ => (answered.elapsed() >= LASTS).then_some(Standing::Unknown),
        };
        let ours = matches!(standing, Some(Standing::Ours { .. }));
        if let Some(standing) = standing {
            tell.send_if_modified(|before| {
                let changed = *before != standing;
                if changed {
                    log(&standing);
                    *before = standing;
                }
                changed
            });
        }
        tokio::select! {
            () = tokio::time::sleep(if ours { RENEW } else { ASK }) => {}
            () = let_go.cancelled() => break,
        }
    }
    let _ = tokio::time::timeout(ANSWER, holding.give_back()).await;
}

fn log(standing: &Standing) {
    match standing {
        Standing::Unknown => {
            warn!("whose the node's Lease is cannot be told; the lock on the node decides");
        }
        Standing::Ours { token } => info!(token, "the node's Lease is ours"),
        Standing::Denied(why) => warn!(why, "no disk is acted on"),
    }
}

#[derive(Debug)]
struct Holding {
    api: Api<Lease>,
    name: String,
    me: String,
    /// What somebody else wrote last, and when that was first seen.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Holding {
    /// Looks whose it is, and takes or renews it where that may be.
    async fn ask(&mut self) -> Result<Standing, kube::Error> {
        let asked = self.try_once().await;
        match asked {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Standing::Denied(format!(
                "the API server gives no right to Lease {}: {}",
                self.name, status.message
            ))),
            asked => asked,
        }
    }

    async fn try_once(&mut self) -> Result<Standing, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let spec = lease.as_ref().and_then(|lease| lease.spec.clone());
        let spec = spec.unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.seen = Some((spec.clone(), Instant::now()));
        }
        let unchanged = self.seen.as_ref().map(|(_, since)| since.elapsed());
        let wanted = match step(&self.me, &spec, unchanged.unwrap_or_default()) {
            Step::Wait(other) => {
                return Ok(Standing::Denied(format!(
                    "{other} has the node's Lease {}, another disk-watcher that says it is this node; this one acts when that one has ended, or {} s after its last sign",
                    self.name,
                    lasts(&spec).as_secs()
                )));
            }
            Step::Write(wanted) => wanted,
        };
        let token = wanted.lease_transitions.unwrap_or_default();
        let params = PostParams::default();
        // Who came before us changed its version, or made it.
        let written = match lease {
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(wanted),
                };
                self.api.create(&params, &lease).await
            }
            Some(lease) => {
                let lease = Lease {
                    spec: Some(wanted),
                    ..lease
                };
                self.api.replace(&self.name, &params, &lease).await
            }
        };
        match written {
            Ok(_) => Ok(Standing::Ours { token }),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Standing::Denied(format!(
                "another disk-watcher took the node's Lease {} a moment ago",
                self.name
            ))),
            Err(error) => Err(error),
        }
    }

    /// Leaves it to whoever wants it, if it is ours.
    async fn give_back(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.me.as_str()) {
            spec.holder_identity = None;
            let params = PostParams::default();
            self.api.replace(&self.name, &params, &lease).await?;
        }
        Ok(())
    }
}

/// What is done with a Lease.
#[derive(Debug, PartialEq)]
enum Step {
    /// It becomes this.
    Write(LeaseSpec),
    /// It is this one's.
    Wait(String),
}

/// `unchanged`: for how long it was seen as it is.
fn step(me: &str, spec: &LeaseSpec, unchanged: Duration) -> Step {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or_default();
    let now = MicroTime(Timestamp::now());
    let mut wanted = LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
        renew_time: Some(now.clone()),
        ..spec.clone()
    };
    if holder == me {
        return Step::Write(wanted);
    }
    if !holder.is_empty() && unchanged < lasts(spec) {
        return Step::Wait(holder.to_owned());
    }
    wanted.acquire_time = Some(now);
    // The first holder is the first transition too: 0 is none.
    wanted.lease_transitions = Some(transitions.saturating_add(1));
    Step::Write(wanted)
}

/// How long a Lease lasts, as who has it says.
fn lasts(spec: &LeaseSpec) -> Duration {
    let said = spec
        .lease_duration_seconds
        .and_then(|s| u64::try_from(s).ok());
    said.map_or(LASTS, Duration::from_secs).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(step: Step) -> LeaseSpec {
        match step {
            Step::Write(spec) => spec,
            Step::Wait(other) => panic!("it is {other}'s"),
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_over_and_else_waited_for() {
        let now = Duration::ZERO;
        let first = written(step("a", &LeaseSpec::default(), now));
        assert_eq!(first.holder_identity.as_deref(), Some("a"));
        assert_eq!(first.lease_transitions, Some(1));
        let again = written(step("a", &first, now));
        assert_eq!(again.lease_transitions, Some(1), "it did not change hands");
        assert_eq!(again.acquire_time, first.acquire_time);
        assert_eq!(step("b", &first, now), Step::Wait("a".into()));
        let almost = LASTS - Duration::from_millis(1);
        assert_eq!(step("b", &first, almost), Step::Wait("a".into()));
        let second = written(step("b", &first, LASTS));
        assert_eq!(second.holder_identity.as_deref(), Some("b"));
        assert_eq!(second.lease_transitions, Some(2));
        let left = LeaseSpec {
            holder_identity: None,
            ..second
        };
        assert_eq!(written(step("c", &left, now)).lease_transitions, Some(3));
    }

    #[test]
    fn a_lease_that_says_it_lasts_for_ever_does_not() {
        let spec = |seconds| LeaseSpec {
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        };
        assert_eq!(lasts(&spec(i32::MAX)), LONGEST);
        assert_eq!(lasts(&spec(-1)), LASTS);
        assert_eq!(lasts(&spec(5)), Duration::from_secs(5));
    }

    #[test]
    fn without_an_answer_the_lock_decides_alone() {
        assert_eq!(Standing::default().against(), None);
        assert_eq!(Standing::Ours { token: 1 }.against(), None);
        assert!(Standing::Denied("b has it".into()).against().is_some());
    }
}
