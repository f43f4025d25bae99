//! What to do next for a class, from what the journal says and what is on the disks.
//! Pure: the table of the specification (resume after any cut), as code.

#[cfg(test)]
pub(crate) mod tests;

use lvmd::units::Bytes;

use crate::config::{DiskClass, Mode};
use crate::facts::DiskId;
use crate::journal::{Claim, Stage};

/// What stands on a claimed disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The disk is not there.
    Gone,
    /// No label: cut before pvcreate wrote it.
    NoLabel,
    /// No label, and for so long something has stood against ours on it that nobody waits for it any more.
    Refused(String),
    /// A PV with our UUID in no group: cut between pvcreate and vgcreate.
    Orphan,
    /// A PV with our UUID that says it belongs to a group, without any committed
    /// metadata.
    Wreck {
        /// The proof that is missing for its being ours to erase; `None`: all hold.
        lacks: Option<String>,
    },
    /// A PV with our UUID and committed metadata of the group with this UUID.
    InGroup {
        /// The group's UUID.
        vg_uuid: String,
        /// The size of the disk now.
        size: Bytes,
    },
    /// It could not be read, or it is not understood.
    Unknown(String),
}

/// The class's group as LVM shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its UUID.
    pub uuid: String,
    /// How often it was changed.
    pub seqno: u64,
    /// It carries our owner's and this class's tag.
    pub ours: bool,
    /// It is not ours, and a person named its UUID for adoption.
    pub adopt: bool,
    /// Why it must not be changed; empty when it may.
    pub frozen: Vec<String>,
    /// The UUIDs of its PVs.
    pub pv_uuids: Vec<String>,
    /// Not all of its disks have its metadata as it is now.
    pub copies_differ: bool,
    /// The pool, when the class wants one.
    pub pool: Pool,
}

/// The class's thin pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pool {
    /// The class wants none.
    NotWanted,
    /// It is not there.
    Absent,
    /// It is there and tagged as being made.
    Creating,
    /// It is there.
    Made,
    /// It is not there; a cut lvcreate left this volume, which is proven to be ours.
    HalfMade {
        /// The volume's name.
        name: String,
        /// Its UUID.
        uuid: String,
    },
    /// It is not there, and the group has a thin pool of this other name. A group gets one
    /// pool: a slip in the class's name must not split its room in two and leave the pool
    /// that has the data without care.
    OtherName(String),
    /// An LV of its name is there and is no pool.
    Other {
        /// The proof that is missing for its being our half-made pool.
        lacks: String,
    },
}

/// The next step for a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing is claimed, or all is done.
    Nothing,
    /// All is done now; the claims are to say so.
    Finish,
    /// Something outside is waited for.
    Wait(String),
    /// Write our label to the disk of this claim.
    Label(String),
    /// Erase our own half-written label from the disk of this claim; proven to be ours.
    CleanWreck(String),
    /// Make the group of the PVs of these claims.
    MakeGroup(Vec<String>),
    /// Tag the group as ours; a person said so.
    Adopt,
    /// Have LVM write the group's newest metadata to all its disks.
    Rewrite,
    /// Add the PVs of these claims to the group.
    Extend(Vec<String>),
    /// Remove the volume that a cut lvcreate left of the pool; proven to be ours.
    CleanPool {
        /// Its name.
        name: String,
        /// Its UUID.
        uuid: String,
    },
    /// Make the pool.
    MakePool,
    /// The pool is whole; take its "creating" tag away.
    FinishPool,
    /// The disk of this claim became larger; its PV is to follow.
    Grow(String),
    /// Nothing is done until a person has looked.
    Frozen(String),
}

/// Decides. `claims` are the class's claims with what stands on their disks.
pub fn next(class: &DiskClass, claims: &[(&Claim, Found)], group: Option<&Group>) -> Next {
    if claims.is_empty() && group.is_none_or(|group| !group.ours && !group.adopt) {
        return Next::Nothing;
    }
    if class.mode != Mode::Enforce {
        return Next::Wait(format!("class {} is in mode {:?}", class.name, class.mode));
    }
    match group {
        Some(group) => in_group(class, claims, group),
        None => before_group(class, claims),
    }
}

/// Whether disks may join the group. One with a PV that we did not make was adopted: its
/// pool and the care of it are ours, its disks are not.
pub fn may_grow<'a>(group: &Group, claims: impl IntoIterator<Item = &'a Claim>) -> bool {
    let ours: Vec<&str> = claims.into_iter().map(|c| c.pv_uuid.as_str()).collect();
    let all_ours = group
        .pv_uuids
        .iter()
        .all(|uuid| ours.contains(&uuid.as_str()));
    group.ours && group.frozen.is_empty() && all_ours
}

fn before_group(class: &DiskClass, claims: &[(&Claim, Found)]) -> Next {
    let members: Vec<_> = claims
        .iter()
        .filter(|(claim, _)| claim.stage >= Stage::Grouped)
        .collect();
    if let Some((claim, _)) = members.first() {
        let away = members.iter().any(|(_, found)| *found == Found::Gone);
        let what = match away {
            true => "plug its disks in again",
            false => {
                "its disks are there and do not tell of it: `disk-watcher restore-plan` prints how a person brings it back"
            }
        };
        return Next::Frozen(format!(
            "group {} was made with PV {} and is not there now; {what}",
            class.volume_group.name, claim.pv_uuid
        ));
    }
    let unseen = unseen(claims, &[]);
    if let Some((claim, vg_uuid)) = claims.iter().find_map(|(claim, found)| match found {
        Found::InGroup { vg_uuid, .. } => Some((claim, vg_uuid)),
        _ => None,
    }) {
        return Next::Frozen(format!(
            "PV {} has metadata of group {vg_uuid}, which LVM does not show",
            claim.pv_uuid
        ));
    }
    let mut ready = Vec::new();
    for (claim, found) in claims {
        let uuid = claim.pv_uuid.clone();
        match found {
            Found::NoLabel => return Next::Label(uuid),
            Found::Orphan => ready.push(uuid),
            Found::Wreck { lacks: None } if unseen.is_none() => return Next::CleanWreck(uuid),
            Found::Wreck { lacks: None } => return Next::Wait(must_see(&uuid, unseen)),
            Found::Wreck { lacks: Some(proof) } => {
                return Next::Frozen(format!(
                    "PV {uuid} says it belongs to a group and has no metadata; it is not proven to be our own half-made one: {proof}"
                ));
            }
            Found::InGroup { .. } | Found::Refused(_) => {}
            Found::Unknown(why) => {
                return Next::Wait(format!("disk {} cannot be read: {why}", claim.disk));
            }
            // A disk that was never labelled and is gone holds nobody up.
            Found::Gone if claim.stage == Stage::Claimed => {}
            Found::Gone => {
                return Next::Wait(format!("disk {} is gone; plug it in again", claim.disk));
            }
        }
    }
    let enough = usize::try_from(class.limits.min_disks).unwrap_or(usize::MAX);
    if ready.len() >= enough.max(1) {
        Next::MakeGroup(ready)
    } else {
        Next::Wait(format!("{} of {enough} disks (minDisks)", ready.len()))
    }
}

/// A disk that is in no group we see and cannot be looked at now. It may carry metadata
/// that lists the others.
fn unseen<'a>(claims: &'a [(&Claim, Found)], members: &[String]) -> Option<&'a DiskId> {
    claims
        .iter()
        .filter(|(claim, _)| !members.contains(&claim.pv_uuid))
        .find(|(_, found)| matches!(found, Found::Gone | Found::Unknown(_)))
        .map(|(claim, _)| &claim.disk)
}

fn must_see(uuid: &str, unseen: Option<&DiskId>) -> String {
    format!(
        "PV {uuid} was left half-made; before its label is erased, every disk of the class must be seen to be in no group, and {} is not",
        unseen.map_or("?", DiskId::as_str)
    )
}

fn in_group(class: &DiskClass, claims: &[(&Claim, Found)], group: &Group) -> Next {
    if group.adopt && group.frozen.is_empty() {
        return Next::Adopt;
    }
    if !group.ours && !group.adopt {
        return Next::Frozen("a group of the class's name is there and does not carry our tags; rename it or the class's group".into());
    }
    if !group.frozen.is_empty() {
        return Next::Frozen(group.frozen.join("; "));
    }
    // What is left of a pool is told by the number of changes since, and this is one.
    let counts = matches!(group.pool, Pool::HalfMade { .. });
    if group.copies_differ && !counts && may_grow(group, claims.iter().map(|(claim, _)| *claim)) {
        return Next::Rewrite;
    }
    let unseen = unseen(claims, &group.pv_uuids);
    let may_join = may_grow(group, claims.iter().map(|(claim, _)| *claim));
    let mut ready = Vec::new();
    for (claim, found) in claims {
        let uuid = claim.pv_uuid.clone();
        if group.pv_uuids.contains(&uuid) {
            continue;
        }
        if claim.stage >= Stage::Grouped {
            return Next::Frozen(format!(
                "disk {} was in the group and is no longer; nobody asked for that",
                claim.disk
            ));
        }
        match found {
            // It was never a member: nobody waits for it.
            Found::Gone | Found::Refused(_) => {}
            // Claimed before the group came; what is left of that waits for a person, and the pool does not wait for it.
            Found::NoLabel | Found::Orphan | Found::Wreck { lacks: None } if !may_join => {}
            Found::NoLabel => return Next::Label(uuid),
            Found::Orphan => ready.push(uuid),
            Found::Wreck { lacks: None } if unseen.is_none() => return Next::CleanWreck(uuid),
            Found::Wreck { lacks: None } => return Next::Wait(must_see(&uuid, unseen)),
            Found::Unknown(why) => {
                return Next::Wait(format!("disk {} cannot be read: {why}", claim.disk));
            }
            other => {
                return Next::Frozen(format!(
                    "disk {} was claimed and is not in the group: {other:?}",
                    claim.disk
                ));
            }
        }
    }
    if !ready.is_empty() {
        return Next::Extend(ready);
    }
    match &group.pool {
        Pool::Absent => Next::MakePool,
        Pool::Creating => Next::FinishPool,
        Pool::HalfMade { name, uuid } => Next::CleanPool {
            name: name.clone(),
            uuid: uuid.clone(),
        },
        Pool::Other { lacks } => Next::Frozen(format!(
            "a volume of the pool's name is there and is no thin pool; it is not proven to be our own half-made one: {lacks}"
        )),
        Pool::OtherName(other) => Next::Frozen(format!(
            "the group has the thin pool {other}, and the class names another one, which is not made beside it: put {other} into spec.thinPool.name, or rename the pool with lvrename"
        )),
        Pool::NotWanted | Pool::Made => {
            let done = claims.iter().all(|(claim, _)| {
                claim.stage == Stage::Ready || !group.pv_uuids.contains(&claim.pv_uuid)
            });
            if done {
                grown(class, claims, group)
            } else {
                Next::Finish
            }
        }
    }
}

/// A member whose disk is larger than the journal says. The journal's size follows only when
/// the PV was seen to have grown, so a pvresize that was cut off is run again.
fn grown(class: &DiskClass, claims: &[(&Claim, Found)], group: &Group) -> Next {
    let larger = claims.iter().find(|(claim, found)| {
        matches!(found, Found::InGroup { vg_uuid, size } if *vg_uuid == group.uuid && *size > claim.size)
            && group.pv_uuids.contains(&claim.pv_uuid)
    });
    match larger {
        Some((claim, _)) if class.volume_group.grow_pv_on_resize => {
            Next::Grow(claim.pv_uuid.clone())
        }
        _ => Next::Nothing,
    }
}
