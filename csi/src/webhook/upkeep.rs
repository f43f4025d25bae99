//! Keeps a certificate of our own making in a Secret, and what vouches for it in the
//! MutatingWebhookConfiguration. One controller makes and renews; all follow the Secret.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::kept::{bundle, data, pairs, server};
use super::own::{Life, Pairs, Step};
use super::tls::Certificate;
use crate::kubernetes::cache::taken_up_again;

/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody changed something.
const LOOK: Duration = Duration::from_secs(60);

/// Where it is all kept.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a Client has none")]
pub struct Upkeep {
    secrets: Api<Secret>,
    secret: String,
    configurations: Api<MutatingWebhookConfiguration>,
    configuration: String,
    life: Life,
}

impl Upkeep {
    /// The Secret must be there, if only empty, and so must the configuration.
    pub fn new(
        client: &Client,
        namespace: &str,
        secret: &str,
        configuration: &str,
        life: Life,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            secret: secret.to_owned(),
            configurations: Api::all(client.clone()),
            configuration: configuration.to_owned(),
            life,
        }
    }

    /// Serves what the Secret has, until `stop`.
    pub async fn follow(self, certificate: Certificate, stop: CancellationToken) {
        let one = watcher::Config::default().fields(&format!("metadata.name={}", self.secret));
        let events = watcher(self.secrets.clone(), one).backoff(taken_up_again());
        let mut events = std::pin::pin!(events.take_until(stop.cancelled_owned()));
        while let Some(event) = events.next().await {
            let secret = match event {
                Ok(Event::Apply(secret) | Event::InitApply(secret)) => secret,
                Ok(_) => continue,
                Err(error) => {
                    warn!(%error, "the watch of the webhook's Secret broke off and is tried again");
                    continue;
                }
            };
            let Some(pair) = pairs(&secret).current else {
                continue;
            };
            match certificate.set(pair.chain.as_bytes(), pair.key.as_bytes()) {
                Ok(()) => info!(ends = ?pair.ends, "the webhook has a certificate"),
                Err(error) => warn!(
                    error = format!("{error:#}"),
                    "the Secret's certificate is not taken"
                ),
            }
        }
    }

    /// Makes, renews and publishes, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut trusted = Trusted::default();
        while !stop.is_cancelled() {
            let wait = match self.step(&mut trusted).await {
                Ok(wait) => wait.min(LOOK),
                Err(error) => {
                    warn!(
                        error = format!("{error:#}"),
                        "the webhook's certificate is not in order"
                    );
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One step; how long to wait for the next.
    async fn step(&self, trusted: &mut Trusted) -> anyhow::Result<Duration> {
        let secret = self.secrets.get(&self.secret).await.context("the Secret")?;
        let configuration = self.configurations.get(&self.configuration).await;
        let configuration = configuration.context("the MutatingWebhookConfiguration")?;
        let name = server(&configuration).context("no webhook in it has a service")?;
        let age = trusted.see(bundle(&configuration));
        let pairs = pairs(&secret);
        let bundle = trusted.bundle.as_str();
        match pairs.step(&name, (bundle, age), SystemTime::now(), self.life)? {
            Step::Wait(wait) => Ok(wait),
            Step::Publish(bundle) => {
                self.publish(&configuration, &bundle).await?;
                Ok(Duration::ZERO)
            }
            Step::Keep(pairs) => {
                self.keep(&secret, &pairs).await?;
                Ok(Duration::ZERO)
            }
        }
    }

    /// Refused when somebody else wrote in between.
    async fn keep(&self, before: &Secret, pairs: &Pairs) -> anyhow::Result<()> {
        let patch = json!({
            "metadata": {"resourceVersion": before.resource_version()},
            "data": data(pairs),
        });
        let params = PatchParams::default();
        let kept = self
            .secrets
            .patch(&self.secret, &params, &Patch::Merge(&patch))
            .await;
        kept.context("the Secret")?;
        info!(secret = self.secret, "a new certificate is kept");
        Ok(())
    }

    async fn publish(
        &self,
        configuration: &MutatingWebhookConfiguration,
        bundle: &str,
    ) -> anyhow::Result<()> {
        let count = configuration.webhooks.iter().flatten().count();
        let bundle = ByteString(bundle.as_bytes().to_vec());
        // The version first: the numbers are true for this one only.
        let version = json!({
            "op": "test", "path": "/metadata/resourceVersion", "value": configuration.resource_version(),
        });
        let trust = (0..count).map(|at| {
            json!({"op": "add", "path": format!("/webhooks/{at}/clientConfig/caBundle"), "value": bundle})
        });
        let operations = std::iter::once(version).chain(trust).collect();
        let patch = serde_json::from_value(serde_json::Value::Array(operations))?;
        let params = PatchParams::default();
        let api = &self.configurations;
        let done = api
            .patch(&self.configuration, &params, &Patch::Json::<()>(patch))
            .await;
        done.context("the MutatingWebhookConfiguration")?;
        info!(
            configuration = self.configuration,
            "the API server is told whom to trust"
        );
        Ok(())
    }
}

/// What the API server trusts, and since when that was seen.
#[derive(Debug)]
struct Trusted {
    bundle: String,
    since: Instant,
}

impl Default for Trusted {
    fn default() -> Self {
        Self {
            bundle: String::new(),
            since: Instant::now(),
        }
    }
}

impl Trusted {
    fn see(&mut self, bundle: String) -> Duration {
        if bundle != self.bundle {
            *self = Self {
                bundle,
                since: Instant::now(),
            };
        }
        self.since.elapsed()
    }
}
