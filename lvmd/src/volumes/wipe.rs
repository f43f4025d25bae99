//! Overwriting a removed thick volume with zeroes, in the background.
//!
//! The volume is tagged `basalt.state=wiping` and renamed, so its user no longer sees it
//! and its name is free; its space is free only when it is overwritten and removed. The
//! tag is the authority to go on after a restart. Nothing here holds the VG's lane while
//! zeroes are written; one volume of a VG is overwritten at a time, so that a disk that
//! hangs holds up no more than its own VG.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tracing::{info, warn};

use super::opened::{Opened, Wanted};
use super::{VolumeError, Volumes, activate, create, pool, remove, resize};
use crate::cmd::Runner;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::lvm::valid;
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

/// Tags the volume, which is an order to overwrite it, and renames it. Gives its new name.
pub(super) async fn hand_over<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<String, VolumeError> {
    let Some(lv) = view.vg.lv(name) else {
        return Ok(name.to_owned());
    };
    let wiping = self::name(&view.vg, lv);
    let state = |value| names::tag(names::TAG_STATE, value);
    let copying = lv.is_copying().then(|| state(names::STATE_COPYING));
    let tag = Mutation::Retag {
        name: name.to_owned(),
        uuid: Some(lv.uuid.clone()),
        add: vec![state(names::STATE_WIPING)],
        remove: copying.into_iter().collect(),
    };
    let rename = Mutation::Rename {
        from: name.to_owned(),
        to: wiping.clone(),
    };
    let changes = [tag, rename];
    let needed = usize::from(lv.is_wiping())..1 + usize::from(wiping != name);
    let said = lane
        .run_all(view, &changes[needed], pool::DEFAULT_THRESHOLD)
        .await;
    let after = lane.view().await?;
    let renamed = after.vg.lv(&wiping).is_some_and(Lv::is_wiping);
    if renamed && (wiping == name || after.vg.lv(name).is_none()) {
        return Ok(wiping);
    }
    let what = format!("removing volume {name}");
    let untouched = after.vg.lv(name).is_some_and(|lv| !lv.is_wiping());
    Err(match said {
        Err(error) if untouched => create::failed(&what, &error),
        Err(error) => VolumeError::Unverified {
            what,
            why: error.to_string(),
        },
        Ok(()) => VolumeError::Unverified {
            what,
            why: "lvm reports success, and the metadata still has the old name".into(),
        },
    })
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
        let (lv_uuid, wanted) = {
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
            if !lv.attr.is_writable() {
                let writable = Mutation::Permission {
                    name: name.to_owned(),
                    writable: true,
                };
                let said = lane.run(&view, &writable, pool::DEFAULT_THRESHOLD).await;
                said.map_err(|error| create::failed(&format!("wiping volume {name}"), &error))?;
            }
            let wanted = Wanted {
                uuid: lv.dm_uuid(&view.vg, ""),
                size: lv.size,
            };
            (lv.uuid.clone(), wanted)
        };
        if overwritten.as_ref() != Some(&lv_uuid) {
            let stop = self.inner.stop.clone();
            let written =
                tokio::task::spawn_blocking(move || zero(&wanted, &|| stop.is_cancelled())).await;
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

/// Writes zeroes over the whole device, which nobody else may have open.
fn zero(wanted: &Wanted, stop: &dyn Fn() -> bool) -> io::Result<Written> {
    let device = Opened::to_write(wanted, 0)?;
    let (mut at, size) = (0, device.size());
    while at < size {
        if stop() {
            return Ok(Written::Interrupted);
        }
        let length = STEP.min(size - at);
        device.zero(at, length)?;
        at += length;
    }
    device.sync()?;
    Ok(Written::All(size))
}
