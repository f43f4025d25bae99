//! The CSI node service: publishing volumes to pods.
//!
//! No call here asks the API server, and none runs lvm but one activation of a volume
//! that is found inactive. A call holds its own volume's name and nothing else, and goes
//! on to its end when the caller has gone.

mod content;
mod device;
mod expand;
mod formatting;
mod inline;
mod mounts;
mod options;
mod prepare;
mod publish;
mod stats;
mod superblock;

use std::path::PathBuf;
use std::sync::Arc;

use lvmd::cmd::Runner;
use lvmd::patience::Patience;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

pub use device::{Device, Devices, Devno};
pub use formatting::Formatting;
pub use inline::Allowed;

use crate::deadline;
use crate::error::{self, Error};
use crate::locks::Locks;
use crate::proto::node_server::Node as Service;
use crate::proto::node_service_capability::{Rpc, Type, rpc};
use crate::proto::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
    NodeUnstageVolumeRequest, NodeUnstageVolumeResponse,
};
use crate::topology;

/// What is offered. Publishing does all there is to do, as with upstream: no staging.
const OFFERED: [rpc::Type; 4] = [
    rpc::Type::GetVolumeStats,
    rpc::Type::ExpandVolume,
    rpc::Type::VolumeCondition,
    rpc::Type::SingleNodeMultiWriter,
];

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug)]
pub struct Node<D, R> {
    inner: Arc<Inner<D, R>>,
}

#[derive(Debug)]
struct Inner<D, R> {
    name: String,
    devices: D,
    runner: R,
    formatting: Formatting,
    allowed: Allowed,
    locks: Locks,
    patience: Patience,
    tasks: TaskTracker,
}

impl<D, R> Clone for Node<D, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<D: Devices, R: Runner> Node<D, R> {
    /// The node of this name, which makes the inline volumes that are `allowed`; `tasks` is waited for by whoever ends the program.
    pub fn new(
        name: String,
        devices: D,
        runner: R,
        formatting: Formatting,
        allowed: Allowed,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                name,
                devices,
                runner,
                formatting,
                allowed,
                locks: Locks::default(),
                patience: Patience::default(),
                tasks,
            }),
        }
    }

    /// Runs a call for a volume to its end, whatever becomes of the caller.
    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        volume: &str,
        until: Option<Instant>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let taken = self.inner.locks.take(volume)?;
        let volume = volume.to_owned();
        let done = self.inner.tasks.spawn(async move {
            let _taken = taken;
            let result = deadline::keep(until, work).await;
            match &result {
                Ok(_) => info!(call = name, volume, "done"),
                Err(error) => {
                    warn!(call = name, volume, code = ?error::code(error), %error, "refused")
                }
            }
            result
        });
        let result = done
            .await
            .map_err(|error| Error::Internal(format!("the call broke off: {error}")))?;
        Ok(Response::new(result?))
    }

    /// The volume, which must be on this node.
    async fn require(&self, id: &str) -> Result<Device, Error> {
        let found = self.inner.devices.find(id).await?;
        found.ok_or_else(|| {
            Error::NotFound(format!(
                "there is no volume {id} on node {}",
                self.inner.name
            ))
        })
    }
}

/// Runs what may sleep on a device on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Internal(format!("the call broke off: {error}")))
}

/// A path of a request. A relative one leads nowhere, so nothing is found there.
fn path(field: &str, text: &str) -> Result<PathBuf, Error> {
    if text.is_empty() {
        return Err(Error::missing(field));
    }
    Ok(text.into())
}

/// A path where something is to be made or taken away.
fn target(text: &str) -> Result<PathBuf, Error> {
    let target = path("target_path", text)?;
    if target.is_absolute() {
        Ok(target)
    } else {
        Err(Error::Invalid(format!(
            "target_path {text:?} is not an absolute path"
        )))
    }
}

fn id(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        Err(Error::missing("volume_id"))
    } else {
        Ok(())
    }
}

#[tonic::async_trait]
impl<D: Devices, R: Runner> Service for Node<D, R> {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let until = deadline::of(request.metadata());
        let request = publish::Publish::read(request.into_inner())?;
        let id = request.id.clone();
        let work = self.clone().publish(request);
        self.call("NodePublishVolume", &id, until, work).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let until = deadline::of(request.metadata());
        let NodeUnpublishVolumeRequest {
            volume_id,
            target_path,
        } = request.into_inner();
        id(&volume_id)?;
        let target = target(&target_path)?;
        let (this, volume) = (self.clone(), volume_id.clone());
        let work = async move {
            let cleared = blocking(move || mounts::clear(&target)).await?;
            cleared.map_err(|error| {
                Error::Internal(format!("{target_path} cannot be unpublished: {error}"))
            })?;
            this.end_inline(&volume).await?;
            Ok(NodeUnpublishVolumeResponse {})
        };
        self.call("NodeUnpublishVolume", &volume_id, until, work)
            .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        // It changes nothing, so it neither takes nor waits for the volume's lock.
        let until = deadline::of(request.metadata());
        let stats = deadline::keep(until, self.stats(request.into_inner()));
        Ok(Response::new(stats.await?))
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        let until = deadline::of(request.metadata());
        let request = request.into_inner();
        id(&request.volume_id)?;
        let volume = request.volume_id.clone();
        let work = self.clone().expand(request);
        self.call("NodeExpandVolume", &volume, until, work).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let offered = OFFERED.map(|offered| NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: offered.into(),
            })),
        });
        Ok(Response::new(NodeGetCapabilitiesResponse {
            capabilities: offered.into(),
        }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        let name = &self.inner.name;
        Ok(Response::new(NodeGetInfoResponse {
            node_id: name.clone(),
            max_volumes_per_node: 0,
            accessible_topology: Some(topology::of_node(name)),
        }))
    }

    async fn node_stage_volume(
        &self,
        _: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        Err(Status::unimplemented(
            "staging is not offered: publishing does all there is to do",
        ))
    }

    async fn node_unstage_volume(
        &self,
        _: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        Err(Status::unimplemented(
            "staging is not offered: publishing does all there is to do",
        ))
    }
}
