use super::*;
use crate::units::{Bytes, GIB};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("lvmd.yaml"))
}

/// The classes of a file, each given as a flow mapping.
fn classes(entries: &[&str]) -> Result<Config, ConfigError> {
    let list: Vec<String> = entries.iter().map(|e| format!("  - {{ {e} }}\n")).collect();
    parse(&format!("device-classes:\n{}", list.concat()))
}

fn violations(result: Result<Config, ConfigError>) -> Vec<Violation> {
    match result {
        Err(ConfigError::Rules { violations, .. }) => violations,
        other => panic!("expected broken rules, got {other:?}"),
    }
}

#[test]
fn what_upstream_accepts_is_accepted() {
    let rows: [_; 11] = [
        &[
            "name: dc1, volume-group: node1-myvg1, default: true",
            "name: dc2, volume-group: node1-myvg2",
        ][..],
        &["name: s, volume-group: vg1, stripe: 2, stripe-size: \"4\", default: true"],
        &[
            "name: s1, volume-group: vg1, stripe: 2, stripe-size: 4m, default: true",
            "name: s2, volume-group: vg2, stripe: 2, stripe-size: 4G",
        ],
        &[
            "name: o1, volume-group: vg1, default: true, lvcreate-options: [\"--mirrors=1\"]",
            "name: o2, volume-group: vg2, stripe: 2, stripe-size: 4G, lvcreate-options: [\"--mirrors=1\"]",
        ],
        &[
            "name: dev0, volume-group: vg0, default: true, type: thin, thin-pool: {name: pool0, overprovision-ratio: 10.0}",
            "name: dev1, volume-group: vg0, type: thin, thin-pool: {name: pool1, overprovision-ratio: 10.0}",
            "name: dev3, volume-group: vg1, type: thin, thin-pool: {name: pool0, overprovision-ratio: 10.0}",
        ],
        &[
            "name: dev0, volume-group: vg0, default: true, type: thin, thin-pool: {name: pool0, overprovision-ratio: 10.0}",
            "name: dev1, volume-group: vg0, type: thick",
            "name: dev2, volume-group: vg1, type: thin, thin-pool: {name: pool1, overprovision-ratio: 10.0}",
            "name: dev3, volume-group: vg1",
        ],
        &["name: dev0, volume-group: vg0, default: true, type: thick, thin-pool: {name: pool0}"],
        &[
            "name: dc1, volume-group: vg1",
            "name: dc2, volume-group: vg2",
        ],
        &["name: a, volume-group: vg, stripe-size: k"],
        &["name: a, volume-group: vg, stripe-size: \"\", type: \"\", stripe: 0, spare-gb: 0"],
        &["name: A.b_c-1, volume-group: vg+_.-1"],
    ];
    for entries in rows {
        classes(entries).unwrap_or_else(|e| panic!("{entries:?}: {e}"));
    }
}

#[test]
fn what_upstream_refuses_is_refused_with_the_rule_and_the_way_out() {
    let long = format!("name: {}, volume-group: vg", "a".repeat(64));
    let rows: [_; 29] = [
        (
            &["name: __invalid__, volume-group: vg, default: true"][..],
            "letter or digit at both ends",
        ),
        (
            &[
                "name: d, volume-group: vg1, default: true",
                "name: d, volume-group: vg2",
            ],
            "name is taken",
        ),
        (
            &[
                "name: a, volume-group: vg1, default: true",
                "name: b, volume-group: vg2, default: true",
            ],
            "\"a\" is the default already",
        ),
        (&[], "there is no device class"),
        (
            &["name: s, volume-group: vg1, stripe: 2, stripe-size: 4gib"],
            "stripe-size \"4gib\"",
        ),
        // Upstream refuses two thick classes of a group altogether.
        (
            &[
                "name: dev0, volume-group: vg0, default: true, type: thick",
                "name: dev1, volume-group: vg0, spare-gb: 1",
            ],
            "have the same spare-gb, and that of device class \"dev0\"",
        ),
        (
            &[
                "name: dev0, volume-group: vg0, default: true",
                "name: dev1, volume-group: vg0, zero: none",
            ],
            "have the same zero, and that of device class \"dev0\"",
        ),
        (
            &["name: d, volume-group: vg0, type: thin, thin-pool: {name: pool0}"],
            "overprovision-ratio is missing",
        ),
        (
            &["name: d, volume-group: vg0, type: thin, thin-pool: {overprovision-ratio: 10.0}"],
            "thin-pool.name is missing",
        ),
        (
            &["name: d, volume-group: vg0, type: thin"],
            "thin-pool is missing",
        ),
        (
            &[
                "name: d, volume-group: vg0, type: thin, thin-pool: {name: p, overprovision-ratio: 0.5}",
            ],
            "overprovision-ratio is 0.5",
        ),
        (
            &["name: d, volume-group: vg0, type: dummy"],
            "type \"dummy\" is neither",
        ),
        (
            &[
                "name: dev0, volume-group: vg0, default: true",
                "name: dev1, volume-group: vg0, type: thin, thin-pool: {name: p, overprovision-ratio: 10.0}",
                "name: dev2, volume-group: vg0, type: thin, thin-pool: {name: p, overprovision-ratio: 10.0}",
            ],
            "\"vg0/p\" is that of device class \"dev1\"",
        ),
        (&["volume-group: vg"], "name is missing"),
        (&[long.as_str()], "at most 63"),
        (&["name: d"], "volume-group is missing"),
        // Ours: what upstream takes and then fails on later.
        (
            &["name: d, volume-group: /dev/vg"],
            "cannot be a name of LVM",
        ),
        (&["name: d, volume-group: -vg"], "cannot be a name of LVM"),
        (
            &[
                "name: d, volume-group: vg, type: thin, thin-pool: {name: p, overprovision-ratio: .inf}",
            ],
            "ratio is inf",
        ),
        (
            &[
                "name: d, volume-group: vg, type: thin, thin-pool: {name: p, overprovision-ratio: .nan}",
            ],
            "ratio is NaN",
        ),
        (
            &["name: d, volume-group: vg, spare-gb: 99999999999999"],
            "spare-gb",
        ),
        (
            &["name: d, volume-group: vg, lvcreate-options: [-Zn]"],
            "option \"-Zn\" is refused",
        ),
        (
            &["name: d, volume-group: vg, stripe: 2, lvcreate-options: [-i2]"],
            "takes it once",
        ),
        (
            &["name: d, volume-group: vg, zero: never"],
            "neither `zero` nor `none`",
        ),
        (
            &["name: d, volume-group: vg, thick-snapshots: cow"],
            "neither `none` nor `copy`",
        ),
        (
            &[
                "name: d, volume-group: vg, type: thin, thick-snapshots: copy, thin-pool: {name: p, overprovision-ratio: 1}",
            ],
            "thick-snapshots is about thick volumes",
        ),
        (
            &["name: d, volume-group: vg, gate-percent: 90"],
            "the type is thick",
        ),
        (
            &[
                "name: d, volume-group: vg, type: thin, zero: none, thin-pool: {name: p, overprovision-ratio: 1}",
            ],
            "the type is thin",
        ),
        (
            &[
                "name: d, volume-group: vg, type: thin, gate-percent: 0, thin-pool: {name: p, overprovision-ratio: 1}",
            ],
            "not within 1 to 100",
        ),
    ];
    for (entries, rule) in rows {
        let found = violations(classes(entries));
        assert!(
            found.iter().any(|v| v.rule.contains(rule)),
            "{entries:?}: {found:?}"
        );
        assert!(
            found.iter().all(|v| !v.fix.is_empty()),
            "{entries:?}: {found:?}"
        );
    }
}

#[test]
fn the_groups_of_a_class_are_named_once_each_and_in_one_place() {
    for (entries, rule) in [
        (
            &["name: d, volume-group: a, volume-groups: [b]"][..],
            "volume-group and volume-groups are both there",
        ),
        (&["name: d, volume-groups: []"], "volume-groups is empty"),
        (&["name: d, volume-groups: [a, b, a]"], "names \"a\" twice"),
        (
            &["name: d, volume-groups: [a, \"\"]"],
            "is missing or empty",
        ),
        (&["name: d, volume-groups: [a, /dev/b]"], "cannot be a name"),
        (
            &[
                "name: d, volume-groups: [a, b], spare-gb: 1",
                "name: e, volume-groups: [c, b]",
            ],
            "have the same spare-gb, and that of device class \"d\"",
        ),
        (
            &[
                "name: d, volume-group: b, type: thin, thin-pool: {name: p, overprovision-ratio: 1}",
                "name: e, volume-groups: [a, b], type: thin, thin-pool: {name: p, overprovision-ratio: 1}",
            ],
            "\"b/p\" is that of device class \"d\"",
        ),
        (
            &["name: d, volume-groups: [a, b]", "name: d, volume-group: c"],
            "name is taken",
        ),
    ] {
        let found = violations(classes(entries));
        assert!(
            found.len() == 1 && found[0].rule.contains(rule) && !found[0].fix.is_empty(),
            "{entries:?}: {found:?}"
        );
    }
}

#[test]
fn a_class_with_several_groups_has_a_member_in_each_that_differs_in_the_group_alone() {
    let config = classes(&[
        "name: d, volume-groups: [a, b], default: true, type: thin, thin-pool: {name: p, overprovision-ratio: 2}",
        "name: t, volume-groups: [b, c]",
        "name: u, volume-group: c",
    ]);
    let classes = config.unwrap().classes;
    assert_eq!(classes.volume_groups(), ["a", "b", "c"]);
    let default = classes.get("").unwrap();
    let [a, b] = default.members() else { panic!() };
    let moved = DeviceClass {
        volume_group: "b".into(),
        ..a.as_ref().clone()
    };
    assert_eq!(b.as_ref(), &moved);
    assert_eq!(classes.thin("b", "p").unwrap(), b);
    assert!(default.only().is_none() && default.member("c").is_none());
    let siblings: Vec<_> = classes.members().map(|m| m.siblings.as_slice()).collect();
    assert_eq!(siblings[3], ["u"], "of the same group alone");
    assert_eq!(siblings[4], ["t"]);
    assert!(siblings[..3].iter().all(|none| none.is_empty()));
}

#[test]
fn every_broken_rule_is_told_with_line_class_and_way_out() {
    let error = classes(&[
        "name: a, volume-group: vg, type: fat",
        "name: a, volume-group: \"\"",
    ]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "lvmd.yaml breaks 3 rules of lvmd.yaml:\n  \
         line 2: device class \"a\": type \"fat\" is neither `thick` nor `thin`; write `thin`, or leave type out for thick\n  \
         line 3: device class \"a\": the name is taken by an earlier class; rename one of them\n  \
         line 3: device class \"a\": volume-group is missing or empty; name one that exists, as `lvm vgs` or `lvm lvs` shows it"
    );
}

#[test]
fn a_full_file_is_read() {
    let config = parse(include_str!("../../examples/lvmd.yaml")).unwrap();
    assert_eq!(config.socket, Path::new("/run/topolvm/lvmd.sock"));
    assert!(config.command_prefix.is_empty());
    let ssd = config.classes.get("").unwrap().only().unwrap();
    assert_eq!((ssd.name.as_str(), ssd.spare), ("ssd", Bytes(20 * GIB)));
    let spread = config.classes.get("spread").unwrap();
    let groups = spread.members().iter().map(|m| m.volume_group.as_str());
    assert_eq!(groups.collect::<Vec<_>>(), ["vg-disk1", "vg-disk2"]);
    let thin = config.classes.get("thin").unwrap().only().unwrap();
    let Kind::Thin {
        pool,
        overprovision_ratio,
    } = &thin.kind
    else {
        panic!("{thin:?}")
    };
    assert_eq!((pool.as_str(), *overprovision_ratio), ("pool0", 5.0));
    assert_eq!((thin.spare, thin.gate_percent), (DEFAULT_SPARE, 90));
    assert_eq!(config.option_classes["raid1"].args(), ["--type=raid1"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn classes_are_found_by_name_group_and_pool() {
    let config = classes(&[
        "name: a, volume-group: vg0, default: true",
        "name: b, volume-group: vg0, type: thin, thin-pool: {name: p, overprovision-ratio: 1}",
        "name: c, volume-group: vg1, type: thin, thin-pool: {name: p, overprovision-ratio: 1}",
    ]);
    let classes = config.unwrap().classes;
    assert_eq!(classes.get("").unwrap().name, "a");
    assert_eq!(classes.thin("vg1", "p").unwrap().name, "c");
    assert!(classes.thin("vg0", "q").is_none());
    assert_eq!(classes.volume_groups(), ["vg0", "vg1"]);
    let error = classes.get("z").unwrap_err();
    assert_eq!(
        error.to_string(),
        "device class \"z\" does not exist; there are a, b, c"
    );
}

#[test]
fn a_thick_volume_is_of_the_class_that_its_tag_names_among_those_of_its_group() {
    let classes = classes(&[
        "name: plain, volume-group: vg0, default: true",
        "name: raid, volume-group: vg0, lvcreate-options: [--type=raid1]",
        "name: thin, volume-group: vg0, type: thin, thin-pool: {name: p, overprovision-ratio: 1}",
        "name: alone, volume-group: vg1",
    ]);
    let classes = classes.unwrap().classes;
    let tags = |all: &[&str]| all.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let tagged = |class: &str, all: &[&str]| {
        classes
            .get(class)
            .unwrap()
            .only()
            .unwrap()
            .tagged(&tags(all))
    };
    assert_eq!(
        tagged("raid", &["x"]),
        tags(&["x", "basalt.device-class=raid"])
    );
    let own = ["basalt.device-class=raid"];
    assert_eq!(tagged("raid", &own), tags(&own), "it says so already");
    for other in ["thin", "alone"] {
        assert_eq!(tagged(other, &["x"]), tags(&["x"]), "{other}");
    }
    let has =
        |class: &str, all: &[&str]| classes.get(class).unwrap().only().unwrap().has(&tags(all));
    assert!(has("raid", &own) && !has("plain", &own));
    // Made when there was one class, or in one that has another name now.
    for all in [&[][..], &["basalt.device-class=before"]] {
        assert!(has("raid", all) && has("plain", all), "{all:?}");
    }
    assert!(has("alone", &own));
}

#[test]
fn without_a_default_class_the_empty_name_is_unknown() {
    let config = classes(&["name: a, volume-group: vg0"]).unwrap();
    let error = config.classes.get("").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no device class is the default one; mark one or name one of a"
    );
}

#[test]
fn oddities_upstream_allows_are_kept_and_told() {
    let text = "device-classes: [{name: a, volume-group: v, thin-pool: {name: p}}]\n\
                lvcreate-option-classes:\n- {name: r, options: [-m1]}\n- {name: r, options: [-m2]}\n- {}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.option_classes["r"].args(), ["--mirrors=2"]);
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
}

#[test]
fn the_lvm_path_flag_means_the_hosts_lvm_and_excludes_the_prefix() {
    let config = classes(&["name: a, volume-group: v"]).unwrap();
    let config = config.with_lvm_path("/usr/sbin/lvm").unwrap();
    let words = [
        "/usr/bin/nsenter",
        "-m",
        "-u",
        "-i",
        "-n",
        "-p",
        "-t",
        "1",
        "/usr/sbin/lvm",
    ];
    assert_eq!(config.command_prefix, words);
    assert_eq!(config.with_lvm_path("/x"), Err(LvmPathConflict));
}

#[test]
fn the_old_flags_make_one_thick_default_class() {
    let config = Config::shorthand("myvg", Some("/tmp/topolvm/lvmd.sock"), Some(1)).unwrap();
    let class = config.classes.get("").unwrap().only().unwrap();
    assert_eq!(
        (class.volume_group.as_str(), class.spare),
        ("myvg", Bytes(GIB))
    );
    assert_eq!(class.kind, Kind::Thick);
    assert_eq!(config.socket, Path::new("/tmp/topolvm/lvmd.sock"));
    assert!(Config::shorthand("a/b", None, None).is_err());
}

#[test]
fn socket_prefix_and_system_dir_have_rules() {
    let class = "device-classes: [{name: a, volume-group: v}]\n";
    for (line, rule) in [
        ("socket-name: \"\"\n".to_owned(), "the path is empty"),
        (
            format!("socket-name: /{}\n", "s".repeat(120)),
            "at most 107 bytes",
        ),
        (
            "lvm-command-prefix: [nsenter, \"\"]\n".to_owned(),
            "a word is empty",
        ),
        (
            "lvm-system-dir: /tmp\n".to_owned(),
            "neither `generated` nor `user`",
        ),
    ] {
        let found = violations(parse(&format!("{line}{class}")));
        assert!(found[0].rule.contains(rule), "{found:?}");
    }
    let config = parse(&format!(
        "lvm-system-dir: user\nlvm-command-prefix: [/sbin/lvm]\n{class}"
    ))
    .unwrap();
    assert_eq!(config.lvm_system_dir, LvmSystemDir::User);
    assert_eq!(config.command_prefix, ["/sbin/lvm"]);
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/no/lvmd.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /no/lvmd.yaml");
}
