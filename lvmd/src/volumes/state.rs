//! The state of all classes, for Watch, metrics and readiness.

use super::{VolumeError, Volumes, pool};
use crate::capacity;
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::lvm::snapshot::{Freeze, VgView};
use crate::patience::Patience;
use crate::units::Bytes;

/// What each class can give now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeState {
    /// The classes whose VG (and pool) is there.
    pub classes: Vec<ClassState>,
    /// The classes whose VG or pool is not there, and why.
    pub absent: Vec<(String, String)>,
}

/// One class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassState {
    /// Its name.
    pub class: String,
    /// Its VG.
    pub volume_group: String,
    /// Whether a request that names no class means this one.
    pub is_default: bool,
    /// What it can still give in one volume, in bytes; nothing while it is frozen.
    pub free: Bytes,
    /// Free space of its VG in bytes, spare space counted for a thick class only.
    pub vg_free: Bytes,
    /// The size of its VG in bytes.
    pub vg_size: Bytes,
    /// Its pool, for a thin class.
    pub pool: Option<PoolState>,
    /// Why its VG must not be changed; empty when it may.
    pub frozen: Vec<Freeze>,
}

/// The pool of a thin class.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolState {
    /// Used data in percent; 0 while it is not active.
    pub data_percent: f64,
    /// Used metadata in percent; 0 while it is not active.
    pub metadata_percent: f64,
    /// Virtual bytes it may still promise.
    pub overprovision_free: Bytes,
    /// Its size in bytes.
    pub size: Bytes,
    /// Its mode (`rw`, `ro`, `out_of_data_space`, `Fail`), `inactive`, or `needs_check`.
    pub mode: String,
}

impl NodeState {
    /// What the default class can still give, in bytes; 0 when there is none.
    pub fn default_free(&self) -> Bytes {
        self.classes
            .iter()
            .find(|c| c.is_default)
            .map_or(Bytes(0), |c| c.free)
    }
}

impl<R: Runner + Clone> Volumes<R> {
    /// The state of all configured classes.
    ///
    /// # Errors
    /// When state cannot be told; a missing VG or pool is state, not an error.
    pub async fn state(&self) -> Result<NodeState, VolumeError> {
        let config = self.config();
        let snapshot = self.inner.engine.snapshot().await?;
        let patience = self.inner.engine.patience();
        // It may be on one of these.
        let unreadable: String = snapshot
            .unreadable
            .iter()
            .map(|(path, why)| format!("; {}: {why}", path.display()))
            .collect();
        let mut state = NodeState::default();
        for class in config.classes.iter() {
            match snapshot.vg(&class.volume_group) {
                None => state.absent.push((
                    class.name.clone(),
                    format!(
                        "volume group {} is not there{unreadable}",
                        class.volume_group
                    ),
                )),
                Some(view) => match class_state(patience, view, class).await {
                    Ok(Some(found)) => state.classes.push(found),
                    Ok(None) => state.absent.push((
                        class.name.clone(),
                        format!("thin pool {} is not there", class.target()),
                    )),
                    // One pool that cannot be asked says nothing of the others.
                    Err(error) => state.absent.push((class.name.clone(), error.to_string())),
                },
            }
        }
        Ok(state)
    }
}

async fn class_state(
    patience: &Patience,
    view: &VgView,
    class: &DeviceClass,
) -> Result<Option<ClassState>, VolumeError> {
    let vg = &view.vg;
    // What must not be changed gives nothing; saying otherwise draws volumes here.
    let given = |bytes: Bytes| Some(bytes).filter(|_| view.frozen.is_empty());
    let pool = match class.pool() {
        None => None,
        Some(name) => match vg.pool(name) {
            None => return Ok(None),
            Some(lv) => {
                let status = pool::status(patience, vg, lv).await?;
                Some(PoolState {
                    data_percent: status
                        .as_ref()
                        .map_or(0.0, crate::dm::PoolStatus::data_percent),
                    metadata_percent: status
                        .as_ref()
                        .map_or(0.0, crate::dm::PoolStatus::metadata_percent),
                    overprovision_free: given(capacity::thin_free(vg, class)).unwrap_or_default(),
                    size: lv.size,
                    mode: status.map_or_else(
                        || "inactive".into(),
                        |s| {
                            if s.needs_check {
                                "needs_check".into()
                            } else {
                                s.mode
                            }
                        },
                    ),
                })
            }
        },
    };
    let free = given(capacity::free(vg, class)).unwrap_or_default();
    Ok(Some(ClassState {
        class: class.name.clone(),
        volume_group: vg.name.clone(),
        is_default: class.is_default,
        free,
        vg_free: if pool.is_some() {
            given(vg.free()).unwrap_or_default()
        } else {
            free
        },
        vg_size: vg.size,
        pool,
        frozen: view.frozen.clone(),
    }))
}
