//! What a cut-off command leaves behind, and what is done about it.
//!
//! Seen after killing lvm at random moments: a volume in the metadata but not active, a
//! device without a table, and a pool of which only the hidden parts are active, which
//! makes every later lvm command fail. Each is told from metadata and device-mapper
//! alone. Volumes without a tag of ours are named, never touched.

use std::collections::HashMap;
use std::fmt;

use tracing::{info, warn};

use super::{VolumeError, Volumes, create, open_mapper};
use crate::cmd::Runner;
use crate::dm;
use crate::lvm::model::Vg;
use crate::lvm::vg_lock;

/// Something a cut-off command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wreck {
    /// Only the hidden parts of a pool are active. LVM refuses everything until they are gone.
    HalfPool {
        /// The pool's name.
        pool: String,
        /// The device-mapper uuids of the parts, none of them open.
        parts: Vec<String>,
    },
    /// The volume has no live device.
    Inactive {
        /// Its name.
        name: String,
        /// Whether it carries a tag of ours, so that we may activate it.
        ours: bool,
    },
    /// The volume was removed and is not overwritten yet.
    Wiping {
        /// Its name.
        name: String,
    },
}

/// A wreck and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealReport {
    /// The VG.
    pub vg: String,
    /// What was found.
    pub wreck: Wreck,
    /// `healed`, `named`, `resumed`, or the error.
    pub result: String,
}

impl HealReport {
    /// The stable word for metrics: `healed`, `named`, `resumed` or `failed`.
    pub fn outcome(&self) -> &'static str {
        ["healed", "named", "resumed"]
            .into_iter()
            .find(|word| *word == self.result)
            .unwrap_or("failed")
    }
}

impl Wreck {
    /// The stable kind, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HalfPool { .. } => "half_active_pool",
            Self::Inactive { .. } => "inactive_volume",
            Self::Wiping { .. } => "unfinished_wipe",
        }
    }
}

impl fmt::Display for Wreck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HalfPool { pool, parts } => write!(
                f,
                "pool {pool} is half active ({} hidden parts)",
                parts.len()
            ),
            Self::Inactive { name, .. } => write!(f, "volume {name} is not active"),
            Self::Wiping { name } => write!(f, "volume {name} is removed and not overwritten yet"),
        }
    }
}

/// Finds what is wrong, from what LVM says and the device-mapper devices by uuid. Pure.
pub fn diagnose(vg: &Vg, devices: &HashMap<String, dm::Device>) -> Vec<Wreck> {
    let mut wrecks = Vec::new();
    for pool in vg.lvs.iter().filter(|lv| lv.is_thin_pool()) {
        let whole = ["tpool", ""]
            .iter()
            .any(|suffix| devices.contains_key(&pool.dm_uuid(vg, suffix)));
        if whole {
            continue;
        }
        let hidden = [
            (format!("{}_tmeta", pool.name), "tmeta"),
            (format!("{}_tdata", pool.name), "tdata"),
        ];
        let parts: Vec<&dm::Device> = hidden
            .iter()
            .filter_map(|(name, suffix)| {
                let part = vg.lvs.iter().find(|lv| lv.hidden && lv.name == *name)?;
                devices.get(&part.dm_uuid(vg, suffix))
            })
            .collect();
        // A part that is open is in use by somebody (a repair, a half-done activation that goes on).
        if !parts.is_empty() && parts.iter().all(|part| part.open_count == 0) {
            wrecks.push(Wreck::HalfPool {
                pool: pool.name.clone(),
                parts: parts.iter().map(|p| p.uuid.clone()).collect(),
            });
        }
    }
    for lv in vg.lvs.iter().filter(|lv| !lv.hidden && !lv.is_pool()) {
        if lv.is_wiping() {
            wrecks.push(Wreck::Wiping {
                name: lv.name.clone(),
            });
        } else if devices
            .get(&lv.dm_uuid(vg, ""))
            .is_none_or(|device| !device.live)
        {
            wrecks.push(Wreck::Inactive {
                name: lv.name.clone(),
                ours: vg.is_ours(lv),
            });
        }
    }
    wrecks
}

impl<R: Runner + Clone> Volumes<R> {
    /// Looks at every VG of a configured class, heals what is ours and names the rest.
    /// VGs that are missing or frozen are left alone.
    pub async fn heal(&self) -> Vec<HealReport> {
        let config = self.config();
        let mut reports = Vec::new();
        for vg in config.classes.volume_groups() {
            match self.heal_vg(vg).await {
                Ok(found) => reports.extend(found),
                Err(error) => info!(vg, %error, "not looked at for wrecks"),
            }
        }
        self.inner.heals.send_replace(reports.clone());
        reports
    }

    /// What the last [`Self::heal`] found.
    pub fn last_heal(&self) -> Vec<HealReport> {
        self.inner.heals.borrow().clone()
    }

    /// As [`Self::heal`], for one VG.
    ///
    /// # Errors
    /// When the VG may not be changed or its state cannot be told.
    pub async fn heal_vg(&self, name: &str) -> Result<Vec<HealReport>, VolumeError> {
        let lane = self.lane(name).await?;
        let view = lane.view().await?;
        let mut reports = Vec::new();
        let mut report = |wreck: Wreck, result: String| {
            if matches!(result.as_str(), "healed" | "resumed") {
                info!(vg = name, %wreck, %result, "found at start");
            } else {
                warn!(vg = name, %wreck, %result, "found at start");
            }
            reports.push(HealReport {
                vg: name.to_owned(),
                wreck,
                result,
            });
        };
        let wrecks = diagnose(&view.vg, &devices_of(&view.vg)?);
        let half_pools = wrecks
            .iter()
            .filter(|wreck| matches!(wreck, Wreck::HalfPool { .. }));
        for wreck in half_pools {
            report(
                wreck.clone(),
                clear_half_pool(&view.vg, wreck).map_or_else(|error| error, |()| "healed".into()),
            );
        }
        for wreck in &wrecks {
            match wreck {
                Wreck::HalfPool { .. } => {}
                Wreck::Wiping { name: volume } => {
                    self.wipe_in_background(name, volume);
                    report(wreck.clone(), "resumed".into());
                }
                Wreck::Inactive { ours: false, .. } => report(wreck.clone(), "named".into()),
                Wreck::Inactive {
                    name: volume,
                    ours: true,
                } => {
                    let result = create::active(&lane, view.clone(), volume).await;
                    report(
                        wreck.clone(),
                        result.map_or_else(|error| error.to_string(), |_| "healed".into()),
                    );
                }
            }
        }
        Ok(reports)
    }
}

/// Removes the unused hidden parts, under LVM's own lock of the VG so that no command of
/// another program is half-way through an activation. A lock that is held means that
/// somebody works there: nothing is done.
fn clear_half_pool(vg: &Vg, wreck: &Wreck) -> Result<(), String> {
    let Wreck::HalfPool { parts, .. } = wreck else {
        return Ok(());
    };
    let _lock = vg_lock::try_exclusive(std::path::Path::new(crate::names::LVM_LOCK_DIR), &vg.name)
        .map_err(|e| e.to_string())?
        .ok_or("an lvm command holds the lock of the VG")?;
    let again = diagnose(vg, &devices_of(vg).map_err(|e| e.to_string())?);
    if !again.contains(wreck) {
        return Ok(());
    }
    let control = open_mapper().map_err(|e| e.to_string())?;
    parts.iter().try_for_each(|uuid| {
        control
            .remove_unused(uuid)
            .map_err(|error| format!("{uuid}: {error}"))
    })
}

/// The device-mapper devices of a VG's LVs, by uuid.
fn devices_of(vg: &Vg) -> Result<HashMap<String, dm::Device>, VolumeError> {
    let control = open_mapper()?;
    let mut devices = HashMap::new();
    for lv in &vg.lvs {
        for suffix in ["", "tpool", "tmeta", "tdata"] {
            let uuid = lv.dm_uuid(vg, suffix);
            if let Some(device) = control
                .device(&uuid)
                .map_err(|e| VolumeError::Mapper(e.to_string()))?
            {
                devices.insert(uuid, device);
            }
        }
    }
    Ok(devices)
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

    fn dev(uuid: &str, open_count: i32) -> (String, dm::Device) {
        let device = dm::Device {
            name: String::new(),
            uuid: uuid.into(),
            devno: (254, 0),
            open_count,
            suspended: false,
            readonly: false,
            live: true,
            event_nr: 0,
        };
        (uuid.to_owned(), device)
    }

    fn all_active(vg: &Vg) -> HashMap<String, dm::Device> {
        let volumes = vg
            .lvs
            .iter()
            .filter(|lv| !lv.hidden && !lv.is_pool())
            .map(|lv| dev(&lv.dm_uuid(vg, ""), 0));
        volumes
            .chain([dev(&vg.pool("pool").unwrap().dm_uuid(vg, "tpool"), 2)])
            .collect()
    }

    #[test]
    fn a_healthy_vg_has_no_wreck() {
        let vg = vg();
        assert_eq!(diagnose(&vg, &all_active(&vg)), []);
    }

    #[test]
    fn a_pool_of_which_only_unused_hidden_parts_are_active_is_a_wreck() {
        let vg = vg();
        let hidden = |name: &str| vg.lvs.iter().find(|lv| lv.name == name).unwrap();
        let mut devices = all_active(&vg);
        devices.remove(&vg.pool("pool").unwrap().dm_uuid(&vg, "tpool"));
        let tmeta = hidden("pool_tmeta").dm_uuid(&vg, "tmeta");
        devices.extend([dev(&tmeta, 0)]);
        assert_eq!(
            diagnose(&vg, &devices),
            [Wreck::HalfPool {
                pool: "pool".into(),
                parts: vec![tmeta.clone()]
            }]
        );
        devices.extend([dev(&tmeta, 1)]);
        assert_eq!(
            diagnose(&vg, &devices),
            [],
            "an open part is in use by somebody"
        );
    }

    #[test]
    fn only_a_volume_with_our_tag_may_be_activated_unasked() {
        let mut vg = vg();
        let mut devices = all_active(&vg);
        devices.remove(&vg.lv("t1").unwrap().dm_uuid(&vg, ""));
        assert_eq!(
            diagnose(&vg, &devices),
            [Wreck::Inactive {
                name: "t1".into(),
                ours: false
            }]
        );
        vg.lvs
            .iter_mut()
            .find(|lv| lv.name == "t1")
            .unwrap()
            .tags
            .push("basalt.lv=x".into());
        assert_eq!(
            diagnose(&vg, &devices),
            [Wreck::Inactive {
                name: "t1".into(),
                ours: true
            }]
        );
    }
}
