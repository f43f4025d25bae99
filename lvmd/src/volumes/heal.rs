//! What a cut-off command leaves behind, and what is done about it.
//!
//! Seen after killing lvm at random moments: a volume in the metadata but not active, a
//! device without a table or suspended, a table that was never made live, and a pool of which only the hidden parts are
//! active, which makes every later lvm command fail. Volumes without a tag of ours and
//! pools of no class of ours are named, never touched.
//!
//! A VG is looked at before the first change, when it comes back, after each command of
//! ours that did not end by itself, and when what another tool left stays.

mod diagnose;

use std::collections::HashMap;

use tracing::{info, warn};

use diagnose::left_parts;
pub use diagnose::{Wreck, diagnose};

use super::{
    VolumeError, Volumes, activate, device, is_cut_off, open_mapper, pool, stale, stopped,
    unfinished,
};
use crate::cmd::Runner;
use crate::dm;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;

/// A wreck and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealReport {
    /// The VG.
    pub vg: String,
    /// What was found.
    pub wreck: Wreck,
    /// `healed`, `named`, `resumed`, or the error.
    pub result: String,
}

impl HealReport {
    /// The stable word for metrics: `healed`, `named`, `resumed` or `failed`.
    pub fn outcome(&self) -> &'static str {
        ["healed", "named", "resumed"]
            .into_iter()
            .find(|word| *word == self.result)
            .unwrap_or("failed")
    }
}

impl<R: Runner + Clone> Volumes<R> {
    /// Looks at a VG of a configured class, heals what is ours and names the rest.
    ///
    /// # Errors
    /// When the VG may not be changed or its state cannot be told.
    pub async fn heal_vg(&self, name: &str) -> Result<Vec<HealReport>, VolumeError> {
        self.require_lock_dir()?;
        let lane = self.inner.engine.lane(name).await;
        self.heal_in(&lane).await
    }

    pub(super) async fn heal_in(&self, lane: &Lane<'_, R>) -> Result<Vec<HealReport>, VolumeError> {
        let view = lane.view().await?;
        let mut wrecks = diagnose(&view.vg, &devices_of(&view.vg)?);
        self.let_pools_go_on(lane, &view, &wrecks).await;
        wrecks.extend(view.copies_differ.then_some(Wreck::CopiesDiffer));
        // A command below that does not end by itself takes it back.
        lane.set_sound();
        let mut reports = self.treat_all(lane, &view, wrecks).await;
        // Only now: what LVM noted for a pool may be a volume that was just taken back.
        let view = lane.view().await?;
        let mut later = pool::behind(lane, &view).await?;
        later.extend(left_parts(&view.vg, &devices_of(&view.vg)?));
        reports.extend(self.treat_all(lane, &view, later).await);
        Ok(reports)
    }

    /// Before anything else: see [`stopped`].
    async fn let_pools_go_on(&self, lane: &Lane<'_, R>, view: &VgView, wrecks: &[Wreck]) {
        for wreck in wrecks {
            let Wreck::StoppedPool { pool, .. } = wreck else {
                continue;
            };
            if let Some(lv) = view.vg.pool(pool)
                && self.is_ours(&view.vg.name, wreck)
                && let Err(why) = go_on(lane, view, lv).await
            {
                warn!(vg = %view.vg.name, %pool, %why, "it cannot just go on; LVM is asked");
            }
        }
    }

    async fn treat_all(
        &self,
        lane: &Lane<'_, R>,
        view: &VgView,
        wrecks: Vec<Wreck>,
    ) -> Vec<HealReport> {
        let mut reports = Vec::new();
        for wreck in wrecks {
            let report = HealReport {
                vg: view.vg.name.clone(),
                result: self.treat(lane, view, &wreck).await,
                wreck,
            };
            let HealReport { vg, wreck, result } = &report;
            if matches!(report.outcome(), "healed" | "resumed") {
                info!(%vg, %wreck, %result, "found");
            } else {
                warn!(%vg, %wreck, %result, "found");
            }
            let observer = self.inner.engine.observer();
            observer.wreck_found(wreck.kind(), report.outcome());
            reports.push(report);
        }
        reports
    }

    /// What looks cut off in a VG now and is ours to heal; no lvm runs for it. A command of
    /// any tool that is at work looks like this for a moment. A volume that is merely
    /// inactive is left out: somebody may have taken it down to work on it.
    ///
    /// # Errors
    /// When state cannot be told.
    pub async fn cut_off(&self, name: &str) -> Result<Vec<Wreck>, VolumeError> {
        let snapshot = self.inner.engine.snapshot().await?;
        let Some(view) = snapshot.vg(name) else {
            return Ok(Vec::new());
        };
        let mut wrecks = diagnose(&view.vg, &devices_of(&view.vg)?);
        wrecks.retain(|wreck| wreck.stops_work() && self.is_ours(name, wreck));
        Ok(wrecks)
    }

    fn is_ours(&self, vg: &str, wreck: &Wreck) -> bool {
        let classes = &self.config().classes;
        match wreck {
            // That a class names the pool is authority enough.
            Wreck::HalfPool {
                pool: name, ours, ..
            }
            | Wreck::StoppedPool { pool: name, ours }
            | Wreck::PoolBehind { pool: name, ours }
            | Wreck::StaleTable { name, ours, .. } => *ours || classes.thin(vg, name).is_some(),
            Wreck::Suspended { ours, .. }
            | Wreck::Inactive { ours, .. }
            | Wreck::Unfinished { ours, .. }
            | Wreck::Copying { ours, .. }
            | Wreck::LeftPart { ours, .. }
            | Wreck::Wiping { ours, .. } => *ours,
            // LVM itself does it with the next change it is asked for.
            Wreck::CopiesDiffer => true,
        }
    }

    /// Heals one wreck if that is ours to do, and says what became of it.
    async fn treat(&self, lane: &Lane<'_, R>, view: &VgView, wreck: &Wreck) -> String {
        if !self.is_ours(&view.vg.name, wreck) {
            return "named".into();
        }
        let healed = match wreck {
            Wreck::Wiping { name, .. } => {
                self.wipe_in_background(&view.vg.name, name);
                return "resumed".into();
            }
            Wreck::Copying { name, .. } => {
                self.copy_in_background(&view.vg.name, name);
                return "resumed".into();
            }
            Wreck::StaleTable { uuid, .. } => stale::drop_table(lane, &view.vg, uuid).await,
            Wreck::LeftPart { uuid, .. } => drop_part(lane, &view.vg, uuid).await,
            Wreck::HalfPool { .. } => clear_half_pool(lane, &view.vg, wreck).await,
            Wreck::StoppedPool { pool, .. } => resume_pool(lane, view, pool)
                .await
                .map_err(|e| e.to_string()),
            Wreck::PoolBehind { pool, .. } => pool::catch_up(lane, view, pool)
                .await
                .map_err(|e| e.to_string()),
            Wreck::Suspended { name, .. } | Wreck::Inactive { name, .. } => {
                revive(lane, view, name).await.map_err(|e| e.to_string())
            }
            Wreck::Unfinished { name, .. } => match view.vg.lv(name) {
                Some(lv) => unfinished::clear(lane, view, lv)
                    .await
                    .map_err(|e| e.to_string()),
                None => Ok(()),
            },
            Wreck::CopiesDiffer => rewrite(lane, view).await,
        };
        healed.map_or_else(|error| error, |()| "healed".into())
    }
}

async fn go_on<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    pool: &Lv,
) -> Result<(), String> {
    let held = stale::lock(lane, &view.vg).await?;
    stopped::go_on(&held, view, pool)
}

/// Makes a volume active, or removes one that its pool never made.
async fn revive<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<(), VolumeError> {
    let view = unfinished::take_back(lane, view.clone(), name).await?;
    if view.vg.lv(name).is_none() {
        return Ok(());
    }
    activate::active(lane, view, name).await.map(drop)
}

/// Loads the pool's table again and shows that it is no longer stopped.
async fn resume_pool<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<(), VolumeError> {
    let Some(lv) = view.vg.pool(name) else {
        return Ok(());
    };
    let reload = pool::reload(&view.vg, lv)?;
    let threshold = pool::threshold_for(&view.vg, name);
    let said = lane.run(view, &reload, threshold).await;
    let after = lane.view().await?;
    let left = after.vg.pool(name);
    let left = left.map(|lv| device(&open_mapper()?, &after.vg, lv));
    match left.transpose()?.flatten() {
        Some(device) if is_cut_off(Some(&device)) => Err(VolumeError::Unverified {
            what: format!("resuming pool {name}"),
            why: said
                .err()
                .map_or_else(|| "it is still stopped".into(), |e| e.to_string()),
        }),
        _ => Ok(()),
    }
}

/// Has LVM write the newest metadata to all disks.
async fn rewrite<R: Runner + Clone>(lane: &Lane<'_, R>, view: &VgView) -> Result<(), String> {
    let rewrite = Mutation::RewriteMetadata;
    let said = lane.run(view, &rewrite, pool::DEFAULT_THRESHOLD).await;
    match lane.view().await {
        Ok(after) if !after.copies_differ => Ok(()),
        Ok(_) => Err(said.err().map_or_else(
            || "lvm reports success, and they still differ".into(),
            |e| e.to_string(),
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Removes a device that nobody uses, while no command of another program is half-way through making use of it.
async fn drop_part<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    vg: &Vg,
    uuid: &str,
) -> Result<(), String> {
    let _lock = stale::lock(lane, vg).await?;
    let control = open_mapper().map_err(|e| e.to_string())?;
    let device = control.device(uuid).map_err(|e| e.to_string())?;
    match device {
        Some(_) => control.remove_unused(uuid).map_err(|e| e.to_string()),
        None => Ok(()),
    }
}

/// Removes the unused hidden parts, while no command of another program is half-way
/// through an activation.
async fn clear_half_pool<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    vg: &Vg,
    wreck: &Wreck,
) -> Result<(), String> {
    let Wreck::HalfPool { parts, .. } = wreck else {
        return Ok(());
    };
    let _lock = stale::lock(lane, vg).await?;
    let again = diagnose(vg, &devices_of(vg).map_err(|e| e.to_string())?);
    if !again.contains(wreck) {
        return Ok(());
    }
    let control = open_mapper().map_err(|e| e.to_string())?;
    parts.iter().try_for_each(|uuid| {
        control
            .remove_unused(uuid)
            .map_err(|error| format!("{uuid}: {error}"))
    })
}

/// The endings of the uuids of an LV's devices: the volume itself, the parts of a pool, and
/// those of an origin with its thick snapshots (lvm2 `lib/activate/dev_manager.c`).
const SUFFIXES: [&str; 7] = ["", "tpool", "pool", "tmeta", "tdata", "real", "cow"];

/// The device-mapper devices of a VG's LVs, by uuid. Only those are asked that device-mapper
/// lists; most LVs have one of the seven they might have.
fn devices_of(vg: &Vg) -> Result<HashMap<String, dm::Device>, VolumeError> {
    let control = open_mapper()?;
    let refused = |e: std::io::Error| VolumeError::Mapper(e.to_string());
    let listed = control.list().map_err(refused)?.into_iter();
    let uuids: Option<Vec<String>> = listed.map(|device| device.uuid).collect();
    let uuids = uuids.unwrap_or_else(|| {
        // A kernel that lists no uuids.
        let of = |lv: &Lv| SUFFIXES.map(|suffix| lv.dm_uuid(vg, suffix));
        vg.lvs.iter().flat_map(of).collect()
    });
    let prefix = vg.dm_prefix();
    let mut devices = HashMap::new();
    for uuid in uuids.into_iter().filter(|uuid| uuid.starts_with(&prefix)) {
        if let Some(device) = control.device(&uuid).map_err(refused)? {
            devices.insert(uuid, device);
        }
    }
    Ok(devices)
}
