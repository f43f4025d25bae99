//! A table that a cut-off command loaded and never made live.
//!
//! LVM loads a device's new table beside the live one before it commits the metadata that
//! the table belongs to. Cut off in between, the table stays, and the next command that
//! resumes the device makes it live: `lvchange --refresh` and `-ay`, `lvrename`, even
//! another `lvextend` (LVM 2.03.31; it compares its table with the live one only). The
//! volume then has extents that may be another volume's by now. So such a table is dropped
//! before a command touches its device; what LVM needs it loads again.

use super::{VolumeError, open_mapper};
use crate::cmd::Runner;
use crate::engine::Lane;
use crate::lvm::model::Vg;
use crate::lvm::snapshot::VgView;
use crate::lvm::vg_lock::{self, VgLock};

/// Drops such a table of the volume, if it has one.
pub(super) async fn drop_of<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<(), VolumeError> {
    let Some(lv) = view.vg.lv(name) else {
        return Ok(());
    };
    let uuid = lv.dm_uuid(&view.vg, "");
    let device = open_mapper()?
        .device(&uuid)
        .map_err(|e| VolumeError::Mapper(e.to_string()))?;
    if !device.is_some_and(|device| device.loaded) {
        return Ok(());
    }
    drop_table(lane, &view.vg, &uuid)
        .await
        .map_err(|why| VolumeError::Unverified {
            what: format!("dropping the table that a cut-off command loaded for volume {name}"),
            why,
        })
}

/// Drops the table that is loaded and not live of the device with this uuid.
pub(super) async fn drop_table<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    vg: &Vg,
    uuid: &str,
) -> Result<(), String> {
    let _lock = lock(lane, vg).await?;
    let control = open_mapper().map_err(|e| e.to_string())?;
    control.drop_loaded(uuid).map_err(|e| e.to_string())
}

/// LVM's own lock of the VG: while it is held no command of another program is half-way
/// through a change. It must be dropped before lvm is run.
pub(super) async fn lock<R: Runner + Clone>(lane: &Lane<'_, R>, vg: &Vg) -> Result<VgLock, String> {
    // Behind a prefix lvm may have another lock directory than we see.
    if !lane.engine().tool().command_prefix.is_empty() {
        return Err("lvm-command-prefix is set: whether lvm works there cannot be told".into());
    }
    vg_lock::exclusive(&vg.name).await
}
