//! What does not leave the cluster.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

/// What stands in the place of what was taken out.
const MASKED: &str = "***";
/// Parts of names whose values are nobody's business.
const SECRET: [&str; 7] = [
    "token",
    "secret",
    "passw",
    "credential",
    "apikey",
    "api_key",
    "private",
];
/// Annotations of Nodes that say something of volumes.
const OF_OURS: [&str; 3] = ["topolvm.io", "topolvm.cybozu.com", "basalt.storage"];

/// An object without what only machines read, and without secrets.
pub fn object(mut object: Value) -> Value {
    let is_node = object["kind"] == "Node";
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            // It repeats the object as it was applied, with all values.
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            annotations.retain(|key, _| !is_node || OF_OURS.iter().any(|ours| key.contains(ours)));
            mask_values(annotations);
        }
    }
    if is_node && let Some(status) = object["status"].as_object_mut() {
        // A long list, of all that runs there.
        status.remove("images");
    }
    values(&mut object);
    object
}

/// Masks variables and arguments anywhere below.
fn values(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let named = map
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(speaks_of_secrets);
            if named && map.get("value").is_some_and(Value::is_string) {
                map.insert("value".to_owned(), json!(MASKED));
            }
            for (key, below) in map {
                match below {
                    Value::Array(words) if ["args", "command"].contains(&key.as_str()) => {
                        arguments(words)
                    }
                    below => values(below),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(values),
        _ => {}
    }
}

/// `--token=x`, and `--token` with what follows it.
fn arguments(words: &mut [Value]) {
    let mut follows = false;
    for word in words {
        let Some(text) = word.as_str() else { continue };
        let flag = text.strip_prefix('-').unwrap_or_default();
        let masked = match flag.split_once('=') {
            Some((name, _)) if speaks_of_secrets(name) => {
                let name = &text[..text.len() - flag.len() + name.len()];
                Some(format!("{name}={MASKED}"))
            }
            _ if follows && flag.is_empty() => Some(MASKED.to_owned()),
            _ => None,
        };
        follows = !flag.contains('=') && speaks_of_secrets(flag);
        if let Some(masked) = masked {
            *word = json!(masked);
        }
    }
}

fn mask_values(map: &mut Map<String, Value>) {
    for (key, value) in map {
        if speaks_of_secrets(key) {
            *value = json!(MASKED);
        }
    }
}

fn speaks_of_secrets(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    SECRET.iter().any(|part| name.contains(part))
}

/// Of a Secret: whose it is, of what type, and how many bytes each key has.
pub fn secret(secret: &Secret) -> Value {
    let data = secret.data.iter().flatten();
    let sizes: Map<String, Value> = data
        .map(|(key, bytes)| (key.clone(), json!(bytes.0.len())))
        .collect();
    json!({
        "name": secret.name_any(),
        "namespace": secret.namespace(),
        "type": secret.type_,
        "bytes": sizes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let pod = json!({
            "kind": "Pod",
            "metadata": {"name": "p", "managedFields": [{}], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"env\": \"hunter2\"}",
                "vault-token": "hunter2", "plain": "stays"}},
            "spec": {"containers": [{
                "env": [
                    {"name": "REGISTRY_TOKEN", "value": "hunter2"},
                    {"name": "DbPassword", "value": "hunter2"},
                    {"name": "LEVEL", "value": "debug"},
                    {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "token-of-x", "key": "k"}}},
                ],
                "args": ["--auth-token=hunter2", "--password", "hunter2", "--level=debug", "--secret-name", "--x", "stays"],
            }]},
        });
        let masked = object(pod);
        let text = masked.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(masked["metadata"]["managedFields"].is_null());
        let container = &masked["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], "***");
        assert_eq!(container["env"][2]["value"], "debug");
        assert_eq!(
            container["env"][3]["valueFrom"]["secretKeyRef"]["name"], "token-of-x",
            "a name is none"
        );
        assert_eq!(
            container["args"],
            json!([
                "--auth-token=***",
                "--password",
                "***",
                "--level=debug",
                "--secret-name",
                "--x",
                "stays"
            ])
        );
        assert_eq!(masked["metadata"]["annotations"]["plain"], "stays");
    }

    #[test]
    fn of_a_node_only_what_has_to_do_with_volumes_stays() {
        let node = json!({"kind": "Node", "metadata": {"annotations": {
            "k3s.io/node-args": "[\"--token\",\"hunter2\"]", "capacity.topolvm.io/ssd": "1"}},
            "status": {"images": [{}], "capacity": {"cpu": "4"}}});
        let masked = object(node);
        assert_eq!(
            masked["metadata"]["annotations"],
            json!({"capacity.topolvm.io/ssd": "1"})
        );
        assert_eq!(masked["status"], json!({"capacity": {"cpu": "4"}}));
    }

    #[test]
    fn of_a_secret_only_its_sizes_are_told() {
        let told = secret(
            &serde_json::from_value(
                json!({"metadata": {"name": "s", "namespace": "n"}, "type": "t",
            "data": {"key": "aHVudGVyMg=="}}),
            )
            .unwrap(),
        );
        assert_eq!(
            told,
            json!({"name": "s", "namespace": "n", "type": "t", "bytes": {"key": 7}})
        );
    }
}
