//! What the API server tells of the objects for this node.
//!
//! What it told last stays true while it is away. Only a wipe wants more: it begins while the
//! API server, asked a moment ago, has its confirmation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use k8s_openapi::api::core::v1::Node;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::compose::{Told, Wipe};
use super::foreign::Foreign;
use super::object::Object;
use super::owners::Here;
use super::seen::{Follower, Seen};
use super::types::{DiskClass, DiskRemovalRequest, DiskWipeRequest, NodeDisk};
use super::written::{Kind, Written};
use crate::config::DiskLabels;
use crate::metrics::WatchMetrics;
use crate::status::RequestState;

/// How long the API server's word counts that a wipe is still confirmed, from the question on.
const COUNTS: Duration = Duration::from_secs(10);
/// How often it is asked for.
const ASK: Duration = Duration::from_secs(5);
/// How long it may take.
const ANSWER: Duration = Duration::from_secs(3);
/// What comes together is told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// The objects for this node, as they are watched.
#[derive(Debug)]
pub struct Objects {
    node: Store<PartialObjectMeta<Node>>,
    classes: Seen,
    removals: Seen,
    wipes: Seen,
    disks: Seen,
    foreign: Foreign,
    name: String,
    tick: watch::Sender<()>,
    metrics: WatchMetrics,
}

impl Objects {
    /// Begins to follow the objects for `node`, until `stop`.
    pub fn start(
        client: &Client,
        node: &str,
        metrics: &WatchMetrics,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let (tick, _) = watch::channel(());
        let follower = Follower {
            client,
            tick: &tick,
            metrics,
            stop,
        };
        let mine = format!("spec.node={node}");
        let own = format!("metadata.name={node}");
        let removals = ApiResource::erase::<DiskRemovalRequest>(&());
        let wipes = ApiResource::erase::<DiskWipeRequest>(&());
        let disks = ApiResource::erase::<NodeDisk>(&());
        Arc::new(Self {
            node: follower.store(Api::all(client.clone()), (), &own, |_| ()),
            classes: follower.kind(ApiResource::erase::<DiskClass>(&()), false, ""),
            removals: follower.kind(removals, true, &mine),
            wipes: follower.kind(wipes, true, &mine),
            disks: follower.kind(disks, false, &format!("spec.nodeName={node}")),
            foreign: Foreign::follow(client, &tick, metrics, stop),
            name: node.to_owned(),
            tick,
            metrics: metrics.clone(),
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

    /// The NodeDisk objects of this node.
    pub(super) fn disks(&self) -> &Seen {
        &self.disks
    }

    pub(super) fn metrics(&self) -> &WatchMetrics {
        &self.metrics
    }

    /// Moves with each change.
    pub(super) fn ticks(&self) -> watch::Receiver<()> {
        self.tick.subscribe()
    }

    /// Tells of each change, until `stop`.
    pub fn tell(self: &Arc<Self>, tell: watch::Sender<Arc<Told>>, stop: &CancellationToken) {
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
    }

    async fn look(&self) -> Told {
        let wipes = self.written(Kind::Wipe).unwrap_or_default();
        let wipes = join_all(wipes.into_iter().map(|object| self.asked(object))).await;
        let node = self.node.state().into_iter().next();
        let here = node.as_ref().map(|node| Here {
            name: &self.name,
            labels: node.labels(),
        });
        Told {
            owners: here.and_then(|here| self.foreign.claims(&here)),
            node_uid: node.as_ref().and_then(|node| node.uid()),
            labels: node.as_ref().map(|node| node.labels().clone()),
            classes: self.written(Kind::Class),
            removals: self.written(Kind::Removal),
            disk_labels: self.disk_labels(),
            wipes,
        }
    }

    /// The objects of a kind, in the order of their names; `None` until all were told once. One
    /// that is being deleted is gone.
    fn written(&self, kind: Kind) -> Option<Vec<Written>> {
        let seen = self.of(kind);
        if !seen.is_filled() {
            return None;
        }
        let objects = seen.store.state();
        let stays = |object: &&Arc<Object>| object.metadata.deletion_timestamp.is_none();
        let stay = objects.iter().filter(stays);
        let mut all: Vec<Written> = stay.map(|object| of(object)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let unreadable = all.iter().filter(|object| object.unreadable.is_some());
        self.metrics.unreadable(kind.name(), unreadable.count());
        Some(all)
    }

    /// The labels of the NodeDisk objects; `None` until all were told once. One that is being
    /// deleted is gone, and its labels with it.
    fn disk_labels(&self) -> Option<DiskLabels> {
        if !self.disks.is_filled() {
            return None;
        }
        let objects = self.disks.store.state();
        let stay = objects
            .iter()
            .filter(|o| o.metadata.deletion_timestamp.is_none());
        Some(stay.map(|o| (o.name_any(), o.labels().clone())).collect())
    }

    /// Asks whether a wipe is still confirmed, if it may have to begin.
    async fn asked(&self, object: Written) -> Wipe {
        let asked = Instant::now();
        let confirmed = object
            .spec
            .get("confirm")
            .is_some_and(|word| !word.is_null());
        let until = match confirmed && !self.is_done(&object) && self.stands(&object).await {
            true => Some(asked + COUNTS),
            false => None,
        };
        Wipe { object, until }
    }

    fn is_done(&self, wipe: &Written) -> bool {
        let object = self.wipes.object(&wipe.name);
        object.is_some_and(|object| {
            object.data["status"]["state"] == format!("{:?}", RequestState::Done)
        })
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

fn of(object: &Object) -> Written {
    let mut beside = object.data.as_object().cloned().unwrap_or_default();
    beside.remove("status");
    Written {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec: beside.remove("spec").unwrap_or_default(),
        beside,
        unreadable: object.unreadable.clone(),
    }
}
