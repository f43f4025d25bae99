//! From a question to its answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::filter::{Misfit, fits, wanted};
use crate::nodes::{Known, Nodes};
use crate::score::{Divisors, node_score};
use crate::wire::{Arriving, FilterAnswer, HostPriority, Metadata, Node, NodeList, Question};

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
    pub fn read(text: &'a str, arrived: &'a Arriving) -> Result<Self, Refusal> {
        let bad = |error| Refusal::Bad(format!("the body is no question: {error}"));
        Self::of(text, arrived).map_err(bad)
    }
}

/// A question's nodes, in the form they came in.
enum Candidates<'a> {
    Whole(NodeList<'a>),
    Named(Vec<Cow<'a, str>>, Known),
}

/// A question with everything an answer needs.
fn complete<'a>(
    question: Question<'a>,
    nodes: Option<&Nodes>,
) -> Result<(Metadata<'a>, Candidates<'a>), Refusal> {
    let bad = |words: &str| Refusal::Bad(words.to_owned());
    let pod = question.pod.ok_or_else(|| bad("the question has no pod"))?;
    let candidates =
        match (question.nodes, question.names) {
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

fn named<'n, 'a>(node: &'n Node<'a>) -> Result<(Cow<'a, str>, &'n Metadata<'a>), Refusal> {
    let bad = |error| Refusal::Bad(format!("a node cannot be read: {error}"));
    node.named().map_err(bad)
}

/// The answer to a filter question.
#[derive(Debug)]
pub struct Filtered<'a> {
    /// The nodes that fit, in the form they came in, where the question had them whole.
    pub nodes: Option<NodeList<'a>>,
    /// The rest of it.
    pub rest: FilterAnswer<'a>,
}

/// The nodes that fit, in the form they came in, and why the others do not.
///
/// # Errors
/// The question cannot be answered.
pub fn filter<'a>(question: Question<'a>, nodes: Option<&Nodes>) -> Result<Filtered<'a>, Refusal> {
    let (pod, candidates) = complete(question, nodes)?;
    let wanted = wanted(&pod);
    let mut failed_nodes = BTreeMap::new();
    let mut fit = |name: &Cow<'a, str>, result: Result<(), Misfit>| match result {
        Ok(()) => true,
        Err(misfit) => {
            failed_nodes.insert(name.clone(), misfit);
            false
        }
    };
    let (mut nodes, mut node_names) = (None, None);
    match candidates {
        Candidates::Whole(list) if wanted.is_empty() => nodes = Some(list),
        Candidates::Whole(mut list) => {
            let mut items = Vec::new();
            for node in list.items.take().unwrap_or_default() {
                let (name, metadata) = named(&node)?;
                if fit(&name, fits(metadata, &wanted)) {
                    items.push(node);
                }
            }
            nodes = Some(NodeList {
                items: Some(items),
                ..list
            });
        }
        Candidates::Named(mut names, known) => {
            let fits = |name: &str| match known.get(name) {
                _ if wanted.is_empty() => Ok(()),
                Some(node) => fits(node, &wanted),
                None => Err(Misfit::Unknown),
            };
            names.retain(|name| fit(name, fits(name)));
            node_names = Some(names);
        }
    }
    let rest = FilterAnswer {
        node_names,
        failed_nodes,
        error: String::new(),
    };
    Ok(Filtered { nodes, rest })
}

/// How well each node fits. `None`, written as `null`, when the pod wants nothing:
/// upstream's answer.
///
/// # Errors
/// The question cannot be answered.
pub fn score<'a>(
    question: Question<'a>,
    divisors: &Divisors,
    nodes: Option<&Nodes>,
) -> Result<Option<Vec<HostPriority<'a>>>, Refusal> {
    let (pod, candidates) = complete(question, nodes)?;
    if pod.capacities().next().is_none() {
        return Ok(None);
    }
    let score = |node: &Metadata<'_>| node_score(node, &pod, divisors).unwrap_or(0);
    let priorities: Result<Vec<_>, _> = match candidates {
        Candidates::Whole(list) => {
            let items = list.items.unwrap_or_default().into_iter();
            let scored = items.map(|node| {
                let (host, metadata) = named(&node)?;
                let score = score(metadata);
                Ok(HostPriority { host, score })
            });
            scored.collect()
        }
        Candidates::Named(names, known) => {
            let nothing = Metadata::default();
            let scored = names.into_iter().map(|host| {
                let score = score(known.get(&*host).unwrap_or(&nothing));
                Ok(HostPriority { host, score })
            });
            scored.collect()
        }
    };
    priorities.map(Some)
}
