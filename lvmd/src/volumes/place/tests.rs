use super::*;
use crate::config::Config;
use crate::lvm::attr::LvAttr;
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

/// What a group has of `v`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Has {
    Nothing,
    Own,
    Copying,
    Frozen,
    OfAnother,
}

/// How a group of the class is.
#[derive(Debug, Clone, Copy)]
enum Group {
    Away,
    Closed(Has),
    Open(Has),
}

impl Group {
    fn has(self) -> Has {
        match self {
            Self::Away => Has::Nothing,
            Self::Closed(has) | Self::Open(has) => has,
        }
    }

    fn view(self, name: &str) -> Option<VgView> {
        let part = match self.has() {
            Has::Nothing => "w".to_owned(),
            Has::Own | Has::OfAnother => "v".to_owned(),
            Has::Copying => copying_name("v"),
            Has::Frozen => frozen_name("v"),
        };
        let mut view = vg(name, &[&part]);
        if self.has() == Has::OfAnother {
            // A thin volume is of no thick class.
            view.vg.lvs[0].attr = LvAttr::parse("Vwi-a-tz--").unwrap();
        }
        match self {
            Self::Away => return None,
            Self::Closed(_) => view.frozen = vec![Freeze::Exported],
            Self::Open(_) => {}
        }
        Some(view)
    }
}

#[test]
fn in_every_state_of_three_groups_a_name_has_one_place_or_none_and_no_doubt_is_left_out() {
    let all = [
        Has::Nothing,
        Has::Own,
        Has::Copying,
        Has::Frozen,
        Has::OfAnother,
    ];
    let mut states = vec![Group::Away];
    states.extend(
        all.iter()
            .flat_map(|has| [Group::Closed(*has), Group::Open(*has)]),
    );
    let names = ["a", "b", "c"];
    let text = "device-classes: [{name: c, volume-groups: [a, b, c]}]";
    let config = Config::parse(text, Path::new("test")).unwrap();
    let class = config.classes.get("c").unwrap();
    let mut looked_at = 0;
    for n in 0..states.len().pow(3) {
        let of = |at: u32| states[n / states.len().pow(at) % states.len()];
        let groups = [of(0), of(1), of(2)];
        let mut vgs: Vec<_> = groups
            .iter()
            .zip(names)
            .filter_map(|(g, name)| g.view(name))
            .collect();
        // In whatever order they are read.
        let first = n % vgs.len().max(1);
        vgs.rotate_left(first);
        let snapshot = Snapshot {
            vgs,
            unreadable: Vec::new(),
        };
        let is_own = |group: &Group| !matches!(group.has(), Has::Nothing | Has::OfAnother);
        let own = groups.iter().filter(|group| is_own(group)).count();
        let sought = seek(&snapshot, class, "v");
        looked_at += 1;
        if own > 1 {
            assert!(
                matches!(sought, Err(VolumeError::Twice { .. })),
                "{groups:?}"
            );
            continue;
        }
        let Sought { at, unknown } = sought.unwrap();
        match at {
            Some(at) => {
                let place = names
                    .iter()
                    .position(|name| *name == at.volume_group)
                    .unwrap();
                assert_ne!(groups[place].has(), Has::Nothing, "{groups:?}");
                assert_eq!(is_own(&groups[place]), own == 1, "{groups:?}");
            }
            None => assert!(groups.iter().all(|g| g.has() == Has::Nothing), "{groups:?}"),
        }
        let sure = groups.iter().all(|group| matches!(group, Group::Open(_)));
        assert_eq!(unknown.is_none(), sure, "{groups:?}");
    }
    assert_eq!(looked_at, 1331);
}

#[test]
fn a_name_in_a_group_that_no_class_has_is_told_and_one_in_a_group_of_another_class_is_not() {
    let text = "device-classes: [{name: c, volume-groups: [a, b]}, {name: d, volume-group: d}]";
    let config = Config::parse(text, Path::new("test")).unwrap();
    let snapshot = |name: &str| Snapshot {
        vgs: vec![vg("a", &[]), vg("b", &[]), vg(name, &["v"])],
        unreadable: Vec::new(),
    };
    let error = unlisted(&snapshot("e"), &config, "v").unwrap_err();
    assert!(error.to_string().contains("volume group e"), "{error}");
    unlisted(&snapshot("d"), &config, "v").unwrap();
    unlisted(&snapshot("e"), &config, "w").unwrap();
}
