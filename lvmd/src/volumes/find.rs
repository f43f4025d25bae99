//! Finding one volume by its name alone, and making it usable: what a CSI node asks.

use std::sync::Arc;

use super::{
    Volume, VolumeError, Volumes, activate, belongs, create, place, pool, resize, stranded,
};
use crate::cmd::Runner;
use crate::config::{Class, DeviceClass};
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::{Snapshot, VgView};
use crate::patience::Patience;
use crate::pool::conditions;

/// A volume that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its device class.
    pub class: String,
    /// The volume.
    pub volume: Volume,
    /// Whether it is of a thin pool: what was never written of it reads as zeroes.
    pub is_thin: bool,
    /// Whether that ends with the first write to a chunk: its pool does not zero new ones, or that cannot be told, so the
    /// rest of the chunk shows what a removed volume had there.
    pub unzeroed: bool,
    /// Its device is on a disk that is gone: [`Volumes::activate`] makes it usable when the disk is back.
    pub stranded: bool,
    /// What is wrong with it; `None` while nothing is known to be.
    pub sick: Option<String>,
}

impl<R: Runner + Clone> Volumes<R> {
    /// The volume of this name in any class; `None` when it is shown not to exist.
    ///
    /// # Errors
    /// When state cannot be told, a VG it may be in is not there, or it is in one that no class has.
    pub async fn find(&self, name: &str) -> Result<Option<Found>, VolumeError> {
        let config = self.config();
        let snapshot = self.inner.engine.snapshot().await?;
        let found = self
            .find_among(&snapshot, name, config.classes.iter())
            .await?;
        if found.is_none() {
            place::unlisted(&snapshot, &config, name)?;
        }
        Ok(found)
    }

    /// The volume of this name in a class, whatever became of other groups; `None` when it is shown not to be there.
    ///
    /// # Errors
    /// When the class is unknown, a VG of it is not there, or state cannot be told.
    pub async fn find_in(&self, name: &str, class: &str) -> Result<Option<Found>, VolumeError> {
        let config = self.config();
        let class = config.classes.get(class)?;
        let snapshot = self.inner.engine.snapshot().await?;
        self.find_among(&snapshot, name, [class]).await
    }

    async fn find_among(
        &self,
        snapshot: &Arc<Snapshot>,
        name: &str,
        classes: impl IntoIterator<Item = &Class>,
    ) -> Result<Option<Found>, VolumeError> {
        let mut away = None;
        for class in classes {
            let mut at = Vec::new();
            for member in class.members() {
                let Some(view) = snapshot.vg(&member.volume_group) else {
                    away = Some(super::missing(member));
                    continue;
                };
                let is_it = |lv: &&Lv| belongs(lv, member) && !lv.is_under_way();
                at.extend(view.vg.lv(name).filter(is_it).map(|lv| (member, view, lv)));
            }
            if at.len() > 1 {
                let members: Vec<_> = at.iter().map(|(member, ..)| *member).collect();
                return Err(place::twice(class, name, &members));
            }
            let Some((member, view, lv)) = at.pop() else {
                continue;
            };
            let uuid = lv.uuid.clone();
            let seen = self.seen(snapshot, view, move |lv| lv.uuid == uuid).await?;
            let patience = self.inner.engine.patience();
            return match seen.into_iter().next() {
                Some(volume) => found(patience, view, member, lv, volume).await.map(Some),
                None => Ok(None),
            };
        }
        away.map_or(Ok(None), Err)
    }

    /// Makes a volume active that is not, e.g. after a reboot on which nobody did, or whose disk was gone meanwhile. One
    /// that is active waits for no other change, and may be in a VG that must not be changed: pods go on starting.
    ///
    /// # Errors
    /// It is not there, or not shown to be active.
    pub async fn activate(&self, name: &str, class: &str) -> Result<Volume, VolumeError> {
        let activated = self.activated(name, class);
        self.counted("ActivateLV", activated).await
    }

    async fn activated(&self, name: &str, class: &str) -> Result<Volume, VolumeError> {
        let config = self.config();
        let class = &*self.member_with(config.classes.get(class)?, name).await?;
        let snapshot = self.inner.engine.snapshot_of(&class.volume_group).await?;
        if let Some(view) = snapshot.vg(&class.volume_group)
            && resize::member(&view.vg, class, name).is_ok_and(|lv| !lv.is_unfinished())
            && activate::is_active(&view.vg, name)?
        {
            return create::found(&view.vg, name);
        }
        let lane = self.lane(&class.volume_group).await?;
        let view = lane.view().await?;
        resize::member(&view.vg, class, name)?;
        let view = activate::active(&lane, view, name).await?;
        pool::rearm(&lane, &view, class).await;
        create::found(&view.vg, name)
    }
}

async fn found(
    patience: &Patience,
    view: &VgView,
    class: &DeviceClass,
    lv: &Lv,
    volume: Volume,
) -> Result<Found, VolumeError> {
    let stranded = stranded::of(&view.vg, lv)?;
    let sick = sick(patience, view, lv, &volume, class.gate_percent).await;
    Ok(Found {
        class: class.name.clone(),
        stranded: stranded.is_some(),
        sick: sick.or_else(|| stranded.map(|how| how.advice())),
        is_thin: lv.is_thin(),
        unzeroed: lv.is_thin() && !zeroes(&view.vg, &lv.pool),
        volume,
    })
}

/// Whether the thin pool of this name is known to zero new chunks.
fn zeroes(vg: &Vg, pool: &str) -> bool {
    let facts = vg.pool(pool).and_then(|pool| pool.thin_pool.as_ref());
    facts.is_some_and(|facts| facts.zero)
}

/// What is wrong with a volume, from the metadata and device-mapper: its disks, its
/// device, its pool. An inactive volume is not sick.
async fn sick(
    patience: &Patience,
    view: &VgView,
    lv: &Lv,
    volume: &Volume,
    gate: u8,
) -> Option<String> {
    if let Some(freeze) = view.frozen.first() {
        return Some(format!("volume group {}: {freeze}", view.vg.name));
    }
    if let Some(verdict) = volume.verdict {
        return Some(verdict.to_string());
    }
    let pool = view.vg.pool(&lv.pool)?;
    match pool::look(patience, &view.vg, pool).await {
        Ok(active) => conditions(pool, active.as_ref(), gate)
            .into_iter()
            .find(|condition| condition.abnormal)
            .map(|condition| condition.message),
        Err(error) => Some(error.to_string()),
    }
}
