//! Growing a volume.

use super::{
    Outcome, VolumeError, Volumes, activate, belongs, copy, create, error, open_mapper, pool,
    whereabouts,
};
use crate::capacity;
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::units::{Bytes, SECTOR};

impl<R: Runner + Clone> Volumes<R> {
    /// Grows a volume to at least `size` bytes and gives its size. A volume that is as
    /// large already is left alone; nothing ever shrinks.
    ///
    /// # Errors
    /// See [`VolumeError`]; on an error the volume has its old size, or the error says
    /// that its state cannot be told.
    pub async fn resize(
        &self,
        name: &str,
        class: &str,
        size: Bytes,
    ) -> Result<Outcome<Bytes>, VolumeError> {
        let resized = self.resized(name, class, size);
        self.counted("ResizeLV", resized).await
    }

    async fn resized(
        &self,
        name: &str,
        class: &str,
        size: Bytes,
    ) -> Result<Outcome<Bytes>, VolumeError> {
        let config = self.config();
        let class = &*self.member_with(config.classes.get(class)?, name).await?;
        let is_large = |vg: &Vg| vg.lv(name).is_none_or(|lv| lv.visible_size() >= size);
        let (lane, view) = self.lane_when_still(class, name, is_large).await?;
        super::require_pool(&view.vg, class)?;
        member(&view.vg, class, name)?;
        // An earlier request may have been cut off half-way through.
        let view = activate::resumed(&lane, view, name).await?;
        let lv = member(&view.vg, class, name)?;
        if lv.visible_size() >= size {
            fit(&lane, &view, lv).await?;
            return Ok(Outcome::AlreadySo(lv.visible_size()));
        }
        if lv.is_thick_snapshot() {
            return Err(VolumeError::InvalidArgument(format!(
                "volume {name} is a thick snapshot; its size follows its origin"
            )));
        }
        copy::refuse_if_read(&view.vg, name)?;
        if let Some(snapshot) = snapshot_of(&view.vg, name) {
            return Err(VolumeError::NotGrowable {
                name: name.to_owned(),
                why: format!(
                    "{snapshot} is a thick snapshot of it, and LVM grows an origin only while all of them are inactive; remove it first"
                ),
            });
        }
        grow(&lane, &view, class, name, size)
            .await
            .map(Outcome::Changed)
    }
}

/// The volume of this name in this class.
pub(super) fn member<'a>(
    vg: &'a Vg,
    class: &DeviceClass,
    name: &str,
) -> Result<&'a Lv, VolumeError> {
    match vg.lv(name).filter(|lv| !lv.is_wiping() && !lv.is_copying()) {
        Some(lv) if belongs(lv, class) => Ok(lv),
        Some(lv) => Err(VolumeError::OtherClass {
            name: name.to_owned(),
            class: class.name.clone(),
            why: whereabouts(lv),
        }),
        None if vg.hidden(name).is_some() => Err(VolumeError::OtherClass {
            name: name.to_owned(),
            class: class.name.clone(),
            why: "it is a hidden part of another volume".into(),
        }),
        None => Err(VolumeError::VolumeMissing {
            name: name.to_owned(),
            class: class.name.clone(),
        }),
    }
}

/// The name of a thick snapshot of this volume.
fn snapshot_of<'a>(vg: &'a Vg, origin: &str) -> Option<&'a str> {
    let mut lvs = vg.lvs.iter();
    let snapshot = lvs.find(|lv| lv.is_thick_snapshot() && lv.origin == origin);
    snapshot.map(|lv| lv.name.as_str())
}

/// Grows the volume and shows that both the metadata and device-mapper have it.
pub(super) async fn grow<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    name: &str,
    size: Bytes,
) -> Result<Bytes, VolumeError> {
    let vg = &view.vg;
    let lv = member(vg, class, name)?;
    let no_space = |why| VolumeError::NoSpace {
        wanted: size,
        class: class.name.clone(),
        why,
    };
    let extents = size.extents(vg.extent_size);
    let added = extents.saturating_sub(lv.size.extents(vg.extent_size));
    let threshold = match class.pool() {
        Some(_) => {
            let (more, free) = (
                Bytes(added.saturating_mul(vg.extent_size.0)),
                capacity::thin_free(vg, class),
            );
            if more > free {
                return Err(no_space(format!(
                    "{more} more are needed, and {free} may still be promised"
                )));
            }
            pool::ready(lane, view, class, size).await?
        }
        None => {
            let (needed, free) = (
                raw_cost(vg, lv, added),
                capacity::thick_free_extents(vg, class),
            );
            if needed > free {
                return Err(no_space(format!(
                    "growing takes {needed} extents of {}, and {free} are free (spare space counted)",
                    vg.extent_size
                )));
            }
            pool::DEFAULT_THRESHOLD
        }
    };
    let said = lane
        .run(
            view,
            &Mutation::Extend {
                name: name.to_owned(),
                extents,
            },
            threshold,
        )
        .await;
    let after = lane.view().await?;
    let lv = member(&after.vg, class, name)?;
    if lv.size < size {
        return Err(match said {
            Err(error) if error::says_no_space(&error) => no_space(error.stderr().to_owned()),
            Err(error) => create::failed(&format!("growing volume {name}"), &error),
            Ok(()) => VolumeError::Unverified {
                what: format!("growing volume {name}"),
                why: format!("lvm reports success, and the metadata shows {}", lv.size),
            },
        });
    }
    verify_device(&after.vg, lv)?;
    pool::rearm(lane, &after, class).await;
    Ok(lv.size)
}

/// What `added` extents more cost the VG, by what the volume costs now: the extents of
/// its hidden images (RAID, mirrors) over its own.
fn raw_cost(vg: &Vg, lv: &Lv, added: u64) -> u64 {
    let images = [
        format!("{}_rimage_", lv.name),
        format!("{}_mimage_", lv.name),
    ];
    let raw: u128 = vg
        .lvs
        .iter()
        .filter(|part| part.hidden && images.iter().any(|i| part.name.starts_with(i)))
        .map(|part| u128::from(part.size.0))
        .sum();
    if raw == 0 || lv.size.0 == 0 {
        return added;
    }
    u64::try_from((u128::from(added) * raw).div_ceil(u128::from(lv.size.0))).unwrap_or(u64::MAX)
}

/// Shows that the kernel has the volume as large as the metadata says; gives it the
/// metadata's table when it has not.
pub(super) async fn fit<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    lv: &Lv,
) -> Result<(), VolumeError> {
    if verify_device(&view.vg, lv).is_ok() {
        return Ok(());
    }
    let refresh = Mutation::Refresh {
        name: lv.name.clone(),
    };
    let threshold = pool::threshold_for(&view.vg, &lv.name);
    // What it did is seen below.
    let _ = lane.run(view, &refresh, threshold).await;
    verify_device(&view.vg, lv)
}

/// An active volume's device must be as large as the metadata says: LVM returns 0 for
/// some extensions that the kernel refused.
fn verify_device(vg: &Vg, lv: &Lv) -> Result<(), VolumeError> {
    let table = open_mapper()?
        .table(&lv.dm_uuid(vg, ""))
        .map_err(|e| VolumeError::Mapper(e.to_string()))?;
    let Some(table) = table else { return Ok(()) };
    let mapped = Bytes(
        table
            .iter()
            .map(|target| target.length)
            .sum::<u64>()
            .saturating_mul(SECTOR),
    );
    if mapped >= lv.visible_size() {
        return Ok(());
    }
    Err(VolumeError::Unverified {
        what: format!("growing volume {}", lv.name),
        why: format!(
            "the metadata shows {}, and the kernel still has {mapped}",
            lv.visible_size()
        ),
    })
}
