//! Snapshots and clones. Those of thick volumes are [`super::copy`].

use tracing::warn;

use super::{
    Outcome, Volume, VolumeError, Volumes, activate, create, error, pool, remove, resize, tagged,
    uncounted, unfinished,
};
use crate::capacity;
use crate::cmd::Runner;
use crate::config::{DeviceClass, ThickSnapshots};
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::lvm::valid;
use crate::units::Bytes;

/// What may be done with a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Read only: a snapshot in the sense of CSI.
    #[default]
    ReadOnly,
    /// Read and write: a clone or a restored volume.
    ReadWrite,
}

/// A request for a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotOf {
    /// The volume it is taken of.
    pub source: String,
    /// Its name.
    pub name: String,
    /// The device class of both; empty: the default class.
    pub class: String,
    /// Its size in bytes; 0: the source's.
    pub size: Bytes,
    /// What may be done with it.
    pub access: Access,
    /// Tags it gets.
    pub tags: Vec<String>,
}

impl<R: Runner + Clone> Volumes<R> {
    /// Takes a snapshot and grows it if asked, or finds the one an earlier, equal request made.
    ///
    /// # Errors
    /// See [`VolumeError`]; when growing fails, the snapshot this call made is removed again.
    pub async fn snapshot(&self, request: &SnapshotOf) -> Result<Outcome<Volume>, VolumeError> {
        let taken = self.taken(request);
        self.counted("CreateLVSnapshot", taken).await
    }

    async fn taken(&self, request: &SnapshotOf) -> Result<Outcome<Volume>, VolumeError> {
        let config = self.config();
        let class = config.classes.get(&request.class)?;
        let turn = self.inner.turns.of(&request.name).await;
        let class = &*self
            .place_beside(class, &request.source, &request.name)
            .await?;
        let request = &SnapshotOf {
            tags: class.tagged(&request.tags),
            ..request.clone()
        };
        if class.pool().is_none() {
            return match class.thick_snapshots {
                ThickSnapshots::Copy => self.copy(class, request, turn).await,
                ThickSnapshots::None => Err(VolumeError::ThickSnapshot(class.name.clone())),
            };
        }
        valid::lv_name(&class.volume_group, &request.name)?;
        super::check_tags(&request.tags)?;
        let is_there = |vg: &Vg| {
            let made = vg.lv(&request.name);
            made.is_some_and(|lv| lv.size >= request.size)
        };
        let (lane, view) = self.lane_when_still(class, &request.name, is_there).await?;
        super::require_pool(&view.vg, class)?;
        // A cut-off attempt may have left the source suspended.
        let view = match view.vg.lv(&request.source) {
            Some(lv) if super::belongs(lv, class) => {
                activate::resumed(&lane, view, &request.source).await?
            }
            _ => view,
        };
        // Before its source is looked at: that may have grown or gone since.
        let view = match view.vg.lv(&request.name) {
            Some(lv) if super::belongs(lv, class) && lv.origin == request.source => {
                unfinished::take_back(&lane, view, &request.name).await?
            }
            _ => view,
        };
        if view.vg.lv(&request.name).is_some() {
            return existing(&lane, &view, class, request).await;
        }
        let source = match resize::member(&view.vg, class, &request.source) {
            Ok(source) => source,
            Err(VolumeError::VolumeMissing { name, class }) => {
                return Err(VolumeError::SourceMissing { name, class });
            }
            Err(error) => return Err(error),
        };
        let size = if request.size.0 == 0 {
            source.size
        } else {
            request.size
        };
        if size < source.size {
            return Err(VolumeError::SmallerThanSource {
                wanted: size,
                source_bytes: source.size,
            });
        }
        take(&lane, &view, class, request, size).await
    }
}

/// A volume of this name is there: ours from a request that was cut off, or another.
async fn existing<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    request: &SnapshotOf,
) -> Result<Outcome<Volume>, VolumeError> {
    let differs = |why: String| {
        Err(VolumeError::Exists {
            name: request.name.clone(),
            why,
        })
    };
    let lv = match resize::member(&view.vg, class, &request.name) {
        Ok(lv) => lv,
        // The name is taken, in whichever class.
        Err(VolumeError::OtherClass { why, .. }) => return differs(why),
        Err(VolumeError::VolumeMissing { .. }) => {
            return differs("it was removed and its data is not overwritten yet".into());
        }
        Err(error) => return Err(error),
    };
    if lv.origin != request.source {
        let origin = if lv.origin.is_empty() {
            "nothing".to_owned()
        } else {
            lv.origin.clone()
        };
        return differs(format!(
            "it is a snapshot of {origin}, not of {}",
            request.source
        ));
    }
    // Before whatever else differs: who asked may know that it is theirs all the same, and take it.
    uncounted::refuse(lane, &view.vg, lv).await?;
    if lv.attr.is_writable() != (request.access == Access::ReadWrite) {
        return differs("its access is another".into());
    }
    let Some(absent) = tagged::lacking(&lv.tags, &request.tags) else {
        return differs(format!(
            "its tags are {}, not {}",
            lv.tags.join(","),
            request.tags.join(",")
        ));
    };
    if let Some(owner) = view.vg.foreign_owner(lv) {
        return differs(format!("its tag says that it belongs to {owner}"));
    }
    let was_whole = lv.size >= request.size;
    let mut view = activate::active(lane, view.clone(), &request.name).await?;
    uncounted::refuse(lane, &view.vg, lv).await?;
    if !absent.is_empty() {
        create::add_tags(lane, &view, &request.name, absent).await?;
        view = lane.view().await?;
    }
    if !was_whole {
        resize::grow(lane, &view, class, &request.name, request.size).await?;
        view = lane.view().await?;
    }
    create::found(&view.vg, &request.name).map(if was_whole {
        Outcome::AlreadySo
    } else {
        Outcome::Changed
    })
}

async fn take<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    request: &SnapshotOf,
    size: Bytes,
) -> Result<Outcome<Volume>, VolumeError> {
    let no_space = |why| VolumeError::NoSpace {
        wanted: size,
        class: class.name.clone(),
        why,
    };
    let what = format!("taking snapshot {} of {}", request.name, request.source);
    let whole = size
        .round_up(view.vg.extent_size.0)
        .ok_or_else(|| VolumeError::InvalidArgument(format!("{size} is too large")))?;
    let free = capacity::thin_free(&view.vg, class);
    if whole > free {
        return Err(no_space(format!(
            "{free} may still be promised (overprovision ratio and spare space counted)"
        )));
    }
    let threshold = pool::ready(lane, view, class, size).await?;
    let mutation = Mutation::Snapshot {
        source: request.source.clone(),
        name: request.name.clone(),
        read_only: request.access == Access::ReadOnly,
        tags: request.tags.clone(),
    };
    let said = lane.run(view, &mutation, threshold).await;
    let after = lane.view().await?;
    let Some(made) = after.vg.lv(&request.name) else {
        return Err(match said {
            Err(error) if error::says_no_space(&error) => no_space(error.stderr().to_owned()),
            Err(error) => create::failed(&what, &error),
            Ok(()) => VolumeError::Unverified {
                what,
                why: "lvm reports success, and the metadata does not have it".into(),
            },
        });
    };
    if let Err(error) = said {
        // As for a new volume: it may be somebody else's, so it is never taken back.
        warn!(volume = %request.name, %error, "lvm failed, and the snapshot is there");
        return existing(lane, &after, class, request).await;
    }
    let grown = if made.size < size {
        resize::grow(lane, &after, class, &request.name, size)
            .await
            .map(drop)
    } else {
        Ok(())
    };
    let ready = match grown {
        Ok(()) => activate::active(lane, lane.view().await?, &request.name).await,
        Err(error) => Err(error),
    };
    match ready {
        Ok(view) => {
            pool::rearm(lane, &view, class).await;
            create::found(&view.vg, &request.name).map(Outcome::Changed)
        }
        Err(error) => Err(take_back(lane, made, error).await),
    }
}

/// Removes the snapshot this very call made; the caller's error stays the answer.
async fn take_back<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    made: &Lv,
    error: VolumeError,
) -> VolumeError {
    let removed = match lane.view().await {
        Ok(view)
            if view
                .vg
                .lv(&made.name)
                .is_some_and(|lv| lv.uuid != made.uuid) =>
        {
            Ok(())
        }
        Ok(view) => remove::remove_now(lane, &view, &made.name).await,
        Err(unknown) => Err(unknown.into()),
    };
    match removed {
        Ok(()) => error,
        Err(left) => VolumeError::Unverified {
            what: format!("removing snapshot {} after its growth failed", made.name),
            why: format!("{error}; {left}"),
        },
    }
}
