//! What crosses the connection.
//!
//! kube-scheduler's own types carry no JSON names, so it writes `Nodes` and Go's reader
//! takes either case; older ones wrote `nodes`. Both are read. Nodes are passed through
//! as the bytes they came as: only their name and annotations are looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use lvmd::names::DRIVER;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_json::value::RawValue;

/// A question: a pod, and the nodes it may go to.
#[derive(Debug, Deserialize)]
pub struct Question<'a> {
    /// The pod.
    #[serde(alias = "Pod")]
    pub pod: Option<Pod>,
    /// The candidates, whole; there when the extender is not `nodeCacheCapable`.
    #[serde(borrow, alias = "Nodes")]
    pub nodes: Option<NodeList<'a>>,
    /// The candidates by name; there when it is.
    #[serde(alias = "NodeNames", alias = "nodeNames")]
    pub nodenames: Option<Vec<String>>,
}

/// What is looked at of a pod.
#[derive(Debug, Default, Deserialize)]
pub struct Pod {
    /// Its metadata.
    #[serde(default)]
    pub metadata: Metadata,
}

/// What is looked at of a pod's or a node's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Metadata {
    /// The annotations `capacity.topolvm.io/<class>`, by class, as written.
    pub fn capacities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.annotations
            .iter()
            .flatten()
            .filter_map(|(key, value)| {
                let rest = key.strip_prefix("capacity.")?.strip_prefix(DRIVER)?;
                Some((rest.strip_prefix('/')?, value.as_str()))
            })
    }

    /// What this node has of `class`, as written.
    pub fn capacity(&self, class: &str) -> Option<&str> {
        self.capacities().find(|(c, _)| *c == class).map(|(_, v)| v)
    }
}

/// A list of nodes, each as it came.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct NodeList<'a> {
    /// The list's own metadata.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    /// The nodes. Go writes an empty list as `null`.
    #[serde(borrow, default)]
    pub items: Option<Vec<&'a RawValue>>,
}

/// A node's metadata, read out of `raw`, which is whole JSON. Reading ends behind it: what
/// follows, nearly all of a node, was gone through when the list was read.
///
/// # Errors
/// It is no object, or its metadata is none of the expected form.
pub fn metadata(raw: &RawValue) -> serde_json::Result<Metadata> {
    let mut found = None;
    let read = serde_json::Deserializer::from_str(raw.get()).deserialize_map(UpTo(&mut found));
    match found {
        Some(metadata) => Ok(metadata),
        None => read.map(|()| Metadata::default()),
    }
}

/// Goes through an object's fields up to `metadata`.
struct UpTo<'m>(&'m mut Option<Metadata>);

impl<'de> Visitor<'de> for UpTo<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(field) = fields.next_key::<Cow<'de, str>>()? {
            if field == "metadata" {
                *self.0 = Some(fields.next_value()?);
                break;
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The answer to a filter question.
#[derive(Debug, Default, Serialize)]
pub struct FilterAnswer<'a> {
    /// The nodes that fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeList<'a>>,
    /// Their names, where the question had names.
    #[serde(rename = "nodenames", skip_serializing_if = "Option::is_none")]
    pub node_names: Option<Vec<String>>,
    /// Why the others do not.
    #[serde(rename = "failedNodes", skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_nodes: BTreeMap<String, String>,
    /// What was wrong with the question.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How well a node fits.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct HostPriority {
    /// The node's name.
    pub host: String,
    /// 0 to 10, more is better.
    pub score: u8,
}
