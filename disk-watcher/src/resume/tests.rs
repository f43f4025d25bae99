//! The table, row by row.

pub(crate) mod model;

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
        leaving: None,
    }
}

fn group(pool: Pool) -> Group {
    Group {
        uuid: "vg".into(),
        seqno: 5,
        ours: true,
        adopt: false,
        frozen: vec![],
        pv_uuids: vec!["a".into()],
        copies_differ: false,
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
        size: Bytes(1),
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
fn only_a_proven_leftover_of_a_pool_is_removed() {
    let (class, ready) = (class(1), claim("a", Stage::Ready));
    let member = Found::InGroup {
        vg_uuid: "vg".into(),
        size: Bytes(1),
    };
    let then = |pool| next(&class, &[(&ready, member.clone())], Some(&group(pool)));
    let (name, uuid) = ("pool0".to_owned(), "u".to_owned());
    let left = Pool::HalfMade {
        name: name.clone(),
        uuid: uuid.clone(),
    };
    assert_eq!(then(left), Next::CleanPool { name, uuid });
    let foreign = Pool::Other {
        lacks: "it was there before".into(),
    };
    match then(foreign) {
        Next::Frozen(why) => assert!(why.contains("it was there before"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_disk_that_was_claimed_before_does_not_join_a_group_that_was_adopted_meanwhile() {
    let class = class(1);
    let mut adopted = group(Pool::Made);
    adopted.pv_uuids = vec!["theirs".into()];
    for found in [
        Found::NoLabel,
        Found::Orphan,
        Found::Wreck { lacks: None },
        Found::Gone,
    ] {
        for stage in [Stage::Claimed, Stage::Labelled] {
            let claimed = claim("a", stage);
            let then = next(&class, &[(&claimed, found.clone())], Some(&adopted));
            assert_eq!(then, Next::Nothing, "{found:?}");
        }
    }
}

#[test]
fn a_group_gets_no_second_pool_when_the_class_names_another_one() {
    let (class, ready) = (class(1), claim("a", Stage::Ready));
    let member = Found::InGroup {
        vg_uuid: "vg".into(),
        size: Bytes(1),
    };
    let other = group(Pool::OtherName("pool1".into()));
    match next(&class, &[(&ready, member)], Some(&other)) {
        Next::Frozen(why) => assert!(why.contains("put pool1 into spec.thinPool.name"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_proven_wreck_is_cleaned() {
    let (class, labelled) = (class(1), claim("a", Stage::Labelled));
    assert_eq!(
        next(&class, &[(&labelled, Found::Wreck { lacks: None })], None),
        Next::CleanWreck("a".into())
    );
    assert!(matches!(
        next(
            &class,
            &[(
                &labelled,
                Found::Wreck {
                    lacks: Some("x".into())
                }
            )],
            None
        ),
        Next::Frozen(_)
    ));
    let grouped = claim("a", Stage::Grouped);
    assert!(
        matches!(
            next(&class, &[(&grouped, Found::Wreck { lacks: None })], None),
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
                    vg_uuid: "x".into(),
                    size: Bytes(1)
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
            of(stage, Found::Wreck { lacks: None }),
            Next::CleanWreck("b".into())
        );
        for found in [Found::Gone, Found::Refused("x".into())] {
            assert_eq!(of(stage, found), Next::Nothing, "nobody waits for it");
        }
    }
    for (stage, found) in [
        (
            Stage::Labelled,
            Found::Wreck {
                lacks: Some("x".into()),
            },
        ),
        (
            Stage::Labelled,
            Found::InGroup {
                vg_uuid: "x".into(),
                size: Bytes(1),
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
fn a_group_whose_copies_differ_is_written_anew_before_anything_else_is_changed() {
    let class = class(1);
    let (member, later) = (claim("a", Stage::Ready), claim("b", Stage::Labelled));
    let in_group = || Found::InGroup {
        vg_uuid: "vg".into(),
        size: Bytes(1),
    };
    let decide = |group: &Group| {
        let claims = [(&member, in_group()), (&later, Found::Orphan)];
        next(&class, &claims, Some(group))
    };
    let differs = |pool| Group {
        copies_differ: true,
        ..group(pool)
    };
    for pool in [Pool::Absent, Pool::Creating, Pool::Made, Pool::NotWanted] {
        assert_eq!(decide(&differs(pool)), Next::Rewrite);
    }
    let left = Pool::HalfMade {
        name: "lvol0".into(),
        uuid: "l".into(),
    };
    assert_ne!(decide(&differs(left)), Next::Rewrite, "it counts changes");
    let partial = Group {
        frozen: vec!["VGPartial".into()],
        ..differs(Pool::Made)
    };
    assert!(matches!(decide(&partial), Next::Frozen(_)));
    let with_another = Group {
        pv_uuids: vec!["a".into(), "theirs".into()],
        ..differs(Pool::Made)
    };
    assert_ne!(decide(&with_another), Next::Rewrite, "not our disks alone");
}

#[test]
fn a_lost_group_is_frozen_and_says_whether_its_disks_are_there() {
    let class = class(1);
    let (a, b) = (claim("a", Stage::Ready), claim("b", Stage::Ready));
    let lost = || Found::Wreck {
        lacks: Some("x".into()),
    };
    for (found, says) in [(lost(), "restore-plan"), (Found::Gone, "plug")] {
        let next = next(&class, &[(&a, lost()), (&b, found)], None);
        assert!(
            matches!(&next, Next::Frozen(why) if why.contains(says)),
            "{next:?}"
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

#[test]
fn a_pv_follows_a_disk_that_grew_once_all_else_is_done() {
    let mut class = class(1);
    let ready = claim("a", Stage::Ready);
    let member = |vg: &str, size| Found::InGroup {
        vg_uuid: vg.into(),
        size: Bytes(size),
    };
    let decide = |class: &DiskClass, claim: &Claim, found, group: &Group| {
        next(class, &[(claim, found)], Some(group))
    };
    let made = group(Pool::Made);
    assert_eq!(
        decide(&class, &ready, member("vg", 1), &made),
        Next::Nothing
    );
    let grow = Next::Grow("a".into());
    assert_eq!(decide(&class, &ready, member("vg", 2), &made), grow);
    let grouped = claim("a", Stage::Grouped);
    assert_eq!(
        decide(&class, &grouped, member("vg", 2), &made),
        Next::Finish
    );
    assert_eq!(
        decide(&class, &ready, member("vg", 2), &group(Pool::Absent)),
        Next::MakePool
    );
    assert_eq!(
        decide(&class, &ready, member("other", 2), &made),
        Next::Nothing
    );
    let mut frozen = made.clone();
    frozen.frozen.push("VGPartial".into());
    assert!(matches!(
        decide(&class, &ready, member("vg", 2), &frozen),
        Next::Frozen(_)
    ));
    class.volume_group.grow_pv_on_resize = false;
    assert_eq!(
        decide(&class, &ready, member("vg", 2), &made),
        Next::Nothing
    );
}

#[test]
fn a_claimed_disk_that_is_refused_holds_up_no_other_and_is_no_part_of_the_group() {
    let refused = (claim("a", Stage::Claimed), Found::Refused("x".into()));
    let other = claim("b", Stage::Claimed);
    let with = |disks, found| {
        let claims = [(&refused.0, refused.1.clone()), (&other, found)];
        next(&class(disks), &claims, None)
    };
    assert_eq!(with(1, Found::NoLabel), Next::Label("b".into()));
    assert_eq!(with(1, Found::Orphan), Next::MakeGroup(vec!["b".into()]));
    assert!(matches!(with(2, Found::Orphan), Next::Wait(_)), "minDisks");
    // It is seen to be in no group, so what was left half-made beside it can be told.
    let wreck = with(1, Found::Wreck { lacks: None });
    assert_eq!(wreck, Next::CleanWreck("b".into()));
}
