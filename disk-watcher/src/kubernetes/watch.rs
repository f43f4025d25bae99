//! What the API server tells of the objects for this node.
//!
//! A watch that breaks is taken up again, and what it told last stays true until then. Only a
//! wipe wants more: its confirmation counts while the API server, asked a moment ago, has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt, reflector as reflect};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::compose::Told;
use super::types::{DiskClass, DiskRemovalRequest, DiskWipeRequest};
use super::written::Written;

/// How often the confirmation of a wipe is asked for again.
const ASK: Duration = Duration::from_secs(10);
/// How long the API server may take to answer that.
const ANSWER: Duration = Duration::from_secs(5);
/// What comes together is told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Follows the objects for `node` until `stop`.
pub fn follow(client: &Client, node: &str, stop: &CancellationToken) -> watch::Receiver<Arc<Told>> {
    let (tell, told) = watch::channel(Arc::new(Told::default()));
    let wipes = Api::default_namespaced(client.clone());
    let removals = Api::default_namespaced(client.clone());
    let touched = Arc::new(Notify::new());
    let mine = format!("spec.node={node}");
    let own = format!("metadata.name={node}");
    let all = Watches {
        node: start(Api::all(client.clone()), Some(&own), &touched, stop),
        classes: start(Api::all(client.clone()), None, &touched, stop),
        removals: start(removals, Some(&mine), &touched, stop),
        wipes: start(wipes.clone(), Some(&mine), &touched, stop),
        ask: wipes,
    };
    tokio::spawn(all.run(tell, touched, stop.clone()));
    told
}

struct Watches {
    node: Store<PartialObjectMeta<Node>>,
    classes: Store<DiskClass>,
    removals: Store<DiskRemovalRequest>,
    wipes: Store<DiskWipeRequest>,
    ask: Api<DiskWipeRequest>,
}

impl Watches {
    async fn run(
        self,
        tell: watch::Sender<Arc<Told>>,
        touched: Arc<Notify>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = touched.notified() => {}
                () = tokio::time::sleep(ASK) => {}
                () = stop.cancelled() => return,
            }
            tokio::time::sleep(TOGETHER).await;
            let now = self.look().await;
            tell.send_if_modified(|told| {
                let changed = **told != now;
                if changed {
                    *told = Arc::new(now);
                }
                changed
            });
        }
    }

    async fn look(&self) -> Told {
        let node = self.node.state().into_iter().next();
        let labels = |node: &Arc<PartialObjectMeta<Node>>| -> BTreeMap<String, String> {
            node.labels().clone()
        };
        let mut wipes = written(&self.wipes, |wipe| &wipe.spec.0).unwrap_or_default();
        for wipe in &mut wipes {
            let confirmed = wipe.spec.get("confirm").is_some_and(|word| !word.is_null());
            if confirmed
                && !self.stands(wipe).await
                && let Some(spec) = wipe.spec.as_object_mut()
            {
                spec.remove("confirm");
            }
        }
        Told {
            node_uid: node.as_ref().and_then(|node| node.uid()),
            labels: node.as_ref().map(labels),
            classes: written(&self.classes, |class| &class.spec.0),
            removals: written(&self.removals, |removal| &removal.spec.0),
            wipes,
        }
    }

    /// Whether the API server has this request now, as it was told.
    async fn stands(&self, wipe: &Written) -> bool {
        match tokio::time::timeout(ANSWER, self.ask.get(&wipe.name)).await {
            Ok(Ok(now)) => {
                now.metadata.deletion_timestamp.is_none()
                    && now.uid().as_deref() == Some(wipe.uid.as_str())
                    && now.spec.0 == wipe.spec
            }
            Ok(Err(error)) => {
                warn!(request = wipe.name, %error, "no wipe begins without the API server");
                false
            }
            Err(_) => false,
        }
    }
}

/// The objects, in the order of their names; `None` until all were told once. One that is
/// being deleted is gone.
fn written<K>(store: &Store<K>, spec: impl Fn(&K) -> &Value) -> Option<Vec<Written>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    store.wait_until_ready().now_or_never()?.ok()?;
    let mut all: Vec<Written> = store
        .state()
        .iter()
        .filter(|object| object.meta().deletion_timestamp.is_none())
        .map(|object| Written {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            generation: object.meta().generation.unwrap_or_default(),
            spec: spec(object).clone(),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Some(all)
}

/// Follows one kind; `touched` hears of each change.
fn start<K>(
    api: Api<K>,
    fields: Option<&str>,
    touched: &Arc<Notify>,
    stop: &CancellationToken,
) -> Store<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let mut config = watcher::Config::default();
    if let Some(fields) = fields {
        config = config.fields(fields);
    }
    let events = watcher(api, config)
        .modify(|object| object.managed_fields_mut().clear())
        .default_backoff();
    let events = reflect(writer, events).take_until(stop.clone().cancelled_owned());
    let touched = touched.clone();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => touched.notify_one(),
                Err(error) => {
                    warn!(kind = %K::kind(&()), %error, "the watch broke off and is tried again");
                }
            }
        }
    });
    store
}
