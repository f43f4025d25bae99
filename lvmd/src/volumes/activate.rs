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
    view: VgView,
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
        Usable::Stranded(other) => return Err(unverified(other.advice().to_owned())),
    };
    let threshold = pool::threshold_for(&view.vg, name);
    let said = lane.run(&view, &activation, threshold).await;
    let view = lane.view().await?;
    if usable(&view.vg, name)? == Usable::Yes {
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

/// Whether a volume's device can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
