//! The node's side: each LogicalVolume of this node becomes a volume, grows, and goes.
//!
//! The object is the only memory. Each step looks at it, does one thing on the node, and
//! says what came of it; a step that is cut off is done again and finds its work done.

mod health;
mod looks;
mod status;
mod step;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::controller::{Action, Config as Queue, Controller, Error as RunError};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use lvmd::engine::EngineError;
use lvmd::names;
use lvmd::units::Bytes;
use lvmd::volumes::VolumeError;
use serde_json::json;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};

use super::local::{FileSystems, Local};
use super::logical_volume::{LogicalVolume, NODE_FIELD};
use super::strays::Told;
use crate::error::{self, Error};
use status::Said;
use step::{Refusal, Step, copy_of, next};

/// Who writes, in managed fields and Events.
const MANAGER: &str = "topolvm-node";
/// How many objects are worked on at a time. Those of one VG wait for each other in lvmd.
const AT_A_TIME: u16 = 8;
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Reconciler<L, F> {
    node: String,
    local: L,
    mounted: F,
    api: Api<LogicalVolume>,
    events: Events,
    strays: Mutex<Told>,
}

struct Events(Recorder);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl<L: Local, F: FileSystems> Reconciler<L, F> {
    /// A reconciler for the objects of `node`, whose pods have `mounted`; `strays` hears which volumes no object names.
    pub fn new(client: &Client, node: String, local: L, mounted: F, strays: Told) -> Self {
        Self {
            api: Api::all(client.clone()),
            events: Events(Recorder::new(client.clone(), MANAGER.into())),
            node,
            local,
            mounted,
            strays: Mutex::new(strays),
        }
    }

    /// Works until `stop`; what is under way is done first.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        while !stop.is_cancelled() {
            let Some(config) = this.selection(&stop).await else {
                return;
            };
            let queue = Queue::default().concurrency(AT_A_TIME);
            let again = |_: Arc<LogicalVolume>, _: &Error, _: Arc<Self>| Action::requeue(AGAIN);
            let controller = Controller::new(this.api.clone(), config);
            let looks = this.look(controller.store());
            let mut looks = std::pin::pin!(looks);
            let done = controller
                .with_config(queue)
                .graceful_shutdown_on(stop.clone().cancelled_owned())
                .run(
                    |object, this| async move { this.reconcile(&object).await },
                    again,
                    this.clone(),
                );
            let mut done = std::pin::pin!(done);
            loop {
                let result = tokio::select! {
                    result = done.next() => result,
                    () = &mut looks => None,
                };
                let Some(result) = result else { break };
                match result {
                    Err(RunError::QueueError(error)) => {
                        warn!(%error, "the watch of LogicalVolumes broke off and is tried again");
                        // The CRD may have become upstream's.
                        if is_refused(&error) {
                            break;
                        }
                    }
                    Err(RunError::ReconcilerFailed(error, object)) => {
                        warn!(volume = object.name, %error, "not done yet");
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }

    /// Which objects to watch: this node's, where the CRD lets them be selected; else all.
    async fn selection(&self, stop: &CancellationToken) -> Option<watcher::Config> {
        let own = format!("{NODE_FIELD}={}", self.node);
        loop {
            let asked = ListParams::default().fields(&own).limit(1);
            match self.api.list(&asked).await {
                Ok(_) => return Some(watcher::Config::default().fields(&own)),
                Err(kube::Error::Api(status)) if status.code == 400 => {
                    info!("the CRD does not select by node, so all LogicalVolumes are watched");
                    return Some(watcher::Config::default());
                }
                Err(error) => warn!(%error, "LogicalVolumes cannot be listed yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn reconcile(&self, object: &LogicalVolume) -> Result<Action, Error> {
        let again = match next(object, &self.node) {
            Step::Nothing => false,
            Step::Claim => self.claim(object).await?,
            Step::Refuse(refusal) => self.refuse(object, refusal).await?,
            Step::Make(create) => {
                let made = self.local.create(&create).await.map_err(step::elsewhere);
                self.made(object, &create.name, made).await?
            }
            Step::Copy { source, access } => {
                let source = self.api.get_opt(&source).await?;
                match copy_of(object, source.as_ref(), access) {
                    Err(refusal) => self.refuse(object, refusal).await?,
                    Ok(copy) => {
                        let made = self.local.copy(&copy).await;
                        self.made(object, &copy.name, made).await?
                    }
                }
            }
            Step::Grow { id, size } => self.grow(object, id, size).await?,
            Step::Remove { id, made } => self.remove(object, &id, made).await?,
            Step::Release => self.release(object).await?,
        };
        Ok(if again {
            Action::requeue(AGAIN)
        } else {
            Action::await_change()
        })
    }

    /// Writes finalizer and label, unless the object changed since.
    async fn claim(&self, object: &LogicalVolume) -> Result<bool, Error> {
        let mut finalizers = object.finalizers().to_vec();
        if !object.has_finalizer() {
            finalizers.push(names::FINALIZER_LV.to_owned());
        }
        let patch = json!({"metadata": {
            "resourceVersion": object.resource_version(),
            "finalizers": finalizers,
            "labels": {names::LABEL_CREATED_BY: names::CREATED_BY},
        }});
        self.patch(object, &patch).await?;
        Ok(false)
    }

    async fn refuse(&self, object: &LogicalVolume, refusal: Refusal) -> Result<bool, Error> {
        let Refusal { code, message } = refusal;
        self.tell(object, "CannotMake", &message).await;
        self.say(object, &Said::Failed(code, message)).await?;
        Ok(false)
    }

    async fn made(
        &self,
        object: &LogicalVolume,
        id: &str,
        made: Result<Bytes, Error>,
    ) -> Result<bool, Error> {
        let made = match made {
            // It was made for this very object, and is not as a new one would be: the status
            // was lost after it was grown.
            Err(Error::Volume(VolumeError::Exists { .. })) => match self.local.find(id).await {
                Ok(Some((_, size))) => Ok(size),
                _ => made,
            },
            made => made,
        };
        match made {
            Ok(size) => {
                info!(volume = object.name_any(), id, %size, "made");
                let is = Said::Is {
                    id: id.to_owned(),
                    size,
                    file_system: false,
                };
                self.say(object, &is).await?;
                Ok(false)
            }
            // All data of the source is being copied, which goes on by itself.
            Err(error) if error::code(&error) == Code::Aborted => {
                if object.is_snapshot() && object.id().is_none() {
                    let frozen = json!({names::ANNOTATION_FROZEN: id});
                    self.patch(object, &json!({"metadata": {"annotations": frozen}}))
                        .await?;
                }
                self.say(object, &Said::NotYet(Code::Aborted, error.to_string()))
                    .await?;
                Ok(true)
            }
            Err(error) => self.failed(object, "CannotMake", error).await,
        }
    }

    async fn grow(&self, object: &LogicalVolume, id: String, size: Bytes) -> Result<bool, Error> {
        match self.local.grow(&id, &object.spec.device_class, size).await {
            Ok(size) => {
                info!(volume = object.name_any(), id, %size, "has the size that is wanted");
                // What cannot be grown here is left to kubelet, which tells its user why.
                let grown = self.mounted.grow_mounted(&id, size).await;
                if let Err(error) = &grown {
                    warn!(volume = object.name_any(), id, %error, "its file system is not grown with it");
                }
                let is = Said::Is {
                    id,
                    size,
                    file_system: grown.unwrap_or(false),
                };
                self.say(object, &is).await?;
                Ok(false)
            }
            Err(error) => {
                self.failed(object, "CannotGrow", error).await?;
                // Space may come: a person or disk-watcher adds a disk.
                Ok(true)
            }
        }
    }

    async fn remove(&self, object: &LogicalVolume, id: &str, made: bool) -> Result<bool, Error> {
        match self.removed(object, id, made).await {
            Ok(()) => {
                info!(volume = object.name_any(), id, "removed");
                self.release(object).await
            }
            Err(error) => {
                let message = error.to_string();
                self.tell(object, "CannotRemove", &message).await;
                let said = Said::NotYet(error::code(&error), message);
                self.say(object, &said).await?;
                Ok(true)
            }
        }
    }

    /// Takes the finalizer away, unless the object changed since.
    async fn release(&self, object: &LogicalVolume) -> Result<bool, Error> {
        let finalizers = object.finalizers().iter();
        let rest: Vec<&String> = finalizers
            .filter(|name| *name != names::FINALIZER_LV)
            .collect();
        let patch = json!({"metadata": {
            "resourceVersion": object.resource_version(),
            "finalizers": rest,
        }});
        self.patch(object, &patch).await?;
        Ok(false)
    }

    /// Removes the volume, or shows that there is none.
    async fn removed(&self, object: &LogicalVolume, id: &str, made: bool) -> Result<(), Error> {
        match self.local.remove(id, &object.spec.device_class).await {
            Ok(()) | Err(Error::Volume(VolumeError::VolumeMissing { .. })) => Ok(()),
            Err(_) if step::was_refused(object) && self.is_nowhere(object, id).await => Ok(()),
            // A person named the LV, and one of that name may be in another class too.
            Err(error @ Error::Volume(VolumeError::RemovalWithoutClass { .. }))
                if object.annotations().contains_key(names::ANNOTATION_ADOPTED)
                    || object.annotations().contains_key(names::ANNOTATION_REMOVAL) =>
            {
                Err(error)
            }
            // Its class has another name now, or none: then it is not shown to be gone,
            // unless it never was.
            Err(error @ Error::Volume(VolumeError::RemovalWithoutClass { .. })) => {
                match self.local.find(id).await? {
                    Some((class, _)) => match self.local.remove(id, &class).await {
                        Err(Error::Volume(VolumeError::VolumeMissing { .. })) => Ok(()),
                        other => other,
                    },
                    None if !made => Ok(()),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a volume that this node said it could not make is not here. Its object has to go in a group too that must
    /// not be changed or is away, or the name is not free for another node.
    async fn is_nowhere(&self, object: &LogicalVolume, id: &str) -> bool {
        match self.local.find(id).await {
            Ok(found) => found.is_none(),
            Err(Error::Volume(VolumeError::Engine(EngineError::Missing(vg)))) => {
                let note = format!(
                    "volume group {vg} is away; should it have LV {id} nevertheless, nobody ever used that, and it is \
                     reported as an orphan when the group is back"
                );
                self.tell(object, "GivenUp", &note).await;
                true
            }
            Err(_) => false,
        }
    }

    /// Says that something failed: for good where somebody has to decide, else for now.
    async fn failed(
        &self,
        object: &LogicalVolume,
        reason: &str,
        error: Error,
    ) -> Result<bool, Error> {
        let (code, message) = (error::code(&error), error.to_string());
        self.tell(object, reason, &message).await;
        let for_now = matches!(code, Code::Unavailable | Code::Aborted);
        let said = if for_now {
            Said::NotYet(code, message)
        } else {
            Said::Failed(code, message)
        };
        self.say(object, &said).await?;
        Ok(for_now)
    }

    async fn say(&self, object: &LogicalVolume, said: &Said) -> Result<(), Error> {
        let Some(patch) = status::patch(object, said, Timestamp::now()) else {
            return Ok(());
        };
        let params = PatchParams::apply(MANAGER);
        let name = object.name_any();
        match self
            .api
            .patch_status(&name, &params, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => gone(error),
        }
    }

    async fn patch(&self, object: &LogicalVolume, patch: &serde_json::Value) -> Result<(), Error> {
        let params = PatchParams::apply(MANAGER);
        match self
            .api
            .patch(&object.name_any(), &params, &Patch::Merge(patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => gone(error),
        }
    }

    async fn tell(&self, object: &LogicalVolume, reason: &str, note: &str) {
        self.event(object, EventType::Warning, reason, note).await;
    }

    /// An Event about the object. It is for people: that it cannot be written stops nothing.
    async fn event(&self, object: &LogicalVolume, kind: EventType, reason: &str, note: &str) {
        let about = object.object_ref(&());
        self.publish(&about, kind, reason, note).await;
    }

    async fn publish(&self, about: &ObjectReference, kind: EventType, reason: &str, note: &str) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.events.0.publish(&event, about).await {
            warn!(about = about.name, %error, reason, "the Event is not written");
        }
    }
}

/// An object that is gone needs nothing any more.
fn gone(error: kube::Error) -> Result<(), Error> {
    match error {
        kube::Error::Api(status) if status.code == 404 => Ok(()),
        error => Err(error.into()),
    }
}

/// Whether a watch can never be as it was asked for.
fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 400,
        watcher::Error::WatchError(status) => status.code == 400,
        _ => false,
    }
}
