//! Making, copying, growing and removing volumes through an lvmd in another process.
//!
//! TopoLVM's lvmd answers a repeated creation with Internal, so it is asked before whether there is one of that name. And it
//! answers NotFound to a removal not only when the volume is gone, but also when its class or volume group is: only a list
//! of the class shows that a volume is in it no more.

use lvmd::config::UnknownClass;
use lvmd::proto::{
    CreateLvRequest, CreateLvSnapshotRequest, Empty, LogicalVolume, RemoveLvRequest,
    ResizeLvRequest,
};
use lvmd::units::Bytes;
use lvmd::volumes::{Access, Create, Inventory, SnapshotOf, VolumeError};
use tokio::sync::watch;
use tonic::{Code, Status};

use super::{Remote, device, within};
use crate::error::Error;
use crate::kubernetes::local::Local;

impl Local for Remote {
    async fn find(&self, name: &str) -> Result<Option<(String, Bytes)>, Error> {
        let Some((item, volume)) = self.seek(name).await? else {
            return Ok(None);
        };
        Ok(Some((item.device_class, size(volume.size_bytes)?)))
    }

    async fn wrong(&self, name: &str) -> Result<Option<String>, Error> {
        let found = self.seek(name).await?;
        Ok(found.and_then(|(item, volume)| device::sick(&item, &volume)))
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        match within(self.limits.look, self.all().list_all(Empty {})).await {
            Ok(all) => Ok(all.into()),
            // Its lists do not have a volume group's uuid, by which a volume is known for good.
            Err(status) if status.code() == Code::Unimplemented => {
                Err(Error::Precondition(format!(
                    "the lvmd at {} does not tell it, as TopoLVM's and this project's older ones do not: set \
                     node.lvmdEmbedded: true, or have this project's lvmd of the node's version serve there",
                    self.socket.display()
                )))
            }
            Err(status) => Err(self.error(status)),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn create(&self, request: &Create) -> Result<Bytes, Error> {
        let Create {
            name,
            class,
            option_class,
            size,
            tags,
        } = request.clone();
        let there = self.is_there(&name, &class).await?;
        let message = CreateLvRequest {
            name: name.clone(),
            tags,
            device_class: class,
            lvcreate_option_class: option_class,
            size_bytes: signed(size),
        };
        let made = within(self.limits.change, self.lv().create_lv(message)).await;
        self.made(name, there, made.map(|made| made.volume))
    }

    async fn copy(&self, request: &SnapshotOf) -> Result<Bytes, Error> {
        let SnapshotOf {
            source,
            name,
            class,
            size,
            access,
            tags,
        } = request.clone();
        let there = self.is_there(&name, &class).await?;
        let access = match access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        };
        let message = CreateLvSnapshotRequest {
            name: name.clone(),
            tags,
            device_class: class,
            source_volume: source,
            access_type: access.to_owned(),
            size_bytes: signed(size),
        };
        let made = within(self.limits.change, self.lv().create_lv_snapshot(message)).await;
        self.made(name, there, made.map(|made| made.snapshot))
    }

    async fn grow(&self, name: &str, class: &str, size: Bytes) -> Result<Bytes, Error> {
        let message = ResizeLvRequest {
            name: name.to_owned(),
            device_class: class.to_owned(),
            size_bytes: signed(size),
        };
        let grown = within(self.limits.change, self.lv().resize_lv(message)).await;
        let grown = grown.map_err(|status| self.error(status))?;
        self::size(grown.size_bytes)
    }

    async fn remove(&self, name: &str, class: &str) -> Result<(), Error> {
        let message = RemoveLvRequest {
            name: name.to_owned(),
            device_class: class.to_owned(),
        };
        match within(self.limits.change, self.lv().remove_lv(message)).await {
            Ok(_) => Ok(()),
            Err(status) => Err(match status.code() {
                // Of the first it is not known yet what is missing; the second may say that the class is.
                Code::NotFound | Code::FailedPrecondition => {
                    self.not_removed(name, class, status).await
                }
                _ => self.error(status),
            }),
        }
    }
}

impl Remote {
    /// Whether the class has a volume of this name. One that is not configured has none.
    async fn is_there(&self, name: &str, class: &str) -> Result<bool, Error> {
        match self.list(class).await {
            Ok(all) => Ok(all.volumes.iter().any(|volume| volume.name == name)),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(self.error(status)),
        }
    }

    fn made(
        &self,
        name: String,
        there: bool,
        made: Result<Option<LogicalVolume>, Status>,
    ) -> Result<Bytes, Error> {
        match made {
            Ok(Some(volume)) => size(volume.size_bytes),
            Ok(None) => Err(Error::Internal(format!(
                "lvmd made volume {name} and does not say how large"
            ))),
            Err(status)
                if status.code() == Code::AlreadyExists
                    || there && status.code() == Code::Internal =>
            {
                let why = status.message().to_owned();
                Err(VolumeError::Exists { name, why }.into())
            }
            Err(status) => Err(self.error(status)),
        }
    }

    /// Why nothing was removed.
    async fn not_removed(&self, name: &str, class: &str, said: Status) -> Error {
        let all = match self.list(class).await {
            Ok(all) => all,
            Err(status) if status.code() == Code::NotFound => {
                let told = self.told.borrow().clone();
                let known = told.iter().flat_map(|told| &told.items);
                let class = UnknownClass {
                    name: class.to_owned(),
                    known: known.map(|item| item.device_class.clone()).collect(),
                };
                let name = name.to_owned();
                return VolumeError::RemovalWithoutClass { name, class }.into();
            }
            Err(status) => return self.error(status),
        };
        if said.code() != Code::NotFound {
            return self.error(said);
        }
        if let Some(why) = all.unseen.first() {
            return self.unavailable(&format!("device class {class}: {why}"));
        }
        if all.volumes.iter().any(|volume| volume.name == name) {
            return self.unavailable(&format!("it lists volume {name} and does not find it"));
        }
        let (name, class) = (name.to_owned(), class.to_owned());
        VolumeError::VolumeMissing { name, class }.into()
    }
}

fn signed(size: Bytes) -> i64 {
    i64::try_from(size.0).unwrap_or(i64::MAX)
}

/// The bytes of an answer.
pub(super) fn size(bytes: i64) -> Result<Bytes, Error> {
    let size = u64::try_from(bytes).map(Bytes);
    size.map_err(|_| Error::Internal(format!("lvmd gives a size of {bytes} bytes")))
}
