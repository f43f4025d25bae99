//! The objects that show what a node has, out of its status. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::conditions;
use super::types::{
    Extension, NodeDiskStatus, NodeThinPoolStatus, NodeVolumeGroupStatus, Pv, WholeReading, Why,
};
use crate::facts::DiskId;
use crate::status::{NodeDisk, NodeStatus, NodeThinPool, NodeVolumeGroup};

/// The kinds that a node writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// NodeDisk.
    Disk,
    /// NodeVolumeGroup.
    Group,
    /// NodeThinPool.
    Pool,
}

/// An object that should be there, with this status.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its status; conditions have no true times yet.
    pub status: Value,
}

impl Wanted {
    /// Says one thing more.
    pub(super) fn add_condition(&mut self, condition: &Condition) {
        if let Some(all) = self.status["conditions"].as_array_mut() {
            all.push(value(condition));
        }
    }
}

/// All that a node shows.
pub fn wanted(node: &str, status: &NodeStatus) -> Vec<Wanted> {
    let disks = status.disks.iter().map(|disk| Wanted {
        kind: Kind::Disk,
        name: name(node, &key(disk, &status.disks)),
        status: value(&of_disk(disk)),
    });
    let groups = status.groups.iter().map(|group| Wanted {
        kind: Kind::Group,
        name: name(node, &group.uuid),
        status: value(&of_group(group, &status.pools)),
    });
    let pools = status.pools.iter().map(|pool| Wanted {
        kind: Kind::Pool,
        name: name(node, &format!("{}/{}", pool.volume_group, pool.name)),
        status: value(&of_pool(pool)),
    });
    disks.chain(groups).chain(pools).collect()
}

/// The name of the NodeDisk object of a disk whose id is its own.
pub fn disk_object(node: &str, id: &DiskId) -> String {
    name(node, id.as_str())
}

/// What tells a disk from the others: its id, where that is its own.
fn key(disk: &NodeDisk, all: &[NodeDisk]) -> String {
    let name = disk.name.clone();
    let fallback = || name.or_else(|| disk.pv_uuid.clone()).unwrap_or_default();
    match &disk.id {
        Some(id) if all.iter().filter(|d| d.id.as_ref() == Some(id)).count() == 1 => id.to_string(),
        Some(id) => format!("{id} {}", fallback()),
        None => fallback(),
    }
}

/// A name that is allowed whatever is in the key, and another for each node and key.
pub(super) fn name(node: &str, key: &str) -> String {
    let digest = Sha256::digest(format!("{node}\0{key}"));
    let digest: String = digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // A node's name is a DNS name, so a part of it that ends with a letter or digit is one.
    let node: String = node.chars().take(200).collect();
    format!("{}-{digest}", node.trim_end_matches(['-', '.']))
}

fn value(status: &impl Serialize) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn of_disk(disk: &NodeDisk) -> NodeDiskStatus {
    NodeDiskStatus {
        device: disk.name.clone(),
        id: disk.id.as_ref().map(ToString::to_string),
        links: disk.links.clone(),
        size: disk.size.map(|size| size.to_string()),
        size_bytes: disk.size.map(|size| size.0),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        transport: disk.transport.and_then(|transport| {
            let text = serde_json::to_value(transport).ok()?;
            text.as_str().map(str::to_owned)
        }),
        class: disk.class.clone(),
        state: format!("{:?}", disk.state),
        summary: disk.why(),
        reasons: disk
            .reasons
            .iter()
            .map(|reason| Why {
                code: reason.code.to_string(),
                detail: reason.detail.clone(),
            })
            .collect(),
        reading: disk.reading.map(|progress| WholeReading {
            done_bytes: progress.done.0,
            total_bytes: progress.total.0,
            percent: progress.percent,
        }),
        pv_uuid: disk.pv_uuid.clone(),
        volume_group: disk.volume_group.clone(),
        plan: disk.plan.clone(),
        approve: disk.approve.clone(),
        wipe: disk.wipe.clone(),
        conditions: conditions::of_disk(disk),
    }
}

fn of_group(group: &NodeVolumeGroup, pools: &[NodeThinPool]) -> NodeVolumeGroupStatus {
    NodeVolumeGroupStatus {
        name: group.name.clone(),
        uuid: group.uuid.clone(),
        class: group.class.clone(),
        size: group.size.to_string(),
        size_bytes: group.size.0,
        free: group.free.to_string(),
        free_bytes: group.free.0,
        reserved_bytes: group.reserved.0,
        seqno: group.seqno,
        pvs: group
            .pvs
            .iter()
            .map(|pv| Pv {
                uuid: pv.uuid.clone(),
                device: pv.device.clone(),
            })
            .collect(),
        adopt: group.adopt.clone(),
        conditions: conditions::of_group(group, pools),
    }
}

fn of_pool(pool: &NodeThinPool) -> NodeThinPoolStatus {
    NodeThinPoolStatus {
        class: pool.class.clone(),
        volume_group: pool.volume_group.clone(),
        name: pool.name.clone(),
        uuid: pool.uuid.clone(),
        state: format!("{:?}", pool.state),
        size: pool.size.to_string(),
        used: match pool.size.0 {
            0 => String::new(),
            size => format!("{}%", u128::from(pool.used.0) * 100 / u128::from(size)),
        },
        size_bytes: pool.size.0,
        used_bytes: pool.used.0,
        metadata_size_bytes: pool.metadata_size.0,
        metadata_used_bytes: pool.metadata_used.0,
        time_to_full_seconds: pool.time_to_full_seconds,
        plan: pool.plan.clone(),
        history: pool
            .history
            .iter()
            .map(|entry| Extension {
                at: entry.at,
                part: format!("{:?}", entry.part),
                from: entry.from,
                to: entry.to,
                result: format!("{:?}", entry.result),
                why: entry.why.clone(),
            })
            .collect(),
        conditions: pool.conditions.iter().map(conditions::said).collect(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::status::DiskState;

    /// A disk of class fast.
    pub(in super::super) fn disk(name: &str, id: Option<&str>, state: DiskState) -> NodeDisk {
        NodeDisk {
            name: Some(name.to_owned()),
            id: id.map(|id| DiskId::from(id.to_owned())),
            links: Vec::new(),
            size: None,
            model: None,
            serial: None,
            transport: None,
            class: Some("fast".to_owned()),
            state,
            reasons: Vec::new(),
            reading: None,
            selection: Vec::new(),
            pv_uuid: None,
            volume_group: None,
            plan: Vec::new(),
            wipe: None,
            approve: None,
        }
    }

    fn names(node: &str, disks: &[NodeDisk]) -> Vec<String> {
        let status = NodeStatus {
            disks: disks.to_vec(),
            ..NodeStatus::default()
        };
        wanted(node, &status).into_iter().map(|w| w.name).collect()
    }

    #[test]
    fn a_disk_keeps_its_object_while_its_kernel_name_changes() {
        let of = |name, id| names("n1", &[disk(name, id, DiskState::Ready)]).remove(0);
        assert_eq!(of("sda", Some("naa.1")), of("sdb", Some("naa.1")));
        assert_ne!(of("sda", Some("naa.1")), of("sda", Some("naa.2")));
        let named = disk_object("n1", &DiskId::from("naa.1".to_owned()));
        assert_eq!(of("sda", Some("naa.1")), named);
        assert_ne!(of("sda", None), of("sdb", None));
        assert_ne!(
            names("n1", &[disk("sda", Some("x"), DiskState::Ready)]),
            names("n2", &[disk("sda", Some("x"), DiskState::Ready)])
        );
        let twins = [
            disk("sda", Some("a"), DiskState::Rejected),
            disk("sdb", Some("a"), DiskState::Rejected),
        ];
        let twins = names("n1", &twins);
        assert_ne!(twins[0], twins[1]);
        let odd = names(
            &"n.".repeat(120),
            &[disk("sda", Some("serial.A b/ü"), DiskState::Ready)],
        );
        assert!(
            odd[0].len() <= 253
                && odd[0].bytes().all(|b| b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || b == b'-'
                    || b == b'.')
        );
    }
}
