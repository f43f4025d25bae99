//! Writes what a node has, and how requests and classes stand there, to the API server: only
//! what changed, and not often.
//!
//! The objects belong to the Node, so that they go with it. That the API server is away stops
//! nothing here; what is true when it is back is written then.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::compose::{Told, Verdict};
use super::conditions;
use super::difference::{due, set_times};
use super::events::Events;
use super::requests::{self, Target};
use super::secrets::Secrets;
use super::seen::{Follower, Seen};
use super::types::{NodeThinPool, NodeVolumeGroup};
use super::view::{Kind, Wanted, wanted};
use super::watch::Objects;
use super::written;
use crate::metrics::SecretMetrics;
use crate::status::NodeStatus;

/// At least this long between two rounds of writing.
const PAUSE: Duration = Duration::from_secs(1);
/// A round is made at least this often, for what is written seldom and what failed.
const ROUND: Duration = Duration::from_secs(10);
/// An object that nothing wants any more goes after this long: pools are not seen at once.
const LINGERS: Duration = Duration::from_secs(30);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// What is to be shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The node.
    pub status: watch::Receiver<Arc<NodeStatus>>,
    /// What became of objects.
    pub verdicts: watch::Receiver<Arc<Vec<Verdict>>>,
    /// What the API server told.
    pub told: watch::Receiver<Arc<Told>>,
    /// The classes and requests.
    pub objects: Arc<Objects>,
    /// The journal's folder, with the descriptions of groups.
    pub journal: PathBuf,
    /// What Prometheus sees of those in Secrets.
    pub secrets: SecretMetrics,
}

/// See the module.
#[derive(Debug)]
pub struct Writing {
    node: String,
    /// Who writes, for the API server; each node is another.
    manager: String,
    shown: Shown,
    objects: BTreeMap<Kind, Seen>,
    /// Moves with each change of a class or request.
    ticks: watch::Receiver<()>,
    /// Moves with each change of an object of ours.
    own: watch::Receiver<()>,
    events: Events,
    secrets: Secrets,
    /// When each object was last written.
    last: HashMap<String, Instant>,
    /// Since when nothing wants an object.
    unwanted: HashMap<String, Instant>,
    began: Instant,
    stop: CancellationToken,
}

impl Writing {
    /// Begins to watch the objects of `node`.
    pub fn start(client: &Client, node: &str, shown: Shown, stop: &CancellationToken) -> Self {
        let ticks = shown.objects.ticks();
        let (tick, mut own) = watch::channel(());
        let follower = Follower {
            client,
            tick: &tick,
            metrics: shown.objects.metrics(),
            stop,
        };
        let fields = format!("spec.nodeName={node}");
        let all = |resource: ApiResource| follower.kind(resource, false, &fields);
        let objects = BTreeMap::from([
            (Kind::Disk, shown.objects.disks().clone()),
            (Kind::Group, all(ApiResource::erase::<NodeVolumeGroup>(&()))),
            (Kind::Pool, all(ApiResource::erase::<NodeThinPool>(&()))),
        ]);
        own.mark_unchanged();
        // The API server takes 128 bytes.
        let short: String = node.chars().take(110).collect();
        let manager = format!("disk-watcher/{short}");
        Self {
            secrets: Secrets::new(client, node, &manager, shown.journal.clone()),
            manager,
            node: node.to_owned(),
            shown,
            objects,
            ticks,
            own,
            events: Events::new(client, node),
            last: HashMap::new(),
            unwanted: HashMap::new(),
            began: Instant::now(),
            stop: stop.clone(),
        }
    }

    /// Writes until it is told to stop.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                _ = self.shown.status.changed() => {}
                _ = self.shown.verdicts.changed() => {}
                _ = self.ticks.changed() => {}
                _ = self.own.changed() => {}
                () = tokio::time::sleep(ROUND) => {}
                () = self.stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
            let stop = self.stop.clone();
            tokio::select! {
                () = self.round() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Makes every object say what is true now, as far as it is due.
    async fn round(&mut self) {
        if !self.objects.values().all(Seen::is_filled) {
            return;
        }
        let status = self.shown.status.borrow_and_update().clone();
        let verdicts = self.shown.verdicts.borrow_and_update().clone();
        let uid = self.shown.told.borrow().node_uid.clone();
        // Nothing is known yet, or nobody would own the objects.
        let (Some(uid), true) = (uid, status.looks > 0) else {
            return;
        };
        let mut all = wanted(&self.node, &status);
        let mut stored = BTreeMap::new();
        for group in &status.groups {
            let Some(kept) = self.secrets.keep(group).await else {
                continue;
            };
            let written = self.secrets.stored(group).unwrap_or_default();
            stored.insert(group.name.clone(), written);
            let mut shown = all.iter_mut().filter(|one| one.kind == Kind::Group);
            if let Some(one) = shown.find(|one| one.status["uuid"] == group.uuid.as_str()) {
                one.add_condition(&conditions::said(&kept));
            }
        }
        self.shown.secrets.set(stored);
        for one in &all {
            self.show(one, &uid).await;
        }
        self.remove_unwanted(&all).await;
        for target in requests::targets(&self.node, &verdicts, &status) {
            self.answer(&target).await;
        }
        self.events.deliver().await;
    }

    /// Writes one object of ours, if that is due.
    async fn show(&mut self, wanted: &Wanted, uid: &str) {
        let Some(seen) = self.objects.get(&wanted.kind) else {
            return;
        };
        let there = seen.object(&wanted.name);
        let owned = there.as_ref().is_some_and(|object| {
            let mut owners = object.owner_references().iter();
            owners.any(|owner| owner.uid == uid)
        });
        let now = there
            .as_ref()
            .map_or(Value::Null, |object| object.data["status"].clone());
        let mut status = wanted.status.clone();
        set_times(&mut status, &now, Timestamp::now());
        let due = due(&now, &status);
        if owned && due.is_none_or(|after| !self.is_due(&wanted.name, after)) {
            return;
        }
        let resource = &seen.resource;
        let head = |metadata: Value| json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata});
        let params = PatchParams::apply(&self.manager).force();
        let write = async {
            if !owned {
                let mut object = head(json!({"name": wanted.name, "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid}]}));
                object["spec"] = json!({"nodeName": self.node});
                seen.api
                    .patch(&wanted.name, &params, &Patch::Apply(object))
                    .await?;
            }
            let mut object = head(json!({"name": wanted.name}));
            object["status"] = status.clone();
            seen.api
                .patch_status(&wanted.name, &params, &Patch::Apply(object))
                .await
        };
        match tokio::time::timeout(ANSWER, write).await {
            Ok(Ok(written)) => {
                self.last.insert(wanted.name.clone(), Instant::now());
                self.events.of_object(wanted.kind, &written, &now, &status);
            }
            Ok(Err(error)) => {
                warn!(kind = resource.kind, name = wanted.name, %error, "what the node has is not written yet");
            }
            Err(_) => warn!(
                kind = resource.kind,
                name = wanted.name,
                "the API server does not answer"
            ),
        }
    }

    /// Whether something that may wait so long after the last write has waited. What was
    /// written before this program began was written when it began.
    fn is_due(&self, name: &str, after: Duration) -> bool {
        let last = self.last.get(name).copied().unwrap_or(self.began);
        after.is_zero() || last.elapsed() >= after
    }

    /// Deletes objects of this node that stand for nothing any more.
    async fn remove_unwanted(&mut self, all: &[Wanted]) {
        let mut unwanted = HashMap::new();
        for (kind, seen) in &self.objects {
            for object in seen.store.state() {
                let name = object.name_any();
                if all.iter().any(|one| one.kind == *kind && one.name == name) {
                    continue;
                }
                let since = self
                    .unwanted
                    .get(&name)
                    .copied()
                    .unwrap_or_else(Instant::now);
                if since.elapsed() >= LINGERS {
                    let params = DeleteParams::default();
                    let deleted = seen.api.delete(&name, &params);
                    if let Ok(Err(error)) = tokio::time::timeout(ANSWER, deleted).await {
                        warn!(kind = seen.resource.kind, name, %error, "it is not deleted yet");
                    }
                }
                unwanted.insert(name, since);
            }
        }
        self.unwanted = unwanted;
    }

    /// Says how a class or a request stands on this node.
    async fn answer(&mut self, target: &Target) {
        let seen = self.shown.objects.of(target.kind);
        let Some(object) = seen.object(&target.name) else {
            return;
        };
        let now = target.part(&object.data["status"], &self.node);
        let mut status = target.status.clone();
        set_times(&mut status, &now, Timestamp::now());
        let key = format!("{}/{}", target.kind.name(), target.name);
        // How far a request is, people wait for.
        let after = match due(&now, &status) {
            None => return,
            Some(after) if target.kind != written::Kind::Class => after.min(requests::PROGRESS),
            Some(after) => after,
        };
        if !self.is_due(&key, after) {
            return;
        }
        let patch = Patch::Apply(json!({
            "apiVersion": seen.resource.api_version,
            "kind": seen.resource.kind,
            "metadata": {"name": target.name},
            "status": target.whole(status.clone()),
        }));
        let params = PatchParams::apply(&self.manager).force();
        let write = seen.api.patch_status(&target.name, &params, &patch);
        match tokio::time::timeout(ANSWER, write).await {
            Ok(Ok(written)) => {
                self.last.insert(key, Instant::now());
                self.events.of_request(target, &written, &now, &status);
            }
            Ok(Err(error)) => {
                warn!(kind = seen.resource.kind, name = target.name, %error, "how it stands is not written yet");
            }
            Err(_) => {}
        }
    }
}
