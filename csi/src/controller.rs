//! The CSI controller service: decides by pure rules, and has a [`Store`] do it.
//!
//! Every change runs in a task of its own and holds its volume's name until it has
//! ended, whether or not the caller still waits.

mod create;
mod list;
mod messages;

use std::sync::Arc;

use lvmd::units::Bytes;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::capability::{Access, Capability};
use crate::condition::condition;
use crate::deadline;
use crate::error::{self, Error};
use crate::locks::Locks;
use crate::parameters::Parameters;
use crate::proto::controller_server::Controller as Service;
use crate::proto::controller_service_capability::{Rpc, Type, rpc};
use crate::proto::{
    ControllerExpandVolumeRequest, ControllerExpandVolumeResponse,
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse,
    ControllerGetVolumeRequest, ControllerGetVolumeResponse, ControllerModifyVolumeRequest,
    ControllerModifyVolumeResponse, ControllerPublishVolumeRequest,
    ControllerPublishVolumeResponse, ControllerServiceCapability, ControllerUnpublishVolumeRequest,
    ControllerUnpublishVolumeResponse, CreateSnapshotRequest, CreateSnapshotResponse,
    CreateVolumeRequest, CreateVolumeResponse, DeleteSnapshotRequest, DeleteSnapshotResponse,
    DeleteVolumeRequest, DeleteVolumeResponse, GetCapacityRequest, GetCapacityResponse,
    GetSnapshotRequest, GetSnapshotResponse, ListSnapshotsRequest, ListSnapshotsResponse,
    ListVolumesRequest, ListVolumesResponse, ValidateVolumeCapabilitiesRequest,
    ValidateVolumeCapabilitiesResponse, VolumeCondition, controller_get_volume_response,
    list_snapshots_response, list_volumes_response, validate_volume_capabilities_response,
};
use crate::size::{Minimums, Range};
use crate::store::{Grown, Held, Kind, Listing, Store};
use crate::topology;
use messages::{signed, snapshot, volume};

/// What is offered, beside the condition of volumes where the store can tell it. Attaching is not: a local volume is on
/// its node already.
const OFFERED: [rpc::Type; 10] = [
    rpc::Type::CreateDeleteVolume,
    rpc::Type::CreateDeleteSnapshot,
    rpc::Type::CloneVolume,
    rpc::Type::ExpandVolume,
    rpc::Type::GetCapacity,
    rpc::Type::ListVolumes,
    rpc::Type::ListSnapshots,
    rpc::Type::GetSnapshot,
    rpc::Type::GetVolume,
    rpc::Type::SingleNodeMultiWriter,
];

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug)]
pub struct Controller<S> {
    store: Arc<S>,
    minimums: Minimums,
    locks: Locks,
    tasks: TaskTracker,
}

impl<S> Clone for Controller<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            minimums: self.minimums,
            locks: self.locks.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

impl<S: Store> Controller<S> {
    /// A controller over `store`; `tasks` is waited for by whoever ends the program.
    pub fn new(store: Arc<S>, minimums: Minimums, tasks: TaskTracker) -> Self {
        Self {
            store,
            minimums,
            locks: Locks::default(),
            tasks,
        }
    }

    /// Runs a change of what is named `lock` to its end, whatever becomes of the caller. What others do for it is waited for
    /// while the caller waits.
    async fn change<T: Send + 'static>(
        &self,
        name: &'static str,
        lock: String,
        until: Option<Instant>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let taken = self.locks.take(&lock)?;
        let done = self.tasks.spawn(async move {
            let _taken = taken;
            let result = deadline::keep(until, work).await;
            match &result {
                Ok(_) => info!(call = name, of = lock, "done"),
                Err(error) => {
                    warn!(call = name, of = lock, code = ?error::code(error), %error, "refused")
                }
            }
            result
        });
        let result = done
            .await
            .map_err(|error| Error::Internal(format!("the call broke off: {error}")))?;
        Ok(Response::new(result?))
    }

    async fn everything(&self) -> Result<Vec<Held>, Error> {
        let Listing { held, unseen } = self.store.all().await?;
        unseen.map_or(Ok(held), |why| Err(Error::Unavailable(why)))
    }

    /// How a volume is; `None` where the store cannot tell.
    async fn condition(&self, held: &Held, tells: bool) -> Option<VolumeCondition> {
        match tells {
            true => Some(condition(self.store.wrong(held).await)),
            false => None,
        }
    }

    async fn require(&self, kind: Kind, id: &str) -> Result<Held, Error> {
        let found = self.store.by_id(kind, id).await?;
        // Nobody was told the id of a volume that is not whole.
        let found = found.filter(|held| held.whole || kind == Kind::Snapshot);
        found.ok_or_else(|| Error::NotFound(format!("there is no {} {id}", kind.name())))
    }

    async fn remove(self, kind: Kind, id: String) -> Result<(), Error> {
        match self.store.by_id(kind, &id).await? {
            Some(held) => self.store.delete(&held).await,
            None => Ok(()),
        }
    }

    async fn expand(
        self,
        request: ControllerExpandVolumeRequest,
    ) -> Result<ControllerExpandVolumeResponse, Error> {
        let range = request
            .capacity_range
            .as_ref()
            .ok_or_else(|| Error::missing("capacity_range"))?;
        let range = Range::read(Some(range))?;
        let wanted = range.choose(Bytes(0))?;
        let block = match &request.volume_capability {
            Some(capability) => Capability::read(capability)?.access == Access::Block,
            None => false,
        };
        let held = self.require(Kind::Volume, &request.volume_id).await?;
        if let Some(limit) = range.limit.filter(|limit| *limit < held.size) {
            return Err(Error::OutOfRange(format!(
                "the volume has {} already, and limit_bytes is {limit}; volumes do not shrink",
                held.size
            )));
        }
        let grown = match wanted <= held.size {
            // The file system may be as it was.
            true => Grown {
                size: held.size,
                file_system: false,
            },
            false => self.store.grow(&held, wanted).await?,
        };
        Ok(ControllerExpandVolumeResponse {
            capacity_bytes: signed(grown.size),
            node_expansion_required: !block && !grown.file_system,
        })
    }

    async fn capacity(&self, request: GetCapacityRequest) -> Result<GetCapacityResponse, Error> {
        let capabilities: Vec<Capability> = request
            .volume_capabilities
            .iter()
            .map(Capability::read)
            .collect::<Result<_, _>>()?;
        let class = self
            .store
            .class(&Parameters::read(&request.parameters)?.class);
        // As with upstream, a class nobody has has no space.
        let mut nodes = match class {
            Ok(class) => self.store.capacities(&class).await?,
            Err(_) => Vec::new(),
        };
        if let Some(wanted) = &request.accessible_topology {
            let node = topology::node(wanted);
            nodes.retain(|capacity| Some(capacity.node.as_str()) == node);
        }
        let total = nodes
            .iter()
            .fold(0, |sum: u64, node| sum.saturating_add(node.free.0));
        let largest = nodes.iter().map(|node| node.free).max().unwrap_or_default();
        let minimum = self.minimums.of(&capabilities);
        Ok(GetCapacityResponse {
            available_capacity: signed(Bytes(total)),
            maximum_volume_size: Some(signed(largest)),
            minimum_volume_size: (minimum.0 > 0).then(|| signed(minimum)),
        })
    }

    async fn validate(
        &self,
        request: ValidateVolumeCapabilitiesRequest,
    ) -> Result<ValidateVolumeCapabilitiesResponse, Error> {
        id("volume_id", &request.volume_id)?;
        if request.volume_capabilities.is_empty() {
            return Err(Error::missing("volume_capabilities"));
        }
        self.require(Kind::Volume, &request.volume_id).await?;
        Ok(match Capability::read_all(&request.volume_capabilities) {
            Err(error) => ValidateVolumeCapabilitiesResponse {
                confirmed: None,
                message: error.to_string(),
            },
            Ok(_) => ValidateVolumeCapabilitiesResponse {
                confirmed: Some(validate_volume_capabilities_response::Confirmed {
                    volume_context: request.volume_context,
                    volume_capabilities: request.volume_capabilities,
                    parameters: request.parameters,
                    mutable_parameters: request.mutable_parameters,
                }),
                message: String::new(),
            },
        })
    }
}

/// Refuses an empty id.
fn id(field: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        Err(Error::missing(field))
    } else {
        Ok(())
    }
}

#[tonic::async_trait]
impl<S: Store> Service for Controller<S> {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let until = deadline::of(request.metadata());
        let request = request.into_inner();
        id("name", &request.name)?;
        let lock = format!("volume {}", request.name);
        self.change(
            "CreateVolume",
            lock,
            until,
            self.clone().create_volume(request),
        )
        .await
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        let until = deadline::of(request.metadata());
        let DeleteVolumeRequest { volume_id, .. } = request.into_inner();
        id("volume_id", &volume_id)?;
        let work = self.clone().remove(Kind::Volume, volume_id.clone());
        let work = async move { work.await.map(|()| DeleteVolumeResponse {}) };
        self.change("DeleteVolume", volume_id, until, work).await
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        let until = deadline::of(request.metadata());
        let request = request.into_inner();
        id("name", &request.name)?;
        id("source_volume_id", &request.source_volume_id)?;
        let lock = format!("snapshot {}", request.name);
        self.change(
            "CreateSnapshot",
            lock,
            until,
            self.clone().create_snapshot(request),
        )
        .await
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        let until = deadline::of(request.metadata());
        let DeleteSnapshotRequest { snapshot_id, .. } = request.into_inner();
        id("snapshot_id", &snapshot_id)?;
        let work = self.clone().remove(Kind::Snapshot, snapshot_id.clone());
        let work = async move { work.await.map(|()| DeleteSnapshotResponse {}) };
        self.change("DeleteSnapshot", snapshot_id, until, work)
            .await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<ControllerExpandVolumeRequest>,
    ) -> Result<Response<ControllerExpandVolumeResponse>, Status> {
        let until = deadline::of(request.metadata());
        let request = request.into_inner();
        id("volume_id", &request.volume_id)?;
        let lock = request.volume_id.clone();
        self.change(
            "ControllerExpandVolume",
            lock,
            until,
            self.clone().expand(request),
        )
        .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        Ok(Response::new(self.validate(request.into_inner()).await?))
    }

    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let request = request.into_inner();
        let mut held = self.everything().await?;
        held.retain(|held| held.kind == Kind::Volume && held.whole);
        let page = list::page(held, request.max_entries, &request.starting_token)?;
        let tells = self.store.tells_what_is_wrong().await;
        let mut entries = Vec::with_capacity(page.entries.len());
        for held in &page.entries {
            let condition = self.condition(held, tells).await;
            entries.push(list_volumes_response::Entry {
                volume: Some(volume(held, Default::default())),
                status: condition.map(|condition| list_volumes_response::VolumeStatus {
                    volume_condition: Some(condition),
                    ..Default::default()
                }),
            });
        }
        Ok(Response::new(ListVolumesResponse {
            entries,
            next_token: page.next,
        }))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let request = request.into_inner();
        let ListSnapshotsRequest {
            source_volume_id,
            snapshot_id,
            ..
        } = &request;
        let source = |held: &Held| {
            held.source
                .as_ref()
                .is_some_and(|source| source.id == *source_volume_id)
        };
        let mut held = self.everything().await?;
        held.retain(|held| held.kind == Kind::Snapshot);
        held.retain(|held| snapshot_id.is_empty() || held.id == *snapshot_id);
        held.retain(|held| source_volume_id.is_empty() || source(held));
        let page = list::page(held, request.max_entries, &request.starting_token)?;
        let entry = |held: &Held| list_snapshots_response::Entry {
            snapshot: Some(snapshot(held)),
        };
        Ok(Response::new(ListSnapshotsResponse {
            entries: page.entries.iter().map(entry).collect(),
            next_token: page.next,
        }))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        let GetSnapshotRequest { snapshot_id, .. } = request.into_inner();
        id("snapshot_id", &snapshot_id)?;
        let held = self.require(Kind::Snapshot, &snapshot_id).await?;
        Ok(Response::new(GetSnapshotResponse {
            snapshot: Some(snapshot(&held)),
        }))
    }

    async fn controller_get_volume(
        &self,
        request: Request<ControllerGetVolumeRequest>,
    ) -> Result<Response<ControllerGetVolumeResponse>, Status> {
        let ControllerGetVolumeRequest { volume_id } = request.into_inner();
        id("volume_id", &volume_id)?;
        let held = self.require(Kind::Volume, &volume_id).await?;
        let tells = self.store.tells_what_is_wrong().await;
        Ok(Response::new(ControllerGetVolumeResponse {
            volume: Some(volume(&held, Default::default())),
            status: Some(controller_get_volume_response::VolumeStatus {
                volume_condition: self.condition(&held, tells).await,
                ..Default::default()
            }),
        }))
    }

    async fn get_capacity(
        &self,
        request: Request<GetCapacityRequest>,
    ) -> Result<Response<GetCapacityResponse>, Status> {
        Ok(Response::new(self.capacity(request.into_inner()).await?))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let tells = self.store.tells_what_is_wrong().await;
        let condition = tells.then_some(rpc::Type::VolumeCondition);
        let offered = OFFERED.into_iter().chain(condition);
        let offered = offered.map(|offered| ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: offered.into(),
            })),
        });
        Ok(Response::new(ControllerGetCapabilitiesResponse {
            capabilities: offered.collect(),
        }))
    }

    async fn controller_publish_volume(
        &self,
        _: Request<ControllerPublishVolumeRequest>,
    ) -> Result<Response<ControllerPublishVolumeResponse>, Status> {
        Err(not_offered("attaching"))
    }

    async fn controller_unpublish_volume(
        &self,
        _: Request<ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<ControllerUnpublishVolumeResponse>, Status> {
        Err(not_offered("detaching"))
    }

    async fn controller_modify_volume(
        &self,
        _: Request<ControllerModifyVolumeRequest>,
    ) -> Result<Response<ControllerModifyVolumeResponse>, Status> {
        Err(not_offered("modifying"))
    }
}

fn not_offered(what: &str) -> Status {
    Status::unimplemented(format!("{what} a volume is not offered"))
}
