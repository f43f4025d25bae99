//! Overwriting a removed thick volume with zeroes, in the background.
//!
//! The volume is tagged `basalt.state=wiping` and renamed, so its user no longer sees it
//! and its name is free; its space is free only when it is overwritten and removed. The
//! tag is the authority to go on after a restart. Nothing here holds the VG's lane while
//! zeroes are written; one volume of a VG is overwritten at a time, so that a disk that
//! hangs holds up no more than its own VG.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use tokio::sync::Mutex as AsyncMutex;
use tracing::{info, warn};

use super::{VolumeError, Volumes, activate, remove, resize};
use crate::cmd::Runner;
use crate::dm;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::valid;
use crate::names;
use crate::units::Bytes;

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

/// The name of a removed volume while it is overwritten; its own where the VG's name leaves
/// no room for another.
pub(super) fn name(vg: &Vg, lv: &Lv) -> String {
    let name = format!("{}{}", names::WIPING_PREFIX, lv.uuid);
    if valid::is_mappable(&vg.name, &name) {
        name
    } else {
        lv.name.clone()
    }
}

/// Which volumes are to be overwritten, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Wipes {
    under_way: Mutex<HashSet<(String, String)>>,
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl Wipes {
    /// Whether this volume was not under way before.
    fn begin(&self, vg: &str, name: &str) -> bool {
        self.under_way().insert((vg.to_owned(), name.to_owned()))
    }

    fn end(&self, vg: &str, name: &str) {
        self.under_way().remove(&(vg.to_owned(), name.to_owned()));
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashSet<(String, String)>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, vg: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(vg.to_owned()).or_default().clone()
    }
}

impl<R: Runner + Clone> Volumes<R> {
    /// Starts to overwrite and remove the volume, which carries the tag, unless that is
    /// under way already.
    pub(super) fn wipe_in_background(&self, vg: &str, name: &str) {
        if !self.inner.wipes.begin(vg, name) {
            return;
        }
        let (this, vg, name) = (self.clone(), vg.to_owned(), name.to_owned());
        self.inner.tasks.spawn(async move {
            let mut pauses = RETRY.iter().copied().chain(std::iter::repeat(RETRY[RETRY.len() - 1]));
            let mut overwritten = None;
            while let Err(error) = this.wipe(&vg, &name, &mut overwritten).await {
                warn!(%vg, volume = %name, %error, "a removed volume is not overwritten yet; its space stays taken");
                tokio::select! {
                    () = tokio::time::sleep(pauses.next().unwrap_or(RETRY[0])) => {}
                    () = this.inner.stop.cancelled() => break,
                }
            }
            this.inner.wipes.end(&vg, &name);
        });
    }

    /// Overwrites and removes the volume. `overwritten` is the uuid of the LV of which
    /// an earlier attempt did the first half.
    async fn wipe(
        &self,
        vg: &str,
        name: &str,
        overwritten: &mut Option<String>,
    ) -> Result<(), VolumeError> {
        let _turn = self.inner.wipes.turn(vg).lock_owned().await;
        if self.inner.stop.is_cancelled() {
            return Ok(());
        }
        let (lv_uuid, dm_uuid, size) = {
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
            remove::refuse_if_held(&view.vg, lv)?;
            activate::active(&lane, view.clone(), name).await?;
            resize::fit(&lane, &view, lv).await?;
            (lv.uuid.clone(), lv.dm_uuid(&view.vg, ""), lv.size)
        };
        if overwritten.as_ref() != Some(&lv_uuid) {
            let stop = self.inner.stop.clone();
            let written =
                tokio::task::spawn_blocking(move || zero(&dm_uuid, size, &|| stop.is_cancelled()))
                    .await;
            let failed = |why: String| VolumeError::Unverified {
                what: format!("overwriting volume {name}"),
                why,
            };
            match written {
                Ok(Ok(Written::All(bytes))) => info!(vg, volume = name, bytes, "overwritten"),
                Ok(Ok(Written::Interrupted)) => return Ok(()),
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Err(error) => return Err(failed(error.to_string())),
            }
            *overwritten = Some(lv_uuid.clone());
        }
        let lane = self.lane(vg).await?;
        let view = lane.view().await?;
        match view.vg.lv(name) {
            Some(lv) if lv.is_wiping() && lv.uuid == lv_uuid => {
                remove::refuse_if_held(&view.vg, lv)?;
                remove::remove_now(&lane, &view, name).await
            }
            _ => Ok(()),
        }
    }
}

enum Written {
    All(u64),
    Interrupted,
}

/// Writes zeroes over the whole device of this device-mapper uuid, through the device's
/// own offload where it has one. Nobody else may have it open, and it must be as large as
/// its metadata says: no smaller, or a former tenant's data stays, and no larger, or it is
/// not the volume's own space.
fn zero(uuid: &str, expected: Bytes, stop: &dyn Fn() -> bool) -> io::Result<Written> {
    let control = dm::Control::open()?;
    let find = || {
        control
            .device(uuid)?
            .ok_or_else(|| io::Error::other("it has no device"))
    };
    let path = format!("/dev/dm-{}", find()?.devno.1);
    // O_EXCL: nobody has it mounted, and nobody can while we write (open(2)).
    let file = File::options()
        .write(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
        .open(&path)?;
    // While it is open its number cannot become another device's, so what
    // device-mapper says of the uuid from here on is said of the open file.
    let (rdev, device) = (file.metadata()?.rdev(), find()?);
    if (libc::major(rdev), libc::minor(rdev)) != device.devno {
        return Err(io::Error::other(format!("{path} is another device now")));
    }
    // A pod writes to a raw volume without O_EXCL.
    if device.open_count != 1 {
        return Err(io::Error::other("somebody else has it open"));
    }
    let mut size = 0u64;
    #[expect(
        unsafe_code,
        reason = "the size of a block device and BLKZEROOUT are ioctls"
    )]
    // SAFETY: BLKGETSIZE64 writes one u64, and `size` is one.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64, &raw mut size) })?;
    if Bytes(size) != expected {
        let why = format!("its device has {}, its metadata {expected}", Bytes(size));
        return Err(io::Error::other(why));
    }
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
