//! Publishing: a volume appears at a path, as a file system or as a device.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lvmd::cmd::Runner;
use lvmd::mountinfo::Mount;
use lvmd::names;
use lvmd::patience::NoAnswer;

use super::device::{Device, Devices, Open};
use super::inline::{Wanted, lasting};
use super::options::Options;
use super::{Node, blocking, expand, id, mounts};
use crate::capability::{Access, Capability, Writers};
use crate::error::Error;
use crate::filesystem::Kind;
use crate::parameters::Publishing;
use crate::proto::{NodePublishVolumeRequest, NodePublishVolumeResponse};

/// A request to publish, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) id: String,
    target: PathBuf,
    writers: Writers,
    way: Way,
    read_only: bool,
    inline: Option<Wanted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Block,
    Mount {
        kind: Kind,
        options: Options,
        how: Publishing,
    },
}

impl Publish {
    /// Reads a request.
    ///
    /// # Errors
    /// Something is missing or cannot be meant.
    pub(super) fn read(request: NodePublishVolumeRequest) -> Result<Self, Error> {
        id(&request.volume_id)?;
        let target = super::target(&request.target_path)?;
        let capability = request
            .volume_capability
            .ok_or_else(|| Error::missing("volume_capability"))?;
        let Capability { access, writers } = Capability::read(&capability)?;
        let mut context = request.volume_context;
        let inline = Wanted::read(&request.volume_id, &context, &access, request.readonly)?;
        if inline.is_some() {
            context.remove(names::PARAM_SIZE);
        }
        let (way, read_only) = match access {
            Access::Block => (Way::Block, request.readonly),
            Access::Mount { kind, flags } => {
                let options = Options::read(kind, &flags, request.readonly)?;
                let how = Publishing::read(&context)?;
                let read_only = options.read_only;
                (Way::Mount { kind, options, how }, read_only)
            }
        };
        Ok(Self {
            id: request.volume_id,
            target,
            writers,
            way,
            read_only,
            inline,
        })
    }

    /// Where the mounts say that the volume is already, judged.
    ///
    /// # Errors
    /// It is at the target in another way, or where one workload alone may have it.
    fn place(&self, mounts: &[Mount], open: &Open) -> Result<Place, Error> {
        let devno = open.devno;
        if let Some(mount) = mounts::at(mounts, &self.target) {
            let target = self.target.display();
            if !mounts::shows(mount, devno) {
                return Err(Error::Precondition(format!(
                    "something else is mounted at {target}: {}",
                    mount.source
                )));
            }
            // A device's node is locked after it is bound; a cut in between is made good.
            if mount.is_read_only() != self.read_only
                && (self.way != Way::Block || mount.is_read_only())
            {
                let is = if self.read_only {
                    "writing too"
                } else {
                    "reading only"
                };
                return Err(Error::Exists(format!("the volume is at {target} for {is}")));
            }
            return Ok(Place::There);
        }
        let elsewhere: Vec<_> = mounts
            .iter()
            .filter(|mount| mounts::shows(mount, devno))
            .collect();
        match elsewhere.first() {
            Some(other) if self.writers == Writers::One => Err(Error::Precondition(format!(
                "the volume is for one workload and is at {} already",
                other.at.display()
            ))),
            Some(_) => Ok(Place::Elsewhere),
            None => Ok(Place::Nowhere),
        }
    }
}

/// Where a volume is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    There,
    Elsewhere,
    Nowhere,
}

impl<D: Devices, R: Runner> Node<D, R> {
    pub(super) async fn publish(
        self,
        request: Publish,
    ) -> Result<NodePublishVolumeResponse, Error> {
        match &request.inline {
            Some(wanted) => {
                let device = self.inline(wanted).await?;
                self.show(request, device).await.map_err(lasting)
            }
            None => {
                let device = self.persistent(&request.id).await?;
                self.show(request, device).await
            }
        }
    }

    /// Has the volume appear where it is wanted.
    async fn show(
        &self,
        request: Publish,
        device: Device,
    ) -> Result<NodePublishVolumeResponse, Error> {
        let open = self.open(&device).await?;
        let mounts = mounts::table()
            .map_err(|error| Error::Internal(format!("mounts cannot be read: {error}")))?;
        let place = request.place(&mounts, &open)?;
        match request.way.clone() {
            Way::Block => {
                if place != Place::There {
                    self.ours_no_more(&device, &open).await?;
                }
                block(request, open, place).await?;
            }
            Way::Mount { kind, options, how } => {
                self.file_system(&request.target, &device, &open, place, kind, options, how)
                    .await?;
            }
        }
        Ok(NodePublishVolumeResponse {})
    }

    /// The device, held open; activated first unless it is known to be usable.
    async fn open(&self, device: &Device) -> Result<Open, Error> {
        let devno = match device.devno {
            Some(devno) if device.is_usable => devno,
            _ => {
                let active = self.inner.devices.activate(device).await?;
                active
                    .devno
                    .ok_or_else(|| Error::Internal(format!("volume {} has no device", device.id)))?
            }
        };
        let opened = self
            .inner
            .patience
            .ask(&format!("volume {}", device.id), move || Open::new(devno))
            .await;
        let opened = opened.map_err(|hangs: NoAnswer| Error::Unavailable(hangs.to_string()))?;
        opened.map_err(|error| {
            Error::Unavailable(format!("volume {} cannot be opened: {error}", device.id))
        })
    }

    #[expect(clippy::too_many_arguments, reason = "each is one word of the request")]
    async fn file_system(
        &self,
        target: &Path,
        device: &Device,
        open: &Open,
        place: Place,
        kind: Kind,
        options: Options,
        how: Publishing,
    ) -> Result<(), Error> {
        if place != Place::There {
            self.ready(device, open, place, kind, &options, &how)
                .await?;
            let target = target.to_owned();
            let held = open.again()?;
            let options = options.clone();
            let mounted = blocking(move || {
                create_dir(&target)?;
                let elsewhere = place == Place::Elsewhere;
                mounts::mount(&held, kind, &options, &target, how.root_mode, elsewhere)
            });
            let why = |error| {
                Error::Internal(format!(
                    "volume {} cannot be mounted as {kind}: {error}",
                    device.id
                ))
            };
            mounted.await?.map_err(why)?;
        }
        if options.read_only {
            return Ok(());
        }
        expand::grow_file_system(&self.inner.runner, open, kind, target)
            .await
            .map(drop)
    }
}

async fn block(request: Publish, open: Open, place: Place) -> Result<(), Error> {
    let Publish {
        id,
        target,
        read_only,
        ..
    } = request;
    let bound = blocking(move || match place {
        Place::There if read_only => mounts::lock(&target),
        Place::There => Ok(()),
        Place::Elsewhere | Place::Nowhere => {
            create_file(&target)?;
            mounts::bind(&open, &target, read_only)
        }
    });
    bound.await?.map_err(|error| {
        Error::Internal(format!("volume {id} cannot be shown as a device: {error}"))
    })
}

fn create_dir(target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)
}

fn create_file(target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    File::options()
        .create(true)
        .append(true)
        .open(target)
        .map(drop)
}
