//! JSON schemas of the kinds that an API server knows, as kubeconform reads them: made from the OpenAPI description that
//! the API server itself gives (`/openapi/v2`), strictly: a field that no kind has is refused.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

const REFERENCE: &str = "#/definitions/";
/// How kubeconform finds a kind's file, as its `-schema-location` says it.
pub(super) const NAMES: &str = "{{.ResourceKind}}{{.KindSuffix}}.json";

/// Writes a file for each kind into `dir`; says how many there are.
///
/// # Errors
/// The description is none, or the files cannot be written.
pub(super) fn write(description: &str, dir: &Path) -> Result<usize> {
    let mut description: Value = serde_json::from_str(description)?;
    let definitions = description["definitions"].take();
    let Value::Object(mut definitions) = definitions else {
        anyhow::bail!("the API server describes no kinds");
    };
    for definition in definitions.values_mut() {
        strict(definition);
    }
    std::fs::create_dir_all(dir)?;
    let mut written = 0;
    for (name, definition) in &definitions {
        for kind in kinds(definition) {
            let mut needed = BTreeSet::from([name.clone()]);
            reach(definition, &definitions, &mut needed);
            let closure: Map<String, Value> = needed
                .into_iter()
                .filter_map(|name| Some((name.clone(), definitions.get(&name)?.clone())))
                .collect();
            let schema = json!({
                "$schema": "http://json-schema.org/draft-07/schema#",
                "definitions": closure,
                "allOf": [{"$ref": format!("{REFERENCE}{name}")}],
            });
            let path = dir.join(kind);
            std::fs::write(&path, schema.to_string())
                .with_context(|| format!("write {}", path.display()))?;
            written += 1;
        }
    }
    ensure!(written > 100, "the API server describes {written} kinds");
    Ok(written)
}

/// The files of the kinds that a definition is of: `deployment-apps-v1.json`.
fn kinds(definition: &Value) -> Vec<String> {
    let kinds = definition["x-kubernetes-group-version-kind"].as_array();
    let name = |of: &Value| {
        let text = |key: &str| of[key].as_str().unwrap_or_default().to_lowercase();
        let group = text("group");
        let group = group.split('.').next().unwrap_or_default();
        let group = match group {
            "" => String::new(),
            group => format!("-{group}"),
        };
        format!("{}{group}-{}.json", text("kind"), text("version"))
    };
    // What many kinds share, such as DeleteOptions, is none that a chart has.
    kinds
        .filter(|kinds| kinds.len() == 1)
        .map(|kinds| kinds.iter().map(name).collect())
        .unwrap_or_default()
}

/// Refuses fields that are not described, and says of numbers that are text, and of text that is a number, that they are.
fn strict(schema: &mut Value) {
    let Value::Object(object) = schema else {
        return;
    };
    let either = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
    let is_quantity = |object: &Map<String, Value>| {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        text("format") == Some("int-or-string")
            || text("description").is_some_and(|d| d.starts_with("Quantity is a fixed-point"))
    };
    if is_quantity(object) || object.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        *schema = either;
        return;
    }
    let open = object.contains_key("additionalProperties")
        || object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(strict);
        if !open {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            strict(inner);
        }
    }
}

/// Adds all definitions that this one refers to.
fn reach(schema: &Value, definitions: &Map<String, Value>, needed: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|name| name.strip_prefix(REFERENCE));
            if let Some(name) = name
                && needed.insert(name.to_owned())
                && let Some(definition) = definitions.get(name)
            {
                reach(definition, definitions, needed);
            }
            for inner in object.values() {
                reach(inner, definitions, needed);
            }
        }
        Value::Array(all) => all
            .iter()
            .for_each(|inner| reach(inner, definitions, needed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_refuses_fields_that_nobody_described() {
        let mut schema = json!({"properties": {
            "name": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "port": {"type": "string", "format": "int-or-string"},
            "inner": {"items": {"properties": {"a": {"type": "string"}}}},
        }});
        strict(&mut schema);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(
            schema["properties"]["labels"]["additionalProperties"]["type"],
            "string"
        );
        assert!(schema["properties"]["port"]["oneOf"].is_array());
        assert_eq!(
            schema["properties"]["inner"]["items"]["additionalProperties"],
            false
        );
    }

    #[test]
    fn files_have_the_names_that_kubeconform_asks_for() {
        let of = |group: &str, version: &str, kind: &str| json!({"x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}]});
        assert_eq!(
            kinds(&of("apps", "v1", "DaemonSet")),
            ["daemonset-apps-v1.json"]
        );
        assert_eq!(kinds(&of("", "v1", "ConfigMap")), ["configmap-v1.json"]);
        let storage = of("storage.k8s.io", "v1", "StorageClass");
        assert_eq!(kinds(&storage), ["storageclass-storage-v1.json"]);
    }
}
