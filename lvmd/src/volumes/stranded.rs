//! A device that was left on a disk that is gone.
//!
//! A disk that is pulled while it is in use stays in the tables of the devices on it, under a number that no disk has any
//! more and none gets while they are there. Plugged in again it has another number, LVM sees it, and the volumes stay on
//! the old one until their tables are loaded anew (`lvchange --refresh`). That is not done while something has the
//! volume open: what a file system holds in memory is not what is on the disk that comes back.
//!
//! A thin pool holds its own metadata in memory, and may not have been able to write it. It is never loaded anew under
//! that; it is deactivated with all its volumes, which the kernel refuses while one is open, and activated as after a power
//! cut: from what was committed to the disk, once thin_check found it sound.

use std::io;
use std::path::{Path, PathBuf};

use super::{VolumeError, open_mapper};
use crate::dm;
use crate::lvm::model::{Lv, Vg};

/// How deep devices are stacked at most: volume, pool, part of the pool, RAID, its leg, and room.
const DEPTH: u32 = 8;

/// What a stranded device needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stranded {
    /// Nobody has it open and it is on the disk alone: its table can be loaded anew.
    Idle,
    /// Something has it open.
    InUse,
    /// It is in a pool of which nobody has anything open: the pool can be deactivated and activated.
    IdlePool,
    /// It is in a pool of which these volumes, or the pool itself, are open.
    PoolInUse(Vec<String>),
    /// It is built on devices that are on the disk: it has a snapshot or a cache.
    Stacked,
}

impl Stranded {
    /// What is wrong and what a person can do.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Idle => {
                "its device is on a disk that is gone; it is loaded anew when it is next used".to_owned()
            }
            Self::InUse => "its device is on a disk that is gone; end what uses it".to_owned(),
            Self::IdlePool => {
                "its thin pool is on a disk that is gone; the pool is activated anew when one of its volumes is next used"
                    .to_owned()
            }
            Self::PoolInUse(open) => format!(
                "its thin pool is on a disk that is gone; end what uses the volumes of the pool, and it is activated anew \
                 when one of them is next used; in use: {}",
                open.join(", ")
            ),
            Self::Stacked => {
                "what it is built on is on a disk that is gone; when the disk is back, end what uses the volumes on it, \
                 deactivate them (lvchange -an) and activate them again, or reboot the node"
                    .to_owned()
            }
        }
    }
}

/// Whether and how the device of a volume is stranded.
pub(super) fn of(vg: &Vg, lv: &Lv) -> Result<Option<Stranded>, VolumeError> {
    let refused = |error: io::Error| VolumeError::Mapper(error.to_string());
    let control = open_mapper()?;
    let uuid = lv.dm_uuid(vg, "");
    let Some(device) = control.device(&uuid).map_err(refused)? else {
        return Ok(None);
    };
    let table = control.table(&uuid).map_err(refused)?.unwrap_or_default();
    if !is_on_gone_disk(&control, &table, DEPTH).map_err(refused)? {
        return Ok(None);
    }
    let all = |kinds: &[&str]| {
        let mut table = table.iter();
        table.all(|target| kinds.contains(&target.kind.as_str()))
    };
    // Only a linear table has nothing between the volume and its disks that somebody else may have open.
    Ok(Some(if all(&["linear", "striped"]) {
        if device.open_count > 0 {
            Stranded::InUse
        } else {
            Stranded::Idle
        }
    } else if all(&["thin"]) {
        let open = open_of_pool(&control, vg, &lv.pool).map_err(refused)?;
        if open.is_empty() {
            Stranded::IdlePool
        } else {
            Stranded::PoolInUse(open)
        }
    } else {
        Stranded::Stacked
    }))
}

/// A pool and the volumes in it, the pool last.
pub(super) fn with_pool<'a>(vg: &'a Vg, pool: &'a str) -> impl Iterator<Item = &'a Lv> {
    let volumes = vg.lvs.iter().filter(move |lv| lv.pool == pool);
    volumes.chain(vg.pool(pool))
}

/// Which of the pool and its volumes somebody has open.
fn open_of_pool(control: &dm::Control, vg: &Vg, pool: &str) -> io::Result<Vec<String>> {
    let mut open = Vec::new();
    for lv in with_pool(vg, pool) {
        let device = control.device(&lv.dm_uuid(vg, ""))?;
        if device.is_some_and(|device| device.open_count > 0) {
            open.push(lv.name.clone());
        }
    }
    Ok(open)
}

/// Whether a device with this table, or one below it, is mapped to a number that no device has. What has a leg left
/// (RAID, mirror) works without the others.
fn is_on_gone_disk(control: &dm::Control, table: &[dm::Target], depth: u32) -> io::Result<bool> {
    let redundant = |target: &&dm::Target| target.kind == "raid" || target.kind == "mirror";
    let table = table.iter().filter(|target| !redundant(target));
    for devno in table.flat_map(|target| devnos(&target.params)) {
        let dir = sysfs(devno)?;
        if !dir.exists() {
            return Ok(true);
        }
        let below = std::fs::read_to_string(dir.join("dm/uuid"));
        let (Ok(below), Some(depth)) = (below, depth.checked_sub(1)) else {
            continue;
        };
        let below = control.table(below.trim())?.unwrap_or_default();
        if is_on_gone_disk(control, &below, depth)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where sysfs has the device of this number, if it is there.
fn sysfs((major, minor): (u32, u32)) -> io::Result<PathBuf> {
    let all = Path::new("/sys/dev/block");
    // Without sysfs every disk would look gone.
    all.metadata()?;
    Ok(all.join(format!("{major}:{minor}")))
}

/// The devices that a target's table names: every table of LVM's has them as `major:minor`.
fn devnos(params: &str) -> impl Iterator<Item = (u32, u32)> {
    params.split_ascii_whitespace().filter_map(|word| {
        let (major, minor) = word.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_of_each_kind_of_table_are_found() {
        for (params, expected) in [
            ("8:0 2048", vec![(8, 0)]),
            ("254:3 17", vec![(254, 3)]),
            (
                "254:0 254:1 128 0 1 skip_block_zeroing",
                vec![(254, 0), (254, 1)],
            ),
            (
                "raid1 3 0 region_size 4096 2 254:2 254:3 254:4 254:5",
                vec![(254, 2), (254, 3), (254, 4), (254, 5)],
            ),
            ("", vec![]),
        ] {
            assert_eq!(devnos(params).collect::<Vec<_>>(), expected, "{params}");
        }
    }
}
