//! Which member of a device class an operation is about.
//!
//! A class may have several volume groups, and a name is that of one volume in all of them. So whoever makes one looks in
//! each first, and who says that there is none has looked in each: what a group that is away, or that must not be changed,
//! has is not known. One that was found is worked on whatever became of the other groups. A class with one volume group
//! needs none of this: what is done in its lane shows all.

use std::sync::Arc;

use super::copy::{copying_name, frozen_name};
use super::{VolumeError, Volumes, belongs, missing, state};
use crate::cmd::Runner;
use crate::config::{Class, Config, DeviceClass};
use crate::engine::EngineError;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::Snapshot;
use crate::lvm::vg_lock;
use crate::units::Bytes;

/// Where a name is among the members of a class.
#[derive(Debug)]
struct Sought<'a> {
    /// The member that has it.
    at: Option<&'a Arc<DeviceClass>>,
    /// Why another one may have it.
    unknown: Option<VolumeError>,
}

impl<R: Runner + Clone> Volumes<R> {
    /// The member that has the volume of this name.
    ///
    /// # Errors
    /// [`VolumeError::VolumeMissing`] when it is shown that none has; never while a group of the class cannot be told.
    pub(super) async fn member_with(
        &self,
        class: &Class,
        name: &str,
    ) -> Result<Arc<DeviceClass>, VolumeError> {
        if let Some(only) = class.only() {
            return Ok(only.clone());
        }
        let snapshot = self.inner.engine.snapshot().await?;
        let Sought { at, unknown } = seek(&snapshot, class, name)?;
        at.cloned().ok_or_else(|| {
            unknown.unwrap_or_else(|| VolumeError::VolumeMissing {
                name: name.to_owned(),
                class: class.name.clone(),
            })
        })
    }

    /// Where the volume of this name is to be made: where it is; else where there is most room, groups that are `full` left
    /// out. `None` when no group is left.
    ///
    /// # Errors
    /// When it is not shown that there is none of this name yet, a group that no class has has one, or no group can be asked.
    pub(super) async fn place_for(
        &self,
        config: &Config,
        class: &Class,
        name: &str,
        full: &[(String, String)],
    ) -> Result<Option<Arc<DeviceClass>>, VolumeError> {
        if let Some(only) = class.only() {
            return Ok(Some(only.clone()));
        }
        for member in class.members() {
            self.settle(&member.volume_group).await?;
        }
        let snapshot = self.inner.engine.snapshot().await?;
        match seek(&snapshot, class, name)? {
            Sought { at: Some(at), .. } => return Ok(Some(at.clone())),
            Sought {
                unknown: Some(error),
                ..
            } => return Err(error),
            Sought { .. } => {}
        }
        // The class may have had that group when it was made, and a second one would hide what is in it.
        unlisted(&snapshot, config, name)?;
        let mut rooms = Vec::new();
        let mut refused = None;
        for member in class.members() {
            if full.iter().any(|(vg, _)| *vg == member.volume_group) {
                continue;
            }
            let patience = self.inner.engine.patience();
            match state::class_state(patience, &snapshot, member).await {
                Ok(state) => {
                    let coming = self.inner.turns.coming(&member.volume_group);
                    rooms.push((member, Bytes(state.free.0.saturating_sub(coming))));
                }
                Err(error) => refused = Some(error),
            }
        }
        match (roomiest(&rooms), refused) {
            (Some(member), _) => Ok(Some(member.clone())),
            (None, Some(error)) if full.is_empty() => Err(error),
            (None, _) => Ok(None),
        }
    }

    /// Waits, once, until a command that an lvmd before this one began, and that outlived it, has ended in the group: it may
    /// be making the volume.
    async fn settle(&self, vg: &str) -> Result<(), VolumeError> {
        let (engine, turns) = (&self.inner.engine, &self.inner.turns);
        // Behind a prefix lvm may have another lock directory than we see.
        if turns.is_settled(vg) || !engine.tool().command_prefix.is_empty() {
            return Ok(());
        }
        self.require_lock_dir()?;
        let held = vg_lock::exclusive(vg).await;
        held.map_err(|why| VolumeError::Locked {
            vg: vg.to_owned(),
            why,
        })?;
        turns.set_settled(vg);
        Ok(())
    }

    /// Where a snapshot or copy is: where there is one of this name, else where its source is. An earlier request for it
    /// went there too, so nothing has to be known of other groups.
    ///
    /// # Errors
    /// [`VolumeError::SourceMissing`] when the source is shown not to be there.
    pub(super) async fn place_beside(
        &self,
        class: &Class,
        source: &str,
        name: &str,
    ) -> Result<Arc<DeviceClass>, VolumeError> {
        if let Some(only) = class.only() {
            return Ok(only.clone());
        }
        let snapshot = self.inner.engine.snapshot().await?;
        if let Some(at) = seek(&snapshot, class, name)?.at {
            return Ok(at.clone());
        }
        let Sought { at, unknown } = seek(&snapshot, class, source)?;
        at.cloned().ok_or_else(|| {
            unknown.unwrap_or_else(|| VolumeError::SourceMissing {
                name: source.to_owned(),
                class: class.name.clone(),
            })
        })
    }
}

/// Where this name is, by what was read.
fn seek<'a>(snapshot: &Snapshot, class: &'a Class, name: &str) -> Result<Sought<'a>, VolumeError> {
    let (mut own, mut others, mut unknown) = (Vec::new(), Vec::new(), None);
    for member in class.members() {
        let views = snapshot.vgs.iter();
        let mut views = views
            .filter(|view| view.vg.name == member.volume_group)
            .peekable();
        if views.peek().is_none() {
            unknown.get_or_insert_with(|| missing(member));
        }
        for view in views {
            if !view.frozen.is_empty() {
                // A disk of it that is gone may have newer metadata, and a command that does not end may be making it.
                unknown.get_or_insert_with(|| {
                    VolumeError::Engine(EngineError::Frozen {
                        vg: view.vg.name.clone(),
                        reasons: view.frozen.clone(),
                    })
                });
            }
            match has(&view.vg, member, name) {
                Some(true) => own.push(member),
                Some(false) => others.push(member),
                None => {}
            }
        }
    }
    if own.len() > 1 {
        return Err(twice(class, name, &own));
    }
    let at = own.into_iter().chain(others).next();
    Ok(Sought { at, unknown })
}

/// Whether the group has something of this name, be it a copy that is not whole; and whether that is of the class.
fn has(vg: &Vg, class: &DeviceClass, name: &str) -> Option<bool> {
    let parts = [copying_name(name), frozen_name(name)];
    let parts = parts.iter().map(String::as_str);
    let lvs: Vec<&Lv> = parts.chain([name]).filter_map(|name| vg.lv(name)).collect();
    match lvs.is_empty() && vg.hidden(name).is_none() {
        true => None,
        false => Some(lvs.iter().any(|lv| belongs(lv, class))),
    }
}

/// The one with most room; of those with as much the first.
fn roomiest<'a>(rooms: &[(&'a Arc<DeviceClass>, Bytes)]) -> Option<&'a Arc<DeviceClass>> {
    let most = rooms.iter().rev().max_by_key(|(_, room)| room.0);
    most.map(|(member, _)| *member)
}

/// That several groups of a class have a volume of one name.
pub(super) fn twice(class: &Class, name: &str, at: &[&Arc<DeviceClass>]) -> VolumeError {
    VolumeError::Twice {
        name: name.to_owned(),
        class: class.name.clone(),
        vgs: at.iter().map(|m| m.volume_group.clone()).collect(),
    }
}

/// The group with an LV of this name, of those that are not `looked_at`. One that is being overwritten is nobody's.
pub(super) fn elsewhere<'a>(
    snapshot: &'a Snapshot,
    name: &str,
    looked_at: &[&str],
) -> Option<&'a str> {
    let vgs = snapshot.vgs.iter().map(|view| &view.vg);
    let is_it = |lv: &Lv| lv.name == name && !lv.is_wiping();
    let mut vgs = vgs.filter(|vg| !looked_at.contains(&vg.name.as_str()));
    vgs.find(|vg| vg.lvs.iter().any(is_it))
        .map(|vg| vg.name.as_str())
}

/// # Errors
/// A group that no class has has an LV of this name.
pub(super) fn unlisted(
    snapshot: &Snapshot,
    config: &Config,
    name: &str,
) -> Result<(), VolumeError> {
    match elsewhere(snapshot, name, &config.classes.volume_groups()) {
        None => Ok(()),
        Some(vg) => Err(VolumeError::Unlisted {
            name: name.to_owned(),
            vg: vg.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
