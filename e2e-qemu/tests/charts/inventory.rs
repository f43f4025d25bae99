//! What is in rendered objects, in a shape that two charts can be compared in: one line for each fact.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Parts of an object that are kept as they are.
const KEPT: [&str; 10] = [
    "rules",
    "roleRef",
    "data",
    "provisioner",
    "parameters",
    "webhooks",
    "reclaimPolicy",
    "volumeBindingMode",
    "allowVolumeExpansion",
    "mountOptions",
];

/// Kinds whose whole spec is kept.
const WHOLE: [&str; 4] = ["CSIDriver", "Service", "PodDisruptionBudget", "PodMonitor"];

/// `<kind>/<namespace>/<name>` of each object, and what is in it.
pub(crate) fn inventory(objects: &[Value]) -> Value {
    let all: Map<String, Value> = objects
        .iter()
        .map(|object| {
            let meta = &object["metadata"];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let key = [&object["kind"], &meta["namespace"], &meta["name"]].map(text);
            (key.join("/"), entry(object))
        })
        .collect();
    Value::Object(all)
}

fn entry(object: &Value) -> Value {
    let mut entry = json!({"apiVersion": object["apiVersion"]});
    if let Some(labels) = object["metadata"]["labels"].as_object() {
        entry["labels"] = labels.keys().cloned().collect();
    }
    let spec = &object["spec"];
    let pod = &spec["template"]["spec"];
    if pod.is_object() {
        for key in [
            "hostPID",
            "hostNetwork",
            "hostIPC",
            "serviceAccountName",
            "priorityClassName",
            "dnsPolicy",
        ] {
            if let Some(value) = pod.get(key) {
                entry[key] = value.clone();
            }
        }
        let list = |key: &str| pod[key].as_array().cloned().unwrap_or_default();
        let containers = [list("initContainers"), list("containers")].concat();
        entry["containers"] = containers.iter().map(container).collect();
        let volumes = list("volumes").into_iter().map(|volume| {
            let name = volume["name"].as_str().unwrap_or_default().to_owned();
            let source = ["hostPath", "configMap", "emptyDir", "secret"].map(|k| volume.get(k));
            (
                name,
                source
                    .into_iter()
                    .flatten()
                    .next()
                    .cloned()
                    .unwrap_or_default(),
            )
        });
        entry["volumes"] = Value::Object(volumes.collect());
    }
    for key in KEPT {
        if let Some(value) = object.get(key) {
            entry[key] = value.clone();
        }
    }
    let kind = object["kind"].as_str().unwrap_or_default();
    if WHOLE.contains(&kind) {
        entry["spec"] = spec.clone();
    }
    if kind == "CustomResourceDefinition" {
        let versions = spec["versions"].as_array().into_iter().flatten();
        entry["versions"] = versions.map(|v| v["name"].clone()).collect();
    }
    entry
}

fn container(container: &Value) -> Value {
    let list = |key: &str| container[key].as_array().cloned().unwrap_or_default();
    let image = container["image"].as_str().unwrap_or_default();
    let mut probes = Map::new();
    for key in ["livenessProbe", "readinessProbe"] {
        if let Some(probe) = container.get(key) {
            let get = probe["httpGet"].as_object();
            let values = get.map(|get| get.values().cloned().collect());
            probes.insert(key.to_owned(), Value::Array(values.unwrap_or_default()));
        }
    }
    let argv = [list("command"), list("args")].concat();
    json!({
        "name": container["name"],
        "image": image.split('@').next(),
        "argv": argv,
        "env": list("env").iter().map(|v| v["name"].clone()).collect::<Vec<_>>(),
        "ports": list("ports").iter().map(|p| json!([p["name"], p["containerPort"]])).collect::<Vec<_>>(),
        "mounts": list("volumeMounts").iter()
            .map(|m| json!([m["name"], m["mountPath"], m["mountPropagation"], m["readOnly"]]))
            .collect::<Vec<_>>(),
        "privileged": container["securityContext"]["privileged"],
        "probes": probes,
    })
}

/// Each fact of an inventory on a line of its own, without what means nothing: order, an empty value, a slash at the
/// end of a path.
pub(crate) fn facts(inventory: &Value) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for (object, entry) in inventory.as_object().into_iter().flatten() {
        facts.insert(object.clone());
        collect(object, entry, &mut facts);
    }
    facts
}

fn collect(path: &str, value: &Value, facts: &mut BTreeSet<String>) {
    match value {
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::Object(map) if map.contains_key("verbs") => rule(path, map, facts),
        Value::Object(map) => {
            for (key, value) in map {
                // A file in a ConfigMap means what is in it, however it is written.
                let read = value
                    .as_str()
                    .filter(|_| key.ends_with(".yaml"))
                    .and_then(|text| serde_saphyr::from_str::<Value>(text).ok());
                collect(
                    &format!("{path} {key}"),
                    read.as_ref().unwrap_or(value),
                    facts,
                );
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(map) if map.contains_key("name") => {
                        let name = map["name"].as_str().unwrap_or_default();
                        let path = format!("{path} {name}");
                        facts.insert(path.clone());
                        collect(&path, item, facts);
                    }
                    Value::Array(words) => {
                        let words = words.iter().filter(|w| !w.is_null()).map(word);
                        let words = words.collect::<Vec<_>>().join(" ");
                        facts.insert(format!("{path}: {words}"));
                    }
                    item => collect(path, item, facts),
                }
            }
        }
        value => {
            facts.insert(format!("{path}: {}", word(value)));
        }
    }
}

/// A rule is what it allows: each verb on each resource.
fn rule(path: &str, rule: &Map<String, Value>, facts: &mut BTreeSet<String>) {
    let words = |key: &str| {
        let words = rule.get(key).and_then(Value::as_array);
        words.into_iter().flatten().map(word).collect::<Vec<_>>()
    };
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in words("verbs") {
                let at = if group.is_empty() {
                    resource.clone()
                } else {
                    format!("{group}/{resource}")
                };
                facts.insert(format!("{path}: {verb} {at}"));
            }
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > 1 => text.trim_end_matches('/').to_owned(),
        Value::String(text) => text.clone(),
        // 10 and 10.0 are one number.
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), |n| n.to_string()),
        value => value.to_string(),
    }
}

#[test]
fn facts_do_not_depend_on_how_a_thing_is_written() {
    let one = json!({"a/-/b": {"rules": [{"apiGroups": [""], "resources": ["x", "y"], "verbs": ["get"]}],
        "data": {"f.yaml": "a: {b: 10}\n"}, "volumes": {"v": {"path": "/p/"}}}});
    let other = json!({"a/-/b": {"rules": [
        {"apiGroups": [""], "resources": ["y"], "verbs": ["get"]}, {"apiGroups": [""], "resources": ["x"], "verbs": ["get"]}],
        "data": {"f.yaml": "a:\n  b: 10.0\n"}, "volumes": {"v": {"path": "/p"}}}});
    assert_eq!(facts(&one), facts(&other));
    assert_eq!(
        facts(&one).into_iter().collect::<Vec<_>>(),
        [
            "a/-/b",
            "a/-/b data f.yaml a b: 10",
            "a/-/b rules: get x",
            "a/-/b rules: get y",
            "a/-/b volumes v path: /p"
        ]
    );
}
