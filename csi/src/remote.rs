//! An lvmd in another process, ours or TopoLVM's: what it does and tells over its socket.
//!
//! The connection is made when it is needed, and made again when it broke. One stream tells what the classes are and can
//! give; it is asked for again whenever it ends. What went wrong on the way, and what may or may not have been done then,
//! is Unavailable: it is asked again, and a repeated request finds what the first one did. No call is waited for for ever,
//! nor for longer than who asked for it waits.

mod device;
mod volumes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, stream};
use lvmd::host;
use lvmd::keeper;
use lvmd::metrics::{ClassSample, Metrics};
use lvmd::proto::activation_client::ActivationClient;
use lvmd::proto::inventory_client::InventoryClient;
use lvmd::proto::lv_service_client::LvServiceClient;
use lvmd::proto::vg_service_client::VgServiceClient;
use lvmd::proto::{
    Empty, GetLvListRequest, GetLvListResponse, LogicalVolume, WatchItem, WatchResponse,
};
use lvmd::runtime::http::{Check, Health};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tracing::{info, warn};

use crate::deadline;
use crate::error::Error;
use crate::identity::Ready;
use crate::kubernetes::node_object::Room;

/// When the stream is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an lvmd may take to say that it serves.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Of a question.
    look: Duration,
    /// Of a change: it waits for others of its volume group, and goes on in lvmd when nobody waits for it any more.
    change: Duration,
}

const LIMITS: Limits = Limits {
    look: Duration::from_secs(30),
    change: Duration::from_secs(300),
};

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Remote {
    socket: Arc<Path>,
    channel: Channel,
    limits: Limits,
    /// What the stream told last; kept while it is away.
    told: watch::Sender<Option<Arc<WatchResponse>>>,
    changes: watch::Sender<u64>,
}

impl Remote {
    /// The lvmd at `socket`, whether or not it is there yet.
    ///
    /// # Errors
    /// The path cannot be one of a socket.
    pub fn new(socket: PathBuf) -> anyhow::Result<Self> {
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display()));
        let endpoint = endpoint.with_context(|| format!("no socket: {}", socket.display()))?;
        Ok(Self {
            socket: socket.into(),
            channel: endpoint.connect_lazy(),
            limits: LIMITS,
            told: watch::Sender::new(None),
            changes: watch::Sender::new(0),
        })
    }

    /// What the classes can give, now and after each change.
    pub fn rooms(&self) -> impl Stream<Item = Room> + Send + use<> {
        stream::unfold(self.told.subscribe(), |mut told| async move {
            told.changed().await.ok()?;
            let room = told.borrow_and_update().as_deref().map(Room::from);
            Some((room.unwrap_or_default(), told))
        })
    }

    /// Keeps what is known of the classes true, in `metrics` too, until `stop`.
    pub async fn listen(self, metrics: Metrics, stop: CancellationToken) {
        let mut said = String::new();
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                ended = self.follow(&metrics, &mut said) => self.error(ended).to_string(),
                () = stop.cancelled() => return,
            };
            if said != ended {
                warn!(error = ended, "what the classes can give is not told");
                said = ended;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Takes in what the stream tells; why it ended.
    async fn follow(&self, metrics: &Metrics, said: &mut String) -> Status {
        let mut stream = match within(self.limits.look, self.vg().watch(Empty {})).await {
            Ok(stream) => stream,
            Err(status) => return status,
        };
        info!(socket = %self.socket.display(), "lvmd tells what its classes can give");
        loop {
            let told = match stream.message().await {
                Ok(Some(told)) => told,
                Ok(None) => return Status::unavailable("it ended the stream"),
                Err(status) => return status,
            };
            said.clear();
            metrics.set_classes(told.items.iter().map(ClassSample::from).collect());
            self.told.send_replace(Some(Arc::new(told)));
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn lv(&self) -> LvServiceClient<Channel> {
        LvServiceClient::new(self.channel.clone())
    }

    fn vg(&self) -> VgServiceClient<Channel> {
        VgServiceClient::new(self.channel.clone())
    }

    fn activation(&self) -> ActivationClient<Channel> {
        ActivationClient::new(self.channel.clone())
    }

    fn all(&self) -> InventoryClient<Channel> {
        InventoryClient::new(self.channel.clone())
    }

    /// The volumes of a class.
    async fn list(&self, class: &str) -> Result<GetLvListResponse, Status> {
        let request = GetLvListRequest {
            device_class: class.to_owned(),
        };
        within(self.limits.look, self.vg().get_lv_list(request)).await
    }

    /// The volume of this name with its class; `None` when it is shown to be in none.
    async fn seek(&self, name: &str) -> Result<Option<(WatchItem, LogicalVolume)>, Error> {
        let told = self.told.borrow().clone();
        let told =
            told.ok_or_else(|| self.unavailable("it has not told what classes there are"))?;
        let absent = told.absent.first();
        let mut unseen =
            absent.map(|class| format!("device class {}: {}", class.device_class, class.reason));
        for item in &told.items {
            let class = &item.device_class;
            match self.list(class).await {
                Ok(GetLvListResponse {
                    volumes,
                    unseen: not,
                }) => {
                    if let Some(volume) = only(volumes, name, class)? {
                        return Ok(Some((item.clone(), volume)));
                    }
                    let not = not.first();
                    unseen = not
                        .map(|why| format!("device class {class}: {why}"))
                        .or(unseen);
                }
                Err(status) => {
                    unseen = Some(format!("device class {class}: {}", status.message()));
                }
            }
        }
        // It may be where nobody can look: not to be called gone.
        unseen.map_or(Ok(None), |why| Err(self.unavailable(&why)))
    }

    fn unavailable(&self, why: &str) -> Error {
        Error::Unavailable(format!("lvmd at {}: {why}", self.socket.display()))
    }

    /// The error of a call that was not done, or of which nobody knows whether it was.
    fn error(&self, status: Status) -> Error {
        let lost = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
        );
        // Only what lvmd itself did not say has a source.
        if !lost && std::error::Error::source(&status).is_none() {
            return Error::Told(status);
        }
        let mut why = status.message().to_owned();
        let mut source = std::error::Error::source(&status);
        while let Some(cause) = source {
            let words = cause.to_string();
            if !why.contains(&words) {
                why = format!("{why}: {words}");
            }
            source = cause.source();
        }
        self.unavailable(&why)
    }
}

/// The volume of this name, of those of a class. Of two, in two volume groups, nobody can tell which is meant.
fn only(
    volumes: Vec<LogicalVolume>,
    name: &str,
    class: &str,
) -> Result<Option<LogicalVolume>, Error> {
    let mut found = volumes.into_iter().filter(|volume| volume.name == name);
    match (found.next(), found.next()) {
        (Some(one), Some(other)) => Err(Error::Precondition(format!(
            "volume {name} of device class {class} is in two volume groups, as {} and {}, and nothing is done with either: \
             find out which one has the data, and rename the other with lvrename",
            one.path, other.path
        ))),
        (found, _) => Ok(found),
    }
}

/// The answer to a call, if it comes in time.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let limit = deadline::rest(limit);
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "it did not answer within {limit:.1?}"
        ))),
    }
}

impl Ready for Remote {
    async fn ready(&self) -> bool {
        lvmd::args::ask(&self.socket, PATIENCE).await.is_ok()
    }
}

impl Health for Remote {
    /// A restart cures nothing that lvmd has.
    async fn live(&self) -> Vec<Check> {
        vec![Check::ok("process", "it answers")]
    }

    async fn ready(&self) -> Vec<Check> {
        let serves = match lvmd::args::ask(&self.socket, PATIENCE).await {
            Ok(()) => Check::ok("lvmd", format!("it serves at {}", self.socket.display())),
            Err(error) => Check::failed("lvmd", error.to_string()),
        };
        let mut wants_thin = false;
        let classes = match &*self.told.borrow() {
            None => vec![Check::failed("classes", "lvmd has not told them yet")],
            Some(told) => {
                wants_thin = told.items.iter().any(|item| item.thin_pool.is_some());
                let there = told.items.len();
                let all = there + told.absent.len();
                let count = Check::ok("classes", format!("{there} of {all} are there"));
                let absent = told.absent.iter();
                let absent = absent.map(|class| keeper::absent(&class.device_class, &class.reason));
                let conditions = told.items.iter().flat_map(|item| {
                    item.conditions.iter().map(|condition| {
                        let (code, message) = (&condition.code, &condition.message);
                        keeper::of_class(&item.device_class, code, message)
                    })
                });
                [count]
                    .into_iter()
                    .chain(absent)
                    .chain(conditions)
                    .collect()
            }
        };
        let host = host::checks(wants_thin);
        [serves].into_iter().chain(classes).chain(host).collect()
    }
}

#[cfg(test)]
mod tests;
