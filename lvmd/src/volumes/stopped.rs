//! A thin pool that a cut-off command left suspended.
//!
//! LVM stops a pool and its parts for each growth of a volume in it, commits, and lets them
//! go on. Cut off in between, LVM 2.03.31 does not find out: a refresh of the volume that
//! grew loads its new table first, which the kernel refuses while the pool is suspended
//! (EINVAL), and that of another volume waits for the pool for ever. So the pool goes on as
//! it was, with its live tables, and LVM does the rest.
//!
//! That is right only if the committed metadata says the same of where the pool's data is, to
//! the sector. A pvmove that was cut off after its commit is the other way round: the live
//! table of the part still maps the move's mirror, and the one that was loaded is the right
//! one, so that goes live. Where neither is as the metadata says, or extents are still being
//! moved, the pool stays as it is.

mod noted;

use std::io;

use tracing::info;

use self::noted::{Noted, Run};
use crate::dm::{Control, Target};
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::VgView;
use crate::lvm::vg_lock::VgLock;

/// Which of its tables a device goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// The one it has; another that is loaded is dropped.
    Live,
    /// The one that is loaded.
    Loaded,
}

/// Lets the parts of the pool and the pool itself go on, as far as they are suspended, while LVM's lock of the VG is held,
/// so that no command is at work.
///
/// # Errors
/// When the metadata says anything else of where the pool's data is, or device-mapper refuses.
pub fn go_on(_held: &VgLock, view: &VgView, pool: &Lv) -> Result<(), String> {
    let control = Control::open().map_err(|e| e.to_string())?;
    let noted = Noted::read(view)?;
    if noted.is_moving() {
        return Err("extents of the group are being moved".into());
    }
    let mut steps = Vec::new();
    for (name, suffix) in parts(pool) {
        let part = view.vg.hidden(&name);
        let part = part.ok_or(format!("{name} is not there"))?;
        let uuid = part.dm_uuid(&view.vg, suffix);
        let table = right_table(&control, &uuid, &noted.runs(&name)?)
            .map_err(|why| format!("{name} is not as its metadata says: {why}"))?;
        steps.push((uuid, table));
    }
    // From below: nothing may reach a part that is stopped.
    steps.push((pool.dm_uuid(&view.vg, "tpool"), Table::Live));
    for (uuid, table) in steps {
        let device = control.device(&uuid).map_err(|e| e.to_string())?;
        let Some(device) = device.filter(|device| device.live) else {
            continue;
        };
        if device.loaded && table == Table::Live {
            control.drop_loaded(&uuid).map_err(|e| e.to_string())?;
        }
        if device.suspended {
            control.resume(&uuid).map_err(|e| format!("{uuid}: {e}"))?;
            info!(vg = %view.vg.name, pool = %pool.name, device = %uuid, ?table, "goes on");
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

/// Which table of this device has its sectors where they are wanted.
fn right_table(control: &Control, uuid: &str, wanted: &[Run]) -> Result<Table, String> {
    let ask = |table: io::Result<Option<Vec<Target>>>| {
        table
            .map(Option::unwrap_or_default)
            .map_err(|e| e.to_string())
    };
    let live = ask(control.table(uuid))?;
    if Run::all(&live).as_deref() == Some(wanted) {
        return Ok(Table::Live);
    }
    let device = control.device(uuid).map_err(|e| e.to_string())?;
    if device.is_some_and(|device| device.suspended && device.loaded)
        && Run::all(&ask(control.loaded_table(uuid))?).as_deref() == Some(wanted)
    {
        return Ok(Table::Loaded);
    }
    let word = |target: &Target| {
        format!(
            "{}+{} {} {}",
            target.start, target.length, target.kind, target.params
        )
    };
    let live: Vec<String> = live.iter().map(word).collect();
    let wanted: Vec<String> = wanted.iter().map(Run::to_string).collect();
    Err(format!(
        "it maps {}, and not {}",
        live.join(", "),
        wanted.join(", ")
    ))
}
