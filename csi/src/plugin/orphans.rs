//! Objects that nothing refers to any more. Each is named with the reason, and none touched:
//! what it stands for may be the last copy of somebody's data.

use kube::ResourceExt;
use lvmd::units::Bytes;
use serde::Serialize;

use super::cluster::{Seen, handle, size_of};
use super::table::{Row, size};
use super::volumes::{id, persistent};
use crate::kubernetes::logical_volume::LogicalVolume;

/// One of them.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// `LogicalVolume` or `PersistentVolume`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The node, if that is known.
    pub node: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Why it is here.
    pub why: &'static str,
}

impl Row for Orphan {
    const COLUMNS: &'static [&'static str] = &["KIND", "NAME", "NODE", "SIZE", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.to_owned(),
            self.name.clone(),
            self.node.clone(),
            size(Bytes(self.size_bytes)),
            self.why.to_owned(),
        ]
    }
}

/// All of them.
pub fn rows(seen: &Seen) -> Vec<Orphan> {
    let volumes = seen.volumes.iter().filter_map(|volume| {
        Some(Orphan {
            kind: "LogicalVolume",
            name: volume.name_any(),
            node: volume.spec.node_name.clone(),
            size_bytes: size_of(volume).0,
            why: volume_why(seen, volume)?,
        })
    });
    let persistent = seen.persistent.iter().filter_map(|pv| {
        let made = seen
            .volumes
            .iter()
            .find(|volume| handle(pv) == Some(id(volume)));
        let phase = pv
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let why = match (made, phase) {
            (None, _) => "its LogicalVolume is gone: pods that use it cannot start",
            (Some(_), Some("Released")) => "its claim is gone and it is kept (Retain)",
            (Some(_), Some("Failed")) => "it could not be deleted",
            _ => return None,
        };
        Some(Orphan {
            kind: "PersistentVolume",
            name: pv.name_any(),
            node: made
                .map(|volume| volume.spec.node_name.clone())
                .unwrap_or_default(),
            size_bytes: made.map_or(0, |volume| size_of(volume).0),
            why,
        })
    });
    volumes.chain(persistent).collect()
}

fn volume_why(seen: &Seen, volume: &LogicalVolume) -> Option<&'static str> {
    if !seen
        .nodes
        .iter()
        .any(|node| node.name_any() == volume.spec.node_name)
    {
        return Some("its Node is gone");
    }
    let id = id(volume);
    if id.is_empty() || volume.metadata.deletion_timestamp.is_some() {
        // It is being made, or goes.
        return None;
    }
    let snapshot = seen.snapshots.iter().any(|content| {
        let known = [
            &content.data["status"]["snapshotHandle"],
            &content.data["spec"]["source"]["snapshotHandle"],
        ];
        known.iter().any(|handle| handle.as_str() == Some(id))
    });
    if snapshot || persistent(seen, volume).is_some() {
        return None;
    }
    Some(match volume.spec.access_type.as_str() {
        "ro" => "no VolumeSnapshotContent refers to it",
        _ => "no PersistentVolume refers to it",
    })
}
