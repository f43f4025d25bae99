use super::*;
use serde_json::{Value, json};

fn class(name: &str, generation: i64, spec: Value) -> Written {
    Written {
        name: name.into(),
        uid: format!("uid-{name}"),
        generation,
        spec,
    }
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
        wipes: Vec::new(),
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
            "not supported yet: spec.priority",
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
fn without_an_answer_the_last_classes_stay_and_one_that_is_gone_goes() {
    let first = compose(
        &file("f", "f"),
        &told(vec![plain("a", "g"), plain("b", "h")]),
        &Kept::default(),
    );
    let silent = compose(&file("f", "f"), &Told::default(), &first.kept);
    assert_eq!((&silent.config, &silent.kept), (&first.config, &first.kept));
    let mut no_node = told(vec![plain("b", "h"), plain("c", "i")]);
    no_node.labels = None;
    let without = compose(&file("f", "f"), &no_node, &first.kept);
    assert_eq!(names(&without), ["f", "b"], "c may not be for this node");
    let deleted = compose(&file("f", "f"), &told(vec![]), &first.kept);
    assert_eq!(
        (names(&deleted), deleted.kept.clone()),
        (vec!["f"], Kept::default())
    );
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
    told.wipes = vec![wipe, class("bad", 1, json!({"node": "n1"}))];
    told.removals = Some(vec![removal]);
    let composed = compose(&Config::default(), &told, &Kept::default());
    assert_eq!(
        (composed.config.removals.len(), composed.config.wipes.len()),
        (1, 1)
    );
    assert_eq!(refusals(&composed), [("bad", "Invalid")]);
    let away = compose(&Config::default(), &Told::default(), &composed.kept);
    assert_eq!(
        (away.config.removals.len(), away.config.wipes.len()),
        (1, 0)
    );
    let again = compose(&composed.config, &told, &Kept::default());
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
