use super::*;
use crate::config::Config;
use crate::lvm::report;
use crate::lvm::snapshot::{Freeze, VgView};
use std::path::Path;

/// A group of this name with thick LVs of these names.
fn vg(name: &str, lvs: &[&str]) -> VgView {
    let report = include_bytes!("../../../tests/fixtures/fullreport-lvm2-2.03.31.json");
    let mut vg = report::parse(report).unwrap().remove(0);
    let thick = vg.lv("thick").unwrap().clone();
    vg.name = name.into();
    let named = |lv: &&str| Lv {
        name: (*lv).into(),
        ..thick.clone()
    };
    vg.lvs = lvs.iter().map(named).collect();
    VgView {
        vg,
        devices: Vec::new(),
        frozen: Vec::new(),
        copies_differ: false,
    }
}

fn class() -> Class {
    let text = "device-classes: [{name: c, volume-groups: [a, b]}]";
    let config = Config::parse(text, Path::new("test")).unwrap();
    config.classes.get("c").unwrap().clone()
}

/// Where `v` is, and the reason why it may be elsewhere.
fn sought(vgs: Vec<VgView>) -> (Option<String>, Option<String>) {
    let snapshot = Snapshot {
        vgs,
        unreadable: Vec::new(),
    };
    let class = class();
    let sought = seek(&snapshot, &class, "v").unwrap();
    let at = sought.at.map(|member| member.volume_group.clone());
    (at, sought.unknown.map(|error| error.to_string()))
}

#[test]
fn a_name_is_where_it_is_found_whatever_became_of_the_other_group() {
    let at_b = Some("b".to_owned());
    assert_eq!(
        sought(vec![vg("a", &[]), vg("b", &["v"])]),
        (at_b.clone(), None)
    );
    let (at, unknown) = sought(vec![vg("b", &["v"])]);
    assert_eq!(at, at_b);
    assert!(unknown.is_some());
}

#[test]
fn a_copy_that_is_not_whole_has_its_name() {
    for part in [copying_name("v"), frozen_name("v")] {
        let (at, _) = sought(vec![vg("a", &["w"]), vg("b", &[&part])]);
        assert_eq!(at.as_deref(), Some("b"), "{part}");
    }
}

#[test]
fn a_name_is_nowhere_only_when_every_group_was_read_and_may_be_changed() {
    assert_eq!(sought(vec![vg("a", &["w"]), vg("b", &[])]), (None, None));
    let mut frozen = vg("b", &[]);
    frozen.frozen = vec![Freeze::Partial(vec!["x".into()])];
    for (groups, why) in [
        (vec![vg("a", &[])], "volume group b is not there"),
        (vec![vg("b", &[])], "volume group a is not there"),
        (
            vec![vg("a", &[]), frozen],
            "volume group b must not be changed",
        ),
    ] {
        let (at, unknown) = sought(groups);
        assert_eq!(at, None);
        assert!(unknown.unwrap().starts_with(why), "{why}");
    }
}

#[test]
fn a_name_in_two_groups_is_nobodys_to_choose() {
    let snapshot = Snapshot {
        vgs: vec![vg("a", &["v"]), vg("b", &["v"])],
        unreadable: Vec::new(),
    };
    let error = seek(&snapshot, &class(), "v").unwrap_err().to_string();
    assert!(
        error.contains("a and b") && error.contains("lvrename"),
        "{error}"
    );
}

#[test]
fn the_roomiest_is_chosen_and_of_equals_the_first() {
    let class = class();
    let [a, b] = class.members() else { panic!() };
    for (rooms, chosen) in [((1, 2), "b"), ((2, 1), "a"), ((2, 2), "a"), ((0, 0), "a")] {
        let rooms = [(a, Bytes(rooms.0)), (b, Bytes(rooms.1))];
        assert_eq!(roomiest(&rooms).unwrap().volume_group, chosen);
    }
    assert!(roomiest(&[]).is_none());
}

#[test]
fn what_no_class_names_is_seen_unless_it_is_being_overwritten() {
    let mut wiping = vg("c", &["v"]);
    wiping.vg.lvs[0].tags = vec!["basalt.state=wiping".into()];
    let snapshot = |other: VgView| Snapshot {
        vgs: vec![vg("a", &["v"]), other],
        unreadable: Vec::new(),
    };
    assert_eq!(
        elsewhere(&snapshot(vg("c", &["v"])), "v", &["a"]),
        Some("c")
    );
    assert_eq!(elsewhere(&snapshot(vg("c", &["w"])), "v", &["a"]), None);
    assert_eq!(elsewhere(&snapshot(wiping), "v", &["a"]), None);
}
