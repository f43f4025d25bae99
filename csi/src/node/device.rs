//! The devices of volumes: who knows them, and holding one open.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use lvmd::cmd::Runner;
use lvmd::units::Bytes;
use lvmd::volumes::{Create, Found, VolumeError, Volumes};
use nix::sys::stat::{major, minor};

use crate::error::Error;

/// Major and minor number.
pub type Devno = (u32, u32);

/// A volume on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its device class.
    pub class: String,
    /// The number of its device; `None` while it is not active.
    pub devno: Option<Devno>,
    /// Its size in bytes.
    pub size: Bytes,
    /// Whether all of it that was never written reads as zeroes.
    pub is_thin: bool,
    /// Its device is known to be usable. One that is not is activated first: nobody may have since the last boot, or its
    /// disk may have been gone meanwhile.
    pub is_usable: bool,
    /// Whether a write may show what a removed volume had beside it: its thin pool does not zero new chunks, or that
    /// cannot be told.
    pub unzeroed: bool,
    /// What is wrong with it.
    pub sick: Option<String>,
    /// Its LV's tags.
    pub tags: Vec<String>,
}

/// Knows the volumes of this node. No answer comes from the API server.
pub trait Devices: Send + Sync + std::fmt::Debug + 'static {
    /// The volume of this id; `None` when it is shown not to be here.
    ///
    /// # Errors
    /// It cannot be told.
    fn find(&self, id: &str) -> impl Future<Output = Result<Option<Device>, Error>> + Send;

    /// The volume of this id in a class, whatever became of other volume groups; `None` when it is shown not to be there.
    ///
    /// # Errors
    /// It cannot be told.
    fn find_in(
        &self,
        id: &str,
        class: &str,
    ) -> impl Future<Output = Result<Option<Device>, Error>> + Send;

    /// Makes a volume's device.
    ///
    /// # Errors
    /// It is not shown to be there.
    fn activate(&self, device: &Device) -> impl Future<Output = Result<Device, Error>> + Send;

    /// Makes a volume, or finds the one that an earlier, equal request made.
    ///
    /// # Errors
    /// It is not shown to be there.
    fn make(&self, wanted: &Create) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a volume. One that is gone already is no error.
    ///
    /// # Errors
    /// It is in use, or still there.
    fn remove(&self, device: &Device) -> impl Future<Output = Result<(), Error>> + Send;
}

impl<R: Runner + Clone> Devices for Volumes<R> {
    async fn find(&self, id: &str) -> Result<Option<Device>, Error> {
        Ok(Self::find(self, id).await?.map(device))
    }

    async fn find_in(&self, id: &str, class: &str) -> Result<Option<Device>, Error> {
        match Self::find_in(self, id, class).await {
            Ok(found) => Ok(found.map(device)),
            Err(VolumeError::UnknownClass(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn activate(&self, found: &Device) -> Result<Device, Error> {
        let volume = Self::activate(self, &found.id, &found.class).await?;
        Ok(Device {
            devno: Some(volume.devno).filter(|devno| *devno != (0, 0)),
            is_usable: true,
            ..found.clone()
        })
    }

    async fn make(&self, wanted: &Create) -> Result<(), Error> {
        Ok(Self::create(self, wanted).await.map(drop)?)
    }

    async fn remove(&self, device: &Device) -> Result<(), Error> {
        match Self::remove(self, &device.id, &device.class).await {
            Ok(_) | Err(VolumeError::VolumeMissing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn device(found: Found) -> Device {
    let Found {
        class,
        volume,
        is_thin,
        unzeroed,
        stranded,
        sick,
    } = found;
    let devno = Some(volume.devno).filter(|devno| *devno != (0, 0));
    Device {
        id: volume.name,
        tags: volume.tags,
        class,
        is_usable: devno.is_some() && !stranded,
        devno,
        size: volume.size,
        is_thin,
        unzeroed,
        sick,
    }
}

/// A device that is held open. While it is, the volume cannot be removed and its number
/// cannot become another's.
#[derive(Debug)]
pub(super) struct Open {
    /// For reading.
    pub(super) file: File,
    /// Its node.
    pub(super) path: PathBuf,
    /// Its number.
    pub(super) devno: Devno,
}

impl Open {
    /// Opens the device with this number, through the kernel's own name for it: the names
    /// under /dev/mapper may be stale for a moment.
    ///
    /// # Errors
    /// It is not there, or the node is another device.
    pub(super) fn new(devno: Devno) -> io::Result<Self> {
        let path = PathBuf::from(format!("/dev/dm-{}", devno.1));
        let file = File::open(&path)?;
        if block_devno(&file.metadata()?) != Some(devno) {
            let why = format!("{} is not device {}:{}", path.display(), devno.0, devno.1);
            return Err(io::Error::other(why));
        }
        Ok(Self { file, path, devno })
    }

    /// The same device, held once more.
    ///
    /// # Errors
    /// There are too many open files.
    pub(super) fn again(&self) -> Result<Self, Error> {
        let file = self.file.try_clone();
        Ok(Self {
            file: file.map_err(|error| Error::Internal(error.to_string()))?,
            path: self.path.clone(),
            devno: self.devno,
        })
    }

    /// Its size in bytes, as the kernel has it now.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn size(&self) -> io::Result<u64> {
        size(&self.file)
    }

    /// Its node as text.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The device-mapper uuid of the device with this number, which no other volume ever gets. The device has to be held open.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn dm_uuid((major, minor): Devno) -> io::Result<String> {
    let uuid = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/dm/uuid"))?;
    Ok(uuid.trim_end().to_owned())
}

/// The number of a block device's node; `None` for other files.
pub(super) fn block_devno(node: &std::fs::Metadata) -> Option<Devno> {
    node.file_type()
        .is_block_device()
        .then(|| split(node.rdev()))
}

/// A device number as major and minor.
pub(super) fn split(device: u64) -> Devno {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (number(major(device)), number(minor(device)))
}

/// The size in bytes of an open block device.
///
/// # Errors
/// The kernel's.
pub(super) fn size(device: &File) -> io::Result<u64> {
    nix::ioctl_read!(block_size, 0x12, 114, u64);
    let mut bytes = 0;
    #[expect(
        unsafe_code,
        reason = "a block device tells its size through an ioctl only"
    )]
    // SAFETY: BLKGETSIZE64 writes one u64 to the pointer, which is valid for the call.
    unsafe { block_size(device.as_raw_fd(), &raw mut bytes) }.map_err(io::Error::from)?;
    Ok(bytes)
}
