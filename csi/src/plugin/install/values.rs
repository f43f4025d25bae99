//! The values of the two charts: what was set before stays, and what is asked for now is added.

use lvmd::units::Bytes;
use serde_json::{Map, Value, json};

/// The class, and the device class, of a new installation: it shows what it would take.
const PLANNED: &str = "local";
/// The class of files that stand in for disks.
const FILES: &str = "files";
/// Where that file is, on each node.
pub const FILE: &str = "/var/lib/basalt/files.img";
const GROUP: &str = "topolvm_vg";
const FILES_GROUP: &str = "topolvm_files";
const POOL: &str = "topolvm_thin";

/// What is asked for, as far as it has to do with values.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// Only nodes with this label get pods.
    pub label: Option<&'a (String, String)>,
    /// The size of a file on each node.
    pub files: Option<Bytes>,
    /// How many nodes there are.
    pub nodes: usize,
    /// Whether the cluster has snapshots' CRDs.
    pub snapshots: bool,
}

/// `over` on top of `base` as Helm has it: maps are joined, all else is replaced.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Values of charts/disk-watcher. `before`: what its release has; `given`: a person's values.
pub fn watcher(before: Option<Value>, given: Value, asked: &Asked<'_>) -> Value {
    let planned = json!({"classes": [{"name": PLANNED, "spec": {
        "mode": "Plan",
        "select": {"size": {"min": "1Gi"}},
        "volumeGroup": {"name": GROUP},
        "thinPool": {"name": POOL},
    }}]});
    let fresh = match asked.files {
        Some(_) => json!({}),
        None => planned,
    };
    let mut values = before.filter(Value::is_object).unwrap_or(fresh);
    merge(&mut values, given);
    if let Some(size) = asked.files {
        let class = json!({"name": FILES, "spec": {
            "mode": "Enforce",
            "select": {"files": [{"path": FILE, "size": size.0.to_string()}]},
            "volumeGroup": {"name": FILES_GROUP},
            "thinPool": {"name": POOL},
        }});
        put(list(&mut values, "/classes"), class);
    }
    if let Some((key, value)) = asked.label {
        merge(&mut values, json!({"nodeSelector": {key.clone(): value}}));
    }
    values
}

/// Values of charts/topolvm.
pub fn topolvm(before: Option<Value>, given: Value, asked: &Asked<'_>) -> Value {
    let first = match asked.files {
        Some(_) => vec![],
        None => vec![device_class(PLANNED, GROUP, true)],
    };
    let mut fresh = json!({"lvmd": {"deviceClasses": first}});
    if asked.nodes < 2 {
        merge(&mut fresh, json!({"controller": {"replicaCount": 1}}));
    }
    if !asked.snapshots {
        merge(&mut fresh, json!({"snapshot": {"enabled": false}}));
    }
    let mut values = before.filter(Value::is_object).unwrap_or(fresh);
    merge(&mut values, given);
    if asked.files.is_some() {
        let classes = list(&mut values, "/lvmd/deviceClasses");
        let is_default = !classes.iter().any(|class| class["default"] == true);
        put(classes, device_class(FILES, FILES_GROUP, is_default));
    }
    if let Some((key, value)) = asked.label {
        let selector = json!({"node": {"nodeSelector": {key.clone(): value}}});
        merge(&mut values, selector);
    }
    values
}

/// Without `spare-gb` 10 GiB are kept free, more than such a file may have.
fn device_class(name: &str, group: &str, is_default: bool) -> Value {
    json!({"name": name, "volume-group": group, "type": "thin", "default": is_default, "spare-gb": 0,
        "thin-pool": {"name": POOL, "overprovision-ratio": 1.0}})
}

/// The list at a path, made if it is not there.
fn list<'a>(values: &'a mut Value, path: &str) -> &'a mut Vec<Value> {
    let mut at = values;
    for key in path.split('/').filter(|key| !key.is_empty()) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[key];
    }
    if !at.is_array() {
        *at = Value::Array(vec![]);
    }
    match at {
        Value::Array(list) => list,
        _ => unreachable!("it was just made one"),
    }
}

/// Adds one, unless there is one of its name: that stays as it is.
fn put(list: &mut Vec<Value>, one: Value) {
    if !list.iter().any(|there| there["name"] == one["name"]) {
        list.push(one);
    }
}

/// All classes of these values, of every group of nodes.
pub fn classes(values: &Value) -> impl Iterator<Item = &Value> {
    let groups = values["nodeGroups"].as_array().into_iter().flatten();
    let lists = std::iter::once(values).chain(groups);
    lists.flat_map(|group| group["classes"].as_array().into_iter().flatten())
}

/// What the classes of these values do to disks, class by class.
pub fn told(values: &Value) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = classes(values)
        .map(|class| {
            let name = class["name"].as_str().unwrap_or_default().to_owned();
            (name, what(&class["spec"]))
        })
        .collect();
    let compat = &values["compat"];
    let config = [&compat["diskConfig"], &compat["existingConfigMap"]];
    if config
        .iter()
        .any(|text| text.as_str().is_some_and(|text| !text.is_empty()))
    {
        let text = match compat["mode"].as_str() {
            Some("Enforce") => "mode Enforce: the disks it names are TAKEN",
            _ => "no disk is touched",
        };
        told.push(("disk-config".to_owned(), text.to_owned()));
    }
    told
}

fn what(spec: &Value) -> String {
    let group = spec["volumeGroup"]["name"].as_str().unwrap_or_default();
    let files = spec["select"]["files"].as_array();
    let files: Vec<String> = files
        .into_iter()
        .flatten()
        .map(|file| {
            let size = file["size"].as_str().unwrap_or_default();
            let size = size
                .parse::<Bytes>()
                .map_or(size.to_owned(), crate::plugin::table::size);
            format!("{} ({size})", file["path"].as_str().unwrap_or_default())
        })
        .collect();
    match (spec["mode"].as_str(), files.is_empty()) {
        (Some("Enforce"), false) => format!(
            "on each node the file {} is made, with all its blocks, and becomes volume group {group}; no disk is touched",
            files.join(", ")
        ),
        (Some("Enforce"), true) => format!(
            "mode Enforce: blank disks that match {} are TAKEN to volume group {group}",
            spec["select"]
        ),
        _ => "mode Plan: no disk is touched; what would be taken is shown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_installation_takes_no_disk() {
        let values = watcher(None, json!({}), &Asked::default());
        let told = told(&values);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains("no disk is touched"), "{told:?}");
        let driver = topolvm(None, json!({}), &Asked::default());
        let class = &driver["lvmd"]["deviceClasses"][0];
        assert_eq!(
            class["volume-group"], values["classes"][0]["spec"]["volumeGroup"]["name"],
            "what is planned is what is served"
        );
        assert_eq!(class["default"], true);
        assert_eq!(driver["controller"]["replicaCount"], 1, "one node");
        assert_eq!(driver["snapshot"]["enabled"], false, "no CRDs of them");
    }

    #[test]
    fn files_make_one_class_on_both_sides_and_none_for_disks() {
        let label = ("superedge.io/local.pv".to_owned(), "topolvm".to_owned());
        let asked = Asked {
            label: Some(&label),
            files: Some(Bytes(2 << 30)),
            nodes: 3,
            snapshots: true,
        };
        let values = watcher(None, json!({}), &asked);
        let told = told(&values);
        assert_eq!(told.len(), 1);
        assert!(told[0].1.contains("files.img (2Gi) is made"), "{told:?}");
        assert!(told[0].1.contains("no disk is touched"), "{told:?}");
        let driver = topolvm(None, json!({}), &asked);
        assert_eq!(driver["lvmd"]["deviceClasses"].as_array().unwrap().len(), 1);
        for selector in [&values["nodeSelector"], &driver["node"]["nodeSelector"]] {
            assert_eq!(*selector, json!({"superedge.io/local.pv": "topolvm"}));
        }
        assert!(driver["controller"].is_null() && driver["snapshot"].is_null());
    }

    #[test]
    fn what_was_set_before_stays() {
        let before = json!({"classes": [{"name": "fast", "spec": {"mode": "Enforce", "select": {"media": ["ssd"]},
            "volumeGroup": {"name": "fast"}}}], "image": {"tag": "old", "repository": "r"}});
        let asked = Asked {
            files: Some(Bytes(2 << 30)),
            ..Asked::default()
        };
        let values = watcher(Some(before), json!({"image": {"tag": "new"}}), &asked);
        assert_eq!(values["image"], json!({"tag": "new", "repository": "r"}));
        let told = told(&values);
        assert_eq!(told[0].0, "fast");
        assert!(told[0].1.contains("TAKEN"), "{told:?}");
        assert_eq!(told[1].0, "files");
        // A file does not change its size, so its class stays too.
        let larger = Asked {
            files: Some(Bytes(4 << 30)),
            ..Asked::default()
        };
        assert_eq!(watcher(Some(values.clone()), json!({}), &larger), values);
        let before = json!({"lvmd": {"deviceClasses": [{"name": "fast", "volume-group": "fast", "default": true}]}});
        let driver = topolvm(Some(before), json!({}), &asked);
        let classes = driver["lvmd"]["deviceClasses"].as_array().unwrap();
        assert_eq!(classes.len(), 2);
        assert_eq!(classes[1]["default"], false, "one default");
        assert!(
            driver["controller"].is_null(),
            "what runs is not made smaller"
        );
    }
}
