//! The gRPC services: upstream's messages in, [`Volumes`] in the middle.
//!
//! Every change runs in a task of its own, so a client that goes away neither stops an
//! lvm command nor leaves half of an operation undone.

mod activation;
mod inventory;

use std::pin::Pin;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::cmd::Runner;
use crate::keeper::Follower;
use crate::pool;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::proto::lv_service_server::LvService;
use crate::proto::vg_service_server::VgService;
use crate::proto::{
    AbsentClass, Condition, CreateLvRequest, CreateLvResponse, CreateLvSnapshotRequest,
    CreateLvSnapshotResponse, Empty, GetFreeBytesRequest, GetFreeBytesResponse, GetLvListRequest,
    GetLvListResponse, LogicalVolume, RemoveLvRequest, ResizeLvRequest, ResizeLvResponse,
    ThinPoolItem, WatchItem, WatchResponse,
};
use crate::status;
use crate::units::Bytes;
use crate::volumes::{Access, Create, NodeState, SnapshotOf, Volume, VolumeError, Volumes};

/// Serves all of them.
#[derive(Debug, Clone)]
pub struct Service<R> {
    volumes: Volumes<R>,
    states: Follower<R>,
    stop: CancellationToken,
    /// Where changes are worked on.
    changes: Handle,
}

impl<R: Runner + Clone> Service<R> {
    /// Serves `volumes` and tells watchers their `states`; streams end when `stop` is cancelled.
    /// Changes go on in the runtime this is called in, wherever it is served.
    pub fn new(volumes: Volumes<R>, states: Follower<R>, stop: CancellationToken) -> Self {
        Self {
            volumes,
            states,
            stop,
            changes: Handle::current(),
        }
    }

    /// Runs one operation to its end, whatever becomes of the caller.
    async fn operate<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, VolumeError>> + Send + 'static,
    ) -> Result<T, Status> {
        let started = Instant::now();
        let entered = self.changes.enter();
        let done = self.volumes.spawn(async move {
            let result = work.await.map_err(Status::from);
            match &result {
                Ok(_) => info!(operation = name, elapsed = ?started.elapsed(), "done"),
                Err(refused) => warn!(
                    operation = name,
                    code = status::name(refused.code()),
                    message = refused.message(),
                    "refused"
                ),
            }
            result
        });
        drop(entered);
        done.await.unwrap_or_else(|error| {
            Err(Status::internal(format!(
                "the operation broke off: {error}"
            )))
        })
    }
}

#[tonic::async_trait]
impl<R: Runner + Clone> LvService for Service<R> {
    async fn create_lv(
        &self,
        request: Request<CreateLvRequest>,
    ) -> Result<Response<CreateLvResponse>, Status> {
        let request = request.into_inner();
        let create = Create {
            name: request.name,
            class: request.device_class,
            option_class: request.lvcreate_option_class,
            size: size(request.size_bytes)?,
            tags: request.tags,
        };
        let volumes = self.volumes.clone();
        let made = self
            .operate("CreateLV", async move { volumes.create(&create).await })
            .await?;
        Ok(Response::new(CreateLvResponse {
            volume: Some(made_message(made.into_inner())),
        }))
    }

    async fn remove_lv(
        &self,
        request: Request<RemoveLvRequest>,
    ) -> Result<Response<Empty>, Status> {
        let RemoveLvRequest { name, device_class } = request.into_inner();
        let volumes = self.volumes.clone();
        self.operate("RemoveLV", async move {
            volumes.remove(&name, &device_class).await
        })
        .await?;
        Ok(Response::new(Empty {}))
    }

    async fn resize_lv(
        &self,
        request: Request<ResizeLvRequest>,
    ) -> Result<Response<ResizeLvResponse>, Status> {
        let request = request.into_inner();
        let wanted = size(request.size_bytes)?;
        let volumes = self.volumes.clone();
        let resized = self
            .operate("ResizeLV", async move {
                volumes
                    .resize(&request.name, &request.device_class, wanted)
                    .await
            })
            .await?;
        Ok(Response::new(ResizeLvResponse {
            size_bytes: signed(resized.into_inner()),
        }))
    }

    async fn create_lv_snapshot(
        &self,
        request: Request<CreateLvSnapshotRequest>,
    ) -> Result<Response<CreateLvSnapshotResponse>, Status> {
        let request = request.into_inner();
        let access = match request.access_type.as_str() {
            "ro" => Access::ReadOnly,
            "rw" => Access::ReadWrite,
            other => {
                return Err(Status::invalid_argument(format!(
                    "access_type {other:?} is neither \"ro\" nor \"rw\""
                )));
            }
        };
        let snapshot = SnapshotOf {
            source: request.source_volume,
            name: request.name,
            class: request.device_class,
            size: size(request.size_bytes)?,
            access,
            tags: request.tags,
        };
        let volumes = self.volumes.clone();
        let made = self
            .operate("CreateLVSnapshot", async move {
                volumes.snapshot(&snapshot).await
            })
            .await?;
        Ok(Response::new(CreateLvSnapshotResponse {
            snapshot: Some(made_message(made.into_inner())),
        }))
    }
}

#[tonic::async_trait]
impl<R: Runner + Clone> VgService for Service<R> {
    async fn get_lv_list(
        &self,
        request: Request<GetLvListRequest>,
    ) -> Result<Response<GetLvListResponse>, Status> {
        let class = request.into_inner().device_class;
        let listing = self.volumes.list(&class).await?;
        Ok(Response::new(GetLvListResponse {
            volumes: listing.volumes.into_iter().map(message).collect(),
            unseen: listing.unseen,
        }))
    }

    async fn get_free_bytes(
        &self,
        request: Request<GetFreeBytesRequest>,
    ) -> Result<Response<GetFreeBytesResponse>, Status> {
        let class = request.into_inner().device_class;
        let free = self.volumes.free(&class).await?;
        Ok(Response::new(GetFreeBytesResponse { free_bytes: free.0 }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<Empty>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(watch(self.states.clone(), sender, self.stop.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Sends the state at once, and again whenever what is sent would be another. State that
/// cannot be told is waited for: it never ends the stream, only the client or the daemon
/// does.
async fn watch<R: Runner + Clone>(
    mut states: Follower<R>,
    sender: mpsc::Sender<Result<WatchResponse, Status>>,
    stop: CancellationToken,
) {
    let closed = sender.clone();
    let send = async {
        let mut state = states.now().await;
        let mut last = None;
        while let Some(now) = state {
            let response = watch_response(&now);
            if last.as_ref() != Some(&response) {
                if sender.send(Ok(response.clone())).await.is_err() {
                    return;
                }
                last = Some(response);
            }
            state = states.next().await;
        }
    };
    tokio::select! {
        () = send => {}
        () = closed.closed() => {}
        () = stop.cancelled() => {}
    }
}

fn watch_response(state: &NodeState) -> WatchResponse {
    let items = state.classes.iter().map(|class| WatchItem {
        free_bytes: class.vg_free.0,
        device_class: class.class.clone(),
        size_bytes: class.vg_size.0,
        thin_pool: class.pool.as_ref().map(|pool| ThinPoolItem {
            data_percent: pool.percents().0,
            metadata_percent: pool.percents().1,
            overprovision_bytes: pool.overprovision_free.0,
            size_bytes: pool.size.0,
        }),
        conditions: class.conditions.iter().map(condition).collect(),
    });
    let absent = state.absent.iter().map(|(class, reason)| AbsentClass {
        device_class: class.clone(),
        reason: reason.clone(),
    });
    WatchResponse {
        free_bytes: state.default_free().0,
        items: items.collect(),
        absent: absent.collect(),
    }
}

fn condition(condition: &pool::Condition) -> Condition {
    Condition {
        code: condition.code.to_owned(),
        message: condition.message.clone(),
        abnormal: condition.abnormal,
    }
}

#[tonic::async_trait]
impl<R: Runner + Clone> Health for Service<R> {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving(&self.volumes).await))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let (volumes, stop) = (self.volumes.clone(), self.stop.clone());
        let mut states = self.states.clone();
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let now = serving(&volumes).await;
                if last != Some(now) {
                    tokio::select! {
                        sent = sender.send(Ok(now)) => if sent.is_err() { return },
                        () = stop.cancelled() => return,
                    }
                }
                last = Some(now);
                tokio::select! {
                    looked = states.looked() => if looked.is_none() { return },
                    () = sender.closed() => return,
                    () = stop.cancelled() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// SERVING while LVM can be read and changed here. Upstream says so always.
async fn serving<R: Runner + Clone>(volumes: &Volumes<R>) -> HealthCheckResponse {
    let works = volumes.require_lock_dir().is_ok() && volumes.engine().snapshot().await.is_ok();
    let status = if works {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status.into(),
    }
}

fn message(volume: Volume) -> LogicalVolume {
    LogicalVolume {
        name: volume.name,
        dev_major: volume.devno.0,
        dev_minor: volume.devno.1,
        tags: volume.tags,
        size_bytes: signed(volume.size),
        path: volume.path,
        attr: volume.attr.to_string(),
        conditions: volume.conditions.iter().map(condition).collect(),
    }
}

/// What upstream tells of a volume that was just made. The rest would be true for a
/// moment only: udev opens a new device, and that shows in its attributes.
fn made_message(volume: Volume) -> LogicalVolume {
    LogicalVolume {
        tags: Vec::new(),
        path: String::new(),
        attr: String::new(),
        conditions: Vec::new(),
        ..message(volume)
    }
}

fn size(bytes: i64) -> Result<Bytes, Status> {
    u64::try_from(bytes).map(Bytes).map_err(|_| {
        Status::invalid_argument(format!("size_bytes is {bytes}: a size is never negative"))
    })
}

fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}
