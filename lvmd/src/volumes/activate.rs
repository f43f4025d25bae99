//! Activating a volume, and making whole what a cut-off command left of its device.

use super::stranded::{self, Stranded};
use super::{VolumeError, device, is_cut_off, open_mapper, pool, stale};
use crate::cmd::Runner;
use crate::engine::Lane;
use crate::lvm::model::Vg;
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;

/// The view in which the volume is shown to be active; activates it when it is not.
pub(super) async fn active<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    mut view: VgView,
    name: &str,
) -> Result<VgView, VolumeError> {
    stale::drop_of(lane, &view, name).await?;
    let unverified = |why: String| VolumeError::Unverified {
        what: format!("activating volume {name}"),
        why,
    };
    let activation = match usable(&view.vg, name)? {
        Usable::Yes => return Ok(view),
        Usable::Inactive => Mutation::Activate { name: name.into() },
        Usable::Stranded(Stranded::Idle) => Mutation::Refresh { name: name.into() },
        Usable::Stranded(Stranded::IdlePool) => {
            view = without_pool(lane, view, name).await?;
            Mutation::Activate { name: name.into() }
        }
        Usable::Stranded(other) => return Err(unverified(other.advice())),
    };
    let threshold = pool::threshold_for(&view.vg, name);
    let said = lane.run(&view, &activation, threshold).await;
    let view = lane.view().await?;
    if is_active(&view.vg, name)? {
        return Ok(view);
    }
    Err(unverified(said.err().map_or_else(
        || {
            "lvm reports success, and device-mapper has no live device on disks that are there"
                .into()
        },
        |e| e.to_string(),
    )))
}

/// The view in which the pool of the volume is shown not to be active, nor any volume in it: what it held in memory is
/// dropped. The others are activated when they are next used.
async fn without_pool<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: VgView,
    name: &str,
) -> Result<VgView, VolumeError> {
    let unverified = |why: String| VolumeError::Unverified {
        what: format!("deactivating the pool of volume {name}, which is on a disk that is gone"),
        why,
    };
    let pool = view.vg.lv(name).map_or("", |lv| &lv.pool).to_owned();
    // Until the disk is back nothing is won.
    if let Some(freeze) = view.frozen.first() {
        return Err(unverified(freeze.to_string()));
    }
    let names = stranded::with_pool(&view.vg, &pool).map(|lv| lv.name.clone());
    let deactivation = Mutation::Deactivate {
        names: names.collect(),
    };
    let threshold = pool::threshold_for(&view.vg, name);
    tracing::warn!(vg = %view.vg.name, pool, "the pool is on a disk that was gone, and is activated anew");
    let said = lane.run(&view, &deactivation, threshold).await;
    let view = lane.view().await?;
    let control = open_mapper()?;
    for lv in stranded::with_pool(&view.vg, &pool) {
        let mut uuids = vec![lv.dm_uuid(&view.vg, "")];
        if lv.is_pool() {
            uuids.extend(crate::pool::uuids(&view.vg, lv));
        }
        for uuid in uuids {
            let device = control.device(&uuid);
            if device
                .map_err(|e| VolumeError::Mapper(e.to_string()))?
                .is_some()
            {
                return Err(unverified(said.err().map_or_else(
                    || format!("lvm reports success, and {} is still active", lv.name),
                    |e| e.to_string(),
                )));
            }
        }
    }
    Ok(view)
}

/// The view in which the volume is not cut off: a device that a command left suspended
/// or without a table, or with one that was never live, is made whole. One that is inactive stays so.
pub(super) async fn resumed<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: VgView,
    name: &str,
) -> Result<VgView, VolumeError> {
    stale::drop_of(lane, &view, name).await?;
    let device = match view.vg.lv(name) {
        Some(lv) => device(&open_mapper()?, &view.vg, lv)?,
        None => None,
    };
    if is_cut_off(device.as_ref()) {
        active(lane, view, name).await
    } else {
        Ok(view)
    }
}

/// Whether a volume's device can be used as it is.
pub(super) fn is_active(vg: &Vg, name: &str) -> Result<bool, VolumeError> {
    Ok(usable(vg, name)? == Usable::Yes)
}

/// Whether a volume's device can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Usable {
    Yes,
    Inactive,
    Stranded(Stranded),
}

fn usable(vg: &Vg, name: &str) -> Result<Usable, VolumeError> {
    let Some(lv) = vg.lv(name) else {
        return Ok(Usable::Inactive);
    };
    if !device(&open_mapper()?, vg, lv)?.is_some_and(|d| d.live && !d.suspended) {
        return Ok(Usable::Inactive);
    }
    Ok(stranded::of(vg, lv)?.map_or(Usable::Yes, Usable::Stranded))
}
