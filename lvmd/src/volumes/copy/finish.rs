//! The end of a copy: it gets its name, and what it was taken from goes.

use super::Job;
use super::plan::{self, Stage};
use crate::cmd::Runner;
use crate::config::{DeviceClass, ZeroPolicy};
use crate::engine::Lane;
use crate::lvm::model::Lv;
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::names;
use crate::volumes::{
    Outcome, VolumeError, Volumes, belongs, create, open_mapper, pool, remove, stale, wipe,
};

impl<R: Runner + Clone> Volumes<R> {
    /// Gives a copy with all data its name, and releases its source.
    pub(super) async fn finish(
        &self,
        lane: &Lane<'_, R>,
        view: VgView,
        name: &str,
        job: &Job,
    ) -> Result<(), VolumeError> {
        let (Stage::Begun { copy, .. } | Stage::Copied(copy)) = Stage::of(&view.vg, name) else {
            return Ok(());
        };
        // The name first: it says that the copy is whole, whatever comes to an end after it.
        let mut changes = Vec::new();
        if copy.name != name {
            changes.push(Mutation::Rename {
                from: copy.name.clone(),
                to: name.to_owned(),
            });
        }
        if !plan::is_writable(copy) && copy.attr.is_writable() {
            changes.push(Mutation::Permission {
                name: name.to_owned(),
                writable: false,
            });
        }
        changes.push(Mutation::Retag {
            name: name.to_owned(),
            uuid: Some(copy.uuid.clone()),
            add: vec![],
            remove: vec![names::tag(names::TAG_STATE, names::STATE_COPYING)],
        });
        let said = lane.run_all(&view, &changes, pool::DEFAULT_THRESHOLD).await;
        let after = lane.view().await?;
        let is_whole = |lv: &Lv| {
            lv.uuid == copy.uuid
                && !lv.is_copying()
                && lv.attr.is_writable() == plan::is_writable(copy)
        };
        if !after.vg.lv(name).is_some_and(is_whole) {
            let what = format!("finishing copy {name}");
            return Err(match said {
                Err(error) => create::failed(&what, &error),
                Ok(()) => VolumeError::Unverified {
                    what,
                    why: "lvm reports success, and the metadata shows another name, tag or permission"
                        .into(),
                },
            });
        }
        // Who waits for it need not wait for what is left to do.
        job.ended.cancel();
        match after.vg.lv(&plan::frozen_name(name)) {
            Some(frozen) if frozen.is_copying() => self.release(lane, &after, frozen).await,
            _ => Ok(()),
        }
    }

    /// Removes a frozen source. Its store has data of the volume: where that is to be overwritten, the store is made a
    /// volume, which is overwritten and removed as any other.
    pub(super) async fn release(
        &self,
        lane: &Lane<'_, R>,
        view: &VgView,
        frozen: &Lv,
    ) -> Result<(), VolumeError> {
        remove::refuse_if_held(&view.vg, frozen)?;
        remove::wait_until_closed(&view.vg, frozen).await?;
        let name = frozen.name.clone();
        if !self.is_to_be_zeroed(&view.vg.name) {
            return remove::remove_now(lane, view, &name).await;
        }
        let mut view = view.clone();
        if frozen.is_thick_snapshot() {
            let split = Mutation::Split { name: name.clone() };
            let said = lane.run(&view, &split, pool::DEFAULT_THRESHOLD).await;
            view = lane.view().await?;
            if let Some(lv) = view.vg.lv(&name)
                && lv.is_thick_snapshot()
            {
                let what = format!("splitting {name} off");
                return Err(match said {
                    Err(error) => create::failed(&what, &error),
                    Ok(()) => VolumeError::Unverified {
                        what,
                        why: "lvm reports success, and it is a snapshot still".into(),
                    },
                });
            }
        }
        let Some(store) = view.vg.lv(&name) else {
            return Ok(());
        };
        // LVM (2.03.31) leaves the device of the store behind, over extents that are given away later.
        let left = store.dm_uuid(&view.vg, "cow");
        let mapper = |error: std::io::Error| VolumeError::Mapper(error.to_string());
        let control = open_mapper()?;
        if control.device(&left).map_err(mapper)?.is_some() {
            control.remove_unused(&left).map_err(mapper)?;
        }
        let wiping = wipe::hand_over(lane, &view, &name).await?;
        self.wipe_in_background(&view.vg.name, &wiping);
        Ok(())
    }

    /// Ends a copy that is not whole, if there is one of this name, and removes what there is of it.
    pub(in crate::volumes) async fn discard(
        &self,
        lane: &Lane<'_, R>,
        view: &VgView,
        class: &DeviceClass,
        name: &str,
    ) -> Result<Option<Outcome<()>>, VolumeError> {
        let copy = match Stage::of(&view.vg, name) {
            Stage::Begun { copy, .. } | Stage::Copied(copy) if belongs(copy, class) => copy,
            _ => return Ok(None),
        };
        remove::refuse_if_held(&view.vg, copy)?;
        remove::wait_until_closed(&view.vg, copy).await?;
        stale::drop_of(lane, view, &copy.name).await?;
        if class.zero == ZeroPolicy::Zero {
            let wiping = wipe::hand_over(lane, view, &copy.name).await?;
            self.wipe_in_background(&view.vg.name, &wiping);
        } else {
            remove::remove_now(lane, view, &copy.name).await?;
        }
        let view = lane.view().await?;
        if let Stage::Frozen(frozen) = Stage::of(&view.vg, name) {
            self.release(lane, &view, frozen).await?;
        }
        Ok(Some(Outcome::Changed(())))
    }

    /// Whether removed thick volumes of this VG are overwritten. Without a class that says otherwise they are.
    fn is_to_be_zeroed(&self, vg: &str) -> bool {
        let config = self.config();
        let mut classes = config.classes.members();
        let class = classes.find(|class| class.volume_group == vg && class.pool().is_none());
        class.is_none_or(|class| class.zero == ZeroPolicy::Zero)
    }
}
