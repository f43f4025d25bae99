//! From a question to its answer.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::filter::{Misfit, fits, wanted};
use crate::nodes::{Known, Nodes};
use crate::score::{Divisors, node_score};
use crate::wire::{self, FilterAnswer, HostPriority, Metadata, NodeList, Pod, Question};

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What is wrong with it, in words for who configures kube-scheduler.
    #[error("{0}")]
    Bad(String),
    /// It has names, and the nodes were not listed yet.
    #[error("the nodes are not known yet")]
    NotYet,
}

impl<'a> Question<'a> {
    /// Reads a question.
    ///
    /// # Errors
    /// It is none.
    pub fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body)
            .map_err(|error| Refusal::Bad(format!("the body is no question: {error}")))
    }
}

/// A question's nodes, in the form they came in.
enum Candidates<'a> {
    Whole(NodeList<'a>),
    Named(Vec<String>, Known),
}

/// A question with everything an answer needs.
fn complete<'a>(
    question: Question<'a>,
    nodes: Option<&Nodes>,
) -> Result<(Pod, Candidates<'a>), Refusal> {
    let bad = |words: &str| Refusal::Bad(words.to_owned());
    let pod = question.pod.ok_or_else(|| bad("the question has no pod"))?;
    let candidates =
        match (question.nodes, question.nodenames) {
            (Some(nodes), _) => Candidates::Whole(nodes),
            (None, Some(names)) => {
                let nodes = nodes.ok_or_else(|| {
                bad("the question has the nodes' names only, and their capacity stands in their \
                     annotations: set nodeCacheCapable to false in kube-scheduler's configuration, \
                     or node-cache-capable to true in this extender's")
            })?;
                Candidates::Named(names, nodes.known().ok_or(Refusal::NotYet)?)
            }
            (None, None) => return Err(bad("the question has no nodes")),
        };
    Ok((pod, candidates))
}

fn metadata(raw: &RawValue) -> Result<Metadata, Refusal> {
    wire::metadata(raw).map_err(|error| Refusal::Bad(format!("a node cannot be read: {error}")))
}

/// The nodes that fit, in the form they came in, and why the others do not.
///
/// # Errors
/// The question cannot be answered.
pub fn filter<'a>(
    question: Question<'a>,
    nodes: Option<&Nodes>,
) -> Result<FilterAnswer<'a>, Refusal> {
    let (pod, candidates) = complete(question, nodes)?;
    let wanted = wanted(&pod.metadata);
    let mut failed_nodes = BTreeMap::new();
    let mut fit = |name: &str, result: Result<(), Misfit>| match result {
        Ok(()) => true,
        Err(misfit) => {
            failed_nodes.insert(name.to_owned(), misfit.to_string());
            false
        }
    };
    let (mut nodes, mut node_names) = (None, None);
    match candidates {
        Candidates::Whole(list) if wanted.is_empty() => nodes = Some(list),
        Candidates::Whole(list) => {
            let mut items = Vec::new();
            for raw in list.items.unwrap_or_default() {
                let node = metadata(raw)?;
                if fit(&node.name, fits(&node, &wanted)) {
                    items.push(raw);
                }
            }
            nodes = Some(NodeList {
                metadata: list.metadata,
                items: Some(items),
            });
        }
        Candidates::Named(names, known) => {
            let fits = |name: &String| match known.get(name) {
                _ if wanted.is_empty() => Ok(()),
                Some(node) => fits(node, &wanted),
                None => Err(Misfit::Unknown),
            };
            node_names = Some(
                names
                    .into_iter()
                    .filter(|name| fit(name, fits(name)))
                    .collect(),
            );
        }
    }
    Ok(FilterAnswer {
        nodes,
        node_names,
        failed_nodes,
        error: String::new(),
    })
}

/// How well each node fits. `None`, written as `null`, when the pod wants nothing:
/// upstream's answer.
///
/// # Errors
/// The question cannot be answered.
pub fn score(
    question: Question<'_>,
    divisors: &Divisors,
    nodes: Option<&Nodes>,
) -> Result<Option<Vec<HostPriority>>, Refusal> {
    let (pod, candidates) = complete(question, nodes)?;
    if pod.metadata.capacities().next().is_none() {
        return Ok(None);
    }
    let score = |host: String, node: &Metadata| HostPriority {
        host,
        score: node_score(node, &pod.metadata, divisors).unwrap_or(0),
    };
    let priorities: Result<Vec<_>, _> = match candidates {
        Candidates::Whole(list) => {
            let items = list.items.unwrap_or_default().into_iter();
            let scored = items.map(|raw| metadata(raw).map(|node| score(node.name.clone(), &node)));
            scored.collect()
        }
        Candidates::Named(names, known) => {
            let nothing = Metadata::default();
            let scored = names.into_iter().map(|name| {
                let node = known.get(&name).unwrap_or(&nothing);
                Ok(score(name, node))
            });
            scored.collect()
        }
    };
    priorities.map(Some)
}
