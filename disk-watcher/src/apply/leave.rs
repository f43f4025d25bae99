//! The steps of a disk that leaves its group.

use std::path::{Path, PathBuf};

use lvmd::cmd::{Cmd, Runner};
use lvmd::lvm::devices::read_label;
use lvmd::lvm::vg_lock;
use lvmd::volumes::stray_move;
use tracing::info;

use super::readable::Extents;
use super::wreck::erase_label;
use super::{ApplyError, not_done, run, words};
use crate::commands;
use crate::config::DiskClass;
use crate::facts::DiskFacts;
use crate::journal::{Claim, Journal, Leaving};
use crate::node::{NodeReader, chain};
use crate::removal::{self, Around};

/// The group of the claim as the removal sees it, with the devices of its PVs. `staying`
/// says which PVs are not on their way out.
///
/// # Errors
/// When LVM's state cannot be told.
pub async fn around<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    claim: &Claim,
    staying: impl Fn(&str) -> bool,
) -> Result<Option<(Around, Vec<PathBuf>, Vec<PathBuf>)>, String> {
    let snapshot = node
        .snapshot(std::slice::from_ref(&claim.volume_group))
        .await?;
    let Some(view) = snapshot.vg(&claim.volume_group) else {
        return Ok(None);
    };
    let vg = &view.vg;
    let member = |uuid: &str| journal.claim(uuid).is_some_and(|c| c.class == claim.class);
    let others = || {
        vg.pvs
            .iter()
            .filter(|pv| pv.uuid != claim.pv_uuid && staying(&pv.uuid))
    };
    let around = Around {
        uuid: vg.uuid.clone(),
        ours: vg.owner() == Some(journal.owner())
            && claim.vg_uuid.as_ref() == Some(&vg.uuid)
            && vg.pvs.iter().all(|pv| member(&pv.uuid)),
        frozen: view.frozen.iter().map(ToString::to_string).collect(),
        used: vg
            .pvs
            .iter()
            .find(|pv| pv.uuid == claim.pv_uuid)
            .map(|pv| pv.used_extents),
        staying: others().count(),
        room: others()
            .map(|pv| pv.extent_count.saturating_sub(pv.used_extents))
            .sum(),
        moving: vg.is_moving(),
        rest: (vg.lvs.iter().find(|lv| lv.is_rest_of_move())).map(|lv| lv.name.clone()),
    };
    let to = others().map(|pv| PathBuf::from(&pv.device)).collect();
    Ok(Some((around, view.devices.clone(), to)))
}

/// Removes devices that pvmoves left which were killed ([`stray_move`]): beside one no pvmove would begin, or what it maps
/// could not be removed.
///
/// # Errors
/// When that cannot be told or done.
pub async fn clear_strays<R: Runner + Clone>(
    node: &NodeReader<R>,
    group: &str,
) -> Result<(), String> {
    let groups = [group.to_owned()];
    let what = format!("what pvmoves left of {group}");
    let snapshot = node.snapshot(&groups).await?;
    let Some(vg) = snapshot.vg(group).map(|view| view.vg.clone()) else {
        return Ok(());
    };
    let found = node.patience().ask(&what, move || stray_move::find(&vg));
    let found = found.await.map_err(|e| e.to_string())?;
    if found.map_err(|e| e.to_string())?.is_empty() {
        return Ok(());
    }
    let held = vg_lock::exclusive(group).await?;
    node.forget().await;
    let snapshot = node.snapshot(&groups).await?;
    let Some(vg) = snapshot.vg(group).map(|view| view.vg.clone()) else {
        return Ok(());
    };
    let remove = move || stray_move::remove(&held, &vg);
    let removed = node.patience().ask(&what, remove).await;
    let removed = removed.map_err(|e| e.to_string())?;
    for device in removed.map_err(|e| e.to_string())? {
        info!(%group, %device, "a device that a killed pvmove left is removed");
    }
    Ok(())
}

/// The pvmove of the next piece of at most `most` extents, as a command; `None` when nothing
/// is left to move.
///
/// # Errors
/// When lvm does not say what is where on the disk.
pub async fn piece<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    devices: &[PathBuf],
    disk: &Path,
    to: &[PathBuf],
    most: u64,
) -> Result<Option<(Extents, Cmd)>, ApplyError> {
    let failed = |why: String| not_done("pvmove", why);
    let call = commands::pv_segments(devices, disk);
    let cmd = node.tool().call(None, &call.devices, &call.args);
    let out = node.runner().run(cmd.map_err(|e| failed(chain(&e)))?).await;
    let text = out.map_err(|e| failed(chain(&e)))?.stdout;
    let segments = removal::segments(&String::from_utf8_lossy(&text))
        .ok_or_else(|| failed("what lvm says of the disk is not understood".into()))?;
    let Some((runs, size)) = removal::piece(&segments, most) else {
        return Ok(None);
    };
    let call = commands::pvmove(devices, disk, &runs, to);
    let cmd = node
        .tool()
        .call(Some(&class.volume_group.name), &call.devices, &call.args);
    let extents = Extents {
        disk: disk.to_owned(),
        runs,
        size,
    };
    cmd.map(|cmd| Some((extents, cmd)))
        .map_err(|e| failed(chain(&e)))
}

/// Writes down how far the disk is on its way out.
///
/// # Errors
/// When that is not on disk; nothing may be changed then.
pub fn record(
    journal: &mut Journal,
    claim: &Claim,
    leaving: Option<Leaving>,
) -> Result<(), ApplyError> {
    let mut next = claim.clone();
    next.leaving = leaving;
    Ok(journal.record(next)?)
}

/// Takes an empty disk out of its group, then looks. The caller has recorded the intent.
pub async fn reduce<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
    claim: &Claim,
    devices: &[PathBuf],
    disk: &Path,
) -> Result<(), ApplyError> {
    let said = run(node, class, &commands::vgreduce(class, devices, disk)).await;
    let seen = around(node, journal, claim, |_| true).await;
    match seen.map_err(|why| not_done("vgreduce", why))? {
        Some((group, ..)) if group.used.is_none() => {
            info!(disk = %claim.disk, group = %claim.volume_group, "left its group");
            Ok(())
        }
        _ => Err(not_done(
            "vgreduce",
            words(said, "the group still lists it"),
        )),
    }
}

/// Has LVM write to a disk that its group does not list any more, then looks at the disk.
pub async fn tidy<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    devices: &[PathBuf],
    disk: &Path,
) -> Result<(), ApplyError> {
    let call = commands::vgck(class, devices, disk);
    let before = read_label(disk).ok();
    let said = run(node, class, &call).await;
    if read_label(disk).ok() != before {
        return Ok(());
    }
    Err(not_done("vgck", words(said, "the disk is as it was")))
}

/// Removes the PV of a disk that is in no group, then looks. `erase`: LVM would want to be
/// forced, since the label says that it is in a group which does not list it; see
/// [`erase_label`].
pub async fn remove_pv<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
    claim: &Claim,
    facts: &DiskFacts,
    erase: bool,
) -> Result<(), ApplyError> {
    let path = PathBuf::from(facts.node());
    let said = if erase {
        erase_label(node, journal, claim, facts).await?;
        Ok(())
    } else {
        run(node, class, &commands::pvremove(&path)).await
    };
    match read_label(&path) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(not_done("pvremove", words(said, "the label stands"))),
        Err(error) => Err(not_done("pvremove", error.to_string())),
    }
}
