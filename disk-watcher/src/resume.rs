//! What to do next for a class, from what the journal says and what is on the disks.
//! Pure: the table of the specification (resume after any cut), as code.

use crate::config::{DiskClass, Mode};
use crate::journal::{Claim, Stage};

/// What stands on a claimed disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The disk is not there.
    Gone,
    /// No label: cut before pvcreate wrote it.
    NoLabel,
    /// A PV with our UUID in no group: cut between pvcreate and vgcreate.
    Orphan,
    /// A PV with our UUID that says it belongs to a group, without any committed
    /// metadata; `data_blank`: its data area is still as blank as when it was claimed.
    Wreck {
        /// Whether that was shown.
        data_blank: bool,
    },
    /// A PV with our UUID and committed metadata of the group with this UUID.
    InGroup {
        /// The group's UUID.
        vg_uuid: String,
    },
    /// It could not be read, or it is not understood.
    Unknown(String),
}

/// The class's group as LVM shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its UUID.
    pub uuid: String,
    /// It carries our owner's and this class's tag.
    pub ours: bool,
    /// It is not ours, and a person named its UUID for adoption.
    pub adopt: bool,
    /// Why it must not be changed; empty when it may.
    pub frozen: Vec<String>,
    /// The UUIDs of its PVs.
    pub pv_uuids: Vec<String>,
    /// The pool, when the class wants one.
    pub pool: Pool,
}

/// The class's thin pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The class wants none.
    NotWanted,
    /// It is not there.
    Absent,
    /// It is there and tagged as being made.
    Creating,
    /// It is there.
    Made,
    /// An LV of its name is there and is no pool.
    Other,
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
    /// Add the PVs of these claims to the group.
    Extend(Vec<String>),
    /// Make the pool.
    MakePool,
    /// The pool is whole; take its "creating" tag away.
    FinishPool,
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
        Some(group) => in_group(claims, group),
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
    if let Some((claim, _)) = claims
        .iter()
        .find(|(claim, _)| claim.stage >= Stage::Grouped)
    {
        return Next::Frozen(format!(
            "group {} was made with PV {} and is not there now; plug its disks in again",
            class.volume_group.name, claim.pv_uuid
        ));
    }
    let mut ready = Vec::new();
    for (claim, found) in claims {
        let uuid = claim.pv_uuid.clone();
        match found {
            Found::NoLabel => return Next::Label(uuid),
            Found::Orphan => ready.push(uuid),
            Found::Wreck { data_blank: true } => return Next::CleanWreck(uuid),
            Found::Wreck { data_blank: false } => {
                return Next::Frozen(format!(
                    "PV {uuid} says it belongs to a group and has no metadata, but its data area is not blank"
                ));
            }
            Found::InGroup { vg_uuid } => {
                return Next::Frozen(format!(
                    "PV {uuid} has metadata of group {vg_uuid}, which LVM does not show"
                ));
            }
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

fn in_group(claims: &[(&Claim, Found)], group: &Group) -> Next {
    if group.adopt && group.frozen.is_empty() {
        return Next::Adopt;
    }
    if !group.ours && !group.adopt {
        return Next::Frozen("a group of the class's name is there and does not carry our tags; rename it or the class's group".into());
    }
    if !group.frozen.is_empty() {
        return Next::Frozen(group.frozen.join("; "));
    }
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
            Found::Gone => {}
            Found::NoLabel => return Next::Label(uuid),
            Found::Orphan => ready.push(uuid),
            Found::Wreck { data_blank: true } => return Next::CleanWreck(uuid),
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
    match group.pool {
        Pool::Absent => Next::MakePool,
        Pool::Creating => Next::FinishPool,
        Pool::Other => {
            Next::Frozen("a volume of the pool's name is there and is no thin pool".into())
        }
        Pool::NotWanted | Pool::Made => {
            let done = claims.iter().all(|(claim, _)| {
                claim.stage == Stage::Ready || !group.pv_uuids.contains(&claim.pv_uuid)
            });
            if done { Next::Nothing } else { Next::Finish }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RequireZeroed};
    use crate::facts::DiskId;
    use lvmd::units::Bytes;

    fn class(min_disks: u32) -> DiskClass {
        let text = format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: fast}}\nspec:\n  mode: Enforce\n  select: {{model: [x]}}\n  limits: {{minDisks: {min_disks}}}\n  volumeGroup: {{name: fast}}\n  thinPool: {{name: pool0}}\n"
        );
        Config::load(&text).unwrap().classes.remove(0)
    }

    fn claim(uuid: &str, stage: Stage) -> Claim {
        Claim {
            pv_uuid: uuid.into(),
            disk: DiskId::from(format!("disk-{uuid}")),
            class: "fast".into(),
            volume_group: "fast".into(),
            vg_uuid: None,
            size: Bytes(1),
            zeroes: RequireZeroed::Full,
            fingerprint: String::new(),
            stage,
        }
    }

    fn group(pool: Pool) -> Group {
        Group {
            uuid: "vg".into(),
            ours: true,
            adopt: false,
            frozen: vec![],
            pv_uuids: vec!["a".into()],
            pool,
        }
    }

    #[test]
    fn the_path_goes_from_claim_to_ready() {
        let (class, claimed) = (class(1), claim("a", Stage::Claimed));
        assert_eq!(next(&class, &[], None), Next::Nothing);
        assert_eq!(
            next(&class, &[(&claimed, Found::NoLabel)], None),
            Next::Label("a".into())
        );
        assert_eq!(
            next(&class, &[(&claimed, Found::Orphan)], None),
            Next::MakeGroup(vec!["a".into()])
        );
        let member = Found::InGroup {
            vg_uuid: "vg".into(),
        };
        assert_eq!(
            next(
                &class,
                &[(&claimed, member.clone())],
                Some(&group(Pool::Absent))
            ),
            Next::MakePool
        );
        assert_eq!(
            next(
                &class,
                &[(&claimed, member.clone())],
                Some(&group(Pool::Creating))
            ),
            Next::FinishPool
        );
        assert_eq!(
            next(
                &class,
                &[(&claimed, member.clone())],
                Some(&group(Pool::Made))
            ),
            Next::Finish
        );
        assert_eq!(
            next(
                &class,
                &[(&claim("a", Stage::Ready), member)],
                Some(&group(Pool::Made))
            ),
            Next::Nothing
        );
    }

    #[test]
    fn only_a_proven_wreck_is_cleaned() {
        let (class, labelled) = (class(1), claim("a", Stage::Labelled));
        assert_eq!(
            next(
                &class,
                &[(&labelled, Found::Wreck { data_blank: true })],
                None
            ),
            Next::CleanWreck("a".into())
        );
        assert!(matches!(
            next(
                &class,
                &[(&labelled, Found::Wreck { data_blank: false })],
                None
            ),
            Next::Frozen(_)
        ));
        let grouped = claim("a", Stage::Grouped);
        assert!(
            matches!(
                next(
                    &class,
                    &[(&grouped, Found::Wreck { data_blank: true })],
                    None
                ),
                Next::Frozen(_)
            ),
            "it was a member once"
        );
        assert!(matches!(
            next(
                &class,
                &[(
                    &labelled,
                    Found::InGroup {
                        vg_uuid: "x".into()
                    }
                )],
                None
            ),
            Next::Frozen(_)
        ));
    }

    #[test]
    fn what_is_missing_is_waited_for_and_what_is_foreign_is_left() {
        let two = class(2);
        let (a, b) = (claim("a", Stage::Labelled), claim("b", Stage::Labelled));
        assert!(
            matches!(next(&two, &[(&a, Found::Orphan)], None), Next::Wait(_)),
            "minDisks"
        );
        assert!(matches!(
            next(&two, &[(&a, Found::Orphan), (&b, Found::Gone)], None),
            Next::Wait(_)
        ));
        assert!(matches!(
            next(&two, &[(&a, Found::Unknown("io".into()))], None),
            Next::Wait(_)
        ));
        let foreign = Group {
            ours: false,
            ..group(Pool::Absent)
        };
        assert!(matches!(
            next(&two, &[(&a, Found::Orphan)], Some(&foreign)),
            Next::Frozen(_)
        ));
        let partial = Group {
            frozen: vec!["VGPartial".into()],
            ..group(Pool::Absent)
        };
        assert!(matches!(
            next(&two, &[(&a, Found::Orphan)], Some(&partial)),
            Next::Frozen(_)
        ));
        let mut planning = class(1);
        planning.mode = Mode::Plan;
        assert!(
            matches!(
                next(&planning, &[(&a, Found::NoLabel)], None),
                Next::Wait(_)
            ),
            "Plan never acts, not even to resume"
        );
    }

    #[test]
    fn a_group_that_a_person_named_is_adopted_without_any_claim() {
        let class = class(1);
        let named = Group {
            ours: false,
            adopt: true,
            ..group(Pool::Made)
        };
        assert_eq!(next(&class, &[], Some(&named)), Next::Adopt);
        let partial = Group {
            frozen: vec!["VGPartial".into()],
            ..named.clone()
        };
        assert!(matches!(next(&class, &[], Some(&partial)), Next::Frozen(_)));
        let foreign = Group {
            adopt: false,
            ..named
        };
        assert_eq!(next(&class, &[], Some(&foreign)), Next::Nothing);
        assert_eq!(
            next(&class, &[], Some(&group(Pool::Made))),
            Next::Nothing,
            "adopted, and all is there"
        );
        assert_eq!(
            next(&class, &[], Some(&group(Pool::Absent))),
            Next::MakePool,
            "Talos makes groups without pools"
        );
    }

    #[test]
    fn a_later_disk_is_labelled_and_joins_and_a_lost_member_freezes() {
        let class = class(1);
        let member = (claim("a", Stage::Ready), Found::Gone);
        let there = group(Pool::Made);
        let of = |stage, found| {
            let later = claim("b", stage);
            next(
                &class,
                &[(&member.0, member.1.clone()), (&later, found)],
                Some(&there),
            )
        };
        assert_eq!(of(Stage::Claimed, Found::NoLabel), Next::Label("b".into()));
        for stage in [Stage::Claimed, Stage::Labelled] {
            assert_eq!(of(stage, Found::Orphan), Next::Extend(vec!["b".into()]));
            assert_eq!(
                of(stage, Found::Wreck { data_blank: true }),
                Next::CleanWreck("b".into())
            );
            assert_eq!(of(stage, Found::Gone), Next::Nothing, "nobody waits for it");
        }
        for (stage, found) in [
            (Stage::Labelled, Found::Wreck { data_blank: false }),
            (
                Stage::Labelled,
                Found::InGroup {
                    vg_uuid: "x".into(),
                },
            ),
            (Stage::Grouped, Found::Orphan),
            (Stage::Ready, Found::Gone),
        ] {
            assert!(
                matches!(of(stage, found.clone()), Next::Frozen(_)),
                "{stage:?} {found:?}"
            );
        }
    }

    #[test]
    fn no_disk_joins_a_group_with_a_pv_that_is_not_ours() {
        let ours = claim("a", Stage::Ready);
        let there = group(Pool::Made);
        assert!(may_grow(&there, [&ours]));
        assert!(!may_grow(&there, []), "adopted, or the journal was lost");
        let partial = Group {
            frozen: vec!["VGPartial".into()],
            ..there.clone()
        };
        assert!(!may_grow(&partial, [&ours]));
        let foreign = Group {
            ours: false,
            ..there
        };
        assert!(!may_grow(&foreign, [&ours]));
    }
}
