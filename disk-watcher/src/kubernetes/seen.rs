//! Objects of one kind, as a watch tells of them. What it told last stays known while the
//! API server is away; a watch that breaks is taken up again.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{FutureExt, StreamExt};
use kube::core::ApiResource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, ExponentialBackoff, watcher};
use kube::runtime::{WatchStreamExt, reflector as reflect};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::object::Object;
use crate::metrics::WatchMetrics;

/// How long a watch that broke waits before it is tried again. kube's own limit, 30 s and as much
/// again by chance, would let a wipe that is taken back after an outage go on for a minute.
fn taken_up_again() -> ExponentialBackoff {
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(8))
        .without_max_times();
    waits.with_jitter().into()
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) api: Api<Object>,
    pub(super) resource: ApiResource,
    pub(super) store: Store<Object>,
}

/// Who follows, and where.
pub(super) struct Follower<'a> {
    pub(super) client: &'a Client,
    /// Hears of each change of anything.
    pub(super) tick: &'a watch::Sender<()>,
    pub(super) metrics: &'a WatchMetrics,
    pub(super) stop: &'a CancellationToken,
}

impl Follower<'_> {
    /// Follows the objects of a kind of ours whose `fields` say so; those with a namespace in
    /// our own alone.
    pub(super) fn kind(&self, resource: ApiResource, namespaced: bool, fields: &str) -> Seen {
        let client = self.client.clone();
        let api = match namespaced {
            true => Api::default_namespaced_with(client, &resource),
            false => Api::all_with(client, &resource),
        };
        Seen {
            store: self.store(api.clone(), resource.clone(), fields, |_| ()),
            api,
            resource,
        }
    }

    /// Follows all objects of a kind of others, of which what `trim` leaves is kept.
    pub(super) fn others(
        &self,
        resource: ApiResource,
        trim: impl Fn(&mut Object) + Send + 'static,
    ) -> Seen {
        let api = Api::all_with(self.client.clone(), &resource);
        Seen {
            store: self.store(api.clone(), resource.clone(), "", trim),
            api,
            resource,
        }
    }

    /// Follows objects of any kind, each kept as `trim` leaves it.
    pub(super) fn store<K>(
        &self,
        api: Api<K>,
        kind: K::DynamicType,
        fields: &str,
        trim: impl Fn(&mut K) + Send + 'static,
    ) -> Store<K>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
        K::DynamicType: Clone + Eq + Hash + Send + Sync,
    {
        // Others have kinds of the same name.
        let name = match &*K::group(&kind) {
            "" | "basalt.storage" => K::kind(&kind).into_owned(),
            group => format!("{}.{group}", K::kind(&kind)),
        };
        let writer = Writer::<K>::new(kind);
        let store = writer.as_reader();
        let mut config = watcher::Config::default();
        if !fields.is_empty() {
            config = config.fields(fields);
        }
        let events = watcher(api, config)
            .modify(move |object| {
                object.managed_fields_mut().clear();
                trim(object);
            })
            .backoff(taken_up_again());
        let events = reflect(writer, events).take_until(self.stop.clone().cancelled_owned());
        let (tick, metrics) = (self.tick.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if matches!(event, watcher::Event::InitDone) {
                            metrics.listed(&name);
                        }
                        tick.send_replace(());
                    }
                    Err(error) => {
                        metrics.broke_off(&name);
                        warn!(kind = name, %error, "the watch broke off and is tried again");
                    }
                }
            }
        });
        store
    }
}

impl Seen {
    /// The object of this name.
    pub(super) fn object(&self, name: &str) -> Option<Arc<Object>> {
        let mut reference = ObjectRef::new_with(name, self.resource.clone());
        if let Some(namespace) = self.api.namespace() {
            reference = reference.within(namespace);
        }
        self.store.get(&reference)
    }

    /// Whether all objects were told of once.
    pub(super) fn is_filled(&self) -> bool {
        self.store.wait_until_ready().now_or_never().is_some()
    }
}
