//! What comes next for a disk that a person wants out of its group. Pure, like [`crate::resume`].
//!
//! What is on the disk is moved a piece at a time, each by a pvmove of its own: between two
//! pieces the group is as it always is, so that its pool can grow, its volumes can be changed
//! (lvm resizes nothing that a pvmove holds), and a request can be taken back. Whatever was
//! cut is seen in the group: what is left to move is what is left on the disk.

#[cfg(test)]
mod tests;

use crate::config::{DiskRemovalRequest, Mode};
use crate::journal::{Leaving, Stage};
use crate::resume::Found;

/// The disk and its group, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The group of the disk's claim; `None` when LVM does not show it.
    pub group: Option<Around>,
    /// What stands on the disk.
    pub found: Found,
}

/// The group, without the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// Its UUID.
    pub uuid: String,
    /// Whether all of its PVs are ours, so that it is ours to make smaller.
    pub ours: bool,
    /// Why it must not be changed; empty when it may.
    pub frozen: Vec<String>,
    /// How many extents of the disk are used; `None` when the group does not list it.
    pub used: Option<u64>,
    /// How many PVs stay.
    pub staying: usize,
    /// How many extents are free on them.
    pub room: u64,
    /// Whether a pvmove is under way or was left behind.
    pub moving: bool,
    /// The empty LV that a pvmove left which was cut off after its move.
    pub rest: Option<String>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nobody asks anything of this disk.
    Nothing,
    /// It is not done, and nothing was changed for it.
    Refuse(String),
    /// Something outside is waited for, and so is everything else in the class.
    Wait(String),
    /// The same, and the rest of the class goes on.
    NotNow(String),
    /// Take back a pvmove that was left behind, since the request is gone.
    Abort,
    /// The request is gone, and the disk is an ordinary member again.
    Return,
    /// Let a pvmove of ours that was left behind come to its end.
    Resume,
    /// Begin the leaving, and then move a piece.
    Move,
    /// Nothing is on it: take it out of the group.
    Reduce,
    /// It is out of the group: remove its PV.
    RemovePv,
    /// vgreduce was cut off before it wrote to the disk: have LVM do that now.
    Tidy,
    /// The same, and nothing but our label is left, which no lvm command removes.
    EraseLabel,
    /// All is done; the claim is withdrawn.
    Done,
}

/// Whether a person wants the disk out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A request stands.
    Yes,
    /// None does; one that did was taken back.
    No,
    /// The API server has not told yet.
    Unknown,
}

impl Asked {
    /// What is known of it. `unheard`: there may be requests that nobody told of yet.
    pub fn of(request: Option<&DiskRemovalRequest>, unheard: bool) -> Self {
        match request {
            Some(request) if request.certain => Self::Yes,
            None if !unheard => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// What is said while it is not known whether a request stands.
pub const UNHEARD: &str = "the API server has not told yet whether the request still stands; until then nothing is done for it";

/// Decides.
pub fn next(asked: Asked, leaving: Option<Leaving>, world: &World) -> Next {
    if asked != Asked::Yes && leaving.is_none() {
        return Next::Nothing;
    }
    let asked = match asked {
        Asked::Yes => true,
        Asked::No => false,
        Asked::Unknown => return Next::Wait(UNHEARD.into()),
    };
    let Some(group) = &world.group else {
        return Next::Wait("its group is not there".into());
    };
    if !group.frozen.is_empty() {
        return Next::Wait(group.frozen.join("; "));
    }
    match group.used {
        Some(used) => inside(asked, leaving, group, used),
        None if leaving == Some(Leaving::Reducing) => outside(group, &world.found),
        None => Next::Refuse(
            "it is in no group of ours; where its label was wiped, `lost: true` has its claim forgotten"
                .into(),
        ),
    }
}

/// Whether a pvmove of ours was left behind. It is brought to its end even while nothing is begun, whatever is asked: until
/// then nothing of the group can be extended, and its pool may fill. Only for a class that may act, though: of another nothing
/// is written, and its pool is not extended either.
pub fn is_left_behind(mode: Mode, leaving: Option<Leaving>, group: &Around) -> bool {
    mode == Mode::Enforce
        && leaving.is_some()
        && group.moving
        && group.used.is_some()
        && group.frozen.is_empty()
}

/// The empty LV that a pvmove of ours left, to be removed: no pvmove of LVM's does, and with it each
/// reading of the group asks lvm.
pub fn rest(leaving: Option<Leaving>, group: &Around) -> Option<&str> {
    let may = leaving.is_some() && !group.moving && group.frozen.is_empty();
    group.rest.as_deref().filter(|_| may)
}

/// Decides for a disk that a person says is gone for good, or is there and has lost its label, as one that was wiped. Nothing
/// is written to any disk: the claim is withdrawn once no group counts on the disk. `bearer` names a disk that tells of the
/// group of the claim, `unseen` one that may: it is not there, or was not read.
pub fn given_up(world: &World, bearer: Option<&str>, unseen: Option<&str>) -> Next {
    match &world.found {
        Found::Gone | Found::NoLabel => {}
        Found::Unknown(why) | Found::Refused(why) => {
            return Next::NotNow(format!("what is on it cannot be told: {why}"));
        }
        Found::Orphan | Found::Wreck { .. } | Found::InGroup { .. } => {
            return Next::Refuse(
                "the disk is there, with its label; take `lost` out of the request to have it leave its group"
                    .into(),
            );
        }
    }
    match (&world.group, bearer) {
        (Some(group), _) if group.used.is_some() => Next::Refuse(
            "its group counts on it still: plug it in again; or give up what was on it, and take it out of the group with `vgreduce --removemissing`"
                .into(),
        ),
        (Some(group), _) if !group.frozen.is_empty() => Next::NotNow(group.frozen.join("; ")),
        (None, Some(disk)) => {
            Next::NotNow(format!("{disk} tells of its group, which is not there"))
        }
        // Without its claim another class could take it for a blank disk, while its group waits to come back.
        (None, None) if world.found == Found::NoLabel && unseen.is_some() => {
            Next::NotNow(format!(
                "the disk is there, and whether its group counts on it cannot be told without {}: plug that in again, or \
                 hand in a request with `lost: true` for it first",
                unseen.unwrap_or_default()
            ))
        }
        (Some(_), _) | (None, None) => Next::Done,
    }
}

/// Decides for a disk that was claimed and never became a member. What was begun on it is taken back.
pub fn not_yet_in(stage: Stage, world: &World) -> Next {
    let is_in = |group: &Around| group.used.is_some() || !group.frozen.is_empty();
    match &world.found {
        // Its group may be on disks that are not there.
        _ if stage >= Stage::Grouped => Next::NotNow("its group is finished first".into()),
        Found::NoLabel if !world.group.as_ref().is_some_and(is_in) => Next::Done,
        Found::Orphan if !world.group.as_ref().is_some_and(is_in) => Next::RemovePv,
        _ => Next::NotNow("it is still on its way in; that is finished first".into()),
    }
}

fn inside(asked: bool, leaving: Option<Leaving>, group: &Around, used: u64) -> Next {
    match (group.moving, leaving) {
        // It may be that of another disk that leaves, which goes on only if this one does not hold it up.
        (true, None) => {
            return Next::NotNow("a pvmove of something else is under way in its group".into());
        }
        (true, Some(_)) if !asked => return Next::Abort,
        (true, Some(_)) => return Next::Resume,
        (false, Some(_)) if !asked && group.rest.is_some() => {
            return Next::NotNow(rest_first(group));
        }
        (false, _) if !asked => return Next::Return,
        (false, _) => {}
    }
    let problem = if !group.ours {
        "its group has disks that disk-watcher did not add; vgreduce is yours".to_owned()
    } else if group.staying == 0 {
        "it is the last disk of its group; remove the volumes and the group by hand".to_owned()
    } else if used > group.room {
        format!(
            "{used} extents are used on it, and the group's other disks have room for {}",
            group.room
        )
    } else if used > 0 {
        return Next::Move;
    } else if let (Some(_), None) = (&group.rest, leaving) {
        // A request that was taken back left it; with the leaving begins that it is removed.
        return Next::Move;
    } else if group.rest.is_some() {
        // Where it is in use, a device still maps what was moved, and it may lead to the disk.
        rest_first(group)
    } else {
        return Next::Reduce;
    };
    match leaving {
        None => Next::Refuse(problem),
        Some(_) => Next::Wait(problem),
    }
}

fn rest_first(group: &Around) -> String {
    let rest = group.rest.as_deref().unwrap_or_default();
    format!(
        "the empty LV {rest} that a pvmove left is removed first; lvremove says why if that stays so"
    )
}

/// vgreduce was done, or at least committed on the other disks.
fn outside(group: &Around, found: &Found) -> Next {
    match found {
        Found::NoLabel => Next::Done,
        Found::Orphan => Next::RemovePv,
        Found::InGroup { vg_uuid, .. } if *vg_uuid == group.uuid => Next::Tidy,
        Found::InGroup { vg_uuid, .. } => {
            Next::Wait(format!("it carries metadata of another group, {vg_uuid}"))
        }
        Found::Wreck { .. } => Next::EraseLabel,
        Found::Gone => Next::Wait("it is not there; its label is removed when it is back".into()),
        Found::Unknown(why) | Found::Refused(why) => Next::Wait(why.clone()),
    }
}

/// A run of extents of a PV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first extent.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// How large an extent of the group is, in bytes.
    pub extent: u64,
    /// Whether an LV has it.
    pub used: bool,
    /// Whether that is the group's room to repair a pool's metadata in, which is never active (lvmthin(7), "Spare metadata LV").
    pub spare: bool,
}

/// Reads what `lvm pvs --segments -o pvseg_start,pvseg_size,vg_extent_size,lv_name --separator : --units b --nosuffix`
/// prints. `None` when a line is not understood.
pub fn segments(text: &str) -> Option<Vec<Segment>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split(':');
            let (start, length) = (words.next()?, words.next()?);
            let (extent, lv) = (words.next()?, words.next()?);
            Some(Segment {
                start: start.parse().ok()?,
                length: length.parse().ok()?,
                extent: extent.parse().ok()?,
                used: !lv.trim().is_empty(),
                spare: lv.contains("_pmspare"),
            })
        })
        .collect()
}

/// The first used extents, at most `most`: where the next piece begins and ends, and how large an extent is, in bytes. The
/// spare moves beside something else, as long as there is something: nothing would activate it after a boot, and of what is
/// not active lvm neither goes on with a move nor takes it back.
pub fn piece(segments: &[Segment], most: u64) -> Option<(Vec<(u64, u64)>, u64)> {
    let first = |spare: bool| {
        let found = segments
            .iter()
            .find(|s| s.used && s.length > 0 && s.spare == spare);
        found.map(|s| ((s.start, s.start + s.length.min(most.max(1)) - 1), s.extent))
    };
    let (runs, extents): (Vec<_>, Vec<_>) =
        [first(true), first(false)].into_iter().flatten().unzip();
    Some((runs, *extents.first()?))
}
