//! What each node's device classes have left.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use lvmd::names::{CAPACITY_DEFAULT, CAPACITY_PREFIX, DRIVER};
use lvmd::units::Bytes;
use serde::Serialize;

use super::cluster::{Seen, size_of};
use super::table::{Row, size};

/// A device class of a node.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// The node.
    pub node: String,
    /// Whether its kubelet says it is ready.
    pub ready: bool,
    /// Whether its kubelet knows the driver.
    pub driver: bool,
    /// The class; empty for a node that has none.
    pub class: String,
    /// What is left, in bytes.
    pub free_bytes: Option<u64>,
    /// How many volumes and snapshots it has.
    pub volumes: usize,
    /// Their sizes together, in bytes; of thin ones more than they take.
    pub volume_bytes: u64,
}

impl Row for NodeRow {
    const COLUMNS: &'static [&'static str] = &[
        "NODE", "READY", "DRIVER", "CLASS", "FREE", "VOLUMES", "GIVEN",
    ];

    fn cells(&self) -> Vec<String> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![
            self.node.clone(),
            yes(self.ready),
            yes(self.driver),
            self.class.clone(),
            self.free_bytes
                .map(|bytes| size(Bytes(bytes)))
                .unwrap_or_default(),
            self.volumes.to_string(),
            size(Bytes(self.volume_bytes)),
        ]
    }
}

/// What a node says its classes have left, in bytes; the default class under
/// [`CAPACITY_DEFAULT`] too.
pub fn free(node: &Node) -> BTreeMap<&str, Option<u64>> {
    let all = node.annotations().iter();
    all.filter_map(|(key, value)| Some((key.strip_prefix(CAPACITY_PREFIX)?, value.parse().ok())))
        .collect()
}

/// Whether a node's kubelet says it is ready.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the kubelet of the node of this name knows the driver.
pub fn has_driver(seen: &Seen, node: &str) -> bool {
    let mut own = seen.csi_nodes.iter().filter(|csi| csi.name_any() == node);
    own.any(|csi| csi.spec.drivers.iter().any(|driver| driver.name == DRIVER))
}

/// All classes of nodes that have the driver, volumes or capacity.
pub fn rows(seen: &Seen) -> Vec<NodeRow> {
    let mut rows = Vec::new();
    for node in &seen.nodes {
        let name = node.name_any();
        let (free, driver) = (free(node), has_driver(seen, &name));
        // The default class has two names; a volume that names none counts to the second.
        let mut classes: BTreeMap<&str, (usize, u64)> = free
            .keys()
            .filter(|class| **class != CAPACITY_DEFAULT)
            .map(|class| (*class, (0, 0)))
            .collect();
        for volume in seen
            .volumes
            .iter()
            .filter(|volume| volume.spec.node_name == name)
        {
            let class = Some(volume.spec.device_class.as_str()).filter(|class| !class.is_empty());
            let (count, bytes) = classes
                .entry(class.unwrap_or(CAPACITY_DEFAULT))
                .or_default();
            *count += 1;
            *bytes += size_of(volume).0;
        }
        if classes.is_empty() && driver {
            classes.insert("", (0, 0));
        }
        rows.extend(
            classes
                .into_iter()
                .map(|(class, (volumes, volume_bytes))| NodeRow {
                    node: name.clone(),
                    ready: is_ready(node),
                    driver,
                    class: class.to_owned(),
                    free_bytes: free.get(class).copied().flatten(),
                    volumes,
                    volume_bytes,
                }),
        );
    }
    rows
}
