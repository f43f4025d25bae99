//! An object as it came over the wire, as far as it can be read.
//!
//! One that cannot, since somebody nested it deeper than a parser goes, is known by its
//! metadata: it must not keep a whole list from being read.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, TypeMeta};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::labels::Labels;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// Its kind.
    pub(super) types: Option<TypeMeta>,
    /// What matters of its metadata.
    pub(super) metadata: ObjectMeta,
    /// Everything else; of one that cannot be read, its status.
    pub(super) data: Value,
    /// Why it cannot be read.
    pub(super) unreadable: Option<String>,
}

/// What is read of every object. A parser skips the rest without descending into it.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Meta,
    #[serde(default)]
    status: Value,
}

/// Its metadata without managedFields, which is nested as deep as the object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    labels: Option<Labels>,
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            generation: meta.generation,
            resource_version: meta.resource_version,
            deletion_timestamp: meta.deletion_timestamp,
            labels: meta.labels,
            owner_references: meta.owner_references,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let head: Head = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let (mut data, unreadable) = match serde_json::from_str::<Map<String, Value>>(raw.get()) {
            Ok(data) => (data, None),
            Err(why) => {
                let status = ("status".to_owned(), head.status);
                (Map::from_iter([status]), Some(why.to_string()))
            }
        };
        for key in ["apiVersion", "kind", "metadata"] {
            data.remove(key);
        }
        Ok(Self {
            types: head
                .api_version
                .zip(head.kind)
                .map(|(api_version, kind)| TypeMeta { api_version, kind }),
            metadata: head.metadata.into(),
            data: Value::Object(data),
            unreadable,
        })
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{ObjectList, WatchEvent};

    fn deep(levels: usize) -> String {
        let (open, close) = ("{\"a\":".repeat(levels), "}".repeat(levels));
        format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{{\"name\":\"deep\",\"managedFields\":[{{\"fieldsV1\":{open}1{close}}}]}},\"spec\":{open}1{close},\"status\":{{\"is\":1}}}}"
        )
    }

    #[test]
    fn an_object_that_is_nested_too_deep_spoils_no_list_and_no_watch() {
        let list = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"KList\",\"metadata\":{{}},\"items\":[{},{}]}}",
            deep(2),
            deep(5000)
        );
        let list: ObjectList<Object> = serde_json::from_str(&list).unwrap();
        let [good, bad] = &list.items[..] else {
            panic!("{list:?}")
        };
        assert_eq!(good.data["spec"]["a"]["a"], 1);
        assert_eq!(good.data.get("kind"), None);
        assert!(good.unreadable.is_none() && bad.unreadable.is_some());
        assert_eq!(bad.metadata.name.as_deref(), Some("deep"));
        assert_eq!(bad.data, serde_json::json!({"status": {"is": 1}}));
        let event = format!("{{\"type\":\"ADDED\",\"object\":{}}}", deep(5000));
        let event: WatchEvent<Object> = serde_json::from_str(&event).unwrap();
        assert!(matches!(
            event,
            WatchEvent::Added(Object {
                unreadable: Some(_),
                ..
            })
        ));
    }
}
