//! The state of all classes, for Watch, metrics and readiness.

mod merged;

use std::collections::BTreeSet;

use super::{VolumeError, Volumes, copy, missing, pool as pools, require_pool};
use crate::capacity;
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::dm::PoolStatus;
use crate::engine::EngineError;
use crate::lvm::snapshot::{Freeze, Snapshot};
use crate::patience::Patience;
use crate::pool::{self, Condition};
use crate::units::Bytes;

/// What each class can give now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeState {
    /// The classes of which a VG (and pool) is there. One with several VGs is what a volume in it can count on: the room and
    /// sizes of the VG with most room, the highest percents of its pools; and no room at all while one of them is away or
    /// must not be changed, as a name may be there that is asked for.
    pub classes: Vec<ClassState>,
    /// The classes no VG or pool of which is there, and why.
    pub absent: Vec<(String, String)>,
    /// Each class in each of its VGs that is there.
    pub members: Vec<ClassState>,
    /// The VGs of the node that no class is in, by name.
    pub others: Vec<String>,
}

/// One class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassState {
    /// Its name.
    pub class: String,
    /// Its VG; of several all, with commas.
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
    /// Used data in percent; 0 while it is not active.
    pub data_percent: f64,
    /// Used metadata in percent; 0 while it is not active.
    pub metadata_percent: f64,
    /// Virtual bytes it may still promise; nothing while it takes no more volumes.
    pub overprovision_free: Bytes,
    /// Its size in bytes.
    pub size: Bytes,
}

impl PoolState {
    /// Used data and metadata in percent.
    pub fn percents(&self) -> (f64, f64) {
        (self.data_percent, self.metadata_percent)
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
        let mut state = NodeState {
            others: others(&snapshot, &config.classes.volume_groups()),
            ..NodeState::default()
        };
        for class in config.classes.iter() {
            let (mut there, mut away) = (Vec::new(), Vec::new());
            for member in class.members() {
                match class_state(patience, &snapshot, member).await {
                    Ok(found) => there.push(found),
                    // One pool that cannot be asked says nothing of the others.
                    Err(error) => away.push((member.clone(), error)),
                }
            }
            state.members.extend(there.iter().cloned());
            match merged::merged(there, &away) {
                Some(merged) => state.classes.push(merged),
                None => {
                    let why = |(_, error): &(_, VolumeError)| match error {
                        VolumeError::Engine(EngineError::Missing(_)) => {
                            format!("{error}{unreadable}")
                        }
                        _ => error.to_string(),
                    };
                    let why: Vec<_> = away.iter().map(why).collect();
                    state.absent.push((class.name.clone(), why.join("; ")));
                }
            }
        }
        Ok(state)
    }

    /// What a class can still give in one volume, in bytes; nothing while a VG of it is away or must not be changed, or its
    /// pool takes no more volumes.
    ///
    /// # Errors
    /// When the class is unknown, none of its VGs is there, or state cannot be told.
    pub async fn free(&self, class: &str) -> Result<Bytes, VolumeError> {
        self.counted("GetFreeBytes", self.given(class)).await
    }

    async fn given(&self, class: &str) -> Result<Bytes, VolumeError> {
        let config = self.config();
        let class = config.classes.get(class)?;
        let patience = self.inner.engine.patience();
        let (mut there, mut away) = (Vec::new(), Vec::new());
        for member in class.members() {
            let snapshot = self.inner.engine.snapshot_of(&member.volume_group).await?;
            match class_state(patience, &snapshot, member).await {
                Ok(found) => there.push(found),
                Err(error) => away.push((member.clone(), error)),
            }
        }
        match (merged::merged(there, &away), away.into_iter().next()) {
            (Some(merged), _) => Ok(merged.free),
            (None, Some((_, error))) => Err(error),
            (None, None) => Ok(Bytes(0)),
        }
    }
}

/// The VGs that are not among those of the classes.
fn others(snapshot: &Snapshot, of_classes: &[&str]) -> Vec<String> {
    let all = snapshot.vgs.iter().map(|view| view.vg.name.as_str());
    let others: BTreeSet<&str> = all.filter(|name| !of_classes.contains(name)).collect();
    others.into_iter().map(str::to_owned).collect()
}

/// The state of a class in its one VG.
pub(super) async fn class_state(
    patience: &Patience,
    snapshot: &Snapshot,
    class: &DeviceClass,
) -> Result<ClassState, VolumeError> {
    let view = snapshot
        .vg(&class.volume_group)
        .ok_or_else(|| missing(class))?;
    let vg = &view.vg;
    require_pool(vg, class)?;
    let mut conditions: Vec<Condition> = view.frozen.iter().map(frozen).collect();
    let mut open = view.frozen.is_empty();
    let mut active = None;
    let pool_lv = class.pool().and_then(|name| vg.pool(name));
    if class.pool().is_none() {
        conditions.extend(copy::conditions(vg));
    }
    if let Some(lv) = pool_lv {
        active = pools::look(patience, vg, lv).await?;
        let (now, gate) = (active.as_ref(), class.gate_percent);
        conditions.extend(pool::conditions(lv, now, gate));
        open &= pool::closed(now.map(|a| &a.status), gate).is_none();
    }
    // What takes nothing gives nothing; saying otherwise draws volumes here.
    let given = |bytes: Bytes| Some(bytes).filter(|_| open).unwrap_or_default();
    let free = given(capacity::free(vg, class));
    let status = active.as_ref().map(|active| &active.status);
    let percent = |of: fn(&PoolStatus) -> f64| status.map_or(0.0, of);
    Ok(ClassState {
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
            data_percent: percent(PoolStatus::data_percent),
            metadata_percent: percent(PoolStatus::metadata_percent),
            overprovision_free: free,
            size: lv.size,
        }),
        frozen: view.frozen.clone(),
        conditions,
    })
}

pub(super) fn frozen(freeze: &Freeze) -> Condition {
    Condition {
        code: freeze.code(),
        abnormal: true,
        message: freeze.to_string(),
    }
}
