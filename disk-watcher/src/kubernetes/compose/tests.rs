use super::*;
use crate::native::{ObjectClaim, What};
use serde_json::{Value, json};

fn class(name: &str, generation: i64, spec: Value) -> Written {
    Written {
        name: name.into(),
        uid: format!("uid-{name}"),
        generation,
        spec,
        beside: serde_json::Map::new(),
        unreadable: None,
    }
}

/// Without any group in the journal.
fn compose(file: &Config, told: &Told, kept: &Kept) -> Composed {
    super::compose(file, told, kept, Some(&Held::new()))
}

/// The journal of a node on which class `a` made group `g`.
fn held() -> Held {
    Held::from([("g".to_owned(), "a".to_owned())])
}

fn recalled(composed: &Composed) -> Vec<(&str, Option<Recalled>)> {
    let classes = composed.config.classes.iter();
    classes
        .map(|class| (class.name.as_str(), class.recalled))
        .collect()
}

fn plain(name: &str, group: &str) -> Written {
    class(
        name,
        1,
        json!({"select": {"model": ["x"]}, "volumeGroup": {"name": group}}),
    )
}

fn told(classes: Vec<Written>) -> Told {
    Told {
        node_uid: Some("node".into()),
        labels: Some([("disks".to_owned(), "fast".to_owned())].into()),
        classes: Some(classes),
        removals: Some(Vec::new()),
        disk_labels: Some(DiskLabels::new()),
        wipes: Vec::new(),
        owners: Some(ObjectClaims::default()),
    }
}

fn file(name: &str, group: &str) -> Config {
    Config::load(&format!("apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: {name}}}\nspec:\n  select: {{model: [x]}}\n  volumeGroup: {{name: {group}}}\n")).unwrap()
}

fn names(composed: &Composed) -> Vec<&str> {
    let classes = composed.config.classes.iter();
    classes.map(|class| class.name.as_str()).collect()
}

fn refusals(composed: &Composed) -> Vec<(&str, &str)> {
    let refused = composed.verdicts.iter();
    refused
        .filter_map(|v| Some((v.name.as_str(), v.refusal.as_ref()?.reason)))
        .collect()
}

#[test]
fn a_class_is_used_on_nodes_that_it_selects() {
    let on = |value: &str| {
        let mut object = plain("a", "g");
        object.spec["nodeSelector"] = json!({"matchLabels": {"disks": value}});
        compose(&Config::default(), &told(vec![object]), &Kept::default())
    };
    let fast = on("fast");
    assert_eq!((names(&fast), refusals(&fast)), (vec!["a"], vec![]));
    let slow = on("slow");
    assert_eq!(
        (names(&slow), slow.verdicts.len()),
        (vec![], 0),
        "not its business"
    );
}

#[test]
fn an_object_is_checked_like_a_file_and_names_the_field() {
    for (spec, words) in [
        (
            json!({"select": {"modle": ["x"]}, "volumeGroup": {"name": "g"}}),
            "did you mean \"model\"",
        ),
        (
            json!({"select": {"model": ["*"]}, "volumeGroup": {"name": "g"}}),
            "spec.select.model",
        ),
        (
            json!({"priority": 1, "select": {"model": ["x"]}, "volumeGroup": {"name": "g"}}),
            "not supported: spec.priority",
        ),
        (
            json!({"nodeSelector": {"a": "b"}, "select": {"model": ["x"]}, "volumeGroup": {"name": "g"}}),
            "spec.nodeSelector",
        ),
        (json!("no"), "spec"),
    ] {
        let bad = class("a", 1, spec.clone());
        let composed = compose(
            &file("f", "f"),
            &told(vec![bad, plain("b", "h")]),
            &Kept::default(),
        );
        assert_eq!(names(&composed), ["f", "b"], "the others are used: {spec}");
        assert_eq!(refusals(&composed), [("a", "Invalid")]);
        let message = &composed
            .verdicts
            .iter()
            .find_map(|v| v.refusal.clone())
            .unwrap()
            .message;
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn files_come_first_then_what_is_in_force_then_what_is_new() {
    let with_file = compose(
        &file("a", "g"),
        &told(vec![plain("a", "h"), plain("b", "g")]),
        &Kept::default(),
    );
    assert_eq!(names(&with_file), ["a"]);
    assert_eq!(refusals(&with_file), [("a", "Conflict"), ("b", "Conflict")]);

    let first = compose(
        &Config::default(),
        &told(vec![plain("z", "g")]),
        &Kept::default(),
    );
    let second = compose(
        &Config::default(),
        &told(vec![plain("a", "g"), plain("z", "g")]),
        &first.kept,
    );
    assert_eq!(names(&second), ["z"], "a newcomer does not push it out");
    assert_eq!(refusals(&second), [("a", "Conflict")]);

    let both = compose(
        &Config::default(),
        &told(vec![plain("a", "g"), plain("z", "g")]),
        &Kept::default(),
    );
    assert_eq!(
        names(&both),
        Vec::<&str>::new(),
        "which is meant cannot be told"
    );
    assert_eq!(refusals(&both).len(), 2);

    let later = compose(&file("f", "g"), &told(vec![plain("z", "g")]), &first.kept);
    assert_eq!(
        names(&later),
        ["f"],
        "a file comes first, whenever it was written"
    );
    assert_eq!(refusals(&later), [("z", "Conflict")]);
}

#[test]
fn a_version_that_is_refused_leaves_the_one_before_in_force() {
    let good = plain("a", "g");
    let first = compose(
        &Config::default(),
        &told(vec![good.clone()]),
        &Kept::default(),
    );
    let mut bad = class("a", 2, json!({"select": {}, "volumeGroup": {"name": "g"}}));
    let second = compose(&Config::default(), &told(vec![bad.clone()]), &first.kept);
    assert_eq!(second.config, first.config);
    assert_eq!(second.kept, first.kept);
    let message = &second.verdicts[0].refusal.clone().unwrap().message;
    assert!(
        message.contains("version 1 stays in use") && message.contains("spec.select"),
        "{message}"
    );
    let third = compose(&Config::default(), &told(vec![bad.clone()]), &second.kept);
    assert_eq!(third, second, "and so it stays");
    bad.uid = "another".into();
    let anew = compose(&Config::default(), &told(vec![bad]), &second.kept);
    assert_eq!(
        names(&anew),
        Vec::<&str>::new(),
        "another object with its name is not it"
    );
}

#[test]
fn until_all_is_told_the_last_classes_only_look_after_what_is_there() {
    let unheard = Some(Recalled::Unheard);
    let first = compose(
        &file("f", "f"),
        &told(vec![plain("a", "g"), plain("b", "h")]),
        &Kept::default(),
    );
    assert!(!first.config.unheard);
    let silent = compose(&file("f", "f"), &Told::default(), &first.kept);
    assert!(silent.config.unheard);
    assert_eq!(silent.kept, first.kept);
    assert_eq!(
        recalled(&silent),
        [("f", None), ("a", unheard), ("b", unheard)],
        "files need no API server"
    );
    let may = |composed: &Composed| {
        let classes = composed.config.classes.iter();
        classes.map(DiskClass::may_change_disks).collect::<Vec<_>>()
    };
    let mut enforced = plain("a", "g");
    enforced.spec["mode"] = json!("Enforce");
    let heard = compose(&Config::default(), &told(vec![enforced]), &Kept::default());
    let again = compose(&Config::default(), &Told::default(), &heard.kept);
    assert_eq!((may(&heard), may(&again)), (vec![true], vec![false]));

    let mut no_node = told(vec![plain("b", "h"), plain("c", "i")]);
    no_node.labels = None;
    let without = compose(&file("f", "f"), &no_node, &first.kept);
    assert_eq!(
        recalled(&without),
        [("f", None), ("b", unheard)],
        "a is gone for certain, c may not be for this node"
    );
    let mut no_removals = told(vec![plain("a", "g")]);
    no_removals.removals = None;
    let without = compose(&Config::default(), &no_removals, &first.kept);
    assert_eq!(recalled(&without), [("a", unheard)]);
    let deleted = compose(&file("f", "f"), &told(vec![]), &first.kept);
    assert_eq!(
        (names(&deleted), deleted.kept.clone()),
        (
            vec!["f"],
            Kept {
                owners: Some(ObjectClaims::default()),
                ..Kept::default()
            }
        )
    );
}

#[test]
fn a_class_that_leaves_the_node_goes_on_to_look_after_the_group_it_made() {
    let mut object = plain("a", "g");
    object.spec["thinPool"] = json!({"name": "p", "size": "50%"});
    let first = super::compose(
        &Config::default(),
        &told(vec![object.clone()]),
        &Kept::default(),
        Some(&held()),
    );
    assert_eq!(recalled(&first), [("a", None)]);
    object.generation = 2;
    object.spec["nodeSelector"] = json!({"matchLabels": {"disks": "slow"}});
    object.spec["thinPool"]["size"] = json!("90%");
    let elsewhere = told(vec![object.clone()]);
    let left = super::compose(&Config::default(), &elsewhere, &first.kept, Some(&held()));
    assert_eq!(recalled(&left), [("a", Some(Recalled::NotSelected))]);
    assert_eq!(
        left.config.classes[0].thin_pool, first.config.classes[0].thin_pool,
        "within the bounds of then"
    );
    assert_eq!(refusals(&left), [("a", "NotSelected")]);
    let later = super::compose(&Config::default(), &elsewhere, &left.kept, Some(&held()));
    assert_eq!(later, left, "and so it stays");
    let restarted = super::compose(
        &Config::default(),
        &Told::default(),
        &left.kept,
        Some(&held()),
    );
    assert_eq!(recalled(&restarted), [("a", Some(Recalled::Unheard))]);

    let unknown = super::compose(&Config::default(), &elsewhere, &first.kept, None);
    assert_eq!(
        recalled(&unknown),
        [("a", Some(Recalled::NotSelected))],
        "the journal cannot be read"
    );
    assert_eq!(unknown.kept, first.kept, "nothing is forgotten meanwhile");

    let nothing = compose(&Config::default(), &elsewhere, &first.kept);
    assert_eq!(recalled(&nothing), [], "it made nothing here");
    object.spec["nodeSelector"] = json!({});
    let back = super::compose(
        &Config::default(),
        &told(vec![object]),
        &left.kept,
        Some(&held()),
    );
    assert_eq!(recalled(&back), [("a", None)]);
}

#[test]
fn no_class_gets_the_group_that_another_made() {
    for kept in [
        Kept::default(),
        Kept {
            classes: vec![plain("b", "g")],
            ..Kept::default()
        },
    ] {
        let of = |objects| super::compose(&Config::default(), &told(objects), &kept, Some(&held()));
        let alone = of(vec![plain("b", "g")]);
        assert_eq!(recalled(&alone), []);
        assert_eq!(refusals(&alone), [("b", "Conflict")]);
        let why = &alone.verdicts[0].refusal.as_ref().unwrap().message;
        assert!(
            why.contains("spec.volumeGroup.name") && why.contains("write a class a"),
            "{why}"
        );
        let beside = of(vec![plain("a", "g"), plain("b", "g")]);
        assert_eq!(recalled(&beside), [("a", None)], "who made it has it");
        assert_eq!(refusals(&beside), [("b", "Conflict")]);
        let mut with_stray = held();
        with_stray.insert(("g".to_owned(), "0".to_owned()));
        let objects = told(vec![plain("a", "g")]);
        let stray = super::compose(&Config::default(), &objects, &kept, Some(&with_stray));
        assert_eq!(
            recalled(&stray),
            [("a", None)],
            "a leftover takes nothing away"
        );
    }
}

#[test]
fn a_key_in_the_wrong_place_is_refused_by_its_name() {
    let mut object = plain("a", "g");
    let exclude = json!({"serial": ["precious"]});
    object.beside.insert("exclude".to_owned(), exclude);
    let mut deep = plain("b", "h");
    deep.unreadable = Some("nested too deep".to_owned());
    let objects = told(vec![object, deep.clone(), plain("c", "i")]);
    let composed = compose(&Config::default(), &objects, &Kept::default());
    assert_eq!(recalled(&composed), [("c", None)]);
    let why = |name: &str| {
        let mut verdicts = composed.verdicts.iter().filter(|v| v.name == name);
        verdicts.next().unwrap().refusal.clone().unwrap().message
    };
    assert!(why("a").contains("exclude"), "{}", why("a"));
    assert!(why("b").contains("nested too deep"), "{}", why("b"));

    let before = compose(
        &Config::default(),
        &told(vec![plain("b", "h")]),
        &Kept::default(),
    );
    let spoilt = compose(&Config::default(), &told(vec![deep]), &before.kept);
    assert_eq!(spoilt.config, before.config, "the version before is in use");
}

#[test]
fn requests_stand_beside_those_of_files_and_wipes_are_not_kept() {
    let fingerprint = format!("sha256:{}", "a".repeat(64));
    let wipe = class(
        "w",
        1,
        json!({"node": "n1", "diskId": "naa.1", "method": "Full", "notAfter": "2026-11-20T12:00Z",
        "expect": {"fingerprint": fingerprint, "signatures": ["ext4"]}}),
    );
    let removal = class("r", 1, json!({"node": "n1", "diskId": "naa.1"}));
    let mut told = told(vec![]);
    let unasked = |object| Wipe {
        object,
        until: None,
    };
    let bad = class("bad", 1, json!({"node": "n1"}));
    told.wipes = vec![unasked(wipe), unasked(bad)];
    told.removals = Some(vec![removal]);
    let composed = compose(&Config::default(), &told, &Kept::default());
    assert_eq!(
        (composed.config.removals.len(), composed.config.wipes.len()),
        (1, 1)
    );
    assert_eq!(refusals(&composed), [("bad", "Invalid")]);
    let certain = |composed: &Composed| composed.config.removals[0].certain;
    let away = compose(&Config::default(), &Told::default(), &composed.kept);
    assert_eq!(
        (away.config.removals.len(), away.config.wipes.len()),
        (1, 0)
    );
    assert_eq!((certain(&composed), certain(&away)), (true, false));
    let mut spoilt = told.clone();
    let removal = &mut spoilt.removals.as_mut().unwrap()[0];
    (removal.generation, removal.unreadable) = (2, Some("nested too deep".to_owned()));
    let spoilt = compose(&Config::default(), &spoilt, &composed.kept);
    assert_eq!(
        spoilt.config, composed.config,
        "it is not taken back by that"
    );
    assert_eq!(refusals(&spoilt)[0], ("r", "Invalid"));
    let of_file = Config {
        unheard: false,
        ..composed.config.clone()
    };
    let again = compose(&of_file, &told, &Kept::default());
    assert_eq!(
        again.config, composed.config,
        "a file's request of that name is not merged"
    );
    assert_eq!(
        refusals(&again),
        [("r", "Conflict"), ("w", "Conflict"), ("bad", "Invalid")]
    );
}

#[test]
fn a_class_of_a_file_that_takes_no_disk_gives_way_to_an_object() {
    let mode = crate::config::Mode::Enforce;
    let mut idle = Config::default();
    idle.add(crate::compat::class("disk-config", "n1: none", "n1", mode).unwrap());
    let alone = compose(&idle, &told(vec![]), &Kept::default());
    assert_eq!(names(&alone), ["topolvm"]);
    for object in [plain("a", "topolvm_vg"), plain("topolvm", "g")] {
        let composed = compose(&idle, &told(vec![object.clone()]), &Kept::default());
        assert_eq!(names(&composed), [object.name.as_str()]);
        assert_eq!(refusals(&composed), []);
        let again = compose(&idle, &told(vec![object.clone()]), &composed.kept);
        assert_eq!(names(&again), [object.name.as_str()], "in force already");
    }
}

#[test]
fn labels_of_disks_are_the_last_that_were_told_and_nothing_is_taken_by_old_ones() {
    let labels: DiskLabels = [(
        "n1-1".to_owned(),
        [("tier".to_owned(), "fast".to_owned())].into(),
    )]
    .into();
    let mut file = file("a", "g");
    let heard = Told {
        disk_labels: Some(labels.clone()),
        ..told(Vec::new())
    };
    let before = compose(&file, &heard, &Kept::default());
    assert_eq!(before.config.disk_labels, labels);
    assert_eq!(before.kept.disk_labels, labels);
    let away = compose(&file, &Told::default(), &before.kept);
    assert_eq!(
        (&away.config.disk_labels, &away.kept),
        (&labels, &before.kept)
    );
    assert!(away.config.unheard);
    assert_eq!(
        recalled(&away),
        [("a", None)],
        "a file's class needs nobody"
    );
    let selector = serde_json::from_value(json!({"matchLabels": {"tier": "fast"}})).unwrap();
    file.classes[0].select.disk_labels = Some(selector);
    let away = compose(&file, &Told::default(), &before.kept);
    assert_eq!(recalled(&away), [("a", Some(Recalled::Unheard))]);
    assert_eq!(
        recalled(&compose(&file, &heard, &before.kept)),
        [("a", None)]
    );
}

#[test]
fn until_other_systems_were_heard_of_what_they_claimed_before_counts_or_every_disk_may_be_theirs() {
    let claim = ObjectClaim {
        object: "CephCluster rook/a".into(),
        what: What::Any,
    };
    let claims = ObjectClaims {
        claims: vec![claim],
        ..ObjectClaims::default()
    };
    let of = |told: &Told, kept: &Kept| {
        let composed = compose(&Config::default(), told, kept);
        assert_eq!(
            composed.kept.owners.is_some(),
            told.owners.is_some() || kept.owners.is_some()
        );
        composed.config.owners
    };
    let nothing = Told::default();
    assert_eq!(of(&nothing, &Kept::default()), ObjectClaims::unheard());
    let kept = Kept {
        owners: Some(claims.clone()),
        ..Kept::default()
    };
    assert_eq!(of(&nothing, &kept), claims);
    assert_eq!(of(&told(Vec::new()), &kept), ObjectClaims::default());
}
