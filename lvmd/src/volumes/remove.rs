//! Removing a volume.

use std::time::{Duration, Instant};

use super::{
    Outcome, VolumeError, Volumes, copy, create, device, open_mapper, place, pool, resize, stale,
    wipe,
};
use crate::cmd::Runner;
use crate::config::{Class, DeviceClass, ZeroPolicy};
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;

/// How long an open volume may take to be closed before its removal is refused.
const CLOSING: Duration = Duration::from_secs(3);

impl<R: Runner + Clone> Volumes<R> {
    /// Removes a volume. A thick one, unless its class says `zero: none`, leaves its
    /// user's sight at once and gives its space back when it is overwritten with zeroes.
    ///
    /// [`VolumeError::VolumeMissing`] means that it is shown not to exist; callers may
    /// take it as "already removed". No other error means that.
    ///
    /// # Errors
    /// See [`VolumeError`]; a volume that is open, a pool, or somebody else's is refused.
    pub async fn remove(&self, name: &str, class: &str) -> Result<Outcome<()>, VolumeError> {
        self.counted("RemoveLV", self.removed(name, class)).await
    }

    async fn removed(&self, name: &str, class: &str) -> Result<Outcome<()>, VolumeError> {
        let config = self.config();
        let class =
            config
                .classes
                .get(class)
                .map_err(|class| VolumeError::RemovalWithoutClass {
                    name: name.to_owned(),
                    class,
                })?;
        // Who copies to it has its turn until it has begun.
        for member in class.members() {
            self.stop_copying(&member.volume_group, name).await;
        }
        let _turn = self.inner.turns.of(name).await;
        let removed = match self.member_with(class, name).await {
            Ok(member) => self.remove_in(&member, name).await,
            Err(error) => Err(error),
        };
        match removed {
            Err(error @ VolumeError::VolumeMissing { .. }) => {
                Err(self.elsewhere(name, class).await?.unwrap_or(error))
            }
            removed => removed,
        }
    }

    async fn remove_in(&self, class: &DeviceClass, name: &str) -> Result<Outcome<()>, VolumeError> {
        self.stop_copying(&class.volume_group, name).await;
        let is_gone = |vg: &Vg| vg.lv(name).is_none();
        let (lane, view) = self.lane_when_still(class, name, is_gone).await?;
        if class.pool().is_none()
            && let Some(removed) = self.discard(&lane, &view, class, name).await?
        {
            return Ok(removed);
        }
        // A removal that was cut between its two steps left the tag, but not the name.
        let lv = match view.vg.lv(name) {
            Some(lv)
                if lv.is_wiping()
                    && class.pool().is_none()
                    && wipe::name(&view.vg, lv) != lv.name =>
            {
                lv
            }
            _ => resize::member(&view.vg, class, name)?,
        };
        copy::refuse_if_read(&view.vg, name)?;
        refuse_if_held(&view.vg, lv)?;
        wait_until_closed(&view.vg, lv).await?;
        // Or the rename would make it live, and what it maps would be overwritten.
        stale::drop_of(&lane, &view, name).await?;
        if class.zero == ZeroPolicy::Zero && wipe::is_wipeable(lv) && !lv.is_unfinished() {
            let wiping = wipe::hand_over(&lane, &view, name).await?;
            drop(lane);
            self.wipe_in_background(&class.volume_group, &wiping);
            return Ok(Outcome::Changed(()));
        }
        remove_now(&lane, &view, name).await.map(Outcome::Changed)
    }

    /// A class may have been given another VG since the volume was made, or may no longer have the one it is in. One of this
    /// name in another VG is not shown not to exist.
    async fn elsewhere(
        &self,
        name: &str,
        class: &Class,
    ) -> Result<Option<VolumeError>, VolumeError> {
        let snapshot = self.inner.engine.snapshot().await?;
        let looked_at: Vec<_> = class.members().iter().map(|m| &*m.volume_group).collect();
        let other = place::elsewhere(&snapshot, name, &looked_at);
        Ok(other.map(|vg| VolumeError::OtherClass {
            name: name.to_owned(),
            class: class.name.clone(),
            why: format!("volume group {vg} has one of this name"),
        }))
    }
}

/// Removes the volume and shows that neither the metadata nor device-mapper has it.
pub(super) async fn remove_now<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<(), VolumeError> {
    let Some(lv) = view.vg.lv(name) else {
        return Ok(());
    };
    let uuid = lv.dm_uuid(&view.vg, "");
    let said = lane
        .run(
            view,
            &Mutation::Remove {
                name: name.to_owned(),
                uuid: lv.uuid.clone(),
            },
            pool::threshold_for(&view.vg, name),
        )
        .await;
    let after = lane.view().await?;
    if after.vg.lv(name).is_some_and(|now| now.uuid == lv.uuid) {
        return Err(match said {
            Err(error) => create::failed(&format!("removing volume {name}"), &error),
            Ok(()) => VolumeError::Unverified {
                what: format!("removing volume {name}"),
                why: "lvm reports success, and the metadata still has it".into(),
            },
        });
    }
    let left = open_mapper()?
        .device(&uuid)
        .map_err(|e| VolumeError::Mapper(e.to_string()))?;
    match left {
        None => Ok(()),
        Some(device) => Err(VolumeError::Unverified {
            what: format!("removing volume {name}"),
            why: format!("its device {} is still there", device.name),
        }),
    }
}

/// Refuses what must not be removed or overwritten whoever asks.
pub(super) fn refuse_if_held(vg: &Vg, lv: &Lv) -> Result<(), VolumeError> {
    let refuse = |why: String| {
        Err(VolumeError::InUse {
            name: lv.name.clone(),
            why,
        })
    };
    if let Some(owner) = vg.foreign_owner(lv) {
        return refuse(format!("its tag says that it belongs to {owner}"));
    }
    // lvremove -y would take them along: thick snapshots of it, and thin volumes whose
    // unwritten blocks are read from it. Thin snapshots in one pool stand on their own.
    let dependents: Vec<_> = vg
        .lvs
        .iter()
        .filter(|other| other.origin == lv.name)
        .filter(|other| !(other.is_thin() && lv.is_thin() && other.pool == lv.pool))
        .map(|other| other.name.as_str())
        .collect();
    if !dependents.is_empty() {
        return refuse(format!(
            "other volumes stand on it and would go with it: {}; remove them first",
            dependents.join(", ")
        ));
    }
    Ok(())
}

/// Refuses a volume that stays open. udevd opens each new device for a moment to look
/// at it, so an open volume is given [`CLOSING`] before it counts as in use.
pub(super) async fn wait_until_closed(vg: &Vg, lv: &Lv) -> Result<(), VolumeError> {
    let started = Instant::now();
    loop {
        match device(&open_mapper()?, vg, lv)? {
            Some(device) if device.open_count > 0 => {
                if started.elapsed() > CLOSING {
                    let why = format!(
                        "it is open or mounted (open count {}); unmount it first",
                        device.open_count
                    );
                    return Err(VolumeError::InUse {
                        name: lv.name.clone(),
                        why,
                    });
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::report;

    fn vg() -> Vg {
        report::parse(include_bytes!(
            "../../tests/fixtures/fullreport-lvm2-2.03.31.json"
        ))
        .unwrap()
        .remove(0)
    }

    fn edit<'a>(vg: &'a mut Vg, name: &str) -> &'a mut Lv {
        vg.lvs.iter_mut().find(|lv| lv.name == name).unwrap()
    }

    #[test]
    fn what_others_stand_on_is_not_removed() {
        let mut vg = vg();
        let held = |vg: &Vg, name: &str| refuse_if_held(vg, vg.lv(name).unwrap()).is_err();
        assert_eq!(vg.lv("s1").unwrap().origin, "t1");
        assert!(!held(&vg, "t1"), "a thin snapshot stands on its own");
        edit(&mut vg, "s1").pool = "pool2".into();
        assert!(held(&vg, "t1"), "an external origin of another pool");
        edit(&mut vg, "s1").origin = "r1".into();
        assert!(held(&vg, "r1"), "a thick external origin");
        let origin = vg.lv("cow").unwrap().origin.clone();
        assert!(held(&vg, &origin), "it has a thick snapshot");
        edit(&mut vg, "inactive").tags = vec!["basalt.owner=y".into()];
        assert!(held(&vg, "inactive"), "the VG's owner is x");
    }
}
