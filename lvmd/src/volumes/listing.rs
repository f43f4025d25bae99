//! The volumes of one class.

use super::{Volume, VolumeError, Volumes, belongs, pool, require_pool, state};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::lvm::model::Lv;

/// What a look at a class came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Why some of its volume groups could not be looked at: there may be more volumes then.
    pub unseen: Vec<String>,
}

impl<R: Runner + Clone> Volumes<R> {
    /// The volumes of a class, those being made, copied or wiped left out. A thick class has all LVs of its VG
    /// but thin ones and pools; a thin class those of its pool. Of a class with several VGs those of the ones that are there.
    ///
    /// # Errors
    /// When the class is unknown, none of its VGs is there, or state cannot be told.
    pub async fn list(&self, class: &str) -> Result<Listing, VolumeError> {
        self.counted("GetLVList", self.listed(class)).await
    }

    async fn listed(&self, class: &str) -> Result<Listing, VolumeError> {
        let config = self.config();
        let class = config.classes.get(class)?;
        let mut listing = Listing::default();
        let mut refused = Vec::new();
        for member in class.members() {
            match self.list_in(member, class.only().is_none()).await {
                Ok(volumes) => listing.volumes.extend(volumes),
                Err(error) => refused.push(error),
            }
        }
        listing.unseen = refused.iter().map(ToString::to_string).collect();
        match refused.into_iter().next() {
            Some(error) if listing.unseen.len() == class.members().len() => Err(error),
            _ => Ok(listing),
        }
    }

    /// `apart`: what is wrong with the VG is told of each volume, as the class has others.
    async fn list_in(&self, class: &DeviceClass, apart: bool) -> Result<Vec<Volume>, VolumeError> {
        let snapshot = self.inner.engine.snapshot_of(&class.volume_group).await?;
        let view = snapshot
            .vg(&class.volume_group)
            .ok_or_else(|| super::missing(class))?;
        require_pool(&view.vg, class)?;
        let mut conditions = match class.pool().and_then(|name| view.vg.pool(name)) {
            Some(lv) => pool::conditions(self.inner.engine.patience(), &view.vg, lv, class).await,
            None => Vec::new(),
        };
        if apart {
            conditions.extend(view.frozen.iter().map(state::frozen));
        }
        let class = class.clone();
        let listed = move |lv: &Lv| belongs(lv, &class) && !lv.is_under_way();
        let mut volumes = self.seen(&snapshot, view, listed).await?;
        for volume in &mut volumes {
            volume.conditions.extend_from_slice(&conditions);
        }
        Ok(volumes)
    }
}
