//! The steps on a group: making it, and its pool.

use std::path::PathBuf;

use lvmd::cmd::{CmdError, Runner};
use lvmd::lvm::devices::read_label;
use lvmd::lvm::mutation::Mutation;
use lvmd::names;
use lvmd::units::Bytes;

use super::{ApplyError, THRESHOLD, advance, not_done, run, words};
use crate::commands;
use crate::config::DiskClass;
use crate::copies;
use crate::journal::{Claim, Journal, Making, Stage};
use crate::leftover::{self, Leftover};
use crate::node::{NodeReader, chain};
use crate::resume::{Group, Pool};

/// Makes the group of these labelled disks, then looks.
pub async fn make_group<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &mut Journal,
    class: &DiskClass,
    members: &[(Claim, PathBuf)],
) -> Result<(), ApplyError> {
    let disks: Vec<PathBuf> = members.iter().map(|(_, path)| path.clone()).collect();
    labelled(journal, members)?;
    let owner = journal.owner().to_owned();
    let said = run(node, class, &commands::vgcreate(class, &owner, &disks)).await;
    joined(node, journal, class, members, "vgcreate", said).await
}

/// Adds these labelled disks to the class's group, then looks. Only a group that is whole
/// and ours is changed: with a PV missing, LVM would go ahead and the missing disk could
/// not come back.
pub async fn extend_group<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &mut Journal,
    class: &DiskClass,
    members: &[(Claim, PathBuf)],
) -> Result<(), ApplyError> {
    let step = "vgextend";
    let disks: Vec<PathBuf> = members.iter().map(|(_, path)| path.clone()).collect();
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(step, why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|view| view.frozen.is_empty() && view.vg.owner() == Some(journal.owner()))
        .ok_or_else(|| not_done(step, "the group is not there, not ours or frozen".into()))?;
    labelled(journal, members)?;
    let said = run(
        node,
        class,
        &commands::vgextend(class, &view.devices, &disks),
    )
    .await;
    joined(node, journal, class, members, step, said).await
}

/// That each disk still carries the label we gave it. Where a cut kept that from the journal
/// it is recorded now: a disk that may become a member is one that others wait for.
fn labelled(journal: &mut Journal, members: &[(Claim, PathBuf)]) -> Result<(), ApplyError> {
    for (claim, path) in members {
        let seen = read_label(path)
            .ok()
            .flatten()
            .map(|(label, _)| label.pv_uuid);
        if seen.as_deref() != Some(&claim.pv_uuid) {
            return Err(ApplyError::Changed {
                disk: claim.disk.clone(),
                why: format!("{} no longer carries our label", path.display()),
            });
        }
        if claim.stage < Stage::Labelled {
            advance(journal, claim, Stage::Labelled, None)?;
        }
    }
    Ok(())
}

/// Looks whether the disks are in the group now, and records it.
async fn joined<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &mut Journal,
    class: &DiskClass,
    members: &[(Claim, PathBuf)],
    step: &str,
    said: Result<(), CmdError>,
) -> Result<(), ApplyError> {
    let group = group(node, class, journal)
        .await
        .map_err(|why| not_done(step, why))?;
    let Some(group) = group.filter(|g| {
        g.ours
            && members
                .iter()
                .all(|(claim, _)| g.pv_uuids.contains(&claim.pv_uuid))
    }) else {
        return Err(not_done(
            step,
            words(
                said,
                "LVM does not show the group with our tags and all its disks",
            ),
        ));
    };
    members
        .iter()
        .try_for_each(|(claim, _)| advance(journal, claim, Stage::Grouped, Some(&group.uuid)))
}

/// Makes the pool, then looks.
pub async fn make_pool<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
) -> Result<(), ApplyError> {
    let Some(wanted) = &class.thin_pool else {
        return Ok(());
    };
    let step = "making the thin pool";
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(step, why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|v| v.frozen.is_empty())
        .ok_or_else(|| not_done(step, "the group is not there or frozen".into()))?;
    let geometry = crate::geometry::pool(wanted, view.vg.free_count, view.vg.extent_size)
        .map_err(|e| not_done(step, e.to_string()))?;
    let creation = geometry.creation(wanted, view.vg.extent_size, vec![]);
    journal.begin_pool(&Making {
        vg_uuid: view.vg.uuid.clone(),
        seqno: view.vg.seqno,
        volumes: view.vg.lvs.iter().map(|lv| lv.uuid.clone()).collect(),
        pool: wanted.name.clone(),
        metadata: Bytes(geometry.metadata_extents * view.vg.extent_size.0),
    })?;
    let said = run(
        node,
        class,
        &commands::mutation(class, &view.devices, &creation, THRESHOLD),
    )
    .await;
    match group(node, class, journal).await {
        Ok(Some(Group {
            pool: Pool::Creating | Pool::Made,
            ..
        })) => Ok(()),
        Ok(_) => Err(not_done(step, words(said, "LVM does not show it"))),
        Err(why) => Err(not_done(step, why)),
    }
}

/// Takes the "creating" tag from a pool that is whole, then looks.
pub async fn finish_pool<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
) -> Result<(), ApplyError> {
    let Some(wanted) = &class.thin_pool else {
        return Ok(());
    };
    let step = "finishing the thin pool";
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(step, why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|v| v.frozen.is_empty())
        .ok_or_else(|| not_done(step, "the group is not there or frozen".into()))?;
    let untag = Mutation::Retag {
        name: wanted.name.clone(),
        uuid: None,
        add: vec![],
        remove: vec![names::tag(names::TAG_STATE, names::STATE_CREATING)],
    };
    let said = run(
        node,
        class,
        &commands::mutation(class, &view.devices, &untag, THRESHOLD),
    )
    .await;
    match group(node, class, journal).await {
        Ok(Some(Group {
            pool: Pool::Made, ..
        })) => Ok(journal.pool_made(&view.vg.uuid)?),
        Ok(_) => Err(not_done(step, words(said, "it still carries the tag"))),
        Err(why) => Err(not_done(step, why)),
    }
}

/// The class's group as LVM shows it now.
///
/// # Errors
/// When LVM's state or the journal cannot be told.
pub async fn group<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    journal: &Journal,
) -> Result<Option<Group>, String> {
    let wanted = [class.volume_group.name.clone()];
    let snapshot = node.snapshot(&wanted).await?;
    let Some(view) = snapshot.vg(&class.volume_group.name) else {
        return Ok(None);
    };
    let vg = &view.vg;
    let ours = vg.owner() == Some(journal.owner())
        && names::tag_value(&vg.tags, names::TAG_CLASS) == Some(&class.name);
    let pool = match &class.thin_pool {
        None => Pool::NotWanted,
        Some(wanted) => match vg.pool(&wanted.name) {
            None => {
                let making = journal.making(&vg.uuid).map_err(|e| chain(&e))?;
                match leftover::of_pool(making.as_ref(), vg, &wanted.name) {
                    Leftover::None => match vg.lvs.iter().find(|lv| lv.is_thin_pool()) {
                        Some(other) => Pool::OtherName(other.name.clone()),
                        None => Pool::Absent,
                    },
                    Leftover::Ours { name, uuid } => Pool::HalfMade { name, uuid },
                    Leftover::Lacks(proof) => Pool::Other { lacks: proof },
                }
            }
            Some(lv)
                if names::tag_value(&lv.tags, names::TAG_STATE) == Some(names::STATE_CREATING) =>
            {
                Pool::Creating
            }
            Some(_) => Pool::Made,
        },
    };
    Ok(Some(Group {
        uuid: vg.uuid.clone(),
        seqno: vg.seqno,
        ours,
        adopt: !ours && class.existing.adopt_foreign_vg.contains(&vg.uuid),
        frozen: view.frozen.iter().map(ToString::to_string).collect(),
        pv_uuids: vg.pvs.iter().map(|pv| pv.uuid.clone()).collect(),
        copies_differ: ours && !copies::behind(&vg.uuid, &view.devices).is_empty(),
        pool,
    }))
}
