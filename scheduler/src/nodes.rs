//! What nodes say of their capacity, watched, for questions that only name them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use lvmd::names::CAPACITY_PREFIX;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::wire::Metadata;

/// The nodes by name, with the annotations that matter here.
pub type Known = Arc<HashMap<String, Metadata<'static>>>;

/// See the module. Clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    /// `None` until all were listed once.
    known: Arc<RwLock<Option<Known>>>,
}

impl Nodes {
    /// The nodes as they were told of last; `None` until all were listed once.
    pub fn known(&self) -> Option<Known> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    #[cfg(test)]
    pub(crate) fn of(nodes: HashMap<String, Metadata<'static>>) -> Self {
        Self {
            known: Arc::new(RwLock::new(Some(Arc::new(nodes)))),
        }
    }

    /// Whether all were listed once.
    pub fn is_filled(&self) -> bool {
        self.known().is_some()
    }

    /// Watches until `stop`.
    pub async fn follow(self, client: Client, stop: CancellationToken) {
        let nodes: Api<PartialObjectMeta<Node>> = Api::all(client);
        let events = watcher(nodes, Config::default()).default_backoff();
        let mut events = std::pin::pin!(events.take_until(stop.cancelled_owned()));
        let mut listing = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut listing),
                Err(error) => warn!(%error, "the watch of nodes broke off and is tried again"),
            }
        }
    }

    /// Takes an event; a list becomes known as a whole.
    fn take(
        &self,
        event: Event<PartialObjectMeta<Node>>,
        listing: &mut HashMap<String, Metadata<'static>>,
    ) {
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(node) => {
                let (name, metadata) = capacities(&node);
                listing.insert(name, metadata);
            }
            Event::InitDone => {
                info!(nodes = listing.len(), "all nodes are known");
                let known = Some(Arc::new(std::mem::take(listing)));
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
            }
            Event::Apply(node) => {
                let (name, metadata) = capacities(&node);
                self.change(|known| {
                    // A kubelet writes often, and seldom what matters here.
                    if known.get(&name) != Some(&metadata) {
                        Arc::make_mut(known).insert(name, metadata);
                    }
                });
            }
            Event::Delete(node) => self.change(|known| {
                Arc::make_mut(known).remove(&node.name_any());
            }),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut() {
            change(known);
        }
    }
}

fn capacities(node: &PartialObjectMeta<Node>) -> (String, Metadata<'static>) {
    let ours = node
        .annotations()
        .iter()
        .filter(|(key, _)| key.starts_with(CAPACITY_PREFIX))
        .map(|(key, value)| (Cow::Owned(key.clone()), Cow::Owned(value.clone())));
    let name = node.name_any();
    let metadata = Metadata::new(name.clone(), ours);
    (name, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, bytes: &str) -> PartialObjectMeta<Node> {
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": name, "annotations": {
                "capacity.topolvm.io/dc1": bytes, "other": "x"
            }}
        }))
        .unwrap()
    }

    #[test]
    fn nodes_are_known_once_all_were_listed_and_follow_their_changes() {
        let nodes = Nodes::default();
        let mut listing = HashMap::new();
        let dc1 = |name: &str| {
            let known = nodes.known()?;
            let capacity = known.get(name)?.capacity("dc1");
            capacity.map(str::to_owned)
        };
        nodes.take(Event::Init, &mut listing);
        nodes.take(Event::InitApply(node("a", "1")), &mut listing);
        assert!(!nodes.is_filled());
        nodes.take(Event::InitApply(node("b", "2")), &mut listing);
        nodes.take(Event::InitDone, &mut listing);
        assert_eq!(dc1("b").as_deref(), Some("2"));
        assert_eq!(nodes.known().unwrap()["a"].capacities().count(), 1);
        nodes.take(Event::Apply(node("a", "7")), &mut listing);
        nodes.take(Event::Delete(node("b", "2")), &mut listing);
        assert_eq!(dc1("a").as_deref(), Some("7"));
        assert_eq!(dc1("b"), None);
        // Listed anew after a break: what is not in the list is gone.
        nodes.take(Event::Init, &mut listing);
        nodes.take(Event::InitApply(node("c", "3")), &mut listing);
        assert_eq!(dc1("a").as_deref(), Some("7"));
        nodes.take(Event::InitDone, &mut listing);
        assert_eq!((dc1("a"), dc1("c").as_deref()), (None, Some("3")));
    }
}
