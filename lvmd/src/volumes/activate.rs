//! Activating a volume, and making whole what a cut-off command left of its device.

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
    if is_active(&view.vg, name)? {
        return Ok(view);
    }
    let threshold = pool::threshold_for(&view.vg, name);
    let said = lane
        .run(
            &view,
            &Mutation::Activate {
                name: name.to_owned(),
            },
            threshold,
        )
        .await;
    let view = lane.view().await?;
    if is_active(&view.vg, name)? {
        return Ok(view);
    }
    Err(VolumeError::Unverified {
        what: format!("activating volume {name}"),
        why: said.err().map_or_else(
            || "lvm reports success, and device-mapper has no live device".into(),
            |e| e.to_string(),
        ),
    })
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

fn is_active(vg: &Vg, name: &str) -> Result<bool, VolumeError> {
    let Some(lv) = vg.lv(name) else {
        return Ok(false);
    };
    Ok(device(&open_mapper()?, vg, lv)?.is_some_and(|d| d.live && !d.suspended))
}
