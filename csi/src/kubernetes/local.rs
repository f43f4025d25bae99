//! What the reconciler has done on its node, by lvmd.

use std::future::Future;

use lvmd::cmd::Runner;
use lvmd::units::Bytes;
use lvmd::volumes::{Create, Inventory, SnapshotOf, Volumes};
use tokio::sync::watch;

use crate::error::Error;

/// See the module. Each call is repeated until it is answered; a repeated one finds what
/// the first one did.
pub trait Local: Send + Sync + std::fmt::Debug + 'static {
    /// The class and size of the volume of this name, in whatever class; `None` when it is
    /// shown not to be in any that is configured.
    ///
    /// # Errors
    /// It cannot be told.
    fn find(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<(String, Bytes)>, Error>> + Send;

    /// What is wrong with the volume of this name; `None` while nothing is known to be, or when it is not here.
    ///
    /// # Errors
    /// It cannot be told.
    fn wrong(&self, name: &str) -> impl Future<Output = Result<Option<String>, Error>> + Send;

    /// All volumes of the classes that can be looked at.
    ///
    /// # Errors
    /// It cannot be told, as by TopoLVM's lvmd; with the way out where there is one.
    fn inventory(&self) -> impl Future<Output = Result<Inventory, Error>> + Send;

    /// Moves when something here changed, by whomever.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Makes a volume and gives its size.
    ///
    /// # Errors
    /// lvmd's. [`VolumeError::Exists`](lvmd::volumes::VolumeError::Exists): one of this name is there already.
    fn create(&self, request: &Create) -> impl Future<Output = Result<Bytes, Error>> + Send;

    /// Makes a copy and gives its size.
    ///
    /// # Errors
    /// lvmd's.
    fn copy(&self, request: &SnapshotOf) -> impl Future<Output = Result<Bytes, Error>> + Send;

    /// Grows a volume to at least `size` bytes and gives its size.
    ///
    /// # Errors
    /// lvmd's.
    fn grow(
        &self,
        name: &str,
        class: &str,
        size: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send;

    /// Removes a volume.
    ///
    /// # Errors
    /// lvmd's. [`VolumeError::VolumeMissing`](lvmd::volumes::VolumeError::VolumeMissing) alone means that it is gone.
    fn remove(&self, name: &str, class: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The file systems of this node's volumes, as pods have them.
pub trait FileSystems: Send + Sync + std::fmt::Debug + 'static {
    /// Grows the file system of the volume of this name to the size of its device, which has at least `size` bytes. `false`
    /// when none is mounted here that can be written to: then it grows when it is mounted.
    ///
    /// # Errors
    /// It is not grown, or that is not known yet.
    fn grow_mounted(
        &self,
        name: &str,
        size: Bytes,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}

impl<R: Runner + Clone> Local for Volumes<R> {
    async fn find(&self, name: &str) -> Result<Option<(String, Bytes)>, Error> {
        let found = Self::find(self, name).await?;
        Ok(found.map(|found| (found.class, found.volume.size)))
    }

    async fn wrong(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(Self::find(self, name).await?.and_then(|found| found.sick))
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        Ok(Self::inventory(self).await?)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.engine().changes()
    }

    async fn create(&self, request: &Create) -> Result<Bytes, Error> {
        let made = Self::create(self, request).await?;
        Ok(made.into_inner().size)
    }

    async fn copy(&self, request: &SnapshotOf) -> Result<Bytes, Error> {
        let made = self.snapshot(request).await?;
        Ok(made.into_inner().size)
    }

    async fn grow(&self, name: &str, class: &str, size: Bytes) -> Result<Bytes, Error> {
        Ok(self.resize(name, class, size).await?.into_inner())
    }

    async fn remove(&self, name: &str, class: &str) -> Result<(), Error> {
        Ok(Self::remove(self, name, class).await.map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use lvmd::args::ConfigSource;
    use lvmd::config::Config;
    use lvmd::metrics::{Metrics, Page};
    use lvmd::run::Embedded;
    use prometheus_client::registry::Registry;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// As the chart's default is: without a lvmd of its own there is no other page that could show it.
    #[tokio::test]
    async fn what_the_node_has_done_in_its_own_process_is_on_its_page() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Some("n1"));
        let text = "device-classes: [{name: ssd, volume-group: vg, default: true}]";
        let config = Config::parse(text, Path::new("lvmd.yaml")).unwrap();
        let source = ConfigSource::Fixed(Arc::new(config));
        let stop = CancellationToken::new();
        let lvmd = Embedded::new(source, "topolvm-node", metrics, &stop).unwrap();
        let wanted = Create {
            name: "v".into(),
            class: "hdd".into(),
            ..Create::default()
        };
        let volumes = lvmd.volumes.clone();
        Local::create(&volumes, &wanted).await.unwrap_err();
        Local::remove(&volumes, "v", "hdd").await.unwrap_err();
        let (_, page) = Page::new(registry).render(None);
        for counted in [
            "{operation=\"CreateLV\",result=\"NotFound\"} 1",
            "{operation=\"RemoveLV\",result=\"FailedPrecondition\"} 1",
        ] {
            let line = format!("lvmd_operation_seconds_count{counted}");
            assert!(page.lines().any(|l| l == line), "{line} not in:\n{page}");
        }
    }
}
