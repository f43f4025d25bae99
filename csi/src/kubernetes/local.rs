//! What the reconciler has done on its node: lvmd, in-process.

use std::future::Future;

use lvmd::cmd::Runner;
use lvmd::units::Bytes;
use lvmd::volumes::{Create, Inventory, SnapshotOf, VolumeError, Volumes};
use tokio::sync::watch;

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
    ) -> impl Future<Output = Result<Option<(String, Bytes)>, VolumeError>> + Send;

    /// What is wrong with the volume of this name; `None` while nothing is known to be, or when it is not here.
    ///
    /// # Errors
    /// It cannot be told.
    fn wrong(&self, name: &str)
    -> impl Future<Output = Result<Option<String>, VolumeError>> + Send;

    /// All volumes of the classes.
    ///
    /// # Errors
    /// It cannot be told.
    fn inventory(&self) -> impl Future<Output = Result<Inventory, VolumeError>> + Send;

    /// Moves when something here changed, by whomever.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Makes a volume and gives its size.
    ///
    /// # Errors
    /// lvmd's.
    fn create(&self, request: &Create) -> impl Future<Output = Result<Bytes, VolumeError>> + Send;

    /// Makes a copy and gives its size.
    ///
    /// # Errors
    /// lvmd's.
    fn copy(&self, request: &SnapshotOf)
    -> impl Future<Output = Result<Bytes, VolumeError>> + Send;

    /// Grows a volume to at least `size` bytes and gives its size.
    ///
    /// # Errors
    /// lvmd's.
    fn grow(
        &self,
        name: &str,
        class: &str,
        size: Bytes,
    ) -> impl Future<Output = Result<Bytes, VolumeError>> + Send;

    /// Removes a volume. [`VolumeError::VolumeMissing`] alone means that it is gone.
    ///
    /// # Errors
    /// lvmd's.
    fn remove(
        &self,
        name: &str,
        class: &str,
    ) -> impl Future<Output = Result<(), VolumeError>> + Send;
}

impl<R: Runner + Clone> Local for Volumes<R> {
    async fn find(&self, name: &str) -> Result<Option<(String, Bytes)>, VolumeError> {
        let found = Self::find(self, name).await?;
        Ok(found.map(|found| (found.class, found.volume.size)))
    }

    async fn wrong(&self, name: &str) -> Result<Option<String>, VolumeError> {
        Ok(Self::find(self, name).await?.and_then(|found| found.sick))
    }

    async fn inventory(&self) -> Result<Inventory, VolumeError> {
        Self::inventory(self).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.engine().changes()
    }

    async fn create(&self, request: &Create) -> Result<Bytes, VolumeError> {
        let made = Self::create(self, request).await?;
        Ok(made.into_inner().size)
    }

    async fn copy(&self, request: &SnapshotOf) -> Result<Bytes, VolumeError> {
        let made = self.snapshot(request).await?;
        Ok(made.into_inner().size)
    }

    async fn grow(&self, name: &str, class: &str, size: Bytes) -> Result<Bytes, VolumeError> {
        Ok(self.resize(name, class, size).await?.into_inner())
    }

    async fn remove(&self, name: &str, class: &str) -> Result<(), VolumeError> {
        Self::remove(self, name, class).await.map(drop)
    }
}
