//! Overwriting a removed thick volume with zeroes, in the background.
//!
//! The volume is tagged `basalt.state=wiping` and renamed, so its user no longer sees it
//! and its name is free; its space is free only when it is overwritten and removed. The
//! tag is the authority to go on after a restart. Nothing here holds the VG's lane while
//! zeroes are written.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use tracing::{info, warn};

use super::{VolumeError, Volumes, create, device, open_mapper, remove};
use crate::cmd::Runner;
use crate::lvm::model::Lv;
use crate::names;

/// How much is overwritten before shutdown may interrupt, in bytes.
const STEP: u64 = 64 << 20;
/// Pauses between attempts after a failure.
const RETRY: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// Whether zeroes can be written over all the volume's own space. A thick snapshot's
/// device shows its origin; writing there would fill its store, not clear it.
pub(super) fn is_wipeable(lv: &Lv) -> bool {
    !lv.is_thin() && !lv.is_pool() && !lv.is_thick_snapshot()
}

/// The name of a removed volume while it is overwritten.
pub(super) fn name(lv: &Lv) -> String {
    format!("{}{}", names::WIPING_PREFIX, lv.uuid)
}

impl<R: Runner + Clone> Volumes<R> {
    /// Starts to overwrite and remove the volume, which carries the tag.
    pub(super) fn wipe_in_background(&self, vg: &str, name: &str) {
        let (this, vg, name) = (self.clone(), vg.to_owned(), name.to_owned());
        self.inner.tasks.spawn(async move {
            let mut pauses = RETRY.iter().copied().chain(std::iter::repeat(RETRY[RETRY.len() - 1]));
            while let Err(error) = this.wipe(&vg, &name).await {
                warn!(%vg, volume = %name, %error, "a removed volume is not overwritten yet; its space stays taken");
                tokio::select! {
                    () = tokio::time::sleep(pauses.next().unwrap_or(RETRY[0])) => {}
                    () = this.inner.stop.cancelled() => return,
                }
            }
        });
    }

    async fn wipe(&self, vg: &str, name: &str) -> Result<(), VolumeError> {
        let (path, devno) = {
            let lane = self.lane(vg).await?;
            let view = lane.view().await?;
            let Some(lv) = view.vg.lv(name) else {
                return Ok(());
            };
            if !lv.is_wiping() {
                return Err(VolumeError::InUse {
                    name: name.to_owned(),
                    why: "it no longer carries the tag that says it is removed".into(),
                });
            }
            let view = create::active(&lane, view.clone(), name).await?;
            let Some(lv) = view.vg.lv(name) else {
                return Ok(());
            };
            let device = device(&open_mapper()?, &view.vg, lv)?;
            let devno = device
                .ok_or_else(|| VolumeError::Unverified {
                    what: format!("overwriting volume {name}"),
                    why: "it has no device".into(),
                })?
                .devno;
            (PathBuf::from(format!("/dev/dm-{}", devno.1)), devno)
        };
        let stop = self.inner.stop.clone();
        let written =
            tokio::task::spawn_blocking(move || zero(&path, devno, &|| stop.is_cancelled())).await;
        let failed = |error: String| VolumeError::Unverified {
            what: format!("overwriting volume {name}"),
            why: error,
        };
        match written {
            Ok(Ok(Written::All(bytes))) => info!(vg, volume = name, bytes, "overwritten"),
            Ok(Ok(Written::Interrupted)) => return Ok(()),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        }
        let lane = self.lane(vg).await?;
        let view = lane.view().await?;
        match view.vg.lv(name) {
            Some(lv) if lv.is_wiping() => remove::remove_now(&lane, &view, name).await,
            _ => Ok(()),
        }
    }
}

enum Written {
    All(u64),
    Interrupted,
}

/// Writes zeroes over the whole device, through the device's own offload where it has one.
fn zero(path: &std::path::Path, devno: (u32, u32), stop: &dyn Fn() -> bool) -> io::Result<Written> {
    // O_EXCL: nobody has it mounted, and nobody can while we write (open(2)).
    let file = File::options()
        .write(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
        .open(path)?;
    let rdev = file.metadata()?.rdev();
    if (libc::major(rdev), libc::minor(rdev)) != devno {
        return Err(io::Error::other(format!(
            "{} is another device now",
            path.display()
        )));
    }
    let mut size = 0u64;
    #[expect(
        unsafe_code,
        reason = "the size of a block device and BLKZEROOUT are ioctls"
    )]
    // SAFETY: BLKGETSIZE64 writes one u64, and `size` is one.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64, &raw mut size) })?;
    let mut at = 0;
    while at < size {
        if stop() {
            return Ok(Written::Interrupted);
        }
        let range = [at, STEP.min(size - at)];
        #[expect(
            unsafe_code,
            reason = "the size of a block device and BLKZEROOUT are ioctls"
        )]
        // SAFETY: BLKZEROOUT reads two u64, start and length in bytes, and `range` is two.
        Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), BLKZEROOUT, range.as_ptr()) })?;
        at += range[1];
    }
    file.sync_all()?;
    Ok(Written::All(size))
}

// Linux include/uapi/linux/fs.h
const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
const BLKZEROOUT: libc::c_ulong = 0x127f;
