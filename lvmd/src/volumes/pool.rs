//! A thin pool before something is made in it: is it active, may it take more, and
//! which threshold must the command carry; and its low-water mark afterwards.
//!
//! LVM has one setting with two meanings, `thin_pool_autoextend_threshold`: it is the
//! low-water mark loaded into the kernel, and above it LVM refuses new thin volumes.
//! So a command carries the pool's own threshold while usage is below it, and our gate
//! when usage is between the two; above the gate the answer is "no space".

use tracing::warn;

use super::{VolumeError, Wreck, device, open_mapper, uncounted};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::dm;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::patience::Patience;
use crate::pool::{self, Active, Condition};
use crate::units::Bytes;

pub(super) use crate::pool::DEFAULT_THRESHOLD;

/// The threshold of the pool `name` lives in, or is; [`DEFAULT_THRESHOLD`] when there is none.
pub(super) fn threshold_for(vg: &Vg, name: &str) -> u8 {
    let pool = vg.lv(name).and_then(|lv| {
        if lv.is_pool() {
            Some(lv)
        } else {
            vg.pool(&lv.pool)
        }
    });
    pool.map_or(DEFAULT_THRESHOLD, pool::threshold)
}

/// The pool as device-mapper shows it; `None` when it is not active. A pool on a disk that
/// hangs does not answer.
pub(super) async fn look(
    patience: &Patience,
    vg: &Vg,
    pool: &Lv,
) -> Result<Option<Active>, VolumeError> {
    let what = format!("thin pool {}/{}", vg.name, pool.name);
    let uuids = pool::uuids(vg, pool);
    let ask = move || pool::look(&dm::Control::open()?, &uuids);
    patience
        .ask(&what, ask)
        .await
        .map_err(|hangs| VolumeError::Mapper(hangs.to_string()))?
        .map_err(|e: std::io::Error| VolumeError::Mapper(e.to_string()))
}

/// The transaction that the pool has counted to; `None` when it is not active or has failed.
pub(super) async fn reached(
    patience: &Patience,
    vg: &Vg,
    pool: &Lv,
) -> Result<Option<u64>, VolumeError> {
    let active = look(patience, vg, pool).await?;
    Ok(active.and_then(|active| active.status.transaction))
}

/// What is wrong with the pool, as far as its volumes go.
pub(super) async fn conditions(
    patience: &Patience,
    vg: &Vg,
    lv: &Lv,
    class: &DeviceClass,
) -> Vec<Condition> {
    match look(patience, vg, lv).await {
        Ok(active) => pool::conditions(lv, active.as_ref(), class.gate_percent),
        Err(error) => vec![Condition {
            code: "PoolUnknown",
            abnormal: true,
            message: error.to_string(),
        }],
    }
}

/// Makes sure that the pool of `class` is active and may take `wanted` more, and says
/// which threshold the command carries.
pub(super) async fn ready<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    wanted: Bytes,
) -> Result<u8, VolumeError> {
    let Some(name) = class.pool() else {
        return Ok(DEFAULT_THRESHOLD);
    };
    let vg = &view.vg;
    let unusable = |why: String| VolumeError::PoolUnusable {
        vg: vg.name.clone(),
        pool: name.to_owned(),
        why,
    };
    let pool = vg.pool(name).ok_or_else(|| VolumeError::PoolMissing {
        vg: vg.name.clone(),
        pool: name.to_owned(),
    })?;
    let patience = lane.engine().patience();
    let mut now = look(patience, vg, pool).await?;
    if now.is_none() {
        // Usage of an inactive pool cannot be seen, and what cannot be seen is not filled.
        let activated = lane
            .run(
                view,
                &Mutation::Activate {
                    name: name.to_owned(),
                },
                pool::threshold(pool),
            )
            .await;
        now = look(patience, vg, pool).await?;
        if now.is_none() {
            return Err(unusable(format!(
                "it is not active and cannot be activated: {}",
                activated.err().map_or_else(String::new, |e| e.to_string())
            )));
        }
    }
    let Some(active) = now else {
        return Err(unusable("its status cannot be seen".into()));
    };
    let status = &active.status;
    match pool::closed(Some(status), class.gate_percent) {
        None => Ok(pool::carried(pool, Some(status), class.gate_percent)),
        Some(closed) if closed.is_full() => Err(VolumeError::NoSpace {
            wanted,
            class: class.name.clone(),
            why: format!(
                "{closed} (pool {name}: data {}%, metadata {}%)",
                status.data_percent(),
                status.metadata_percent()
            ),
        }),
        Some(closed) => Err(unusable(closed.to_string())),
    }
}

/// After a command that reloaded the pool with a mark that is not the pool's own: puts it back.
/// Failure is only reported; the pool works, it would fill without an event.
pub(super) async fn rearm<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
) {
    if let Err(error) = try_rearm(lane, view, class).await {
        warn!(vg = %view.vg.name, class = %class.name, %error, "the pool's low-water mark is not armed");
    }
}

/// Shows that the pool's mark is its own, and puts it back if it is not.
pub(super) async fn try_rearm<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
) -> Result<(), VolumeError> {
    let Some(lv) = class.pool().and_then(|name| view.vg.pool(name)) else {
        return Ok(());
    };
    let patience = lane.engine().patience();
    let gate = class.gate_percent;
    let is_armed = |now: &Option<Active>| {
        now.as_ref().is_none_or(|active| {
            // The tables of a pool in trouble are left to whoever repairs it.
            !active.status.is_writable() || pool::mark_is_ours(lv, active, gate)
        })
    };
    let now = look(patience, &view.vg, lv).await?;
    if is_armed(&now) {
        return Ok(());
    }
    let reload = reload(&view.vg, lv)?;
    let status = now.as_ref().map(|active| &active.status);
    let said = lane
        .run(view, &reload, pool::carried(lv, status, gate))
        .await;
    if is_armed(&look(patience, &view.vg, lv).await?) {
        return Ok(());
    }
    Err(VolumeError::Unverified {
        what: format!("arming the low-water mark of pool {}", lv.name),
        why: said.err().map_or_else(
            || "lvm reports success, and the kernel has another mark".into(),
            |e| e.to_string(),
        ),
    })
}

/// The command that loads a pool's table anew and has it do what LVM has noted down for it.
/// A refresh of the pool itself does neither while a thin volume uses it (LVM 2.03.31);
/// that of the volume does both.
pub(super) fn reload(vg: &Vg, lv: &Lv) -> Result<Mutation, VolumeError> {
    let control = open_mapper()?;
    let mut best: Option<((bool, bool, bool), &str)> = None;
    let users = vg.lvs.iter().filter(|lv| lv.is_thin());
    for user in users.filter(|user| user.pool == lv.name) {
        if let Some(device) = device(&control, vg, user)?.filter(|device| device.live) {
            // Its requests wait meanwhile: best one that waits already, or has none.
            let rank = (!device.suspended, device.open_count > 0, !vg.is_ours(user));
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, &user.name));
            }
        }
    }
    let name = best.map_or(lv.name.as_str(), |(_, name)| name).to_owned();
    Ok(Mutation::Refresh { name })
}

/// The pools to which a cut-off command did not pass on what LVM has noted down for them:
/// each transaction of LVM ends with the pool counting it too. One that no volume uses is
/// told with its next volume; one in which a volume waits to be made is told with that.
pub(super) async fn behind<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
) -> Result<Vec<Wreck>, VolumeError> {
    let vg = &view.vg;
    let mut found = Vec::new();
    for lv in vg.lvs.iter().filter(|lv| lv.is_thin_pool()) {
        let reached = reached(lane.engine().patience(), vg, lv).await?;
        let Some(reached) = reached else { continue };
        if reached.checked_add(1) == Some(lv.transaction) && can_be_told(vg, lv, reached)? {
            found.push(Wreck::PoolBehind {
                pool: lv.name.clone(),
                ours: vg.is_ours(lv),
            });
        }
    }
    Ok(found)
}

/// Whether a live volume uses the pool, and none waits for the transaction after `reached`.
fn can_be_told(vg: &Vg, pool: &Lv, reached: u64) -> Result<bool, VolumeError> {
    let control = open_mapper()?;
    let mut any = false;
    let users = vg.lvs.iter().filter(|lv| lv.is_thin());
    for user in users.filter(|lv| lv.pool == pool.name) {
        let live = device(&control, vg, user)?.is_some_and(|device| device.live);
        if !live && user.transaction >= reached {
            return Ok(false);
        }
        any |= live;
    }
    Ok(any)
}

/// Has the pool do what LVM has noted down for it, and shows that it has.
pub(super) async fn catch_up<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<(), VolumeError> {
    let Some(lv) = view.vg.pool(name) else {
        return Ok(());
    };
    if let Some(reached) = reached(lane.engine().patience(), &view.vg, lv).await?
        && reached.checked_add(1) == Some(lv.transaction)
        && let Some(snapshot) = uncounted::find(&view.vg, lv, reached)?
    {
        uncounted::count_on(lane, view, lv, snapshot, reached).await?;
    }
    let reload = reload(&view.vg, lv)?;
    let said = lane.run(view, &reload, threshold_for(&view.vg, name)).await;
    let after = lane.view().await?;
    let left = behind(lane, &after).await?;
    let is_it = |wreck: &Wreck| matches!(wreck, Wreck::PoolBehind { pool, .. } if pool == name);
    if left.iter().any(is_it) {
        return Err(VolumeError::Unverified {
            what: format!("telling pool {name} what LVM has noted down for it"),
            why: said.err().map_or_else(
                || "lvm reports success, and it is still behind".into(),
                |e| e.to_string(),
            ),
        });
    }
    Ok(())
}

/// Whether nothing was ever written to a thin volume. One that was just made must be so: for
/// LVM "there is one of this number" counts as made, so a device that a cut-off command left
/// over in the pool would become the new volume, with the data of whoever had it.
pub(super) fn is_blank(vg: &Vg, lv: &Lv) -> Result<bool, VolumeError> {
    let targets = open_mapper()?
        .status(&lv.dm_uuid(vg, ""))
        .map_err(|e| VolumeError::Mapper(e.to_string()))?;
    // `<mapped sectors> <highest mapped sector>`, Linux thin-provisioning.rst.
    let mut targets = targets.iter().flatten();
    let mapped = targets.find_map(|target| target.params.split(' ').next());
    Ok(mapped == Some("0"))
}
