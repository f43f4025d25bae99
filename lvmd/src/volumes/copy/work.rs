//! The work on a copy, in the background.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::plan::{self, Stage};
use super::transfer::{Ended, FLAGS, transfer};
use super::{Job, lock};
use crate::cmd::Runner;
use crate::dm;
use crate::lvm::model::Lv;
use crate::lvm::snapshot::VgView;
use crate::units::Bytes;
use crate::volumes::opened::{Opened, Wanted};
use crate::volumes::{VolumeError, Volumes, activate};

/// Pauses between attempts after a failure.
const RETRY: [Duration; 5] = [
    // udevd opens each new device for a moment.
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// Both sides of a copy.
#[derive(Debug, Clone)]
struct Sides {
    from: Wanted,
    to: Wanted,
    /// The copy's uuid as LVM prints it.
    uuid: String,
}

impl<R: Runner + Clone> Volumes<R> {
    /// Goes on with the copy of this name until it is whole, unless that is under way already.
    pub(in crate::volumes) fn copy_in_background(&self, vg: &str, name: &str) {
        let (job, is_new) = self.inner.copies.job(vg, name);
        if !is_new {
            return;
        }
        let (this, vg, name) = (self.clone(), vg.to_owned(), name.to_owned());
        self.inner.tasks.spawn(async move {
            this.copy_to_its_end(&vg, &name, &job).await;
            this.inner.copies.end(&vg, &name, &job);
            this.inner.engine.note_change();
        });
    }

    async fn copy_to_its_end(&self, vg: &str, name: &str, job: &Arc<Job>) {
        let stopped = async || {
            tokio::select! {
                () = job.stop.cancelled() => {}
                () = self.inner.stop.cancelled() => {}
            }
        };
        let turns = self.inner.copies.turns(vg);
        let _turn = tokio::select! {
            turn = turns.acquire_owned() => turn,
            () = stopped() => return,
        };
        let mut pauses = RETRY
            .iter()
            .copied()
            .chain(std::iter::repeat(RETRY[RETRY.len() - 1]));
        let mut written = None;
        loop {
            let error = match self.go_on(vg, name, job, &mut written).await {
                Ok(()) => return,
                Err(error) => error,
            };
            warn!(%vg, volume = %name, %error, "a copy is not whole yet");
            if matches!(error, VolumeError::CopyLost { .. }) {
                // Without its frozen source it is known for lost from now on, and its source is as fast as before.
                match self.release_of(vg, name).await {
                    Ok(()) => return,
                    Err(error) => warn!(%vg, volume = %name, %error, "its frozen source stays"),
                }
            }
            *lock(&job.why) = Some(error.to_string());
            tokio::select! {
                () = tokio::time::sleep(pauses.next().unwrap_or(RETRY[0])) => {}
                () = stopped() => return,
            }
        }
    }

    /// Removes the frozen source of a copy.
    async fn release_of(&self, vg: &str, name: &str) -> Result<(), VolumeError> {
        let lane = self.lane(vg).await?;
        let view = lane.view().await?;
        match view.vg.lv(&plan::frozen_name(name)) {
            Some(frozen) if frozen.is_copying() => self.release(&lane, &view, frozen).await,
            _ => Ok(()),
        }
    }

    /// Does what is left to do. `written` is the uuid of the LV that has all data since an earlier attempt.
    async fn go_on(
        &self,
        vg: &str,
        name: &str,
        job: &Arc<Job>,
        written: &mut Option<String>,
    ) -> Result<(), VolumeError> {
        let sides = {
            let lane = self.lane(vg).await?;
            if self.inner.stop.is_cancelled() || job.stop.is_cancelled() {
                return Ok(());
            }
            let view = lane.view().await?;
            match Stage::of(&view.vg, name) {
                Stage::Begun { copy, from: None } => return Err(plan::lost(copy)),
                Stage::Begun {
                    copy,
                    from: Some(from),
                } => {
                    let (copy, from) = (copy.name.clone(), from.name.clone());
                    let view = activate::active(&lane, view, &from).await?;
                    let view = activate::active(&lane, view, &copy).await?;
                    if !is_held(&view, &from)? {
                        return Err(VolumeError::CopyLost {
                            name: name.to_owned(),
                            why: format!(
                                "the kernel does not keep for {from} what is written to its origin"
                            ),
                        });
                    }
                    sides(&view, &copy, &from)?
                }
                Stage::Copied(_) => return self.finish(&lane, view, name, job).await,
                Stage::Frozen(frozen) => return self.release(&lane, &view, frozen).await,
                Stage::Nothing => return Ok(()),
            }
        };
        if written.as_ref() != Some(&sides.uuid) {
            let (uuid, of) = (sides.uuid.clone(), sides.from.size);
            if self.read_and_write(name, job, sides).await? == Ended::Stopped {
                return Ok(());
            }
            info!(vg, volume = name, bytes = of.0, "copied");
            *written = Some(uuid);
        }
        let lane = self.lane(vg).await?;
        let view = lane.view().await?;
        match Stage::of(&view.vg, name) {
            // It was asked to be removed meanwhile.
            _ if job.stop.is_cancelled() => Ok(()),
            Stage::Begun { copy, .. } if Some(&copy.uuid) == written.as_ref() => {
                self.finish(&lane, view, name, job).await
            }
            _ => Ok(()),
        }
    }

    async fn read_and_write(
        &self,
        name: &str,
        job: &Arc<Job>,
        sides: Sides,
    ) -> Result<Ended, VolumeError> {
        let (job, all) = (job.clone(), self.inner.stop.clone());
        let from = sides.from.clone();
        let done = tokio::task::spawn_blocking(move || {
            job.of.store(sides.from.size.0, Ordering::Relaxed);
            let from = Opened::to_read(&sides.from, FLAGS)?;
            let to = Opened::to_write(&sides.to, FLAGS)?;
            let read = |piece: &mut [u8], at: u64| from.file().read_exact_at(piece, at);
            let progress = |at: u64| {
                job.done.store(at, Ordering::Relaxed);
                !all.is_cancelled() && !job.stop.is_cancelled()
            };
            let ended = transfer(&read, &to, from.size(), &progress)?;
            if ended == Ended::Whole {
                to.sync()?;
            }
            Ok::<_, io::Error>(ended)
        });
        let failed = |why: String| VolumeError::Unverified {
            what: format!("copying to volume {name}"),
            why,
        };
        let done = done.await.map_err(|error| failed(error.to_string()))?;
        // What was read before may be wrong too.
        if is_invalid(&from.uuid)? {
            return Err(VolumeError::CopyLost {
                name: name.to_owned(),
                why: "the thick snapshot that held its source became invalid".into(),
            });
        }
        done.map_err(|error| failed(error.to_string()))
    }
}

/// Whether the kernel says of a thick snapshot that it lost what it held (Linux `drivers/md/dm-snap.c`, `snapshot_status`).
fn is_invalid(uuid: &str) -> Result<bool, VolumeError> {
    let status = dm::Control::open().and_then(|control| control.status(uuid));
    let status = status.map_err(|error| VolumeError::Mapper(error.to_string()))?;
    Ok(status.unwrap_or_default().iter().any(|target| {
        target.kind == "snapshot" && !target.params.starts_with(|c: char| c.is_ascii_digit())
    }))
}

/// Whether the kernel keeps for a frozen source what is written to its origin: else what is read of it is no state that the
/// origin ever had.
fn is_held(view: &VgView, from: &str) -> Result<bool, VolumeError> {
    let frozen = view.vg.lv(from).filter(|lv| lv.is_thick_snapshot());
    let Some(origin) = frozen.and_then(|lv| view.vg.lv(&lv.origin)) else {
        return Ok(frozen.is_none());
    };
    let table =
        dm::Control::open().and_then(|control| control.table(&origin.dm_uuid(&view.vg, "")));
    let table = table.map_err(|error| VolumeError::Mapper(error.to_string()))?;
    Ok(table.is_none_or(|targets| {
        targets
            .iter()
            .all(|target| target.kind == "snapshot-origin")
    }))
}

fn sides(view: &VgView, copy: &str, from: &str) -> Result<Sides, VolumeError> {
    let find = |name: &str| {
        view.vg.lv(name).ok_or_else(|| VolumeError::Unverified {
            what: format!("copying {from} to {copy}"),
            why: format!("{name} is gone from the metadata"),
        })
    };
    let wanted = |lv: &Lv, size: Bytes| Wanted {
        uuid: lv.dm_uuid(&view.vg, ""),
        size,
    };
    let (copy, from) = (find(copy)?, find(from)?);
    Ok(Sides {
        from: wanted(from, from.visible_size()),
        to: wanted(copy, copy.size),
        uuid: copy.uuid.clone(),
    })
}
