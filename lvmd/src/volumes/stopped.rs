//! A thin pool that a cut-off command left suspended.
//!
//! LVM stops a pool and its parts for each growth of a volume in it, commits, and lets them
//! go on. Cut off in between, LVM 2.03.31 does not find out: a refresh of the volume that
//! grew loads its new table first, which the kernel refuses while the pool is suspended
//! (EINVAL), and that of another volume waits for the pool for ever. So the pool goes on as
//! it was, with its live tables, and LVM does the rest.
//!
//! That is right only if the metadata says the same of where the pool's data is. A command
//! that moves or converts the parts has other tables or other segments half-way, and such a
//! pool stays as it is: linear or striped segments of the same length, straight on PVs, and
//! no move under way.

use std::io;
use std::os::unix::fs::MetadataExt;

use nix::libc::{major, minor};
use tracing::info;

use crate::dm::Control;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::VgView;
use crate::lvm::vg_lock::VgLock;
use crate::units::SECTOR;

/// Lets the parts of the pool and the pool itself go on, as far as they are suspended, while LVM's lock of the VG is
/// held, so that no command is at work.
///
/// # Errors
/// When the metadata says anything else of where the pool's data is, or device-mapper refuses.
pub fn go_on(_held: &VgLock, view: &VgView, pool: &Lv) -> Result<(), String> {
    let control = Control::open().map_err(|e| e.to_string())?;
    if view.vg.is_moving() {
        return Err("extents of the group are being moved".into());
    }
    let mut uuids = Vec::new();
    for (name, suffix) in parts(pool) {
        let part = view.vg.hidden(&name);
        let part = part.ok_or(format!("{name} is not there"))?;
        is_as_noted(&control, view, part, suffix)?;
        uuids.push(part.dm_uuid(&view.vg, suffix));
    }
    // From below: nothing may reach a part that is stopped.
    uuids.push(pool.dm_uuid(&view.vg, "tpool"));
    for uuid in uuids {
        let device = control.device(&uuid).map_err(|e| e.to_string())?;
        let Some(device) = device.filter(|device| device.live) else {
            continue;
        };
        if device.loaded {
            control.drop_loaded(&uuid).map_err(|e| e.to_string())?;
        }
        if device.suspended {
            control.resume(&uuid).map_err(|e| format!("{uuid}: {e}"))?;
            info!(vg = %view.vg.name, pool = %pool.name, device = %uuid, "goes on as it was");
        }
    }
    Ok(())
}

/// Those devices of the pool that are suspended now, as a command at work leaves them for a moment, by their names
/// in LVM.
///
/// # Errors
/// When device-mapper cannot be asked.
pub fn suspended(vg: &Vg, pool: &Lv) -> io::Result<Vec<String>> {
    let control = Control::open()?;
    let mut devices = vec![(pool.name.clone(), pool.dm_uuid(vg, "tpool"))];
    for (name, suffix) in parts(pool) {
        let uuid = vg.hidden(&name).map(|part| part.dm_uuid(vg, suffix));
        devices.extend(uuid.map(|uuid| (name, uuid)));
    }
    let mut found = Vec::new();
    for (name, uuid) in devices {
        if control
            .device(&uuid)?
            .is_some_and(|device| device.suspended)
        {
            found.push(name);
        }
    }
    Ok(found)
}

/// The parts of a pool: their names in LVM, and what their device-mapper UUIDs end with.
fn parts(pool: &Lv) -> [(String, &'static str); 2] {
    ["tmeta", "tdata"].map(|part| (format!("{}_{part}", pool.name), part))
}

/// Whether the live table of a part maps what the metadata says, as far as lengths and
/// devices tell.
fn is_as_noted(control: &Control, view: &VgView, part: &Lv, suffix: &str) -> Result<(), String> {
    let differs = |why: String| Err(format!("{} is not as its metadata says: {why}", part.name));
    if !matches!(part.segtype.as_str(), "linear" | "striped") {
        return differs(format!("it is of type {}", part.segtype));
    }
    let table = control.table(&part.dm_uuid(&view.vg, suffix));
    let table = table.map_err(|e| e.to_string())?.unwrap_or_default();
    let sectors: u64 = table.iter().map(|target| target.length).sum();
    if sectors * SECTOR != part.size.0 {
        return differs(format!("its device has {sectors} sectors"));
    }
    let pvs: Vec<String> = view
        .devices
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|file| format!("{}:{}", major(file.rdev()), minor(file.rdev())))
        .collect();
    for target in &table {
        let mut below = target.params.split(' ').filter(|word| word.contains(':'));
        let known = matches!(target.kind.as_str(), "linear" | "striped");
        if !known || !below.all(|device| pvs.iter().any(|pv| pv == device)) {
            return differs(format!("it maps {} {}", target.kind, target.params));
        }
    }
    Ok(())
}
