//! What the API server tells of the objects for this node.
//!
//! What it told last stays true while it is away. Only a wipe wants more: its confirmation
//! counts while the API server, asked a moment ago, has it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::compose::Told;
use super::seen::{Follower, Seen};
use super::types::{DiskClass, DiskRemovalRequest, DiskWipeRequest};
use super::written::{Kind, Written};

/// How often the confirmation of a wipe is asked for again.
const ASK: Duration = Duration::from_secs(10);
/// How long the API server may take to answer that.
const ANSWER: Duration = Duration::from_secs(5);
/// What comes together is told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// The objects for this node, as they are watched.
#[derive(Debug)]
pub struct Objects {
    node: Store<PartialObjectMeta<Node>>,
    classes: Seen,
    removals: Seen,
    wipes: Seen,
    tick: watch::Sender<()>,
}

impl Objects {
    /// Begins to follow the objects for `node`, until `stop`.
    pub fn start(client: &Client, node: &str, stop: &CancellationToken) -> Arc<Self> {
        let (tick, _) = watch::channel(());
        let follower = Follower {
            client,
            tick: &tick,
            stop,
        };
        let mine = format!("spec.node={node}");
        let own = format!("metadata.name={node}");
        let removals = ApiResource::erase::<DiskRemovalRequest>(&());
        let wipes = ApiResource::erase::<DiskWipeRequest>(&());
        Arc::new(Self {
            node: follower.store(Api::all(client.clone()), (), &own),
            classes: follower.kind(ApiResource::erase::<DiskClass>(&()), false, ""),
            removals: follower.kind(removals, true, &mine),
            wipes: follower.kind(wipes, true, &mine),
            tick,
        })
    }

    /// Those of one kind.
    pub(super) fn of(&self, kind: Kind) -> &Seen {
        match kind {
            Kind::Class => &self.classes,
            Kind::Removal => &self.removals,
            Kind::Wipe => &self.wipes,
        }
    }

    /// Moves with each change.
    pub(super) fn ticks(&self) -> watch::Receiver<()> {
        self.tick.subscribe()
    }

    /// Tells of each change, until `stop`.
    pub fn tell(self: &Arc<Self>, stop: &CancellationToken) -> watch::Receiver<Arc<Told>> {
        let (tell, told) = watch::channel(Arc::new(Told::default()));
        let (this, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            let mut ticks = this.ticks();
            loop {
                let now = this.look().await;
                tell.send_if_modified(|told| {
                    let changed = **told != now;
                    if changed {
                        *told = Arc::new(now);
                    }
                    changed
                });
                tokio::select! {
                    _ = ticks.changed() => {}
                    () = tokio::time::sleep(ASK) => {}
                    () = stop.cancelled() => return,
                }
                tokio::time::sleep(TOGETHER).await;
                ticks.mark_unchanged();
            }
        });
        told
    }

    async fn look(&self) -> Told {
        let node = self.node.state().into_iter().next();
        let mut wipes = written(&self.wipes).unwrap_or_default();
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
            labels: node.as_ref().map(|node| node.labels().clone()),
            classes: written(&self.classes),
            removals: written(&self.removals),
            wipes,
        }
    }

    /// Whether the API server has this request now, as it was told.
    async fn stands(&self, wipe: &Written) -> bool {
        match tokio::time::timeout(ANSWER, self.wipes.api.get(&wipe.name)).await {
            Ok(Ok(now)) => now.metadata.deletion_timestamp.is_none() && of(&now) == *wipe,
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
fn written(seen: &Seen) -> Option<Vec<Written>> {
    if !seen.is_filled() {
        return None;
    }
    let objects = seen.store.state();
    let stays = |object: &&Arc<DynamicObject>| object.metadata.deletion_timestamp.is_none();
    let mut all: Vec<Written> = objects
        .iter()
        .filter(stays)
        .map(|object| of(object))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Some(all)
}

fn of(object: &DynamicObject) -> Written {
    Written {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec: object.data["spec"].clone(),
    }
}
