mod model;

use super::*;
use lvmd::units::Bytes;

fn around() -> Around {
    Around {
        uuid: "vg".into(),
        ours: true,
        frozen: vec![],
        used: Some(3),
        staying: 1,
        room: 3,
        moving: false,
        rest: None,
    }
}

fn world(change: impl FnOnce(&mut Around)) -> World {
    let mut group = around();
    change(&mut group);
    let found = Found::Orphan;
    World {
        group: Some(group),
        found,
    }
}

const DRAINING: Option<Leaving> = Some(Leaving::Draining(9));
const REDUCING: Option<Leaving> = Some(Leaving::Reducing);

#[test]
fn a_disk_is_emptied_then_taken_out() {
    assert_eq!(next(Asked::No, None, &world(|_| ())), Next::Nothing);
    assert_eq!(next(Asked::Yes, None, &world(|_| ())), Next::Move);
    assert_eq!(next(Asked::Yes, DRAINING, &world(|_| ())), Next::Move);
    let empty = world(|g| g.used = Some(0));
    assert_eq!(next(Asked::Yes, DRAINING, &empty), Next::Reduce);
    assert_eq!(
        next(Asked::Yes, REDUCING, &empty),
        Next::Reduce,
        "cut before its commit"
    );
}

#[test]
fn what_does_not_fit_or_is_not_ours_is_refused_before_anything_is_changed() {
    for spoil in [
        (|g| g.room = 2) as fn(&mut Around),
        |g| g.staying = 0,
        |g| g.ours = false,
        |g| g.used = None,
    ] {
        let answer = next(Asked::Yes, None, &world(spoil));
        assert!(matches!(answer, Next::Refuse(_)), "{answer:?}");
    }
    // Once begun it waits for room, and nothing is lost by that.
    assert!(matches!(
        next(Asked::Yes, DRAINING, &world(|g| g.room = 2)),
        Next::Wait(_)
    ));
    for (asked, leaving) in [
        (Asked::Yes, None),
        (Asked::Yes, DRAINING),
        (Asked::No, DRAINING),
        (Asked::Yes, REDUCING),
    ] {
        let frozen = world(|g| g.frozen.push("VGPartial".into()));
        assert!(matches!(next(asked, leaving, &frozen), Next::Wait(_)));
    }
    let nowhere = World {
        group: None,
        found: Found::NoLabel,
    };
    assert!(matches!(
        next(Asked::Yes, REDUCING, &nowhere),
        Next::Wait(_)
    ));
}

#[test]
fn a_pvmove_left_behind_is_ended_or_taken_back_and_a_strangers_is_left_alone() {
    let moving = world(|g| g.moving = true);
    assert_eq!(next(Asked::Yes, DRAINING, &moving), Next::Resume);
    assert_eq!(next(Asked::No, DRAINING, &moving), Next::Abort);
    // The other disk's turn comes.
    assert!(matches!(next(Asked::Yes, None, &moving), Next::NotNow(_)));
    assert_eq!(next(Asked::No, DRAINING, &world(|_| ())), Next::Return);
    assert_eq!(
        next(Asked::No, REDUCING, &world(|g| g.used = Some(0))),
        Next::Return
    );
}

#[test]
fn what_a_pvmove_of_ours_left_is_removed_once_none_is_under_way_and_before_the_disk_goes() {
    let left = |change: fn(&mut Around)| {
        let mut group = Around {
            rest: Some("pvmove0".into()),
            ..around()
        };
        change(&mut group);
        group
    };
    assert_eq!(rest(DRAINING, &left(|_| ())), Some("pvmove0"));
    assert_eq!(rest(None, &left(|_| ())), None, "somebody else's");
    assert_eq!(rest(DRAINING, &left(|g| g.moving = true)), None);
    assert_eq!(
        rest(DRAINING, &left(|g| g.frozen.push("VGPartial".into()))),
        None
    );
    assert_eq!(rest(DRAINING, &around()), None);
    // Afterwards nobody would look for it any more.
    let world = |used| {
        world(|g| {
            g.used = Some(used);
            g.rest = Some("pvmove0".into());
        })
    };
    assert_eq!(next(Asked::Yes, DRAINING, &world(3)), Next::Move);
    assert_eq!(next(Asked::Yes, None, &world(0)), Next::Move);
    for leaving in [DRAINING, REDUCING] {
        let answer = next(Asked::Yes, leaving, &world(0));
        assert!(matches!(answer, Next::Wait(why) if why.contains("pvmove0")));
        // Nor when the request was taken back; all else goes on meanwhile.
        let answer = next(Asked::No, leaving, &world(3));
        assert!(matches!(answer, Next::NotNow(why) if why.contains("pvmove0")));
    }
}

#[test]
fn only_a_pvmove_of_ours_in_a_sound_group_of_a_class_that_acts_is_brought_to_its_end_while_nothing_is_begun()
 {
    let moving = |change: fn(&mut Around)| {
        let mut group = around();
        group.moving = true;
        change(&mut group);
        group
    };
    assert!(is_left_behind(Mode::Enforce, DRAINING, &moving(|_| ())));
    assert!(
        !is_left_behind(Mode::Enforce, None, &moving(|_| ())),
        "a stranger's"
    );
    assert!(
        !is_left_behind(Mode::Enforce, DRAINING, &around()),
        "there is none"
    );
    let frozen = moving(|g| g.frozen.push("VGPartial".into()));
    assert!(!is_left_behind(Mode::Enforce, DRAINING, &frozen));
    assert!(!is_left_behind(
        Mode::Enforce,
        DRAINING,
        &moving(|g| g.used = None)
    ));
    for mode in [Mode::Plan, Mode::Paused] {
        let moving = moving(|_| ());
        assert!(
            !is_left_behind(mode, DRAINING, &moving),
            "{mode:?} writes nothing"
        );
    }
}

#[test]
fn a_disk_that_is_gone_for_good_is_forgotten_once_no_group_counts_on_it() {
    let gone = |change: fn(&mut Around)| World {
        found: Found::Gone,
        ..world(change)
    };
    let reduced = gone(|g| g.used = None);
    assert_eq!(given_up(&reduced, Some("sdb"), None), Next::Done);
    let listed = given_up(&gone(|g| g.frozen.push("VGPartial".into())), None, None);
    assert!(matches!(&listed, Next::Refuse(why) if why.contains("vgreduce --removemissing")));
    let frozen = |g: &mut Around| {
        g.used = None;
        g.frozen.push("VGPartial".into());
    };
    assert!(matches!(
        given_up(&gone(frozen), None, None),
        Next::NotNow(_)
    ));
    let nowhere = World {
        group: None,
        found: Found::Gone,
    };
    assert_eq!(given_up(&nowhere, None, None), Next::Done);
    assert!(matches!(
        given_up(&nowhere, Some("sdb"), None),
        Next::NotNow(_)
    ));
    let there = |found| World {
        found,
        ..reduced.clone()
    };
    let orphan = given_up(&there(Found::Orphan), None, None);
    assert!(matches!(orphan, Next::Refuse(_)));
    let unread = given_up(&there(Found::Unknown("x".into())), None, None);
    assert!(matches!(unread, Next::NotNow(_)));
    // Its label was wiped: it is there, and nothing on it says whose it was.
    let wiped = |change: fn(&mut Around)| World {
        found: Found::NoLabel,
        ..world(change)
    };
    assert_eq!(given_up(&wiped(|g| g.used = None), None, None), Next::Done);
    let counted = given_up(&wiped(|_| ()), None, None);
    assert!(
        matches!(counted, Next::Refuse(_)),
        "a group counts on it: what was lost may be brought back"
    );
    let nowhere = World {
        group: None,
        found: Found::NoLabel,
    };
    assert_eq!(given_up(&nowhere, None, None), Next::Done);
    let unseen = given_up(&nowhere, None, Some("naa.2"));
    assert!(
        matches!(&unseen, Next::NotNow(why) if why.contains("naa.2")),
        "the other disk of its group may come back and count on it"
    );
    assert!(matches!(
        given_up(&nowhere, Some("sdb"), None),
        Next::NotNow(_)
    ));
}

#[test]
fn what_was_begun_on_a_disk_that_never_joined_is_taken_back() {
    let of = |group: Option<Around>, found| not_yet_in(Stage::Labelled, &World { group, found });
    let without = || {
        let mut group = around();
        group.used = None;
        Some(group)
    };
    for group in [without(), None] {
        assert_eq!(of(group.clone(), Found::NoLabel), Next::Done);
        assert_eq!(of(group.clone(), Found::Orphan), Next::RemovePv);
        for found in [Found::Gone, Found::Wreck { lacks: None }] {
            assert!(matches!(of(group.clone(), found), Next::NotNow(_)));
        }
    }
    assert!(matches!(of(Some(around()), Found::Orphan), Next::NotNow(_)));
    let world = World {
        group: None,
        found: Found::Orphan,
    };
    let answer = not_yet_in(Stage::Grouped, &world);
    assert!(matches!(answer, Next::NotNow(_)), "its group may be away");
}

#[test]
fn after_vgreduce_the_label_goes_whatever_was_cut_even_without_the_request() {
    let found = |found| World {
        found,
        ..world(|g| g.used = None)
    };
    let of = |uuid: &str| Found::InGroup {
        vg_uuid: uuid.into(),
        size: Bytes(1),
    };
    let wreck = Found::Wreck {
        lacks: Some("x".into()),
    };
    for asked in [Asked::Yes, Asked::No] {
        for (what, wanted) in [
            (Found::Orphan, Next::RemovePv),
            (of("vg"), Next::Tidy),
            (wreck.clone(), Next::EraseLabel),
            (Found::NoLabel, Next::Done),
        ] {
            assert_eq!(next(asked, REDUCING, &found(what)), wanted);
        }
        assert!(matches!(
            next(asked, REDUCING, &found(of("other"))),
            Next::Wait(_)
        ));
        assert!(matches!(
            next(asked, REDUCING, &found(Found::Gone)),
            Next::Wait(_)
        ));
        // Nobody asked for that: it is for the resume table to freeze.
        assert!(matches!(
            next(asked, DRAINING, &found(Found::Orphan)),
            Next::Refuse(_)
        ));
    }
}

#[test]
fn nothing_is_done_and_nothing_taken_back_while_nobody_knows_what_is_asked() {
    let request = DiskRemovalRequest {
        name: "out".into(),
        node: "n1".into(),
        target: crate::config::Target::Pv("p".into()),
        lost: false,
        certain: false,
    };
    assert_eq!(Asked::of(Some(&request), true), Asked::Unknown);
    assert_eq!(Asked::of(None, true), Asked::Unknown);
    assert_eq!(Asked::of(None, false), Asked::No);
    let certain = DiskRemovalRequest {
        certain: true,
        ..request
    };
    assert_eq!(Asked::of(Some(&certain), true), Asked::Yes, "of a file");
    let moving = world(|g| g.moving = true);
    for world in [&world(|_| ()), &moving, &world(|g| g.used = Some(0))] {
        assert_eq!(next(Asked::Unknown, None, world), Next::Nothing);
        for leaving in [DRAINING, REDUCING] {
            let answer = next(Asked::Unknown, leaving, world);
            assert_eq!(answer, Next::Wait(UNHEARD.into()));
        }
    }
}

#[test]
fn a_piece_is_the_beginning_of_what_is_used() {
    let seen = segments("  0:4:4096:\n  4:10:4096:pool0_tdata\n  14:1:4096:data \n").unwrap();
    assert_eq!(piece(&seen, 3), Some((vec![(4, 6)], 4096)));
    assert_eq!(piece(&seen, 64), Some((vec![(4, 13)], 4096)));
    assert_eq!(piece(&seen[..1], 3), None);
    assert_eq!(segments("0:x:4096:"), None);
    assert_eq!(segments("0:1:4096"), None);
}

#[test]
fn the_spare_moves_beside_something_that_a_boot_activates() {
    let text = "0:4:4096:data\n4:2:4096:[lvol0_pmspare]\n6:1:4096:[pool0_tmeta]\n";
    let seen = segments(text).unwrap();
    assert_eq!(piece(&seen, 1), Some((vec![(4, 4), (0, 0)], 4096)));
    assert_eq!(piece(&seen, 64), Some((vec![(4, 5), (0, 3)], 4096)));
    assert_eq!(piece(&seen[1..2], 64), Some((vec![(4, 5)], 4096)));
}
