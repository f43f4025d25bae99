//! Removing what a cut lvcreate left of our own pool.

use std::io;
use std::path::PathBuf;

use lvmd::cmd::Runner;
use lvmd::dm;
use lvmd::lvm::model::{Lv, Vg};
use lvmd::lvm::mutation::Mutation;
use tracing::{info, warn};

use super::{ApplyError, THRESHOLD, not_done, run, words};
use crate::commands;
use crate::config::{DiskClass, RequireZeroed};
use crate::content;
use crate::journal::Journal;
use crate::leftover::{self, Leftover};
use crate::node::{NodeReader, chain};
use crate::probe::aligned::DirectReader;

const STEP: &str = "removing what is left of a half-made pool";

/// Removes the volume with this UUID, then looks. All proofs are looked at once more; one
/// without our tag is read first, and stays if anything at all stands in it.
///
/// # Errors
/// It is no longer what was seen, or is still there.
pub async fn clean_pool<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
    uuid: &str,
) -> Result<(), ApplyError> {
    let Some(wanted) = &class.thin_pool else {
        return Ok(());
    };
    let other = || not_done(STEP, "it is no longer what was seen".into());
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(STEP, why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|view| view.frozen.is_empty() && view.vg.owner() == Some(journal.owner()))
        .ok_or_else(other)?;
    let making = journal.making(&view.vg.uuid)?;
    let left = leftover::of_pool(making.as_ref(), &view.vg, &wanted.name);
    let is_it = matches!(&left, Leftover::Ours { uuid: seen, .. } if seen == uuid);
    let lv = view.vg.lvs.iter().find(|lv| is_it && lv.uuid == uuid);
    let (Some(lv), Some(mut making)) = (lv, making) else {
        return Err(other());
    };
    if lv.tags.is_empty() {
        let activate = Mutation::Activate {
            name: lv.name.clone(),
        };
        let call = commands::mutation(class, &view.devices, &activate, THRESHOLD);
        let said = run(node, class, &call).await;
        let blank = is_blank(&view.vg, lv).map_err(|why| not_done(STEP, words(said, &why)))?;
        if !blank {
            warn!(group = %view.vg.name, volume = %lv.name, "looks like what is left of our pool, but is not empty: it stays");
            making.volumes.push(lv.uuid.clone());
            return Ok(journal.begin_pool(&making)?);
        }
    }
    let remove = Mutation::Remove {
        name: lv.name.clone(),
        uuid: lv.uuid.clone(),
    };
    let call = commands::mutation(class, &view.devices, &remove, THRESHOLD);
    let said = run(node, class, &call).await;
    let after = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(STEP, why))?;
    let group = after.vgs.iter().find(|after| after.vg.uuid == view.vg.uuid);
    if group.is_none_or(|after| after.vg.lvs.iter().any(|lv| lv.uuid == uuid)) {
        return Err(not_done(STEP, words(said, "it is still there")));
    }
    info!(group = %view.vg.name, volume = %lv.name, %uuid, "removed what a cut lvcreate left of the pool");
    Ok(())
}

/// Whether every byte of an active volume is zero.
fn is_blank(vg: &Vg, lv: &Lv) -> Result<bool, String> {
    let device = |e: io::Error| format!("its device cannot be told: {e}");
    let found = dm::Control::open()
        .and_then(|control| control.device(&lv.dm_uuid(vg, "")))
        .map_err(device)?
        .ok_or("it has no device")?;
    let path = PathBuf::from(format!("/dev/dm-{}", found.devno.1));
    let reader = DirectReader::open(&path).map_err(|e| chain(&e))?;
    content::is_blank_behind(reader.get_ref(), 0, RequireZeroed::Full)
}
