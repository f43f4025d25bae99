//! Beginning a copy, or finding it.

use super::plan::{self, Stage};
use crate::capacity::{self, Layout};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::names;
use crate::units::Bytes;
use crate::volumes::{
    SnapshotOf, Volume, VolumeError, Volumes, activate, create, error, pool, remove, resize,
    tagged, unfinished,
};

impl<R: Runner + Clone> Volumes<R> {
    /// The copy, if it is whole; `None` while it is under way, which it is from now on.
    pub(super) async fn begin(
        &self,
        class: &DeviceClass,
        request: &SnapshotOf,
    ) -> Result<Option<Volume>, VolumeError> {
        let name = request.name.as_str();
        let is_there = |vg: &Vg| vg.lv(name).is_some_and(|lv| !lv.is_under_way());
        let (lane, mut view) = self
            .lane_when_still(class, &request.source, is_there)
            .await?;
        match Stage::of(&view.vg, name) {
            Stage::Begun { copy, from: None } => return Err(plan::lost(copy)),
            Stage::Begun { copy, .. } | Stage::Copied(copy) => {
                differs(copy, request)?;
                self.copy_in_background(&class.volume_group, name);
                return Ok(None);
            }
            // Of one that is whole it is removed in the background.
            Stage::Frozen(_) if view.vg.lv(name).is_some() => {
                self.copy_in_background(&class.volume_group, name);
            }
            Stage::Frozen(frozen) => {
                self.release(&lane, &view, frozen).await?;
                view = lane.view().await?;
            }
            Stage::Nothing => {}
        }
        if view.vg.lv(name).is_some() {
            return existing(&lane, &view, class, request).await.map(Some);
        }
        if let Some(lv) = view.vg.lv(&plan::copying_name(name)) {
            if !lv.is_unfinished() {
                return Err(VolumeError::Exists {
                    name: lv.name.clone(),
                    why: "it does not bear the tag of a copy".into(),
                });
            }
            unfinished::clear(&lane, &view, lv).await?;
            view = lane.view().await?;
        }
        if let Stage::Begun { copy, from } = Stage::of(&view.vg, &request.source) {
            return Err(match from {
                Some(_) => self.copying(&class.volume_group, &request.source),
                None => plan::lost(copy),
            });
        }
        let view = match view.vg.lv(&request.source) {
            Some(lv) if crate::volumes::belongs(lv, class) => {
                activate::resumed(&lane, view, &request.source).await?
            }
            _ => view,
        };
        self.start(&lane, view, class, request).await?;
        self.copy_in_background(&class.volume_group, name);
        Ok(None)
    }

    /// The copy, if it is whole and can be used as it is: told without waiting for other changes.
    pub(super) async fn usable(
        &self,
        class: &DeviceClass,
        request: &SnapshotOf,
    ) -> Result<Option<Volume>, VolumeError> {
        let snapshot = self.inner.engine.snapshot_of(&class.volume_group).await?;
        let Some(view) = snapshot.vg(&class.volume_group) else {
            return Ok(None);
        };
        let is_it = |lv: &&Lv| differs(lv, request).is_ok_and(|absent| absent.is_empty());
        match resize::member(&view.vg, class, &request.name)
            .ok()
            .filter(is_it)
        {
            Some(lv) if activate::is_active(&view.vg, &lv.name)? => {
                create::found(&view.vg, &lv.name).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn start(
        &self,
        lane: &Lane<'_, R>,
        view: VgView,
        class: &DeviceClass,
        request: &SnapshotOf,
    ) -> Result<(), VolumeError> {
        let source = source(&view.vg, class, &request.source)?;
        let size = match request.size {
            Bytes(0) => source.size,
            size => size,
        };
        if size < source.size {
            return Err(VolumeError::SmallerThanSource {
                wanted: size,
                source_bytes: source.size,
            });
        }
        let changes = changes(&view.vg, class, request, source, size)?;
        let view = activate::active(lane, view.clone(), &request.source).await?;
        let said = lane.run_all(&view, &changes, pool::DEFAULT_THRESHOLD).await;
        let after = lane.view().await?;
        if let Stage::Begun { from: Some(_), .. } = Stage::of(&after.vg, &request.name) {
            return Ok(());
        }
        let left = self.take_back(lane, &request.name).await;
        let what = format!("beginning to copy {} to {}", request.source, request.name);
        Err(match (said, left) {
            (Err(error), Ok(())) if error::says_no_space(&error) => VolumeError::NoSpace {
                wanted: size,
                class: class.name.clone(),
                why: error.stderr().to_owned(),
            },
            (Err(error), Ok(())) => create::failed(&what, &error),
            (said, left) => VolumeError::Unverified {
                what,
                why: format!(
                    "{}; {}",
                    said.map_or_else(|e| e.to_string(), |()| "lvm reports success".into()),
                    left.map_or_else(|e| e.to_string(), |()| "it was taken back".into()),
                ),
            },
        })
    }

    /// Removes what a failed beginning left.
    async fn take_back(&self, lane: &Lane<'_, R>, name: &str) -> Result<(), VolumeError> {
        let view = lane.view().await?;
        if let Some(frozen) = view.vg.lv(&plan::frozen_name(name)) {
            self.release(lane, &view, frozen).await?;
        }
        let view = lane.view().await?;
        match view.vg.lv(&plan::copying_name(name)) {
            Some(lv) if lv.is_unfinished() => remove::remove_now(lane, &view, &lv.name).await,
            _ => Ok(()),
        }
    }
}

fn source<'a>(vg: &'a Vg, class: &DeviceClass, name: &str) -> Result<&'a Lv, VolumeError> {
    let source = match resize::member(vg, class, name) {
        Err(VolumeError::VolumeMissing { name, class }) => {
            return Err(VolumeError::SourceMissing { name, class });
        }
        found => found?,
    };
    if source.is_thick_snapshot() {
        return Err(VolumeError::InvalidArgument(format!(
            "source volume {name} is a thick snapshot of {}: copy that, LVM has no snapshots of snapshots",
            source.origin
        )));
    }
    Ok(source)
}

/// What is to be done in one lvm process.
fn changes(
    vg: &Vg,
    class: &DeviceClass,
    request: &SnapshotOf,
    source: &Lv,
    size: Bytes,
) -> Result<Vec<Mutation>, VolumeError> {
    let layout = Layout::of(class.stripe, &class.lvcreate_options);
    let extents = size.extents(vg.extent_size);
    let store = match plan::is_still(source) {
        true => 0,
        false => plan::store_extents(source.size, vg.extent_size),
    };
    let needed = layout.raw(extents).saturating_add(store);
    let free = capacity::thick_free_extents(vg, class);
    if needed > free {
        return Err(VolumeError::NoSpace {
            wanted: size,
            class: class.name.clone(),
            why: format!(
                "the copy takes {} extents of {} and, until it is whole, {store} for its frozen source, and {free} are \
                 free (spare space counted)",
                layout.raw(extents),
                vg.extent_size
            ),
        });
    }
    let copying = plan::copying_name(&request.name);
    let state = names::tag(names::TAG_STATE, names::STATE_COPYING);
    let mut changes = vec![Mutation::CreateThick {
        name: copying.clone(),
        extents,
        tags: vec![unfinished::tag()],
        options: create::all_options(class, &class.lvcreate_options, class.stripe),
    }];
    if store > 0 {
        changes.push(Mutation::Freeze {
            source: source.name.clone(),
            name: plan::frozen_name(&request.name),
            extents: store,
            tags: vec![state.clone()],
        });
    }
    let mut add = vec![state, plan::tag(request.access, &request.source)];
    add.extend(request.tags.iter().cloned());
    changes.push(Mutation::Retag {
        name: copying,
        uuid: None,
        add,
        remove: vec![unfinished::tag()],
    });
    Ok(changes)
}

/// Refuses a copy that is another than the one that is asked for; else the tags that it lacks.
fn differs(lv: &Lv, request: &SnapshotOf) -> Result<Vec<String>, VolumeError> {
    let differs = |why: String| {
        Err(VolumeError::Exists {
            name: request.name.clone(),
            why,
        })
    };
    let wanted = plan::tag(request.access, &request.source);
    let told = names::tag_value(&lv.tags, names::TAG_COPY);
    if !lv.tags.contains(&wanted) {
        let is = told.map_or_else(|| "no copy".to_owned(), |told| format!("a copy {told}"));
        return differs(format!("it is {is}, not {wanted}"));
    }
    if lv.size < request.size {
        let (is, wanted) = (lv.size, request.size);
        return differs(format!("its size is {is}, less than {wanted}; grow it"));
    }
    match tagged::lacking(&lv.tags, &request.tags) {
        Some(absent) => Ok(absent),
        None => {
            let (is, wanted) = (lv.tags.join(","), request.tags.join(","));
            differs(format!("its tags are {is}, not {wanted}"))
        }
    }
}

/// A volume of this name is there: the copy that is asked for, or another.
async fn existing<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    request: &SnapshotOf,
) -> Result<Volume, VolumeError> {
    let taken = |why: String| VolumeError::Exists {
        name: request.name.clone(),
        why,
    };
    let lv = match resize::member(&view.vg, class, &request.name) {
        Err(VolumeError::OtherClass { why, .. }) => return Err(taken(why)),
        Err(VolumeError::VolumeMissing { .. }) => {
            let why = "it was removed and its data is not overwritten yet";
            return Err(taken(why.into()));
        }
        found => found?,
    };
    let absent = differs(lv, request)?;
    if let Some(owner) = view.vg.foreign_owner(lv) {
        return Err(taken(format!("its tag says that it belongs to {owner}")));
    }
    if !absent.is_empty() {
        create::add_tags(lane, view, &lv.name, absent).await?;
    }
    let view = activate::active(lane, lane.view().await?, &request.name).await?;
    create::found(&view.vg, &request.name)
}
