//! The table against a model: random sequences of steps, cut steps, disks that come and go.
//!
//! The model knows what really stands on the disks; the table is shown only what a node can
//! see. Each step it asks for must be one that harms nothing, and in the end, with all disks
//! plugged in, nothing may be stuck without a reason.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::super::*;
use super::{claim, class};

/// How many sequences.
const SEQUENCES: u64 = 1000;
const DISKS: usize = 3;
/// Steps with which everything comes to rest.
const ENOUGH: usize = 40;

/// What really stands on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Blank,
    Orphan,
    /// Said to belong to a group that was never committed to it.
    Wreck,
    Member,
    /// A member whose metadata area is damaged: it looks like a wreck.
    Damaged,
}

/// What really is where the pool should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volume {
    None,
    /// What a cut lvcreate of ours left.
    Leftover,
    /// Somebody's, of the pool's name.
    Foreign,
    Creating,
    Made,
}

#[derive(Debug, Clone)]
struct World {
    plugged: [bool; DISKS],
    content: [Content; DISKS],
    claims: Vec<Claim>,
    /// The members that the group's metadata lists; empty: there is no group.
    members: BTreeSet<usize>,
    volume: Volume,
    /// Somebody's data is in the group.
    data: bool,
    /// A change reached some of the members only.
    differ: bool,
    /// Something happened that only a person can mend.
    hurt: bool,
}

/// A generator of numbers that is the same everywhere (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

static CLASS: LazyLock<DiskClass> = LazyLock::new(|| class(1));

type Decide = fn(&DiskClass, &[(&Claim, Found)], Option<&Group>) -> Next;

fn name(disk: usize) -> String {
    format!("pv{disk}")
}

fn number(uuid: &str) -> usize {
    uuid[2..].parse().unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            plugged: [true; DISKS],
            content: [Content::Blank; DISKS],
            claims: vec![],
            members: BTreeSet::new(),
            volume: Volume::None,
            data: false,
            differ: false,
            hurt: false,
        }
    }

    /// The group as LVM shows it: by any member that can be read.
    fn group(&self) -> Option<Group> {
        let readable = |disk: &usize| self.plugged[*disk] && self.content[*disk] == Content::Member;
        if !self.members.iter().any(readable) {
            return None;
        }
        let whole = self.members.iter().all(readable);
        Some(Group {
            uuid: "vg".into(),
            seqno: 5,
            ours: true,
            adopt: false,
            frozen: if whole {
                vec![]
            } else {
                vec!["VGPartial".into()]
            },
            pv_uuids: self.members.iter().map(|disk| name(*disk)).collect(),
            copies_differ: self.differ,
            pool: match self.volume {
                Volume::None => Pool::Absent,
                Volume::Leftover => Pool::HalfMade {
                    name: "pool0".into(),
                    uuid: "lv".into(),
                },
                Volume::Foreign => Pool::Other {
                    lacks: "it was there before".into(),
                },
                Volume::Creating => Pool::Creating,
                Volume::Made => Pool::Made,
            },
        })
    }

    fn found(&self, claim: &Claim) -> Found {
        let disk = number(&claim.pv_uuid);
        if !self.plugged[disk] {
            return Found::Gone;
        }
        match self.content[disk] {
            Content::Blank => Found::NoLabel,
            Content::Orphan => Found::Orphan,
            Content::Member => Found::InGroup {
                vg_uuid: "vg".into(),
                size: Bytes(1),
            },
            // What is proven is what the journal and the disk can show.
            Content::Wreck | Content::Damaged => {
                let was_member = claim.stage >= Stage::Grouped;
                let holds_data = self.content[disk] == Content::Damaged && !self.is_blank();
                Found::Wreck {
                    lacks: (was_member || holds_data).then(|| "a proof".into()),
                }
            }
        }
    }

    fn decide(&self, decide: Decide) -> Next {
        let claims: Vec<(&Claim, Found)> = self.claims.iter().map(|c| (c, self.found(c))).collect();
        decide(&CLASS, &claims, self.group().as_ref())
    }

    fn stage(&mut self, disk: usize, stage: Stage) {
        let claim = self.claims.iter_mut().find(|c| c.pv_uuid == name(disk));
        claim.unwrap().stage = stage;
    }

    /// A change of the group was committed; cut, it reached some members only.
    fn committed(&mut self, cut: bool, dice: &mut Dice) {
        self.differ = cut && self.members.len() > 1 && dice.coin();
    }

    fn stage_of(&self, disk: usize) -> Option<Stage> {
        let claim = self.claims.iter().find(|c| c.pv_uuid == name(disk));
        claim.map(|claim| claim.stage)
    }

    /// Does a step, or, with `cut`, what is left of one that was cut at a random place. Says
    /// what harm it would do.
    fn act(&mut self, next: &Next, cut: bool, dice: &mut Dice) -> Result<(), String> {
        let harm = |what: String| Err(format!("{next:?}: {what}"));
        match next {
            Next::Nothing | Next::Wait(_) | Next::Frozen(_) => {}
            Next::Adopt | Next::Grow(_) => return harm("nobody asked for it".into()),
            Next::Rewrite => {
                let sound = self.group().is_some_and(|group| group.frozen.is_empty());
                if !sound || !self.differ {
                    return harm(format!("there are {:?}", self.members));
                }
                // One change more, and nothing proves that it is ours.
                if self.volume == Volume::Leftover {
                    return harm("what is left of the pool stays for ever".into());
                }
                self.committed(cut, dice);
            }
            Next::Label(uuid) => {
                let disk = number(uuid);
                if !self.plugged[disk] || self.content[disk] != Content::Blank {
                    return harm(format!("the disk has {:?}", self.content[disk]));
                }
                if !cut || dice.coin() {
                    self.content[disk] = Content::Orphan;
                }
                if !cut {
                    self.stage(disk, Stage::Labelled);
                }
            }
            Next::CleanWreck(uuid) => {
                let disk = number(uuid);
                let harmless = match self.content[disk] {
                    Content::Wreck => !self.members.contains(&disk),
                    // Never used: nothing is lost but an empty group.
                    Content::Damaged => {
                        self.is_blank()
                            && self
                                .members
                                .iter()
                                .all(|member| self.content[*member] != Content::Member)
                    }
                    _ => false,
                };
                if !self.plugged[disk] || !harmless {
                    return harm(format!("the disk has {:?}", self.content[disk]));
                }
                self.stage(disk, Stage::Claimed);
                // With its first block, an empty group that it may have been is gone.
                if self.content[disk] == Content::Damaged {
                    self.members.clear();
                    self.differ = false;
                }
                self.content[disk] = if !cut || dice.coin() {
                    Content::Blank
                } else {
                    Content::Wreck
                };
            }
            Next::MakeGroup(uuids) | Next::Extend(uuids) => {
                let joining = matches!(next, Next::Extend(_));
                let there = self.group();
                let sound = there.as_ref().is_some_and(|group| group.frozen.is_empty());
                if joining != sound || !joining && !self.members.is_empty() {
                    return harm(format!("there are {:?}", self.members));
                }
                let disks: Vec<usize> = uuids.iter().map(|uuid| number(uuid)).collect();
                if let Some(disk) = disks
                    .iter()
                    .find(|d| !self.plugged[**d] || self.content[**d] != Content::Orphan)
                {
                    return harm(format!("disk {disk} has {:?}", self.content[*disk]));
                }
                // On record before lvm runs.
                for disk in &disks {
                    self.stage(*disk, Stage::Labelled);
                }
                if cut && dice.coin() {
                    for disk in disks {
                        if dice.coin() {
                            self.content[disk] = Content::Wreck;
                        }
                    }
                    return Ok(());
                }
                for disk in disks {
                    self.content[disk] = Content::Member;
                    self.members.insert(disk);
                    if !cut || dice.coin() {
                        self.stage(disk, Stage::Grouped);
                    }
                }
                self.committed(cut, dice);
            }
            Next::MakePool => {
                if self.volume != Volume::None {
                    return harm(format!("there is {:?}", self.volume));
                }
                let places = [Volume::None, Volume::Leftover, Volume::Creating];
                self.volume = places[if cut { dice.below(3) } else { 2 }];
                if self.volume != Volume::None {
                    self.committed(cut, dice);
                }
            }
            Next::CleanPool { .. } => {
                if self.volume != Volume::Leftover {
                    return harm(format!("there is {:?}", self.volume));
                }
                if !cut || dice.coin() {
                    self.volume = Volume::None;
                    self.committed(cut, dice);
                }
            }
            Next::FinishPool => {
                if self.volume != Volume::Creating {
                    return harm(format!("there is {:?}", self.volume));
                }
                if !cut || dice.coin() {
                    self.volume = Volume::Made;
                    self.committed(cut, dice);
                }
            }
            Next::Finish => {
                for disk in self.members.clone() {
                    if self.stage_of(disk).is_some() && (!cut || dice.coin()) {
                        self.stage(disk, Stage::Ready);
                    }
                }
            }
        }
        Ok(())
    }

    /// What happens to a node besides our steps.
    fn happens(&mut self, dice: &mut Dice) {
        let disk = dice.below(DISKS);
        match dice.below(12) {
            0..=2 => self.plugged[disk] = false,
            3..=5 => self.plugged[disk] = true,
            6..=8 => {
                let may = match self.group() {
                    None => self.members.is_empty() || self.claims.is_empty(),
                    Some(group) => may_grow(&group, &self.claims),
                };
                let new = self.stage_of(disk).is_none();
                if may && new && self.plugged[disk] && self.content[disk] == Content::Blank {
                    self.claims.push(claim(&name(disk), Stage::Claimed));
                }
            }
            9 | 10 => self.data |= self.volume == Volume::Made,
            _ => match dice.below(8) {
                0 if self.content[disk] == Content::Member => {
                    self.content[disk] = Content::Damaged;
                    self.hurt = true;
                }
                1 if self.group().is_some() && self.volume == Volume::None => {
                    self.volume = Volume::Foreign;
                    self.hurt = true;
                }
                _ => {}
            },
        }
    }

    /// Nothing was ever written behind the labels.
    fn is_blank(&self) -> bool {
        self.volume == Volume::None && !self.data
    }

    /// All is done, as it should be.
    fn is_whole(&self) -> bool {
        let ready = self.claims.iter().all(|claim| {
            let disk = number(&claim.pv_uuid);
            claim.stage == Stage::Ready && self.content[disk] == Content::Member
        });
        ready && !self.differ && (self.claims.is_empty() || self.volume == Volume::Made)
    }
}

/// One sequence. Says whether all is done in the end, or the harm that was done.
fn sequence(seed: u64, decide: Decide) -> Result<bool, String> {
    let mut dice = Dice::new(seed);
    let mut world = World::new();
    let told = |world: &World, why: String| format!("seed {seed}: {why}\n{world:#?}");
    for _ in 0..dice.below(60) {
        match dice.below(3) {
            0 => world.happens(&mut dice),
            kind => {
                let (next, before) = (world.decide(decide), world.clone());
                let done = world.act(&next, kind == 1 && dice.coin(), &mut dice);
                done.map_err(|why| told(&before, why))?;
            }
        }
    }
    world.plugged = [true; DISKS];
    for _ in 0..ENOUGH {
        let next = world.decide(decide);
        let before = world.clone();
        match &next {
            Next::Nothing if world.is_whole() => return Ok(!world.claims.is_empty()),
            Next::Wait(why) | Next::Frozen(why) if world.hurt && !why.is_empty() => {
                return Ok(false);
            }
            // Damage that the table does not see, since it loses nothing by it.
            Next::Nothing if world.hurt => return Ok(false),
            Next::Nothing | Next::Wait(_) | Next::Frozen(_) => {
                return Err(told(&world, format!("stuck: {next:?}")));
            }
            _ => {}
        }
        let done = world.act(&next, false, &mut dice);
        done.map_err(|why| told(&before, why))?;
    }
    Err(told(&world, "it runs in circles".into()))
}

/// A seed of its own for each run, unless one is given.
pub(crate) fn first_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let given = std::env::vars().find(|(key, _)| key == "BASALT_SEED");
    given.map_or_else(
        || std::hash::RandomState::new().build_hasher().finish(),
        |(_, seed)| seed.parse().expect("BASALT_SEED"),
    )
}

#[test]
fn no_sequence_of_steps_cuts_and_pulled_disks_does_harm_or_gets_stuck() {
    let first = first_seed();
    println!("{SEQUENCES} sequences from seed {first}");
    let mut whole = 0;
    for n in 0..SEQUENCES {
        let seed = first.wrapping_add(n);
        match sequence(seed, next) {
            Ok(done) => whole += u64::from(done),
            Err(why) => panic!("BASALT_SEED={seed} shows it again\n{why}"),
        }
    }
    println!("{whole} of them ended with all disks in a group with its pool");
    assert!(
        whole > SEQUENCES / 2,
        "{whole}: they do not come far enough"
    );
}

#[test]
fn bugs_that_are_planted_are_found() {
    let bugs: [(&str, Decide); 6] = [
        (
            "a wreck is erased whatever its proofs lack",
            |class, claims, group| {
                let wreck = claims
                    .iter()
                    .find(|(_, f)| matches!(f, Found::Wreck { .. }));
                match (next(class, claims, group), wreck) {
                    (Next::Frozen(_), Some((claim, _))) => Next::CleanWreck(claim.pv_uuid.clone()),
                    (other, _) => other,
                }
            },
        ),
        (
            "a group whose disks are all gone is made anew",
            |class, claims, group| {
                let forgotten: Vec<(Claim, Found)> = claims
                    .iter()
                    .map(|(claim, found)| {
                        let stage = claim.stage.min(Stage::Labelled);
                        (
                            Claim {
                                stage,
                                ..(*claim).clone()
                            },
                            found.clone(),
                        )
                    })
                    .collect();
                let claims: Vec<_> = forgotten.iter().map(|(c, f)| (c, f.clone())).collect();
                next(class, &claims, group)
            },
        ),
        ("a partial group is extended", |class, claims, group| {
            let whole = group.map(|group| Group {
                frozen: vec![],
                ..group.clone()
            });
            next(class, claims, whole.as_ref())
        }),
        (
            "the metadata is written anew over what is left of a pool",
            |class, claims, group| match (next(class, claims, group), group) {
                (Next::CleanPool { .. }, Some(group)) if group.copies_differ => Next::Rewrite,
                (other, _) => other,
            },
        ),
        ("copies that differ are left so", |class, claims, group| {
            let group = group.map(|group| Group {
                copies_differ: false,
                ..group.clone()
            });
            next(class, claims, group.as_ref())
        }),
        (
            "any volume of the pool's name is removed",
            |class, claims, group| match (next(class, claims, group), group.map(|g| &g.pool)) {
                (Next::Frozen(_), Some(Pool::Other { .. })) => Next::CleanPool {
                    name: "pool0".into(),
                    uuid: "lv".into(),
                },
                (other, _) => other,
            },
        ),
    ];
    for (bug, decide) in bugs {
        let found = (1..=20 * SEQUENCES).find_map(|seed| sequence(seed, decide).err());
        assert!(found.is_some(), "not found: {bug}");
    }
}
