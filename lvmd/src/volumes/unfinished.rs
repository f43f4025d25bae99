//! A volume between lvcreate's commit and its end.
//!
//! Thick:
//! lvcreate commits the volume first and then clears its beginning and old signatures.
//! Cut off in between it leaves a volume in which a former tenant's file system would be
//! found and mounted. So a thick volume is made with the tag `basalt.state=creating`, and a
//! second command in the same lvm process takes it away, which lvm does not come to unless
//! lvcreate has reported success. One that carries it was never anybody's: it is removed
//! and made anew. Thin volumes need no tag, their blocks come zeroed from the pool.
//!
//! Thin: lvcreate commits the volume, tells the pool to make it, and has the pool count one
//! transaction on. Cut off before that (a fifth of all moments) it left a volume that cannot be
//! activated until some other volume is created in the pool. It was never anybody's either.

use super::{VolumeError, pool, remove};
use crate::cmd::{CmdError, Runner};
use crate::engine::Lane;
use crate::lvm::model::Lv;
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::names;

/// The tag.
pub(super) fn tag() -> String {
    names::tag(names::TAG_STATE, names::STATE_CREATING)
}

/// The view without the volume of this name, if it is a thin one that its pool never made.
///
/// Two proofs are needed: the pool has not passed the transaction that makes it, and the kernel
/// says that there is no such volume in the pool when it is to be activated.
pub(super) async fn take_back<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: VgView,
    name: &str,
) -> Result<VgView, VolumeError> {
    let Some(lv) = view.vg.lv(name) else {
        return Ok(view);
    };
    if !waits_for_its_pool(lane, &view, lv).await? {
        return Ok(view);
    }
    let activate = Mutation::Activate {
        name: name.to_owned(),
    };
    let threshold = pool::threshold_for(&view.vg, name);
    let said = lane.run(&view, &activate, threshold).await;
    let after = lane.view().await?;
    match after.vg.lv(name) {
        Some(now) if now.uuid == lv.uuid && said.is_err_and(|e| says_no_such_device(&e)) => {
            clear(lane, &after, now).await?;
            lane.view().await.map_err(Into::into)
        }
        _ => Ok(after),
    }
}

/// Whether the volume is inactive and its pool has not passed the transaction that makes it.
async fn waits_for_its_pool<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    lv: &Lv,
) -> Result<bool, VolumeError> {
    let Some(pool) = view.vg.pool(&lv.pool).filter(|_| lv.is_thin()) else {
        return Ok(false);
    };
    let device = super::device(&super::open_mapper()?, &view.vg, lv)?;
    if device.is_some_and(|device| device.live) {
        return Ok(false);
    }
    let reached = pool::reached(lane.engine().patience(), &view.vg, pool).await?;
    Ok(reached.is_some_and(|reached| is_pending(reached, lv.transaction, pool.transaction)))
}

/// ENODATA, the thin target's answer for a volume that the pool does not have.
fn says_no_such_device(error: &CmdError) -> bool {
    error.stderr().contains("No data available")
}

/// Whether the pool has yet to make the volume, and nothing else is between it and LVM: a pool
/// that is further behind is another one than LVM thinks, and what was in it is unknown.
fn is_pending(reached: u64, made_by: u64, next: u64) -> bool {
    reached <= made_by && reached.checked_add(1) == Some(next)
}

/// Takes the tag from a volume that lvcreate has finished, and gives it those of its user.
pub(super) fn finish(name: &str, tags: &[String]) -> Mutation {
    Mutation::Retag {
        name: name.to_owned(),
        uuid: None,
        add: tags.to_vec(),
        remove: vec![tag()],
    }
}

/// Removes a volume that was never handed out.
pub(super) async fn clear<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    lv: &Lv,
) -> Result<(), VolumeError> {
    remove::refuse_if_held(&view.vg, lv)?;
    remove::remove_now(lane, view, &lv.name).await
}

#[cfg(test)]
mod tests {
    use super::*;

    // Numbers as lvs and the kernel show them around a cut lvcreate, LVM 2.03.31.
    #[test]
    fn only_the_volume_of_the_pending_transaction_was_never_made() {
        assert!(is_pending(1, 1, 2));
        assert!(is_pending(0, 0, 1), "the first in its pool");
        assert!(!is_pending(2, 1, 2), "the pool has made it");
        assert!(!is_pending(2, 1, 3), "another is pending");
        assert!(
            !is_pending(10, 15, 20),
            "an older pool was put back: its volumes had data"
        );
    }
}
