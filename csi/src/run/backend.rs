//! The lvmd that a node works with: in its own process, or in another.

use std::sync::Arc;

use futures::{Stream, stream};
use lvmd::cmd::Host;
use lvmd::metrics::{Metrics, Page};
use lvmd::run::Embedded;
use lvmd::runtime::http::Health;
use lvmd::volumes::Volumes;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::identity::Ready;
use crate::kubernetes::local::Local;
use crate::kubernetes::node_object::Room;
use crate::node::Devices;
use crate::remote::Remote;

/// See the module. Nothing happens before it is started.
pub(super) trait Backend: Send {
    /// What answers for the volumes.
    type Volumes: Devices + Local + Ready + Clone;

    fn volumes(&self) -> Self::Volumes;

    /// How it is, for health pages.
    fn health(&self) -> impl Health + use<Self>;

    /// The page of this registry.
    fn page(&self, registry: Registry) -> Page;

    /// What its classes can give, now and after each change.
    fn rooms(&self) -> impl Stream<Item = Room> + Send + 'static + use<Self>;

    /// Begins its work, until `stop`; what is returned ends when all work has come to a safe end.
    fn start(self, stop: CancellationToken) -> impl Future<Output = ()> + Send;
}

impl Backend for Embedded {
    type Volumes = Volumes<Host>;

    fn volumes(&self) -> Volumes<Host> {
        self.volumes.clone()
    }

    fn health(&self) -> impl Health + use<> {
        Self::health(self)
    }

    fn page(&self, registry: Registry) -> Page {
        Self::page(self, registry)
    }

    fn rooms(&self) -> impl Stream<Item = Room> + Send + 'static + use<> {
        stream::unfold(self.follower(), |mut follower| async move {
            let state = follower.next().await?;
            Some((Room::from(&*state), follower))
        })
    }

    fn start(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        Self::start(self, stop).end()
    }
}

/// An lvmd in another process, and where what it tells is shown.
pub(super) struct Apart {
    pub(super) lvmd: Remote,
    pub(super) metrics: Metrics,
}

impl Backend for Apart {
    type Volumes = Remote;

    fn volumes(&self) -> Remote {
        self.lvmd.clone()
    }

    fn health(&self) -> impl Health + use<> {
        Arc::new(self.lvmd.clone())
    }

    /// Without the volumes: they are on the page of that lvmd.
    fn page(&self, registry: Registry) -> Page {
        Page::new(registry)
    }

    fn rooms(&self) -> impl Stream<Item = Room> + Send + 'static + use<> {
        self.lvmd.rooms()
    }

    fn start(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        let listening = tokio::spawn(self.lvmd.listen(self.metrics, stop));
        async move {
            let _ = listening.await;
        }
    }
}
