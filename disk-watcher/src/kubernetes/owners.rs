//! Objects of other storage systems, and which disks of this node they claim. Pure.
//!
//! What is read is what these systems' operators read: the fields by which they are told to take disks. What stands in them and
//! is not understood claims rather more than less. LVMNode and ZFSNode of OpenEBS are not read: they name groups and
//! pools, and those stand on the disks themselves.

mod affinity;
mod kinds;

use std::collections::BTreeMap;

use serde_json::Value;

use self::kinds::read;
use crate::labels::Labels;
use crate::native::{ObjectClaim, What};

/// A kind of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its group; empty: the core's, which is always there.
    pub group: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// All that is read of it, as JSON pointers. Without the first it claims nothing.
    fields: &'static [&'static str],
}

/// All that are looked at.
pub const OWNERS: [Owner; 7] = [
    Owner::new(
        "",
        "PersistentVolume",
        &["/spec/local/path", "/spec/nodeAffinity/required"],
    ),
    Owner::new(
        "ceph.rook.io",
        "CephCluster",
        &["/spec/storage", "/spec/placement"],
    ),
    Owner::new(
        "openebs.io",
        "BlockDevice",
        &[
            "/status/claimState",
            "/spec/nodeAttributes/nodeName",
            "/spec/path",
            "/spec/devlinks",
        ],
    ),
    Owner::new("openebs.io", "DiskPool", &["/spec/disks", "/spec/node"]),
    Owner::new(
        "piraeus.io",
        "LinstorSatelliteConfiguration",
        &[
            "/spec/storagePools",
            "/spec/nodeSelector",
            "/spec/nodeAffinity",
        ],
    ),
    Owner::new("piraeus.io", "LinstorSatellite", &["/spec/storagePools"]),
    Owner::new("longhorn.io", "Node", &["/spec/disks"]),
];

impl Owner {
    const fn new(group: &'static str, kind: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            group,
            kind,
            fields,
        }
    }

    /// Leaves of an object's `data` what [`claims`] reads. There may be thousands of objects, and few claim disks.
    pub fn trim(&self, data: &mut Value) {
        let mut all = data.take();
        if all.pointer(self.fields[0]).is_none() {
            return;
        }
        for field in self.fields {
            let Some(value) = all.pointer_mut(field) else {
                continue;
            };
            let kept = field
                .split('/')
                .skip(1)
                .fold(&mut *data, |at, key| &mut at[key]);
            *kept = value.take();
        }
    }

    /// As people name it.
    pub fn name(&self) -> String {
        match self.group {
            "" => self.kind.to_owned(),
            group => format!("{}.{group}", self.kind),
        }
    }
}

/// This node.
#[derive(Debug, Clone)]
pub struct Here<'a> {
    /// Its name.
    pub name: &'a str,
    /// The labels of its Node.
    pub labels: &'a Labels,
}

impl Here<'_> {
    /// Whether these systems mean it by `name`: some say the Node's name, some the host's.
    fn is(&self, name: &str) -> bool {
        let host = self.labels.get("kubernetes.io/hostname");
        name == self.name || host.is_some_and(|host| host == name)
    }
}

/// What an object claims: `name` with its namespace, `data` its spec and status.
pub fn claims(owner: &Owner, name: &str, data: &Value, here: &Here<'_>) -> Vec<ObjectClaim> {
    let object = format!("{} {name}", owner.kind);
    let plain = name.rsplit('/').next().unwrap_or(name);
    let what = read(owner, plain, data, here).into_iter();
    what.map(|what| ObjectClaim {
        object: object.clone(),
        what,
    })
    .collect()
}

/// The texts in a list.
fn texts(list: &Value) -> Vec<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// All of a list or a map.
fn each(of: &Value) -> Vec<&Value> {
    match of {
        Value::Array(all) => all.iter().collect(),
        Value::Object(all) => all.values().collect(),
        _ => Vec::new(),
    }
}

/// The labels that a selector in the manner of a pod's nodeSelector wants.
fn wanted(selector: &Value) -> BTreeMap<&str, &str> {
    let all = selector.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

/// A device by its path, or by the kernel's name.
fn device(name: &str) -> What {
    What::Device(match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/dev/{name}"),
    })
}

/// A device by its path, by a URI with its path, or by its PCI address.
fn address(of: &str) -> What {
    let (scheme, path) = of.split_once("://").unwrap_or(("", of));
    let path = path.split('?').next().unwrap_or(path);
    match path.starts_with('/') && scheme != "pcie" {
        true => What::Device(path.to_owned()),
        false => What::Paths(regex::escape(path.trim_matches('/'))),
    }
}

#[cfg(test)]
mod tests;
