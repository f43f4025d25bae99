//! Which of several controllers does what one is enough for: the one that holds a Lease.
//!
//! The rules are those of Kubernetes' own components. Whether a Lease is still renewed is
//! told by seeing it change, never by comparing clocks of two machines.

use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::ElectionArgs;

/// See the module.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
    lasts: Duration,
    deadline: Duration,
    retry: Duration,
}

/// A Lease as it was seen, and since when it has been like this.
#[derive(Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

/// Work that is done while leading.
struct Leading {
    token: CancellationToken,
    work: JoinHandle<()>,
    renewed: Instant,
}

impl Leading {
    async fn end(self) {
        self.token.cancel();
        let _ = self.work.await;
    }
}

impl Election {
    /// An election among those that use this Lease; `me` must be nobody else's name.
    pub fn new(client: &Client, namespace: &str, args: &ElectionArgs, me: String) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            name: args.leader_election_id.clone(),
            me,
            lasts: args.leader_election_lease_duration,
            deadline: args.leader_election_renew_deadline,
            retry: args.leader_election_retry_period,
        }
    }

    /// Does `work` while leading, until `stop`. Work whose token is cancelled has to end.
    pub async fn run<F>(self, stop: CancellationToken, work: impl Fn(CancellationToken) -> F + Send)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut seen = Seen {
            version: None,
            since: Instant::now(),
        };
        let mut leading: Option<Leading> = None;
        while !stop.is_cancelled() {
            let asked = Instant::now();
            match self.take(&mut seen).await {
                Ok(true) => match &mut leading {
                    Some(leading) => leading.renewed = asked,
                    None => {
                        info!(lease = self.name, "leading");
                        let token = stop.child_token();
                        leading = Some(Leading {
                            work: tokio::spawn(work(token.clone())),
                            token,
                            renewed: asked,
                        });
                    }
                },
                Ok(false) => {
                    if let Some(lost) = leading.take() {
                        warn!(lease = self.name, "somebody else leads now");
                        lost.end().await;
                    }
                }
                Err(error) => {
                    warn!(lease = self.name, %error, "the Lease cannot be taken or renewed");
                    if leading
                        .as_ref()
                        .is_some_and(|l| l.renewed.elapsed() > self.deadline)
                        && let Some(lost) = leading.take()
                    {
                        lost.end().await;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.retry) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Some(led) = leading {
            led.end().await;
            // The next one need not wait.
            if let Err(error) = self.release().await {
                warn!(lease = self.name, %error, "the Lease is not given back");
            }
        }
    }

    /// Takes or renews the Lease; `false` while it is somebody else's.
    async fn take(&self, seen: &mut Seen) -> kube::Result<bool> {
        let there = self.api.get_opt(&self.name).await?;
        let version = there.as_ref().and_then(ResourceExt::resource_version);
        if version != seen.version {
            seen.version = version;
            seen.since = Instant::now();
        }
        let spec = there.as_ref().and_then(|lease| lease.spec.as_ref());
        if !is_free(spec, &self.me, seen.since.elapsed(), self.lasts) {
            return Ok(false);
        }
        let wanted = self.lease(there.as_ref(), &self.me);
        let written = match there {
            None => self.api.create(&PostParams::default(), &wanted).await,
            Some(_) => {
                let params = PostParams::default();
                self.api.replace(&self.name, &params, &wanted).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(there) = self.api.get_opt(&self.name).await? else {
            return Ok(());
        };
        if holder(there.spec.as_ref()) != self.me {
            return Ok(());
        }
        let free = self.lease(Some(&there), "");
        self.api
            .replace(&self.name, &PostParams::default(), &free)
            .await
            .map(drop)
    }

    fn lease(&self, there: Option<&Lease>, holder_now: &str) -> Lease {
        let now = MicroTime(Timestamp::now());
        let old = there
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let same = holder(Some(&old)) == holder_now;
        let changes = old.lease_transitions.unwrap_or(0);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: there.and_then(ResourceExt::resource_version),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder_now.to_owned()),
                lease_duration_seconds: i32::try_from(self.lasts.as_secs()).ok(),
                acquire_time: if same {
                    old.acquire_time
                } else {
                    Some(now.clone())
                },
                renew_time: Some(now),
                lease_transitions: Some(if same || holder_now.is_empty() {
                    changes
                } else {
                    changes.saturating_add(1)
                }),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn holder(spec: Option<&LeaseSpec>) -> &str {
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

/// Whether `me` may write the Lease: it is nobody's, ours, or was not renewed for as long
/// as it lasts.
fn is_free(spec: Option<&LeaseSpec>, me: &str, unchanged: Duration, lasts: Duration) -> bool {
    let holder = holder(spec);
    holder.is_empty() || holder == me || unchanged > lasts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_nobody_renews_it() {
        let held = |by: &str| LeaseSpec {
            holder_identity: Some(by.to_owned()),
            ..LeaseSpec::default()
        };
        let second = Duration::from_secs(1);
        let lasts = 15 * second;
        assert!(is_free(None, "me", second, lasts));
        assert!(is_free(Some(&held("")), "me", second, lasts));
        assert!(is_free(Some(&held("me")), "me", 99 * second, lasts));
        assert!(!is_free(Some(&held("other")), "me", lasts, lasts));
        assert!(is_free(Some(&held("other")), "me", 16 * second, lasts));
    }
}
