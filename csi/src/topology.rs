//! On which node a volume comes to be.

use std::collections::HashMap;

use lvmd::names;

use crate::error::Error;
use crate::proto::{Topology, TopologyRequirement};

/// The segments of a node.
pub fn of_node(node: &str) -> Topology {
    Topology {
        segments: HashMap::from([(names::TOPOLOGY_NODE.to_owned(), node.to_owned())]),
    }
}

/// The node of a topology; `None` when it does not say.
pub fn node(topology: &Topology) -> Option<&str> {
    topology
        .segments
        .get(names::TOPOLOGY_NODE)
        .map(String::as_str)
        .filter(|node| !node.is_empty())
}

/// The nodes a request allows, the preferred first, each once; `None` when it allows any.
///
/// # Errors
/// It has requirements, and none is about our nodes.
pub fn allowed(requirement: Option<&TopologyRequirement>) -> Result<Option<Vec<&str>>, Error> {
    let Some(requirement) = requirement else {
        return Ok(None);
    };
    let all = || requirement.preferred.iter().chain(&requirement.requisite);
    if all().next().is_none() {
        return Ok(None);
    }
    let mut nodes = Vec::new();
    for name in all().filter_map(node) {
        if !nodes.contains(&name) {
            nodes.push(name);
        }
    }
    if nodes.is_empty() {
        return Err(Error::Invalid(format!(
            "no accessibility requirement has the key {}",
            names::TOPOLOGY_NODE
        )));
    }
    Ok(Some(nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_nodes_come_first_and_foreign_keys_do_not_count() {
        let other = Topology {
            segments: HashMap::from([("zone".to_owned(), "a".to_owned())]),
        };
        let requirement = TopologyRequirement {
            requisite: vec![of_node("a"), other.clone(), of_node("b")],
            preferred: vec![of_node("b")],
        };
        assert_eq!(allowed(Some(&requirement)).unwrap(), Some(vec!["b", "a"]));
        assert_eq!(allowed(None).unwrap(), None);
        assert_eq!(
            allowed(Some(&TopologyRequirement::default())).unwrap(),
            None
        );
        let foreign = TopologyRequirement {
            requisite: vec![other],
            preferred: vec![],
        };
        assert!(allowed(Some(&foreign)).is_err());
    }
}
