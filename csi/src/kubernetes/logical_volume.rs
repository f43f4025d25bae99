//! LogicalVolume: what the controller wants a node to have, and what the node says of it.
//!
//! Group, names and fields are upstream's (`topolvm.io/v1`, cluster scoped). Ours are the
//! conditions, the printer columns, and that objects can be selected by their node; a
//! cluster that has upstream's CRD drops the first and refuses the last, and works.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, ResourceExt};
use lvmd::names;
use lvmd::units::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::size::Size;

/// The field by which a node selects its objects.
pub const NODE_FIELD: &str = "spec.nodeName";

/// A volume or a snapshot on one node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "topolvm.io",
    version = "v1",
    kind = "LogicalVolume",
    plural = "logicalvolumes",
    doc = "A volume or a snapshot on one node",
    status = "LogicalVolumeStatus",
    derive = "PartialEq",
    selectable = ".spec.nodeName",
    printcolumn = r#"{"name":"Node", "type":"string", "jsonPath":".spec.nodeName"}"#,
    printcolumn = r#"{"name":"Class", "type":"string", "jsonPath":".spec.deviceClass"}"#,
    printcolumn = r#"{"name":"Size", "type":"string", "jsonPath":".status.currentSize"}"#,
    printcolumn = r#"{"name":"Ready", "type":"string", "jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason", "type":"string", "jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Healthy", "type":"string", "jsonPath":".status.conditions[?(@.type==\"Healthy\")].status"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct LogicalVolumeSpec {
    /// The name it was asked for by, which is the object's.
    pub name: String,
    /// The node it is on.
    pub node_name: String,
    /// Its size. It never shrinks.
    pub size: Size,
    /// Its device class; empty: the node's default class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_class: String,
    /// The lvcreate option class; empty: the device class's own options.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lvcreate_option_class: String,
    /// The LogicalVolume it is a copy of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Of a copy: "ro" for a snapshot, "rw" for a restored volume or a clone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub access_type: String,
}

/// The condition that says whether something is wrong with the volume. It is not there while nothing ever was.
pub(crate) const HEALTHY: &str = "Healthy";
/// The condition that says that the volume's file system was grown with it, by its node.
pub(super) const FILE_SYSTEM: &str = "FileSystemGrown";

/// What the node says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogicalVolumeStatus {
    /// The volume's id: the name of its LV. Empty until it is made.
    #[serde(default, rename = "volumeID", skip_serializing_if = "String::is_empty")]
    pub volume_id: String,
    /// The gRPC code of what failed last; 0 when nothing did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: i32,
    /// What failed last, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its real size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_size: Option<Size>,
    /// Ready: the volume is there, with the size that is wanted. Healthy: nothing is known to be wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's interface")]
fn is_zero(code: &i32) -> bool {
    *code == 0
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

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessType {
    /// A snapshot.
    ReadOnly,
    /// A restored volume or a clone.
    ReadWrite,
}

impl AccessType {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }

    /// Reads it; `None` for other words.
    pub fn read(text: &str) -> Option<Self> {
        [Self::ReadOnly, Self::ReadWrite]
            .into_iter()
            .find(|access| access.text() == text)
    }
}

impl LogicalVolume {
    /// The volume's id; `None` until it is made.
    pub fn volume_id(&self) -> Option<&str> {
        let id = self.status.as_ref()?.volume_id.as_str();
        Some(id).filter(|id| !id.is_empty())
    }

    /// The volume's id, of a snapshot from the moment at which its source is frozen.
    pub fn id(&self) -> Option<&str> {
        let frozen = self.annotations().get(names::ANNOTATION_FROZEN);
        let frozen = frozen.filter(|_| self.is_snapshot()).map(String::as_str);
        self.volume_id().or(frozen)
    }

    /// Its real size; `None` until it is known.
    pub fn current_size(&self) -> Option<Bytes> {
        self.status.as_ref()?.current_size.as_ref()?.bytes().ok()
    }

    /// What the node could not do.
    pub fn failure(&self) -> Option<(Code, String)> {
        let status = self.status.as_ref().filter(|status| status.code != 0)?;
        Some((Code::from(status.code), status.message.clone()))
    }

    /// What its node says is wrong with its volume, or why it cannot tell.
    pub fn wrong(&self) -> Option<&str> {
        let healthy = self.condition(HEALTHY)?;
        (healthy.status != "True").then_some(healthy.message.as_str())
    }

    /// Whether its file system has the size that is wanted now, so that no kubelet need grow it.
    pub fn has_grown_file_system(&self) -> bool {
        self.condition(FILE_SYSTEM).is_some_and(|grown| {
            grown.status == "True"
                && grown.observed_generation.is_some()
                && grown.observed_generation == self.metadata.generation
        })
    }

    fn condition(&self, kind: &str) -> Option<&Condition> {
        let mut conditions = self.status.as_ref()?.conditions.iter();
        conditions.find(|condition| condition.type_ == kind)
    }

    /// Whether it is a snapshot.
    pub fn is_snapshot(&self) -> bool {
        AccessType::read(&self.spec.access_type) == Some(AccessType::ReadOnly)
    }

    /// Whether it is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether its node is to leave it and its volume alone.
    pub fn is_given_up(&self) -> bool {
        self.annotations()
            .contains_key(names::ANNOTATION_PENDING_DELETION)
    }

    /// Whether it waits for its volume to be removed.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers()
            .iter()
            .any(|name| name == names::FINALIZER_LV)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::{Value, json};

    const FILE: &str =
        include_str!("../../../charts/topolvm/files/crds/topolvm.io_logicalvolumes.yaml");

    #[test]
    fn the_crd_that_ships_is_the_types() {
        let file: Value = serde_saphyr::from_str(FILE).unwrap();
        let types = serde_json::to_value(LogicalVolume::crd()).unwrap();
        assert_eq!(
            file, types,
            "cargo run -p basalt-csi --example crds >charts/topolvm/files/crds/topolvm.io_logicalvolumes.yaml"
        );
    }

    /// Upstream v0.41: each name, type and rule that its own programs and users' objects rely on.
    #[test]
    fn upstreams_crd_is_within_ours() {
        let crd = serde_json::to_value(LogicalVolume::crd()).unwrap();
        let spec = &crd["spec"];
        assert_eq!(crd["metadata"]["name"], "logicalvolumes.topolvm.io");
        assert_eq!(
            (&spec["group"], &spec["scope"], &spec["names"]["kind"]),
            (
                &json!("topolvm.io"),
                &json!("Cluster"),
                &json!("LogicalVolume")
            )
        );
        assert_eq!(
            (&spec["names"]["plural"], &spec["names"]["singular"]),
            (&json!("logicalvolumes"), &json!("logicalvolume"))
        );
        let version = &spec["versions"][0];
        assert_eq!(version["name"], "v1");
        assert_eq!(version["subresources"], json!({"status": {}}));
        let schema = |part: &str| &version["schema"]["openAPIV3Schema"]["properties"][part];
        assert_eq!(
            schema("spec")["required"],
            json!(["name", "nodeName", "size"])
        );
        for (part, fields) in [
            (
                "spec",
                &[
                    "accessType",
                    "deviceClass",
                    "lvcreateOptionClass",
                    "name",
                    "nodeName",
                    "source",
                ][..],
            ),
            ("status", &["message", "volumeID"]),
        ] {
            for field in fields {
                assert_eq!(
                    schema(part)["properties"][field]["type"],
                    "string",
                    "{field}"
                );
            }
        }
        assert!(schema("status").get("required").is_none());
        assert_eq!(
            schema("status")["properties"]["code"],
            json!({
                "type": "integer",
                "format": "int32",
                "description": "The gRPC code of what failed last; 0 when nothing did."
            })
        );
        for (part, field) in [("spec", "size"), ("status", "currentSize")] {
            let size = &schema(part)["properties"][field];
            assert_eq!(size["x-kubernetes-int-or-string"], true, "{size}");
        }
    }

    #[test]
    fn an_object_of_upstreams_controller_and_node_is_read_and_written_the_same() {
        let theirs = json!({
            "apiVersion": "topolvm.io/v1",
            "kind": "LogicalVolume",
            "metadata": {
                "name": "pvc-1",
                "uid": "1b1f0a5e-0000-4000-8000-000000000000",
                "finalizers": ["topolvm.io/logicalvolume"],
                "labels": {"app.kubernetes.io/created-by": "topolvm-controller"},
                "annotations": {"topolvm.io/resize-requested-at": "2026-01-02 03:04:05 +0000 UTC"}
            },
            "spec": {
                "name": "pvc-1", "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd",
                "source": "snapshot-1", "accessType": "rw"
            },
            "status": {
                "volumeID": "1b1f0a5e-0000-4000-8000-000000000000", "currentSize": "1Gi",
                "code": 8, "message": "no enough space"
            }
        });
        let read: LogicalVolume = serde_json::from_value(theirs.clone()).unwrap();
        assert_eq!(
            read.failure(),
            Some((Code::ResourceExhausted, "no enough space".into()))
        );
        assert_eq!(read.current_size(), Some(Bytes(1 << 30)));
        assert!(read.has_finalizer() && !read.is_snapshot() && !read.is_given_up());
        assert_eq!(serde_json::to_value(read).unwrap(), theirs);
    }

    #[test]
    fn a_volume_is_well_until_its_node_says_otherwise_or_cannot_tell() {
        let wrong = |healthy: Option<&str>| {
            let said = |kind: &str, status: &str| {
                json!({"type": kind, "status": status, "reason": "R", "message": format!("{kind} is {status}"),
                    "lastTransitionTime": "1970-01-01T00:00:00Z"})
            };
            // What is still to be done about its size is nothing wrong with it.
            let ready = Some(said("Ready", "False"));
            let healthy = healthy.map(|status| said("Healthy", status));
            let conditions: Vec<Value> = ready.into_iter().chain(healthy).collect();
            let object: LogicalVolume = serde_json::from_value(json!({
                "apiVersion": "topolvm.io/v1", "kind": "LogicalVolume", "metadata": {"name": "pvc-1"},
                "spec": {"name": "pvc-1", "nodeName": "n1", "size": "1Gi"},
                "status": {"volumeID": "u1", "conditions": conditions},
            }))
            .unwrap();
            object.wrong().map(str::to_owned)
        };
        assert_eq!(wrong(None), None, "nothing was ever wrong");
        assert_eq!(wrong(Some("True")), None);
        for status in ["False", "Unknown"] {
            assert_eq!(wrong(Some(status)), Some(format!("Healthy is {status}")));
        }
    }

    #[test]
    fn a_size_that_is_none_spoils_one_object_only() {
        let odd = json!({
            "metadata": {"name": "odd"},
            "spec": {"name": "odd", "nodeName": "n1", "size": 1073741824},
            "status": {"currentSize": "12u"}
        });
        let read: LogicalVolumeSpec = serde_json::from_value(odd["spec"].clone()).unwrap();
        assert_eq!(read.size.bytes().unwrap(), Bytes(1 << 30));
        let status: LogicalVolumeStatus = serde_json::from_value(odd["status"].clone()).unwrap();
        assert!(status.current_size.unwrap().bytes().is_err());
    }
}
