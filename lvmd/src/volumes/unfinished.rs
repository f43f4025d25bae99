//! A thick volume between lvcreate's commit and its wipe.
//!
//! lvcreate commits the volume first and then clears its beginning and old signatures.
//! Cut off in between it leaves a volume in which a former tenant's file system would be
//! found and mounted. So a thick volume is made with the tag `basalt.state=creating` and
//! is handed out when lvcreate has reported success and the tag is gone. One that carries
//! it was never anybody's: it is removed and made anew. Thin volumes need none of this,
//! their blocks come zeroed from the pool.

use super::{VolumeError, create, pool, remove};
use crate::cmd::Runner;
use crate::engine::Lane;
use crate::lvm::model::Lv;
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::names;

/// The tag.
pub(super) fn tag() -> String {
    names::tag(names::TAG_STATE, names::STATE_CREATING)
}

/// Takes the tag from a volume lvcreate has finished, and shows that it is gone.
pub(super) async fn finish<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
) -> Result<VgView, VolumeError> {
    let untag = Mutation::DeleteTag {
        name: name.to_owned(),
        tags: vec![tag()],
    };
    let said = lane.run(view, &untag, pool::DEFAULT_THRESHOLD).await;
    let after = lane.view().await?;
    if after.vg.lv(name).is_some_and(|lv| !lv.is_unfinished()) {
        return Ok(after);
    }
    let what = format!("finishing volume {name}");
    Err(match said {
        Err(error) => create::failed(&what, &error),
        Ok(()) => VolumeError::Unverified {
            what,
            why: "lvm reports success, and the metadata still has the tag".into(),
        },
    })
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
