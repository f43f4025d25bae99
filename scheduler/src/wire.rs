//! What crosses the connection.
//!
//! kube-scheduler's own types carry no JSON names, so it writes `Nodes` and Go's reader
//! takes either case; older ones wrote `nodes`. Both are read. Nodes are passed through
//! as the bytes they came as: only their name and annotations are looked at.

mod nodes;
mod seen;

use std::borrow::Cow;
use std::collections::BTreeMap;

use lvmd::names::CAPACITY_PREFIX;
use serde::Serialize;

use crate::filter::Misfit;
use crate::scan::{Malformed, Scanner, Text};
pub use nodes::Node;
use seen::Following;
pub use seen::{Arriving, LastSeen};

/// The most nodes of a question. Each takes some memory beside its text, of which it may have nearly none.
const MOST: usize = 1 << 20;
const TOO_MANY: &str = "more than 1048576 nodes";

/// A question: a pod, and the nodes it may go to.
#[derive(Debug, Default)]
pub struct Question<'a> {
    /// The pod's metadata.
    pub pod: Option<Metadata<'a>>,
    /// The candidates, whole; there when the extender is not `nodeCacheCapable`.
    pub nodes: Option<NodeList<'a>>,
    /// The candidates by name; there when it is.
    pub names: Option<Vec<Cow<'a, str>>>,
}

impl<'a> Question<'a> {
    /// Reads a question. All of it is gone through, but for nodes that were seen before it `arrived`.
    ///
    /// # Errors
    /// It is no JSON, or none of the expected form.
    pub fn of(text: &'a str, arrived: &'a Arriving) -> Result<Self, Malformed> {
        let scanner = &mut Scanner::new(text);
        let (mut pod, mut nodes, mut names) = (None, None, None);
        scanner.object(|scanner, key| match &*key.read()? {
            "pod" | "Pod" => once(scanner, &mut pod, |s| optional(s, read_pod)),
            "nodes" | "Nodes" => once(scanner, &mut nodes, |s| {
                optional(s, |s| NodeList::read(s, arrived))
            }),
            "nodenames" | "NodeNames" | "nodeNames" => {
                once(scanner, &mut names, |s| optional(s, read_names))
            }
            _ => scanner.value(),
        })?;
        scanner.end()?;
        Ok(Self {
            pod: pod.flatten(),
            nodes: nodes.flatten(),
            names: names.flatten(),
        })
    }
}

/// Reads a field that may be there once.
fn once<'a, T>(
    scanner: &mut Scanner<'a>,
    field: &mut Option<T>,
    read: impl FnOnce(&mut Scanner<'a>) -> Result<T, Malformed>,
) -> Result<(), Malformed> {
    if field.is_some() {
        return Err(scanner.wrong("a field that was there before"));
    }
    *field = Some(read(scanner)?);
    Ok(())
}

/// Reads what may be `null`.
fn optional<'a, T>(
    scanner: &mut Scanner<'a>,
    read: impl FnOnce(&mut Scanner<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    match scanner.null()? {
        true => Ok(None),
        false => read(scanner).map(Some),
    }
}

fn read_pod<'a>(scanner: &mut Scanner<'a>) -> Result<Metadata<'a>, Malformed> {
    let mut metadata = None;
    scanner.object(|scanner, key| match &*key.read()? {
        "metadata" => once(scanner, &mut metadata, Metadata::read),
        _ => scanner.value(),
    })?;
    Ok(metadata.unwrap_or_default())
}

fn read_names<'a>(scanner: &mut Scanner<'a>) -> Result<Vec<Cow<'a, str>>, Malformed> {
    let mut names = Vec::new();
    scanner.array(|scanner| {
        if names.len() == MOST {
            return Err(scanner.wrong(TOO_MANY));
        }
        names.push(scanner.string().and_then(Text::read)?);
        Ok(())
    })?;
    Ok(names)
}

/// What is looked at of a pod's or a node's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The annotations `capacity.topolvm.io/<class>`, by class, each once.
    capacities: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Metadata<'a> {
    /// With a name and annotations. Of those with the same key the last counts, of those
    /// that say nothing of capacity none.
    pub fn new(
        name: impl Into<Cow<'a, str>>,
        annotations: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Self {
        let capacities = annotations.into_iter().filter_map(|(key, value)| {
            let class = match key {
                Cow::Borrowed(key) => Cow::Borrowed(key.strip_prefix(CAPACITY_PREFIX)?),
                Cow::Owned(key) => Cow::Owned(key.strip_prefix(CAPACITY_PREFIX)?.to_owned()),
            };
            Some((class, value))
        });
        let mut capacities: Vec<_> = capacities.collect();
        capacities.reverse();
        capacities.sort_by(|a, b| a.0.cmp(&b.0));
        capacities.dedup_by(|later, kept| later.0 == kept.0);
        let name = name.into();
        Self { name, capacities }
    }

    /// Reads the metadata of a pod or a node.
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let (mut name, mut annotations) = (None, None);
        scanner.object(|scanner, key| match &*key.read()? {
            "name" => once(scanner, &mut name, |s| s.string().and_then(Text::read)),
            "annotations" => once(scanner, &mut annotations, |s| optional(s, read_annotations)),
            _ => scanner.value(),
        })?;
        let annotations = annotations.flatten().unwrap_or_default();
        Ok(Self::new(name.unwrap_or_default(), annotations))
    }

    /// The same, without the text that it was read from.
    fn kept(&self) -> Metadata<'static> {
        let keep = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let capacities = self.capacities.iter();
        Metadata {
            name: keep(&self.name),
            capacities: capacities.map(|(c, t)| (keep(c), keep(t))).collect(),
        }
    }

    /// What is said of each class, as written.
    pub fn capacities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.capacities
            .iter()
            .map(|(class, text)| (&**class, &**text))
    }

    /// What this node has of `class`, as written.
    pub fn capacity(&self, class: &str) -> Option<&str> {
        self.capacities()
            .find(|(c, _)| *c == class)
            .map(|(_, text)| text)
    }
}

/// Annotations, of which only those of capacity are kept.
type Annotations<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn read_annotations<'a>(scanner: &mut Scanner<'a>) -> Result<Annotations<'a>, Malformed> {
    let mut annotations = Vec::new();
    scanner.object(|scanner, key| {
        let (key, value) = (key.read()?, scanner.string()?.read()?);
        if key.starts_with(CAPACITY_PREFIX) {
            annotations.push((key, value));
        }
        Ok(())
    })?;
    Ok(annotations)
}

/// A list of nodes, each as it came.
#[derive(Debug, Default)]
pub struct NodeList<'a> {
    /// The list's own metadata.
    pub metadata: Option<&'a str>,
    /// The nodes. Go writes an empty list as `null`.
    pub items: Option<Vec<Node<'a>>>,
    /// How many of them were seen before.
    pub known: usize,
}

impl<'a> NodeList<'a> {
    fn read(scanner: &mut Scanner<'a>, arrived: &'a Arriving) -> Result<Self, Malformed> {
        let (mut metadata, mut items) = (None, None);
        let mut seen = Following::new(arrived);
        scanner.object(|scanner, key| match &*key.read()? {
            "metadata" => once(scanner, &mut metadata, |s| s.span(Scanner::value)),
            "items" => once(scanner, &mut items, |s| {
                optional(s, |s| nodes::read(s, &mut seen))
            }),
            _ => scanner.value(),
        })?;
        Ok(Self {
            metadata: metadata.filter(|metadata| *metadata != "null"),
            items: items.flatten(),
            known: seen.known,
        })
    }
}

/// What of the answer to a filter question is not nodes.
#[derive(Debug, Default, Serialize)]
pub struct FilterAnswer<'a> {
    /// The names of the nodes that fit, where the question had names.
    #[serde(rename = "nodenames", skip_serializing_if = "Option::is_none")]
    pub node_names: Option<Vec<Cow<'a, str>>>,
    /// Why the others do not.
    #[serde(rename = "failedNodes", skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_nodes: BTreeMap<Cow<'a, str>, Misfit>,
    /// What was wrong with the question.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How well a node fits.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct HostPriority<'a> {
    /// The node's name.
    pub host: Cow<'a, str>,
    /// 0 to 10, more is better.
    pub score: u8,
}

#[cfg(test)]
mod tests;
