//! Volumes as their users see them: the metadata joined with device-mapper.

use std::io;
use std::sync::Arc;

use super::{Volume, VolumeError, Volumes, open_mapper};
use crate::cmd::Runner;
use crate::dm;
use crate::lvm::health::Verdict;
use crate::lvm::live::{self, LiveError, Shown};
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::{Snapshot, VgView};
use crate::pool::Condition;

impl<R: Runner + Clone> Volumes<R> {
    /// The volumes of `view`, which is of `snapshot`, that are `wanted`, as they are now. Where device-mapper shows
    /// something that does not fit the metadata lvm is asked, once for the VG; where a
    /// pool does not answer its volumes are shown with unknown health.
    pub(super) async fn seen(
        &self,
        snapshot: &Arc<Snapshot>,
        view: &VgView,
        wanted: impl Fn(&Lv) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<Volume>, VolumeError> {
        let patience = self.inner.engine.patience();
        let (all_vgs, which) = (snapshot.clone(), wanted.clone());
        let uuid = view.vg.uuid.clone();
        let show = move || {
            let vgs = all_vgs.vgs.iter().map(|view| &view.vg);
            let mut shown = Vec::new();
            for vg in vgs.filter(|vg| vg.uuid == uuid) {
                shown.extend(all(vg, &which, live::show)?);
            }
            Ok(shown)
        };
        let asked = patience
            .ask(&format!("the volumes of {}", view.vg.name), show)
            .await;
        let refused = |error: io::Error| VolumeError::Mapper(error.to_string());
        match asked {
            Ok(Ok(volumes)) => Ok(volumes),
            Ok(Err(LiveError::Mapper(error))) => Err(refused(error)),
            Ok(Err(LiveError::Unsure(unsure))) => {
                tracing::info!(vg = %view.vg.name, reason = %unsure, "asking lvm");
                let by_lvm = self.inner.engine.ask_lvm(view, unsure.code()).await;
                let by_lvm = by_lvm.map_err(crate::engine::EngineError::from)?;
                let volumes = by_lvm.lvs.iter().filter(|lv| wanted(lv));
                let shown = volumes.filter_map(|lv| Some(volume(lv, lv.shown?)));
                Ok(shown.collect())
            }
            Err(_) => all(&view.vg, wanted, |vg, lv, control| {
                live::show_device(vg, lv, control, 'X')
            })
            .map_err(refused),
        }
    }
}

/// A volume that was just made or found, without asking its pool.
pub(super) fn made(vg: &Vg, lv: &Lv) -> Result<Volume, VolumeError> {
    let shown = live::show_device(vg, lv, &open_mapper()?, '-');
    let shown = shown.map_err(|error| VolumeError::Mapper(error.to_string()))?;
    Ok(volume(lv, shown))
}

fn all<E: From<io::Error>>(
    vg: &Vg,
    wanted: impl Fn(&Lv) -> bool,
    show: impl Fn(&Vg, &Lv, &dm::Control) -> Result<Shown, E>,
) -> Result<Vec<Volume>, E> {
    let control = dm::Control::open()?;
    let lvs = vg.lvs.iter().filter(|lv| wanted(lv));
    lvs.map(|lv| Ok(volume(lv, show(vg, lv, &control)?)))
        .collect()
}

fn volume(lv: &Lv, shown: Shown) -> Volume {
    let verdict = Verdict::of(shown.attr);
    let stopped = matches!(shown.attr.state(), 'd' | 'i');
    Volume {
        name: lv.name.clone(),
        size: lv.visible_size(),
        devno: shown.devno.filter(|_| !stopped).unwrap_or_default(),
        tags: lv.tags.clone(),
        path: lv.path.clone(),
        attr: shown.attr,
        conditions: verdict.into_iter().map(condition).collect(),
        verdict,
    }
}

fn condition(verdict: Verdict) -> Condition {
    Condition {
        code: verdict.code(),
        abnormal: true,
        message: verdict.to_string(),
    }
}
