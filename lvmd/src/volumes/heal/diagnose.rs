//! Tells from metadata and device-mapper what a cut-off command left. Pure.

use std::collections::HashMap;
use std::fmt;

use crate::dm;
use crate::lvm::model::{Lv, Vg};
use crate::volumes::copy::copy_of;

/// Something a cut-off command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wreck {
    /// Only the hidden parts of a pool are active. LVM refuses everything until they are gone.
    HalfPool {
        /// The pool's name.
        pool: String,
        /// The device-mapper uuids of the parts, none of them open.
        parts: Vec<String>,
        /// Whether the pool carries a tag of ours.
        ours: bool,
    },
    /// A table was loaded into a device and not made live: the next command that resumes the
    /// device would do it, whatever the metadata says by then.
    StaleTable {
        /// The volume or pool it is a part of.
        name: String,
        /// The device's device-mapper uuid.
        uuid: String,
        /// Whether the volume or pool carries a tag of ours.
        ours: bool,
    },
    /// The pool, or a part of it, is suspended or has no table: whatever its volumes are asked waits.
    StoppedPool {
        /// The pool's name.
        pool: String,
        /// Whether it carries a tag of ours.
        ours: bool,
    },
    /// LVM has noted down something for the pool to do, and the pool was not told: most often
    /// to give back the space of a volume that was removed.
    PoolBehind {
        /// The pool's name.
        pool: String,
        /// Whether it carries a tag of ours.
        ours: bool,
    },
    /// The volume is suspended: whatever it is asked waits.
    Suspended {
        /// Its name.
        name: String,
        /// Whether it carries a tag of ours, so that we may resume it.
        ours: bool,
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
        /// Whether no other owner's tag is on it.
        ours: bool,
    },
    /// The volume was made, not finished, and never handed out.
    Unfinished {
        /// Its name.
        name: String,
        /// Whether no other owner's tag is on it.
        ours: bool,
    },
    /// A volume is a copy that has not all data yet, or something of it is left.
    Copying {
        /// Its name.
        name: String,
        /// Whether no other owner's tag is on it.
        ours: bool,
    },
    /// A part that only a thick snapshot or its origin has is there, unused, and its volume is neither: LVM (2.03.31) leaves
    /// it so when it is cut off, or splits a snapshot off, and later changes do not remove it either.
    LeftPart {
        /// The volume's name.
        name: String,
        /// The part's device-mapper uuid.
        uuid: String,
        /// Whether the volume carries a tag of ours.
        ours: bool,
    },
    /// The VG's metadata was written to some of its PVs only.
    CopiesDiffer,
}

impl Wreck {
    /// Whether it makes volumes wait or fail, or the next command do harm.
    pub fn stops_work(&self) -> bool {
        matches!(
            self,
            Self::HalfPool { .. }
                | Self::StaleTable { .. }
                | Self::StoppedPool { .. }
                | Self::Suspended { .. }
        )
    }

    /// The stable kind, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HalfPool { .. } => "half_active_pool",
            Self::StaleTable { .. } => "stale_table",
            Self::StoppedPool { .. } => "stopped_pool",
            Self::PoolBehind { .. } => "pool_behind",
            Self::Suspended { .. } => "suspended_volume",
            Self::Inactive { .. } => "inactive_volume",
            Self::Wiping { .. } => "unfinished_wipe",
            Self::Unfinished { .. } => "unfinished_volume",
            Self::Copying { .. } => "unfinished_copy",
            Self::LeftPart { .. } => "left_part",
            Self::CopiesDiffer => "metadata_copies_differ",
        }
    }
}

impl fmt::Display for Wreck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HalfPool { pool, parts, .. } => write!(
                f,
                "pool {pool} is half active ({} hidden parts)",
                parts.len()
            ),
            Self::StaleTable { name, uuid, .. } => {
                write!(f, "device {uuid} of {name} has a table that never was live")
            }
            Self::StoppedPool { pool, .. } => {
                write!(f, "pool {pool} is suspended or has no table")
            }
            Self::PoolBehind { pool, .. } => {
                write!(f, "pool {pool} was not told what LVM has noted down for it")
            }
            Self::Suspended { name, .. } => write!(f, "volume {name} is suspended"),
            Self::Inactive { name, .. } => write!(f, "volume {name} is not active"),
            Self::Wiping { name, .. } => {
                write!(f, "volume {name} is removed and not overwritten yet")
            }
            Self::Unfinished { name, .. } => write!(f, "volume {name} was not finished"),
            Self::Copying { name, .. } => write!(f, "copy {name} is not whole yet"),
            Self::LeftPart { name, uuid, .. } => write!(
                f,
                "device {uuid} is left of a thick snapshot that {name} has no more"
            ),
            Self::CopiesDiffer => f.write_str("the metadata is not the same on all disks"),
        }
    }
}

/// Finds what is wrong, from what LVM says and the device-mapper devices by uuid.
pub fn diagnose(vg: &Vg, devices: &HashMap<String, dm::Device>) -> Vec<Wreck> {
    // What lvm must not meet comes first.
    let mut wrecks = stale_tables(vg, devices);
    let pools = vg.lvs.iter().filter(|lv| lv.is_thin_pool());
    let pools = pools.filter_map(|pool| pool_wreck(vg, pool, devices));
    let (half, stopped): (Vec<_>, Vec<_>) =
        pools.partition(|wreck| matches!(wreck, Wreck::HalfPool { .. }));
    wrecks.extend(half.into_iter().chain(stopped));
    for lv in vg.lvs.iter().filter(|lv| !lv.hidden && !lv.is_pool()) {
        let (name, ours) = (lv.name.clone(), vg.is_ours(lv));
        if lv.is_wiping() {
            wrecks.push(Wreck::Wiping { name, ours });
            continue;
        }
        if lv.is_copying() {
            // What is suspended keeps its source's users waiting.
            if let Some(device) = devices.get(&lv.dm_uuid(vg, ""))
                && device.live
                && device.suspended
            {
                let name = name.clone();
                wrecks.push(Wreck::Suspended { name, ours });
            }
            let name = copy_of(lv).to_owned();
            let copy = Wreck::Copying { name, ours };
            if !wrecks.contains(&copy) {
                wrecks.push(copy);
            }
            continue;
        }
        if lv.is_unfinished() {
            wrecks.push(Wreck::Unfinished { name, ours });
            continue;
        }
        match devices.get(&lv.dm_uuid(vg, "")) {
            Some(device) if device.live && !device.suspended => {}
            Some(device) if device.live => wrecks.push(Wreck::Suspended { name, ours }),
            _ => wrecks.push(Wreck::Inactive { name, ours }),
        }
    }
    wrecks
}

fn stale_tables(vg: &Vg, devices: &HashMap<String, dm::Device>) -> Vec<Wreck> {
    let mut stale: Vec<_> = devices.values().filter(|device| device.loaded).collect();
    stale.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    let is_of = |device: &dm::Device, lv: &Lv| {
        let uuid = lv.dm_uuid(vg, "");
        let rest = device.uuid.strip_prefix(&uuid);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let wreck = |device: &dm::Device| {
        let lv = vg.lvs.iter().find(|lv| is_of(device, lv))?;
        let whole = whole(vg, lv);
        Some(Wreck::StaleTable {
            name: whole.name.clone(),
            uuid: device.uuid.clone(),
            ours: vg.is_ours(whole),
        })
    };
    stale.into_iter().filter_map(wreck).collect()
}

/// Finds what is left of thick snapshots. A table that never was live may still use it, so those are dropped before.
pub(super) fn left_parts(vg: &Vg, devices: &HashMap<String, dm::Device>) -> Vec<Wreck> {
    let mut left = Vec::new();
    for lv in vg.lvs.iter().filter(|lv| !lv.is_thick_snapshot()) {
        let parts = ["real", "cow"].map(|suffix| lv.dm_uuid(vg, suffix));
        for uuid in parts {
            let is_unused = devices.get(&uuid).is_some_and(|part| part.open_count == 0);
            // An external origin of thin volumes has such a part too.
            if is_unused && !vg.lvs.iter().any(|other| other.origin == lv.name) {
                left.push(Wreck::LeftPart {
                    name: lv.name.clone(),
                    uuid,
                    ours: vg.is_ours(lv),
                });
            }
        }
    }
    left
}

/// The volume or pool that a hidden LV is a part of, by its name (`pool_tdata`,
/// `pool_tdata_rimage_0`); any other LV itself.
fn whole<'a>(vg: &'a Vg, lv: &'a Lv) -> &'a Lv {
    let is_part = |of: &&Lv| {
        let rest = lv.name.strip_prefix(&of.name);
        !of.hidden && rest.is_some_and(|rest| rest.starts_with('_'))
    };
    let wholes = vg.lvs.iter().filter(|_| lv.hidden).filter(is_part);
    wholes.max_by_key(|of| of.name.len()).unwrap_or(lv)
}

fn pool_wreck(vg: &Vg, pool: &Lv, devices: &HashMap<String, dm::Device>) -> Option<Wreck> {
    let ours = vg.is_ours(pool);
    let whole = ["tpool", ""]
        .iter()
        .find_map(|suffix| devices.get(&pool.dm_uuid(vg, suffix)));
    let hidden = [
        (format!("{}_tmeta", pool.name), "tmeta"),
        (format!("{}_tdata", pool.name), "tdata"),
    ];
    let parts: Vec<&dm::Device> = hidden
        .iter()
        .filter_map(|(name, suffix)| devices.get(&vg.hidden(name)?.dm_uuid(vg, suffix)))
        .collect();
    if let Some(device) = whole {
        let stopped = !device.live || device.suspended || parts.iter().any(|part| part.suspended);
        return stopped.then(|| Wreck::StoppedPool {
            pool: pool.name.clone(),
            ours,
        });
    }
    // A part that is open is in use by somebody (a repair, an activation that goes on), and
    // one that is read-only was activated by itself, to be looked at (lvmthin(7)).
    let unused = |part: &&dm::Device| part.open_count == 0 && !part.readonly;
    (!parts.is_empty() && parts.iter().all(unused)).then(|| Wreck::HalfPool {
        pool: pool.name.clone(),
        parts: parts.iter().map(|p| p.uuid.clone()).collect(),
        ours,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::report;

    fn vg() -> Vg {
        report::parse(include_bytes!(
            "../../../tests/fixtures/fullreport-lvm2-2.03.31.json"
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
            loaded: false,
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
        let mut devices = all_active(&vg);
        devices.remove(&vg.pool("pool").unwrap().dm_uuid(&vg, "tpool"));
        let tmeta = vg.hidden("pool_tmeta").unwrap().dm_uuid(&vg, "tmeta");
        devices.extend([dev(&tmeta, 0)]);
        assert_eq!(
            diagnose(&vg, &devices),
            [Wreck::HalfPool {
                pool: "pool".into(),
                parts: vec![tmeta.clone()],
                ours: false,
            }]
        );
        devices.get_mut(&tmeta).unwrap().readonly = true;
        assert_eq!(
            diagnose(&vg, &devices),
            [],
            "somebody looks at a part of an inactive pool"
        );
        devices.extend([dev(&tmeta, 1)]);
        assert_eq!(
            diagnose(&vg, &devices),
            [],
            "an open part is in use by somebody"
        );
    }

    #[test]
    fn a_part_of_a_thick_snapshot_is_left_over_where_there_is_none_and_nobody_uses_it() {
        let vg = vg();
        let mut devices = all_active(&vg);
        let cow = vg.lv("cow").unwrap();
        let origin = vg.lv(&cow.origin).unwrap();
        let inactive = vg.lv("inactive").unwrap();
        let parts = [(origin, "real"), (cow, "cow"), (inactive, "real")];
        let [_, _, left] = parts.map(|(lv, suffix)| lv.dm_uuid(&vg, suffix));
        devices.extend(parts.map(|(lv, suffix)| dev(&lv.dm_uuid(&vg, suffix), 0)));
        let found = Wreck::LeftPart {
            name: "inactive".into(),
            uuid: left.clone(),
            ours: false,
        };
        assert_eq!(left_parts(&vg, &devices), [found]);
        devices.get_mut(&left).unwrap().open_count = 1;
        assert_eq!(left_parts(&vg, &devices), []);
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

    #[test]
    fn what_is_suspended_is_a_wreck_and_what_has_another_owner_is_not_ours() {
        let mut vg = vg();
        let mut devices = all_active(&vg);
        let tpool = vg.pool("pool").unwrap().dm_uuid(&vg, "tpool");
        let t1 = vg.lv("t1").unwrap().dm_uuid(&vg, "");
        for uuid in [&tpool, &t1] {
            devices.get_mut(uuid).unwrap().suspended = true;
        }
        let stopped = Wreck::StoppedPool {
            pool: "pool".into(),
            ours: false,
        };
        let suspended = |ours| Wreck::Suspended {
            name: "t1".into(),
            ours,
        };
        assert_eq!(diagnose(&vg, &devices), [stopped.clone(), suspended(false)]);
        let tag = |vg: &mut Vg, tags: &[&str]| {
            let lv = vg.lvs.iter_mut().find(|lv| lv.name == "t1").unwrap();
            lv.tags = tags.iter().map(|t| (*t).to_owned()).collect();
        };
        tag(&mut vg, &["basalt.lv=a", "basalt.owner=x"]);
        assert_eq!(diagnose(&vg, &devices), [stopped.clone(), suspended(true)]);
        tag(&mut vg, &["basalt.state=wiping", "basalt.owner=y"]);
        let foreign = Wreck::Wiping {
            name: "t1".into(),
            ours: false,
        };
        assert_eq!(diagnose(&vg, &devices), [stopped, foreign]);
    }

    #[test]
    fn a_table_that_was_never_live_is_found_in_every_part_and_before_all_else() {
        let vg = vg();
        let mut devices = all_active(&vg);
        let t1 = vg.lv("t1").unwrap().dm_uuid(&vg, "");
        devices.get_mut(&t1).unwrap().suspended = true;
        let tdata = vg.hidden("pool_tdata").unwrap().dm_uuid(&vg, "tdata");
        devices.extend([dev(&tdata, 1)]);
        for uuid in [&t1, &tdata] {
            devices.get_mut(uuid).unwrap().loaded = true;
        }
        let stale = |name: &str, uuid: &String| Wreck::StaleTable {
            name: name.into(),
            uuid: uuid.clone(),
            ours: false,
        };
        let found = diagnose(&vg, &devices);
        assert!(found[..2].contains(&stale("t1", &t1)), "{found:?}");
        assert!(found[..2].contains(&stale("pool", &tdata)), "{found:?}");
        assert!(matches!(found[2..], [Wreck::Suspended { .. }]), "{found:?}");
    }
}
