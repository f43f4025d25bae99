//! The state of all classes, for Watch, metrics and readiness.

use super::{VolumeError, Volumes, copy, pool as pools};
use crate::capacity;
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::lvm::snapshot::{Freeze, VgView};
use crate::patience::Patience;
use crate::pool::{self, Active, Condition};
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
    /// What a person should know of it: why it is frozen, and what is wrong with its pool.
    pub conditions: Vec<Condition>,
}

/// The pool of a thin class.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolState {
    /// What the kernel says of it; `None` while it is not active.
    pub active: Option<Active>,
    /// Virtual bytes it may still promise; nothing while it takes no more volumes.
    pub overprovision_free: Bytes,
    /// Its size in bytes.
    pub size: Bytes,
}

impl PoolState {
    /// Used data and metadata in percent; 0 while it is not active.
    pub fn percents(&self) -> (f64, f64) {
        let status = self.active.as_ref().map(|active| &active.status);
        status.map_or((0.0, 0.0), |s| (s.data_percent(), s.metadata_percent()))
    }
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

pub(super) async fn class_state(
    patience: &Patience,
    view: &VgView,
    class: &DeviceClass,
) -> Result<Option<ClassState>, VolumeError> {
    let vg = &view.vg;
    let mut conditions: Vec<Condition> = view.frozen.iter().map(frozen).collect();
    let mut open = view.frozen.is_empty();
    let mut active = None;
    let mut pool_lv = None;
    if class.pool().is_none() {
        conditions.extend(copy::conditions(vg));
    }
    if let Some(name) = class.pool() {
        let Some(lv) = vg.pool(name) else {
            return Ok(None);
        };
        active = pools::look(patience, vg, lv).await?;
        let (now, gate) = (active.as_ref(), class.gate_percent);
        conditions.extend(pool::conditions(lv, now, gate));
        open &= pool::closed(now.map(|a| &a.status), gate).is_none();
        pool_lv = Some(lv);
    }
    // What takes nothing gives nothing; saying otherwise draws volumes here.
    let given = |bytes: Bytes| Some(bytes).filter(|_| open).unwrap_or_default();
    let free = given(capacity::free(vg, class));
    Ok(Some(ClassState {
        class: class.name.clone(),
        volume_group: vg.name.clone(),
        is_default: class.is_default,
        free,
        vg_free: match pool_lv {
            Some(_) if view.frozen.is_empty() => vg.free(),
            Some(_) => Bytes(0),
            None => free,
        },
        vg_size: vg.size,
        pool: pool_lv.map(|lv| PoolState {
            active,
            overprovision_free: free,
            size: lv.size,
        }),
        frozen: view.frozen.clone(),
        conditions,
    }))
}

fn frozen(freeze: &Freeze) -> Condition {
    Condition {
        code: freeze.code(),
        abnormal: true,
        message: freeze.to_string(),
    }
}
