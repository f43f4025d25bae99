//! Volumes whose extents pvmove moves.
//!
//! LVM (2.03.31) changes a thin pool whose parts are being moved as if they were not: making
//! or removing a volume there is done, but lvm speaks of an internal error, leaves devices
//! suspended that have nothing to do with the pool, and the pvmove cannot be ended cleanly
//! afterwards. A thick volume that is being moved it refuses to grow, rename or remove. So
//! such a change waits for the pvmove, without keeping others of the group from theirs. A
//! pvmove that begins between the look and the change is not noticed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{VolumeError, Volumes};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::VgView;

/// How long a change waits: disk-watcher moves a disk in pieces of a few seconds.
const WAIT: Duration = Duration::from_secs(15);
/// How long between two looks; between two pieces there is less than a second.
const PAUSE: Duration = Duration::from_millis(200);

impl<R: Runner + Clone> Volumes<R> {
    /// The right to change the VG of `class`, and the VG, once what the change reaches holds
    /// still: the pool of `class`, for a thick class the volume itself. `is_done` says of a VG
    /// that there is nothing to change; that is not waited for.
    ///
    /// # Errors
    /// [`VolumeError::Moving`] when a pvmove does not end in time.
    pub(super) async fn lane_when_still(
        &self,
        class: &DeviceClass,
        volume: &str,
        is_done: impl Fn(&Vg) -> bool,
    ) -> Result<(Lane<'_, R>, VgView), VolumeError> {
        let until = Instant::now() + WAIT;
        let reached = class.pool().unwrap_or(volume);
        loop {
            let lane = self.lane(&class.volume_group).await?;
            let view = lane.view().await?;
            let Some(pvmove) = moving(&view.vg, reached).filter(|_| !is_done(&view.vg)) else {
                return Ok((lane, view));
            };
            if Instant::now() >= until {
                return Err(VolumeError::Moving {
                    what: format!("{}/{reached}", view.vg.name),
                    pvmove: pvmove.name.clone(),
                });
            }
            drop(lane);
            sleep(PAUSE).await;
        }
    }
}

/// What moves extents of the volume or pool of this name, or of its parts.
fn moving<'a>(vg: &'a Vg, name: &str) -> Option<&'a Lv> {
    let pvmove = vg.lvs.iter().find(|lv| lv.is_move())?;
    let is_part = |lv: &Lv| {
        let rest = lv.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || lv.hidden && rest.starts_with('_'))
    };
    let mut parts = vg.lvs.iter().filter(|lv| is_part(lv));
    parts.any(|lv| lv.attr.is_locked()).then_some(pvmove)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::attr::LvAttr;
    use crate::lvm::report;

    /// The attributes are as lvs (2.03.31) shows them during a pvmove.
    #[test]
    fn what_holds_moved_extents_waits_and_nothing_else() {
        let report = include_bytes!("../../tests/fixtures/fullreport-lvm2-2.03.31.json");
        let mut vg = report::parse(report).unwrap().remove(0);
        let set = |vg: &mut Vg, name: &str, attr: &str| {
            let lv = vg.lvs.iter_mut().find(|lv| lv.name == name).unwrap();
            lv.attr = LvAttr::parse(attr).unwrap();
        };
        set(&mut vg, "pool_tdata", "TwI-ao----");
        assert!(moving(&vg, "pool").is_none(), "something else locks it");
        let mut pvmove = vg.lv("thick").unwrap().clone();
        pvmove.name = "pvmove0".into();
        pvmove.attr = LvAttr::parse("p-C-aom---").unwrap();
        vg.lvs.push(pvmove);
        assert_eq!(moving(&vg, "pool").unwrap().name, "pvmove0");
        assert!(moving(&vg, "thick").is_none());
        assert!(moving(&vg, "poo").is_none() && moving(&vg, "new").is_none());
        set(&mut vg, "thick", "-wI-a-----");
        assert!(moving(&vg, "thick").is_some());
    }
}
