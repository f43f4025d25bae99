//! A thin pool before something is made in it: is it active, may it take more, and
//! which threshold must the command carry.
//!
//! LVM has one setting with two meanings, `thin_pool_autoextend_threshold`: it is the
//! low-water mark loaded into the kernel, and above it LVM refuses new thin volumes.
//! So a command carries the pool's own threshold while usage is below it, and our gate
//! when usage is between the two; above the gate the answer is "no space".

use tracing::warn;

use super::{VolumeError, device, open_mapper};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::dm::{self, PoolStatus};
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::names;
use crate::patience::Patience;
use crate::units::Bytes;

/// The threshold of a pool that carries no tag, in percent.
pub(super) const DEFAULT_THRESHOLD: u8 = 70;

/// The threshold in the pool's tag, in percent; LVM takes 50 to 100.
pub(super) fn threshold(pool: &Lv) -> u8 {
    names::tag_value(&pool.tags, names::TAG_THRESHOLD)
        .and_then(|text| text.parse().ok())
        .filter(|percent| (50..=100).contains(percent))
        .unwrap_or(DEFAULT_THRESHOLD)
}

/// The threshold of the pool `name` lives in, or is; [`DEFAULT_THRESHOLD`] when there is none.
pub(super) fn threshold_for(vg: &Vg, name: &str) -> u8 {
    let pool = vg.lv(name).and_then(|lv| {
        if lv.is_pool() {
            Some(lv)
        } else {
            vg.pool(&lv.pool)
        }
    });
    pool.map_or(DEFAULT_THRESHOLD, threshold)
}

/// The pool's usage as device-mapper shows it; `None` when it is not active. A pool on a
/// disk that hangs does not answer.
pub(super) async fn status(
    patience: &Patience,
    vg: &Vg,
    pool: &Lv,
) -> Result<Option<PoolStatus>, VolumeError> {
    let (used, unused) = (pool.dm_uuid(vg, "tpool"), pool.dm_uuid(vg, ""));
    let ask = move || {
        let control = dm::Control::open()?;
        // A pool that no thin volume uses yet is loaded under its public name only.
        match control.status(&used)? {
            Some(targets) if !targets.is_empty() => Ok(Some(targets)),
            _ => control.status(&unused),
        }
    };
    let targets = patience
        .ask(&format!("thin pool {}/{}", vg.name, pool.name), ask)
        .await
        .map_err(|hangs| VolumeError::Mapper(hangs.to_string()))?
        .map_err(|e: std::io::Error| VolumeError::Mapper(e.to_string()))?;
    let Some(target) = targets.and_then(|t| t.into_iter().find(|t| t.kind == "thin-pool")) else {
        return Ok(None);
    };
    PoolStatus::parse(&target.params)
        .map(Some)
        .ok_or_else(|| VolumeError::PoolUnusable {
            vg: vg.name.clone(),
            pool: pool.name.clone(),
            why: format!("its status {:?} is not understood", target.params),
        })
}

/// The threshold a command that may reload the pool carries, by its usage now.
pub(super) fn carried(pool: &Lv, status: Option<&PoolStatus>, gate: u8) -> u8 {
    let threshold = threshold(pool);
    let Some(status) = status else {
        return threshold;
    };
    let used = status.data_percent().max(status.metadata_percent());
    if used < f64::from(threshold) {
        threshold
    } else {
        gate.max(threshold)
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
    let mut now = status(patience, vg, pool).await?;
    if now.is_none() {
        // Usage of an inactive pool cannot be seen, and what cannot be seen is not filled.
        let activated = lane
            .run(
                view,
                &Mutation::Activate {
                    name: name.to_owned(),
                },
                threshold(pool),
            )
            .await;
        now = status(patience, vg, pool).await?;
        if now.is_none() {
            return Err(unusable(format!(
                "it is not active and cannot be activated: {}",
                activated.err().map_or_else(String::new, |e| e.to_string())
            )));
        }
    }
    let Some(status) = now else {
        return Err(unusable("its status cannot be seen".into()));
    };
    if !status.is_writable() {
        let check = if status.needs_check {
            ", and its metadata needs a check (thin_check)"
        } else {
            ""
        };
        return Err(unusable(format!("its mode is {}{check}", status.mode)));
    }
    let (data, metadata) = (status.data_percent(), status.metadata_percent());
    if data.max(metadata) >= f64::from(class.gate_percent) {
        return Err(VolumeError::NoSpace {
            wanted,
            class: class.name.clone(),
            why: format!(
                "pool {name} is really used to {data}% (metadata {metadata}%), and at {}% it takes no new volumes",
                class.gate_percent
            ),
        });
    }
    Ok(carried(pool, Some(&status), class.gate_percent))
}

/// After a command that reloaded the pool with a mark that is not the pool's own: puts it back.
/// Failure is only reported; the pool works, it would fill without an event.
pub(super) async fn rearm<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
) {
    let Some(pool) = class.pool().and_then(|name| view.vg.pool(name)) else {
        return;
    };
    match mark_is_lost(&view.vg, pool) {
        Ok(false) => {}
        Ok(true) => {
            let refresh = Mutation::Refresh {
                name: pool.name.clone(),
            };
            if let Err(error) = lane.run(view, &refresh, threshold(pool)).await {
                warn!(vg = %view.vg.name, pool = %pool.name, %error, "the pool's low-water mark could not be set");
            }
        }
        Err(error) => {
            warn!(vg = %view.vg.name, pool = %pool.name, %error, "the pool's low-water mark cannot be read")
        }
    }
}

/// Whether the kernel holds no low-water mark although the pool has a threshold below 100.
fn mark_is_lost(vg: &Vg, pool: &Lv) -> Result<bool, VolumeError> {
    if threshold(pool) >= 100 {
        return Ok(false);
    }
    let control = open_mapper()?;
    if device(&control, vg, pool)?.is_none() {
        return Ok(false);
    }
    let table = control
        .table(&pool.dm_uuid(vg, "tpool"))
        .map_err(|e| VolumeError::Mapper(e.to_string()))?;
    let mark = table
        .and_then(|t| t.into_iter().find(|t| t.kind == "thin-pool"))
        .and_then(|t| dm::low_water(&t.params));
    Ok(mark == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_carries_the_mark_until_usage_passes_it() {
        let vgs = crate::lvm::report::parse(include_bytes!(
            "../../tests/fixtures/fullreport-lvm2-2.03.31.json"
        ))
        .unwrap();
        let mut pool = vgs[0].pool("pool").unwrap().clone();
        let at = |percent: u64| PoolStatus {
            metadata_blocks: (1, 1000),
            data_chunks: (percent, 100),
            mode: "rw".into(),
            needs_check: false,
        };
        assert_eq!(carried(&pool, Some(&at(69)), 95), 70);
        assert_eq!(carried(&pool, Some(&at(70)), 95), 95);
        pool.tags = vec!["basalt.threshold=80".into()];
        assert_eq!(carried(&pool, Some(&at(75)), 95), 80);
        pool.tags = vec!["basalt.threshold=7".into()];
        assert_eq!(
            threshold(&pool),
            DEFAULT_THRESHOLD,
            "LVM treats less than 50 as 50"
        );
    }
}
