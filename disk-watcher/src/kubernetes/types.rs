//! The kinds of `basalt.storage/v1alpha1`: three that people write, three that show what a
//! node has.
//!
//! What people write is kept as it was sent and read by [`crate::config`], like the
//! documents of a file: one object that nobody understands must not keep a list from being
//! read, and both sources are checked by the same code.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::schema;
use crate::labels::LabelSelector;

/// The group of all kinds.
pub const GROUP: &str = "basalt.storage";

/// Selects disks of nodes for a volume group on each.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "basalt.storage",
    version = "v1alpha1",
    kind = "DiskClass",
    plural = "diskclasses",
    doc = "Selects disks of nodes for a volume group on each",
    status = "DiskClassStatus",
    printcolumn = r#"{"name":"Mode", "type":"string", "jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Group", "type":"string", "jsonPath":".spec.volumeGroup.name"}"#,
    printcolumn = r#"{"name":"Pool", "type":"string", "jsonPath":".spec.thinPool.name"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct DiskClassSpec(pub Value);

/// Asks that a disk is wiped, as it was when a person looked at it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "basalt.storage",
    version = "v1alpha1",
    kind = "DiskWipeRequest",
    plural = "diskwiperequests",
    doc = "Asks that a disk is wiped, as it was when a person looked at it",
    namespaced,
    status = "RequestStatus",
    selectable = ".spec.node",
    printcolumn = r#"{"name":"Node", "type":"string", "jsonPath":".spec.node"}"#,
    printcolumn = r#"{"name":"Disk", "type":"string", "jsonPath":".spec.diskId"}"#,
    printcolumn = r#"{"name":"State", "type":"string", "jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Message", "type":"string", "jsonPath":".status.message"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct DiskWipeRequestSpec(pub Value);

/// Asks that a disk leaves its volume group.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "basalt.storage",
    version = "v1alpha1",
    kind = "DiskRemovalRequest",
    plural = "diskremovalrequests",
    doc = "Asks that a disk leaves its volume group",
    namespaced,
    status = "RequestStatus",
    selectable = ".spec.node",
    printcolumn = r#"{"name":"Node", "type":"string", "jsonPath":".spec.node"}"#,
    printcolumn = r#"{"name":"Disk", "type":"string", "jsonPath":".status.disk"}"#,
    printcolumn = r#"{"name":"State", "type":"string", "jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Message", "type":"string", "jsonPath":".status.message"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct DiskRemovalRequestSpec(pub Value);

/// A disk of a node. Nobody writes it but the node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "basalt.storage",
    version = "v1alpha1",
    kind = "NodeDisk",
    plural = "nodedisks",
    doc = "A disk of a node, as its disk-watcher sees it",
    status = "NodeDiskStatus",
    selectable = ".spec.nodeName",
    printcolumn = r#"{"name":"Node", "type":"string", "jsonPath":".spec.nodeName"}"#,
    printcolumn = r#"{"name":"Device", "type":"string", "jsonPath":".status.device"}"#,
    printcolumn = r#"{"name":"Size", "type":"string", "jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Class", "type":"string", "jsonPath":".status.class"}"#,
    printcolumn = r#"{"name":"State", "type":"string", "jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Why", "type":"string", "jsonPath":".status.summary"}"#,
    printcolumn = r#"{"name":"Id", "type":"string", "jsonPath":".status.id", "priority":1}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodeDiskSpec {
    /// The node.
    pub node_name: String,
}

/// A volume group of a node. Nobody writes it but the node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "basalt.storage",
    version = "v1alpha1",
    kind = "NodeVolumeGroup",
    plural = "nodevolumegroups",
    doc = "A volume group of a node, as its disk-watcher sees it",
    status = "NodeVolumeGroupStatus",
    selectable = ".spec.nodeName",
    printcolumn = r#"{"name":"Node", "type":"string", "jsonPath":".spec.nodeName"}"#,
    printcolumn = r#"{"name":"Group", "type":"string", "jsonPath":".status.name"}"#,
    printcolumn = r#"{"name":"Class", "type":"string", "jsonPath":".status.class"}"#,
    printcolumn = r#"{"name":"Size", "type":"string", "jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Free", "type":"string", "jsonPath":".status.free"}"#,
    printcolumn = r#"{"name":"Ready", "type":"string", "jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodeVolumeGroupSpec {
    /// The node.
    pub node_name: String,
}

/// A thin pool of a node. Nobody writes it but the node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "basalt.storage",
    version = "v1alpha1",
    kind = "NodeThinPool",
    plural = "nodethinpools",
    doc = "A thin pool of a node, as its disk-watcher sees it",
    status = "NodeThinPoolStatus",
    selectable = ".spec.nodeName",
    printcolumn = r#"{"name":"Node", "type":"string", "jsonPath":".spec.nodeName"}"#,
    printcolumn = r#"{"name":"Group", "type":"string", "jsonPath":".status.volumeGroup"}"#,
    printcolumn = r#"{"name":"Pool", "type":"string", "jsonPath":".status.name"}"#,
    printcolumn = r#"{"name":"Size", "type":"string", "jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Used", "type":"string", "jsonPath":".status.used"}"#,
    printcolumn = r#"{"name":"State", "type":"string", "jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodeThinPoolSpec {
    /// The node.
    pub node_name: String,
}

/// What each node makes of a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiskClassStatus {
    /// One for each node that the class selects.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub nodes: Vec<ClassOnNode>,
}

/// What a node makes of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassOnNode {
    /// The node.
    pub name: String,
    /// Valid: this version is used there. Ready: its disks are in its group.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// How a request stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestStatus {
    /// Refused, Waiting, Moving, Wiping or Done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why, or how far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The disk that it names, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Complete: it is done.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// How far the reading of a whole disk is, in steps of a percent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WholeReading {
    /// How much of it was read, in bytes.
    #[schemars(with = "i64")]
    pub done_bytes: u64,
    /// How much of it has to be, in bytes.
    #[schemars(with = "i64")]
    pub total_bytes: u64,
    /// The same as a share.
    #[schemars(with = "i32")]
    pub percent: u8,
}

/// A reason why a disk is not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The stable code.
    pub code: String,
    /// What was found.
    pub detail: String,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeDiskStatus {
    /// Its kernel name; none while it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its links under /dev.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Its size, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Its size, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub size_bytes: Option<u64>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// How it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// The class that picks it or has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Where it stands.
    pub state: String,
    /// Why, in short.
    pub summary: String,
    /// Everything that speaks against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Why>,
    /// How far the reading of all of it is, while that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<WholeReading>,
    /// The UUID of its PV, where it is ours.
    #[serde(rename = "pvUUID", skip_serializing_if = "Option::is_none")]
    pub pv_uuid: Option<String>,
    /// The name of its group, where it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_group: Option<String>,
    /// The commands that would run, where its class only plans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// The line of spec.approved with which a person agrees, where one has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve: Option<String>,
    /// The spec of a DiskWipeRequest for it as it is now, without the confirmation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wipe: Option<String>,
    /// Selected, Safe, Member, Healthy, Present.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// A PV of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pv {
    /// Its UUID.
    pub uuid: String,
    /// Its device; none while it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// A volume group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeVolumeGroupStatus {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// The class it serves, where it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Its size, for people.
    pub size: String,
    /// Its size, in bytes.
    #[schemars(with = "i64")]
    pub size_bytes: u64,
    /// What no volume uses, for people.
    pub free: String,
    /// What no volume uses, in bytes.
    #[schemars(with = "i64")]
    pub free_bytes: u64,
    /// What its pools do not grow into, in bytes.
    #[schemars(with = "i64")]
    pub reserved_bytes: u64,
    /// How often its metadata was changed.
    #[schemars(with = "i64")]
    pub seqno: u64,
    /// Its PVs.
    pub pvs: Vec<Pv>,
    /// Where to write its UUID so that it is adopted, where it is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// Ready: it may be changed. Complete: all its disks are there. ClassInForce: somebody says how it is cared for.
    /// BackedUp: its description is in a Secret.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// An extension of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// When it ended, in seconds since 1970.
    #[schemars(with = "i64")]
    pub at: u64,
    /// Data or Metadata.
    pub part: String,
    /// Its size before, in bytes.
    #[schemars(with = "i64")]
    pub from: u64,
    /// The size it was to have, in bytes.
    #[schemars(with = "i64")]
    pub to: u64,
    /// Done or Failed.
    pub result: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A thin pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeThinPoolStatus {
    /// The class it is of.
    pub class: String,
    /// The name of its group.
    pub volume_group: String,
    /// Its name.
    pub name: String,
    /// Its UUID; none while unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Where it stands.
    pub state: String,
    /// Size of its data, for people.
    pub size: String,
    /// How much of its data is used.
    pub used: String,
    /// Size of its data, in bytes.
    #[schemars(with = "i64")]
    pub size_bytes: u64,
    /// Used data, in bytes.
    #[schemars(with = "i64")]
    pub used_bytes: u64,
    /// Size of its metadata, in bytes.
    #[schemars(with = "i64")]
    pub metadata_size_bytes: u64,
    /// Used metadata, in bytes.
    #[schemars(with = "i64")]
    pub metadata_used_bytes: u64,
    /// When it is full at the rate at which it fills, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub time_to_full_seconds: Option<u64>,
    /// What would be done, where the class only plans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// The last extensions, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Extension>,
    /// Ready, DataHealthy, MetadataHealthy, Extendable and others.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Conditions as Kubernetes' own types have them: one of each type.
fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

macro_rules! written_by_people {
    ($spec:ident, $schema:path, $rules:expr) => {
        impl JsonSchema for $spec {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($spec).into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut schema = $schema(generator);
                schema.insert("x-kubernetes-validations".into(), $rules);
                schema
            }
        }
    };
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

fn class(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schema::class(generator);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let what =
            "The nodes it is for, by their labels; all that run disk-watcher unless written.";
        let mut selector = LabelSelector::json_schema(generator);
        selector.insert("description".into(), json!(what));
        properties.insert("nodeSelector".into(), selector.to_value());
    }
    schema
}

/// At least one of these says which disks are meant.
const TELLS_APART: [&str; 11] = [
    "paths",
    "model",
    "vendor",
    "serial",
    "wwid",
    "transport",
    "media",
    "partitionLabel",
    "partitionType",
    "cel",
    "files",
];

written_by_people!(
    DiskClassSpec,
    class,
    json!([
        rule(
            &format!(
                "has(self.select) && (has(self.select.diskLabels) || {})",
                TELLS_APART
                    .map(|field| format!(
                        "has(self.select.{field}) && size(self.select.{field}) > 0"
                    ))
                    .join(" || ")
            ),
            "select would take every disk: give at least one of paths, model, vendor, serial, wwid, \
             transport, media, partitionLabel, partitionType, cel, files, diskLabels",
        ),
        rule(
            "has(self.volumeGroup.name) && size(self.volumeGroup.name) > 0",
            "volumeGroup.name is missing: name the volume group",
        ),
        rule(
            "!has(oldSelf.volumeGroup.name) || !has(self.volumeGroup.name) || self.volumeGroup.name == oldSelf.volumeGroup.name",
            "volumeGroup.name cannot be changed: delete the class, which leaves its disks as they are, and write another",
        ),
        rule(
            "!has(oldSelf.thinPool) || !has(self.thinPool) || self.thinPool.name == oldSelf.thinPool.name",
            "thinPool.name cannot be changed: delete the class, which leaves its disks as they are, and write another",
        ),
        rule(
            "!has(self.thinPool) || !has(self.thinPool.followVG) || !self.thinPool.followVG || !has(self.thinPool.size) \
             || self.thinPool.size.contains('%')",
            "thinPool.followVG follows a share of the group: write a size such as 80%",
        ),
    ])
);

written_by_people!(
    DiskWipeRequestSpec,
    schema::wipe,
    json!([
        rule(
            "self.node == oldSelf.node && self.diskId == oldSelf.diskId && self.method == oldSelf.method \
             && self.expect == oldSelf.expect && self.notAfter == oldSelf.notAfter",
            "only confirm can be changed: write another request",
        ),
        rule(
            "!has(self.confirm) || self.confirm == 'destroy ' + self.diskId + ' on ' + self.node",
            "confirm has to be: destroy <diskId> on <node>",
        ),
    ])
);

written_by_people!(
    DiskRemovalRequestSpec,
    schema::removal,
    json!([
        rule(
            "has(self.diskId) != has(self.pvUUID)",
            "name the disk, by diskId or by pvUUID",
        ),
        rule(
            "self == oldSelf",
            "it cannot be changed: write another request"
        ),
    ])
);

/// A key beside `spec` is kept too, for the node to refuse: an `exclude` one level too high that
/// vanished would have a disk taken.
fn keeping_all(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(root) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            root.x_kubernetes_preserve_unknown_fields = Some(true);
        }
    }
    crd
}

/// All CRDs, as they are kept in `charts/disk-watcher/files/crds`.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        keeping_all(DiskClass::crd()),
        keeping_all(DiskRemovalRequest::crd()),
        keeping_all(DiskWipeRequest::crd()),
        NodeDisk::crd(),
        NodeThinPool::crd(),
        NodeVolumeGroup::crd(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;

    #[test]
    fn the_crds_that_ship_are_the_types() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../charts/disk-watcher/files/crds"
        );
        for crd in crds() {
            let file = format!("{folder}/{}.yaml", crd.name_any());
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let there: Value = serde_saphyr::from_str(&text).unwrap_or_default();
            assert!(
                there == serde_json::to_value(&crd).unwrap(),
                "{file} is old: cargo run -p basalt-disk-watcher --example crds"
            );
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), crds().len());
    }

    /// The keys and words of one schema that the other does not have, by their paths.
    fn differences(
        path: &str,
        crd: &Value,
        chart: &Value,
        chart_defs: &Value,
        all: &mut Vec<String>,
    ) {
        let chart = match chart["$ref"].as_str() {
            Some(name) => &chart_defs[name.trim_start_matches("#/$defs/")],
            None => chart,
        };
        let words = |schema: &Value| -> std::collections::BTreeSet<String> {
            let all = schema["enum"].as_array().into_iter().flatten();
            all.filter_map(|word| Some(word.as_str()?.to_owned()))
                .collect()
        };
        if chart["enum"].is_array() && words(crd) != words(chart) {
            all.push(format!(
                "{path}: {:?}, in the chart {:?}",
                words(crd),
                words(chart)
            ));
        }
        if chart["items"].is_object() || chart["items"]["$ref"].is_string() {
            differences(
                &format!("{path}[]"),
                &crd["items"],
                &chart["items"],
                chart_defs,
                all,
            );
        }
        let keys = |schema: &Value| -> std::collections::BTreeSet<String> {
            let all = schema["properties"].as_object().into_iter().flatten();
            all.map(|(key, _)| key.clone()).collect()
        };
        let (ours, theirs) = (keys(crd), keys(chart));
        // Without keys of its own the chart takes any, and leaves them to the watcher.
        if theirs.is_empty() && chart["additionalProperties"] != false {
            return;
        }
        all.extend(
            ours.symmetric_difference(&theirs)
                .map(|key| format!("{path}.{key}")),
        );
        for key in ours.intersection(&theirs) {
            let (ours, theirs) = (&crd["properties"][key], &chart["properties"][key]);
            differences(&format!("{path}.{key}"), ours, theirs, chart_defs, all);
        }
    }

    #[test]
    fn the_chart_takes_the_keys_of_a_class_and_no_others() {
        let crd = serde_json::to_value(keeping_all(DiskClass::crd())).unwrap();
        let crd = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let text = include_str!("../../../charts/disk-watcher/values.schema.json");
        let chart: Value = serde_json::from_str(text).unwrap();
        let (defs, class) = (
            &chart["$defs"],
            &chart["$defs"]["class"]["properties"]["spec"],
        );
        let found = |crd: &Value, class: &Value| {
            let mut all = Vec::new();
            differences("spec", crd, class, defs, &mut all);
            all
        };
        // What a class of a file may not have, or of an object only.
        let known = [
            "spec.nodeSelector",
            "spec.safety.requireZeroed: {\"Full\", \"HeadAndTail\", \"None\", \"Trimmed\"}, in the chart {\"Full\", \"HeadAndTail\", \"None\"}",
        ];
        assert_eq!(found(crd, class), known, "values.schema.json");
        let mut less = class.clone();
        less["properties"]["limits"]["properties"]
            .as_object_mut()
            .unwrap()
            .remove("settle");
        let missed = found(crd, &less);
        assert!(
            missed.contains(&"spec.limits.settle".to_owned()),
            "{missed:?}"
        );
    }
}
