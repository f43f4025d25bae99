//! Room that nodes have been asked for and that their annotations do not show yet.

use std::collections::HashMap;

use crate::kubernetes::logical_volume::LogicalVolume;

/// Bytes by node, in a class as requests name it: of LogicalVolumes that are neither made nor refused. Between the LV's making
/// and its object's status, some milliseconds, it counts in both; that errs on the side of less room, and the next look at
/// the capacity is right again: csi-provisioner takes one after each volume.
pub(super) fn promised<'a>(
    objects: impl IntoIterator<Item = &'a LogicalVolume>,
    class: &str,
) -> HashMap<&'a str, u64> {
    let mut by_node: HashMap<&str, u64> = HashMap::new();
    for object in objects {
        let waits = object.volume_id().is_none()
            && object.failure().is_none()
            && !object.is_leaving()
            && !object.is_given_up();
        if !waits || object.spec.device_class != class {
            continue;
        }
        let size = object.spec.size.bytes().unwrap_or_default();
        let sum = by_node.entry(object.spec.node_name.as_str()).or_default();
        *sum = sum.saturating_add(size.0);
    }
    by_node
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(node: &str, class: &str, metadata: Value, status: Value) -> LogicalVolume {
        let mut all = json!({
            "apiVersion": "topolvm.io/v1", "kind": "LogicalVolume", "metadata": metadata,
            "spec": {"name": "v", "nodeName": node, "size": "1Ki", "deviceClass": class},
        });
        if !status.is_null() {
            all["status"] = status;
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_waits_for_its_node_counts_and_nothing_else() {
        let named = || json!({"name": "v"});
        let left = json!({"name": "v", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let given_up = json!({"name": "v", "annotations": {"topolvm.io/pendingdeletion": "true"}});
        let all = [
            object("n1", "ssd", named(), Value::Null),
            // Tried again by its node.
            object("n1", "ssd", named(), json!({"conditions": []})),
            object("n2", "ssd", named(), Value::Null),
            object("n2", "", named(), Value::Null),
            object("n1", "ssd", named(), json!({"volumeID": "u1"})),
            object("n1", "ssd", named(), json!({"code": 8, "message": "full"})),
            object("n1", "ssd", left, Value::Null),
            object("n1", "ssd", given_up, Value::Null),
        ];
        assert_eq!(promised(&all, "ssd"), [("n1", 2048), ("n2", 1024)].into());
        assert_eq!(promised(&all, ""), [("n2", 1024)].into());
        assert_eq!(promised(&all, "hdd"), HashMap::new());
    }
}
