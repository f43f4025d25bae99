//! The removal of disks against a model: random sequences of steps, cut steps, requests that come and go, disks that are
//! pulled and plugged, volumes that grow meanwhile, and pvmoves of somebody else.
//!
//! The model knows where the data really is; what decides is shown only what a node can see. No step may lose an extent or
//! write to a disk that a group counts on, and in the end, with all disks plugged in, each request is done or says why not.

use crate::resume::tests::model::{Dice, first_seed};

use super::super::*;
use lvmd::units::Bytes;

/// How many sequences.
const SEQUENCES: u64 = 1000;
const DISKS: usize = 4;
/// Extents of each disk.
const EXTENTS: u64 = 4;
/// Steps with which everything comes to rest.
const ENOUGH: usize = 100;

/// What stands on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    /// A member, or one that vgreduce did not write to any more.
    InGroup,
    Orphan,
    /// It says that it is in the group, and has no metadata.
    Wreck,
    Blank,
}

/// A pvmove that is under way or was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moving {
    from: usize,
    to: usize,
    ours: bool,
}

#[derive(Debug, Clone)]
struct Model {
    plugged: [bool; DISKS],
    label: [Label; DISKS],
    /// Which the group's metadata lists.
    member: [bool; DISKS],
    /// Extents of each that volumes have.
    used: [u64; DISKS],
    moving: Option<Moving>,
    /// An empty LV of a pvmove is left; `Some(true)`: a device maps it still.
    rest: Option<bool>,
    asked: [bool; DISKS],
    claimed: [bool; DISKS],
    leaving: [Option<Leaving>; DISKS],
    /// Extents that volumes have, wherever they are.
    data: u64,
}

type Decide = fn(Asked, Option<Leaving>, &World) -> Next;

impl Model {
    fn new(dice: &mut Dice) -> Self {
        let used = std::array::from_fn(|_| u64::try_from(dice.below(3)).unwrap());
        Self {
            plugged: [true; DISKS],
            label: [Label::InGroup; DISKS],
            member: [true; DISKS],
            used,
            moving: None,
            rest: None,
            asked: [false; DISKS],
            claimed: [true; DISKS],
            leaving: [None; DISKS],
            data: used.iter().sum(),
        }
    }

    fn is_whole(&self) -> bool {
        (0..DISKS).all(|disk| !self.member[disk] || self.plugged[disk])
    }

    /// The disks that stay when this one leaves.
    fn staying(&self, disk: usize) -> impl Iterator<Item = usize> {
        let goes = |other: usize| self.asked[other] || self.leaving[other].is_some();
        (0..DISKS).filter(move |other| *other != disk && self.member[*other] && !goes(*other))
    }

    fn world(&self, disk: usize) -> World {
        let tells = (0..DISKS).any(|disk| self.member[disk] && self.plugged[disk]);
        let group = tells.then(|| Around {
            uuid: "vg".into(),
            ours: true,
            frozen: match self.is_whole() {
                true => vec![],
                false => vec!["VGPartial".into()],
            },
            used: self.member[disk].then_some(self.used[disk]),
            staying: self.staying(disk).count(),
            room: self.staying(disk).map(|d| EXTENTS - self.used[d]).sum(),
            moving: self.moving.is_some(),
            rest: self.rest.map(|_| "pvmove0".into()),
        });
        let found = match (self.plugged[disk], self.label[disk]) {
            (false, _) => Found::Gone,
            (_, Label::Blank) => Found::NoLabel,
            (_, Label::Orphan) => Found::Orphan,
            (_, Label::Wreck) => Found::Wreck { lacks: None },
            (_, Label::InGroup) => Found::InGroup {
                vg_uuid: "vg".into(),
                size: Bytes(1),
            },
        };
        World { group, found }
    }

    /// One pass, as the watcher makes it: the first claim for which something is to be done. Gives what was decided last,
    /// and whether something was done.
    fn pass(&mut self, decide: Decide, cut: bool, dice: &mut Dice) -> Result<(Next, bool), String> {
        let mut last = Next::Nothing;
        for disk in 0..DISKS {
            if !self.claimed[disk] || !self.asked[disk] && self.leaving[disk].is_none() {
                continue;
            }
            let world = self.world(disk);
            let rest = world
                .group
                .as_ref()
                .and_then(|group| rest(self.leaving[disk], group));
            if rest.is_some() && self.rest == Some(false) {
                self.rest = None;
                return Ok((Next::Nothing, true));
            }
            let asked = match self.asked[disk] {
                true => Asked::Yes,
                false => Asked::No,
            };
            let next = decide(asked, self.leaving[disk], &world);
            match next {
                Next::Nothing => {}
                Next::Refuse(_) | Next::NotNow(_) => last = next,
                Next::Wait(_) => return Ok((next, false)),
                _ => {
                    self.act(disk, &next, cut, dice)
                        .map_err(|harm| format!("{next:?} of disk {disk}: {harm}"))?;
                    return Ok((next, true));
                }
            }
        }
        Ok((last, false))
    }

    /// Does a step, or, with `cut`, what is left of one that was cut at a random place. Says what harm it would do.
    fn act(&mut self, disk: usize, next: &Next, cut: bool, dice: &mut Dice) -> Result<(), String> {
        let is_done = |dice: &mut Dice| !cut || dice.coin();
        let harm = |why: &str| Err(why.to_owned());
        let changes_group = matches!(
            next,
            Next::Abort | Next::Resume | Next::Move | Next::Reduce | Next::Tidy
        );
        if changes_group && !self.is_whole() {
            return harm("the group is partial");
        }
        match next {
            Next::Nothing | Next::Refuse(_) | Next::Wait(_) | Next::NotNow(_) => {}
            Next::Return => self.leaving[disk] = None,
            Next::Move if self.leaving[disk].is_none() => {
                self.leaving[disk] = Some(Leaving::Draining(self.used[disk]));
            }
            Next::Move => {
                if self.moving.is_some() {
                    return harm("another pvmove is under way");
                }
                let to = self.staying(disk).find(|to| self.used[*to] < EXTENTS);
                let Some(to) = to.filter(|_| self.used[disk] > 0) else {
                    return harm("there is nothing to move, or no room");
                };
                let begun = Moving {
                    from: disk,
                    to,
                    ours: true,
                };
                match cut.then(|| dice.below(3)) {
                    Some(0) => {}
                    Some(1) => self.moving = Some(begun),
                    Some(_) => {
                        self.arrive(begun);
                        self.rest = Some(dice.coin());
                    }
                    None => self.arrive(begun),
                }
            }
            Next::Resume | Next::Abort => {
                let Some(moving) = self.moving.filter(|moving| moving.ours) else {
                    return harm("it is not ours");
                };
                if is_done(dice) {
                    self.moving = None;
                    if *next == Next::Resume {
                        self.arrive(moving);
                    }
                }
            }
            Next::Reduce => {
                let is_mapped = self.rest == Some(true) || self.moving.is_some();
                if self.used[disk] > 0 || is_mapped || !self.asked[disk] {
                    return harm("something is on it, or nobody asked");
                }
                if self.staying(disk).count() == 0 {
                    return harm("it is the last one");
                }
                self.leaving[disk] = Some(Leaving::Reducing);
                if is_done(dice) {
                    self.member[disk] = false;
                    if is_done(dice) {
                        self.label[disk] = Label::Orphan;
                    }
                }
            }
            Next::Tidy | Next::RemovePv | Next::EraseLabel => {
                let wanted = match next {
                    Next::Tidy => Label::InGroup,
                    Next::RemovePv => Label::Orphan,
                    _ => Label::Wreck,
                };
                if self.member[disk] || !self.plugged[disk] || self.label[disk] != wanted {
                    return harm("that is not what is on it");
                }
                self.label[disk] = match (next, is_done(dice)) {
                    (Next::Tidy, true) => Label::Orphan,
                    (Next::Tidy, false) => Label::Wreck,
                    (_, true) => Label::Blank,
                    (_, false) => self.label[disk],
                };
            }
            Next::Done => {
                if self.member[disk] || self.label[disk] != Label::Blank {
                    return harm("nobody looks after its label any more");
                }
                self.claimed[disk] = false;
                self.leaving[disk] = None;
            }
        }
        Ok(())
    }

    fn arrive(&mut self, moving: Moving) {
        self.used[moving.from] -= 1;
        self.used[moving.to] += 1;
    }

    /// What happens to a node besides our steps.
    fn happens(&mut self, dice: &mut Dice) {
        let disk = dice.below(DISKS);
        match dice.below(10) {
            0 => self.plugged[disk] = false,
            1 | 2 => self.plugged[disk] = true,
            3..=5 => self.asked[disk] = true,
            6 => self.asked[disk] = false,
            // LVM allocates nothing that a pvmove under way would need.
            7 if self.member[disk] && self.used[disk] < EXTENTS && self.moving.is_none() => {
                self.used[disk] += 1;
                self.data += 1;
            }
            // Beside a disk that leaves, nobody can tell whose pvmove one is that was left behind.
            8 if self.moving.is_none()
                && self.is_whole()
                && self.used[disk] > 0
                && self.leaving == [None; DISKS] =>
            {
                let to = self.staying(disk).find(|to| self.used[*to] < EXTENTS);
                self.moving = to.map(|to| Moving {
                    from: disk,
                    to,
                    ours: false,
                });
            }
            _ => {
                let theirs = self.moving.is_some_and(|moving| !moving.ours);
                self.ends();
                // Killed after its move.
                if theirs && self.rest.is_none() && dice.coin() {
                    self.rest = Some(dice.coin());
                }
            }
        }
    }

    /// Somebody's pvmove comes to its end, and what mapped the rest of one is closed.
    fn ends(&mut self) {
        if let Some(moving) = self.moving.filter(|moving| !moving.ours) {
            self.moving = None;
            self.arrive(moving);
        }
        self.rest = self.rest.map(|_| false);
    }

    /// No extent is lost, and none is where no group counts on it.
    fn check(&self) -> Result<(), String> {
        let all: u64 = self.used.iter().sum();
        let is_kept = (0..DISKS).all(|disk| {
            let sound = self.member[disk] && self.label[disk] == Label::InGroup;
            self.used[disk] == 0 || sound
        });
        match all == self.data && is_kept {
            true => Ok(()),
            false => Err("data is lost".into()),
        }
    }

    /// Whether it is the truth that this disk cannot leave.
    fn cannot_leave(&self, disk: usize) -> bool {
        let room: u64 = self.staying(disk).map(|d| EXTENTS - self.used[d]).sum();
        self.staying(disk).count() == 0 || self.used[disk] > room
    }

    fn is_at_rest(&self) -> bool {
        (0..DISKS).filter(|d| self.claimed[*d]).all(|disk| {
            let is_member = self.member[disk] && self.label[disk] == Label::InGroup;
            match self.asked[disk] {
                true => is_member && self.cannot_leave(disk),
                false => is_member && self.leaving[disk].is_none(),
            }
        })
    }
}

/// One sequence. Gives how many disks left their group, or the harm that was done.
fn sequence(seed: u64, decide: Decide) -> Result<usize, String> {
    let mut dice = Dice::new(seed);
    let mut model = Model::new(&mut dice);
    let told = |model: &Model, why: String| format!("seed {seed}: {why}\n{model:#?}");
    for _ in 0..dice.below(80) {
        let before = model.clone();
        match dice.below(3) {
            0 => model.happens(&mut dice),
            kind => {
                let cut = kind == 1 && dice.coin();
                let done = model.pass(decide, cut, &mut dice);
                done.map_err(|why| told(&before, why))?;
            }
        }
        model.check().map_err(|why| told(&before, why))?;
    }
    model.plugged = [true; DISKS];
    model.ends();
    for _ in 0..ENOUGH {
        let before = model.clone();
        let (next, did) = model
            .pass(decide, false, &mut dice)
            .map_err(|why| told(&before, why))?;
        model.check().map_err(|why| told(&before, why))?;
        if !did {
            // One that cannot leave holds up those behind it, and says why.
            let waits = (0..DISKS).any(|d| model.leaving[d].is_some() && model.cannot_leave(d));
            if model.is_at_rest() || matches!(next, Next::Wait(_)) && waits {
                return Ok(model.claimed.iter().filter(|claimed| !**claimed).count());
            }
            return Err(told(&model, format!("stuck: {next:?}")));
        }
    }
    Err(told(&model, "it runs in circles".into()))
}

#[test]
fn no_sequence_of_requests_steps_cuts_and_pulled_disks_loses_an_extent_or_gets_stuck() {
    let first = first_seed();
    println!("{SEQUENCES} sequences from seed {first}");
    let mut left = 0;
    for n in 0..SEQUENCES {
        let seed = first.wrapping_add(n);
        match sequence(seed, next) {
            Ok(disks) => left += disks,
            Err(why) => panic!("BASALT_SEED={seed} shows it again\n{why}"),
        }
    }
    println!("{left} disks left their groups");
    assert!(left > 200, "{left}: they do not come far enough");
}

#[test]
fn bugs_that_are_planted_are_found() {
    fn changed(world: &World, change: fn(&mut Around)) -> World {
        let mut world = world.clone();
        world.group.iter_mut().for_each(change);
        world
    }
    let bugs: [(&str, Decide); 7] = [
        (
            "a disk is taken out with its data",
            |asked, leaving, world| match next(asked, leaving, world) {
                Next::Move if leaving.is_some() => Next::Reduce,
                other => other,
            },
        ),
        (
            "a disk is taken out while a device may lead to it",
            |asked, leaving, world| next(asked, leaving, &changed(world, |g| g.rest = None)),
        ),
        (
            "a partial group is made smaller",
            |asked, leaving, world| next(asked, leaving, &changed(world, |g| g.frozen.clear())),
        ),
        (
            "somebody's pvmove is taken for ours",
            |asked, leaving, world| match world.group.as_ref().is_some_and(|g| g.moving) {
                true => Next::Abort,
                false => next(asked, leaving, world),
            },
        ),
        (
            "a claim is withdrawn while the label stands",
            |asked, leaving, world| match next(asked, leaving, world) {
                Next::RemovePv => Next::Done,
                other => other,
            },
        ),
        (
            "what somebody's pvmove left keeps the next disk in for ever",
            |asked, leaving, world| {
                let rest = world.group.as_ref().is_some_and(|g| g.rest.is_some());
                match rest && leaving.is_none() {
                    true => Next::Refuse("it is there".into()),
                    false => next(asked, leaving, world),
                }
            },
        ),
        (
            "a request that waits for another disk's pvmove holds that one up",
            |asked, leaving, world| match next(asked, leaving, world) {
                Next::NotNow(why) => Next::Wait(why),
                other => other,
            },
        ),
    ];
    for (bug, decide) in bugs {
        let found = (1..=20 * SEQUENCES).find_map(|seed| sequence(seed, decide).err());
        assert!(found.is_some(), "not found: {bug}");
    }
}
