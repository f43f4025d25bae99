//! The controller's store: LogicalVolume objects, which nodes fulfil.
//!
//! A name is looked up in the API server itself, so that two controllers never make one
//! volume twice; for waiting there is a watch, and nothing polls.

mod condition;
mod held;
mod only;
mod promised;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, ResourceExt};
use lvmd::names;
use lvmd::units::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tracing::info;

use super::cache::{Cache, Ended};
use super::logical_volume::LogicalVolume;
use super::size::Size;
use crate::deadline;
use crate::error::Error;
use crate::store::{Capacity, Grown, Held, Kind, Listing, New, Store};
use held::{held, object, same};
use only::only;

/// How long a node is waited for, where no caller's deadline comes first.
const LIMIT: Duration = Duration::from_secs(60);
/// Who writes, in managed fields.
const MANAGER: &str = "topolvm-controller";

/// See the module.
#[derive(Debug)]
pub struct KubeStore {
    api: Api<LogicalVolume>,
    volumes: Cache<LogicalVolume>,
    nodes: Cache<PartialObjectMeta<Node>>,
    conditions: condition::Kept,
}

impl KubeStore {
    /// Starts the watches; `tasks` is waited for by whoever ends the program.
    pub fn start(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let api: Api<LogicalVolume> = Api::all(client.clone());
        let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
        Self {
            volumes: Cache::follow(watcher(api.clone(), Config::default()), tasks, stop),
            nodes: Cache::follow(watcher(nodes, Config::default()), tasks, stop),
            api,
            conditions: condition::Kept::default(),
        }
    }

    /// Whether all LogicalVolumes were listed once.
    pub fn is_watching(&self) -> bool {
        self.volumes.is_filled()
    }

    /// Nodes as the watch told of them.
    pub fn nodes(&self) -> &Cache<PartialObjectMeta<Node>> {
        &self.nodes
    }

    fn held(&self, object: &LogicalVolume) -> Held {
        let named = |name: &str| self.volumes.store().get(&ObjectRef::new(name));
        held(object, |name| named(name).map(|found| (*found).clone()))
    }

    /// Waits until the node has made it, has frozen the source of a snapshot, or says why not. One that is refused is taken back.
    async fn made(&self, name: &str, uid: &str) -> Result<Held, Error> {
        let key = ObjectRef::new(name);
        let mut seen = false;
        let waited = self.volumes.until(deadline::rest(LIMIT), |store| {
            let object = store
                .get(&key)
                .filter(|object| object.uid().as_deref() == Some(uid));
            match &object {
                // The watch may not have told of it yet.
                None if !seen => None,
                None => Some(Err(Error::Aborted(format!(
                    "LogicalVolume {name} was deleted meanwhile"
                )))),
                Some(object) => {
                    seen = true;
                    (object.id().is_some() || object.failure().is_some())
                        .then(|| Ok((**object).clone()))
                }
            }
        });
        let object = match waited.await {
            Ok(found) => found?,
            Err(ended) => return Err(self.not_yet(ended, &key)),
        };
        match (object.id(), object.failure()) {
            (None, Some(failure)) => {
                self.take_back(&object).await?;
                Err(Error::Told(refusal(&object, failure)))
            }
            // Its id was told: whoever has it deletes it.
            (Some(_), Some(failure)) if object.volume_id().is_none() => {
                Err(Error::Told(refusal(&object, failure)))
            }
            _ => Ok(self.held(&object)),
        }
    }

    /// Deletes an object whose volume could not be made, unless it changed since, and waits until it is gone: the
    /// name is free then, and whoever asks for another node is not told to wait for this one.
    async fn take_back(&self, object: &LogicalVolume) -> Result<(), Error> {
        let name = object.name_any();
        info!(
            volume = name,
            node = object.spec.node_name,
            "taken back: its node did not make it"
        );
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: object.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(&name, &params).await {
            Ok(_) => self.gone(&name, object.uid()).await,
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the object of that name and uid is gone, and with it its volume.
    async fn gone(&self, name: &str, uid: Option<String>) -> Result<(), Error> {
        let key = ObjectRef::new(name);
        let mut seen = false;
        let gone = self.volumes.until(deadline::rest(LIMIT), |store| {
            let object = store.get(&key).filter(|object| object.uid() == uid);
            seen |= object.is_some();
            object.is_none().then_some(())
        });
        gone.await.map_err(|ended| self.not_yet(ended, &key))?;
        if seen {
            return Ok(());
        }
        // The watch may not have told of it yet.
        let there = self.api.get_opt(name).await?;
        match there.filter(|object| object.uid() == uid) {
            None => Ok(()),
            Some(_) => Err(Error::Aborted(format!(
                "LogicalVolume {name} is not gone yet"
            ))),
        }
    }

    /// Whether the node is in the cluster. Waits until the watch told of all nodes once: a controller that has just
    /// begun must not take one for gone, nor leave a volume to a node that is.
    async fn has_node(&self, node: &str) -> Result<bool, Error> {
        let filled = self.nodes.until(deadline::rest(LIMIT), |_| {
            self.nodes.is_filled().then_some(())
        });
        filled.await.map_err(|ended| match ended {
            Ended::Late => Error::Aborted("which nodes there are is not known yet".into()),
            Ended::Stopped => stopped(),
        })?;
        Ok(self.nodes.store().get(&ObjectRef::new(node)).is_some())
    }

    /// Why there is no answer yet, with what the node said last. What is under way is Aborted (CSI, "Operation pending for
    /// volume").
    fn not_yet(&self, ended: Ended, key: &ObjectRef<LogicalVolume>) -> Error {
        let object = self.volumes.store().get(key);
        let node = object
            .as_ref()
            .map_or("", |object| object.spec.node_name.as_str());
        let said = object.as_ref().and_then(|object| {
            let conditions = &object.status.as_ref()?.conditions;
            let ready = conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")?;
            Some(format!(": {}", ready.message))
        });
        match ended {
            Ended::Late => Error::Aborted(format!(
                "node {node:?} is not done with LogicalVolume {} yet{}",
                key.name,
                said.unwrap_or_default()
            )),
            Ended::Stopped => stopped(),
        }
    }

    /// An object as the API server has it now.
    async fn object(&self, held: &Held) -> Result<Option<LogicalVolume>, Error> {
        let object = self.api.get_opt(&object_name(&held.name)).await?;
        // One of this name made later is another.
        Ok(object.filter(|object| object.id() == Some(held.id.as_str())))
    }

    /// Asks for a new size; gives what the request can be known by in later objects.
    async fn ask_for(&self, held: &Held, size: Bytes) -> Result<String, Error> {
        const TRIES: usize = 5;
        let name = object_name(&held.name);
        let stamp = Timestamp::now().strftime("%F %T.%N +0000 UTC").to_string();
        for _ in 0..TRIES {
            let mut object = self
                .object(held)
                .await?
                .ok_or_else(|| Error::NotFound(format!("there is no volume {}", held.id)))?;
            if object.is_leaving() {
                return Err(Error::Aborted(format!(
                    "volume {} is being deleted",
                    held.id
                )));
            }
            if object.failure().is_some() {
                // What failed before must not be read as the answer to this.
                let cleared = json!({"status": {"code": null, "message": null}});
                object = self
                    .api
                    .patch_status(&name, &PatchParams::apply(MANAGER), &Patch::Merge(&cleared))
                    .await?;
            }
            let now = object.spec.size.bytes().unwrap_or_default();
            let patch = json!({
                "metadata": {
                    "resourceVersion": object.resource_version(),
                    "annotations": {names::ANNOTATION_RESIZE: stamp},
                },
                "spec": {"size": Size::from(now.max(size))},
            });
            match self
                .api
                .patch(&name, &PatchParams::apply(MANAGER), &Patch::Merge(&patch))
                .await
            {
                Ok(_) => return Ok(stamp),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Aborted(format!(
            "LogicalVolume {name} changes all the time; ask again"
        )))
    }
}

fn stopped() -> Error {
    Error::Unavailable("this controller ends; ask the next one".into())
}

/// What the caller is told of what a node could not make. A volume that is no copy may be made elsewhere: it is
/// ResourceExhausted then, which is CSI's code for "not in this topology" and the only one that has csi-provisioner ask
/// the scheduler for another node; after any other a pod waits for this node for ever. A copy is where its source is.
fn refusal(object: &LogicalVolume, (code, message): (Code, String)) -> Status {
    let ends = !matches!(
        code,
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::DeadlineExceeded
    );
    if !ends || !object.spec.source.is_empty() {
        return Status::new(code, message);
    }
    let node = &object.spec.node_name;
    Status::resource_exhausted(format!("node {node} cannot make it: {message}"))
}

/// The object of a name, as upstream has it.
fn object_name(name: &str) -> String {
    name.to_lowercase()
}

impl Store for KubeStore {
    /// The classes are the nodes'; here a name is a name.
    fn class(&self, name: &str) -> Result<String, Error> {
        Ok(name.to_owned())
    }

    async fn capacities(&self, class: &str) -> Result<Vec<Capacity>, Error> {
        let objects = self.volumes.store().state();
        let promised = promised::promised(objects.iter().map(AsRef::as_ref), class);
        let class = if class.is_empty() {
            names::CAPACITY_DEFAULT
        } else {
            class
        };
        let key = format!("{}{class}", names::CAPACITY_PREFIX);
        let nodes = self.nodes.store().state();
        Ok(nodes
            .iter()
            .filter(|node| node.metadata.deletion_timestamp.is_none())
            .filter_map(|node| {
                let node_name = node.name_any();
                let free: u64 = node.annotations().get(&key)?.parse().ok()?;
                let promised = promised.get(node_name.as_str()).copied();
                Some(Capacity {
                    node: node_name,
                    free: Bytes(free.saturating_sub(promised.unwrap_or_default())),
                })
            })
            .collect())
    }

    async fn by_name(&self, kind: Kind, name: &str) -> Result<Option<Held>, Error> {
        let Some(object) = self.api.get_opt(&object_name(name)).await? else {
            return Ok(None);
        };
        if object.is_leaving() {
            return Err(Error::Aborted(format!(
                "{} {name} is being deleted",
                kind.name()
            )));
        }
        let held = self.held(&object);
        if held.kind != kind {
            return Err(Error::Exists(format!(
                "{name} is the name of a {}",
                held.kind.name()
            )));
        }
        Ok(Some(held))
    }

    async fn by_id(&self, kind: Kind, id: &str) -> Result<Option<Held>, Error> {
        let has_id = |object: &LogicalVolume| object.id() == Some(id);
        let known = self.volumes.store().state();
        if let Some(known) = only(known.iter().map(AsRef::as_ref), id)?
            && let Some(object) = self.api.get_opt(&known.name_any()).await?.filter(has_id)
        {
            return Ok(Some(self.held(&object)).filter(|held| held.kind == kind));
        }
        // Only the API server can say that there is none.
        let all = self.api.list(&ListParams::default()).await?;
        Ok(only(&all.items, id)?
            .map(|object| self.held(object))
            .filter(|held| held.kind == kind))
    }

    async fn withdraw(&self, held: &Held) -> Result<(), Error> {
        let Some(object) = self.api.get_opt(&object_name(&held.name)).await? else {
            return Ok(());
        };
        if object.volume_id().is_some() {
            let why = format!("volume {} is made meanwhile; ask again", held.name);
            return Err(Error::Aborted(why));
        }
        if !self.has_node(&object.spec.node_name).await? {
            // Nobody else does: and no pod ever had what may be on that node's disks.
            let patch = json!({"metadata": {
                "resourceVersion": object.resource_version(),
                "finalizers": null,
            }});
            let params = PatchParams::apply(MANAGER);
            let name = object.name_any();
            let freed = self
                .api
                .patch(&name, &params, &Patch::Merge(&patch))
                .await?;
            return self.take_back(&freed).await;
        }
        self.take_back(&object).await
    }

    async fn finish(&self, held: Held) -> Result<Held, Error> {
        let made = match held.whole {
            true => held,
            false => {
                let name = object_name(&held.name);
                let object = self.api.get(&name).await?;
                self.made(&name, &object.uid().unwrap_or_default()).await?
            }
        };
        if made.whole && made.size < made.asked {
            let size = self.grow(&made, made.asked).await?.size;
            return Ok(Held { size, ..made });
        }
        Ok(made)
    }

    async fn all(&self) -> Result<Listing, Error> {
        let all = self.api.list(&ListParams::default()).await?;
        let made = all.items.iter().filter(|object| object.id().is_some());
        Ok(Listing {
            held: made.map(|object| self.held(object)).collect(),
            unseen: None,
        })
    }

    async fn create(&self, new: New) -> Result<Held, Error> {
        let name = object_name(&new.name);
        let wanted = object(&name, &new);
        let made = match self.api.create(&PostParams::default(), &wanted).await {
            Ok(made) => made,
            // Another controller was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let there = self.api.get(&name).await?;
                if there.is_leaving() {
                    return Err(Error::Aborted(format!("{name} is being deleted")));
                }
                if !same(&there, &wanted) {
                    return Err(Error::Exists(format!(
                        "LogicalVolume {name} exists and is not what is asked for"
                    )));
                }
                there
            }
            Err(error) => return Err(error.into()),
        };
        self.made(&name, &made.uid().unwrap_or_default()).await
    }

    async fn delete(&self, held: &Held) -> Result<(), Error> {
        let name = object_name(&held.name);
        let known = self.volumes.store().get(&ObjectRef::new(&name));
        let known = known.filter(|object| object.id() == Some(held.id.as_str()));
        let uid = match known {
            // Should the object of that id be another one by now, its uid keeps it from being deleted.
            Some(known) => known.uid(),
            None => match self.object(held).await? {
                Some(object) => object.uid(),
                None => return Ok(()),
            },
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let waits = match self.api.delete(&name, &params).await {
            Ok(left) => left
                .left()
                .is_some_and(|object| !object.finalizers().is_empty()),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            // Another has its name by now.
            Err(kube::Error::Api(status))
                if status.code == 409 && self.object(held).await?.is_none() =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let node = &held.node;
        if waits && !self.has_node(node).await? {
            return Err(Error::Precondition(format!(
                "node {node} is not in the cluster, so nobody removes volume {}; if it is gone for good, take the \
                 finalizers of LogicalVolume {name} away",
                held.id
            )));
        }
        self.gone(&name, uid).await
    }

    async fn tells_what_is_wrong(&self) -> bool {
        self.conditions
            .are_kept(&self.api.clone().into_client())
            .await
    }

    async fn wrong(&self, held: &Held) -> Option<String> {
        let key = ObjectRef::new(&object_name(&held.name));
        let object = self.volumes.store().get(&key)?;
        object.wrong().map(str::to_owned)
    }

    async fn grow(&self, held: &Held, size: Bytes) -> Result<Grown, Error> {
        let stamp = self.ask_for(held, size).await?;
        let key = ObjectRef::new(&object_name(&held.name));
        let waited = self.volumes.until(deadline::rest(LIMIT), |store| {
            let object = store.get(&key)?;
            if object.annotations().get(names::ANNOTATION_RESIZE) != Some(&stamp) {
                return None;
            }
            match (object.current_size(), object.failure()) {
                (Some(now), _) if now >= size => Some(Ok(Grown {
                    size: now,
                    file_system: object.has_grown_file_system(),
                })),
                (_, Some((code, message))) => Some(Err(Error::Told(Status::new(code, message)))),
                _ => None,
            }
        });
        waited.await.map_err(|ended| self.not_yet(ended, &key))?
    }
}
