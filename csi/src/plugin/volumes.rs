//! Each volume: whose it is, where, how large, how full, in what condition.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::ResourceExt;
use lvmd::units::Bytes;
use serde::Serialize;

use super::cluster::{Seen, handle, size_of};
use super::table::{Row, size};
use crate::kubernetes::logical_volume::{HEALTHY, LogicalVolume};

/// A LogicalVolume and whose it is.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRow {
    /// The claim's namespace; empty if no claim has it.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// The node.
    pub node: String,
    /// The device class; empty for the node's default one.
    pub class: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How many of them are in use, where its file system is mounted and the kubelet says so.
    pub used_bytes: Option<u64>,
    /// `Ready`, `Snapshot`, or what is wrong.
    pub condition: String,
    /// The LogicalVolume.
    pub logical_volume: String,
    /// The LV; empty until it is made.
    pub volume_id: String,
}

impl Row for VolumeRow {
    const COLUMNS: &'static [&'static str] = &[
        "NAMESPACE",
        "CLAIM",
        "NODE",
        "CLASS",
        "SIZE",
        "USED",
        "CONDITION",
        "LOGICALVOLUME",
    ];

    fn cells(&self) -> Vec<String> {
        let used = self.used_bytes.map(|used| {
            let percent = (u128::from(used) * 100).checked_div(u128::from(self.size_bytes));
            format!("{} ({}%)", size(Bytes(used)), percent.unwrap_or(0))
        });
        vec![
            self.namespace.clone(),
            self.claim.clone(),
            self.node.clone(),
            self.class.clone(),
            size(Bytes(self.size_bytes)),
            used.unwrap_or_default(),
            self.condition.clone(),
            self.logical_volume.clone(),
        ]
    }
}

/// The volume's id; empty until it is made.
pub fn id(volume: &LogicalVolume) -> &str {
    volume
        .status
        .as_ref()
        .map_or("", |status| status.volume_id.as_str())
}

/// In a few words: `Ready`, or what is wrong.
pub fn condition(volume: &LogicalVolume) -> String {
    if volume.metadata.deletion_timestamp.is_some() {
        return "Deleting".to_owned();
    }
    let Some(status) = &volume.status else {
        return "Waiting for its node".to_owned();
    };
    let said = |kind: &str| {
        let mut all = status.conditions.iter();
        all.find(|condition| condition.type_ == kind && condition.status != "True")
    };
    // What is wrong with the volume comes before what is still to be done about its size.
    if let Some(wrong) = said(HEALTHY).or_else(|| said("Ready")) {
        return format!("{}: {}", wrong.reason, wrong.message);
    }
    if status.code != 0 {
        return format!("Failed: {}", status.message);
    }
    match status.volume_id.is_empty() {
        true => "Waiting for its node".to_owned(),
        false => "Ready".to_owned(),
    }
}

/// The PersistentVolume of a LogicalVolume.
pub fn persistent<'a>(seen: &'a Seen, volume: &LogicalVolume) -> Option<&'a PersistentVolume> {
    let id = Some(id(volume)).filter(|id| !id.is_empty())?;
    seen.persistent.iter().find(|pv| handle(pv) == Some(id))
}

/// All of them, by namespace and claim.
pub fn rows(seen: &Seen) -> Vec<VolumeRow> {
    let mut rows: Vec<_> = seen
        .volumes
        .iter()
        .map(|volume| row(seen, volume))
        .collect();
    rows.sort_by(|a, b| {
        let key = |row: &VolumeRow| {
            (
                row.namespace.clone(),
                row.claim.clone(),
                row.logical_volume.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    rows
}

fn row(seen: &Seen, volume: &LogicalVolume) -> VolumeRow {
    let claim = persistent(seen, volume)
        .and_then(|pv| pv.spec.as_ref()?.claim_ref.as_ref())
        .map(|claim| {
            (
                claim.namespace.clone().unwrap_or_default(),
                claim.name.clone().unwrap_or_default(),
            )
        });
    let used = claim
        .as_ref()
        .and_then(|claim| seen.used.get(claim))
        .copied();
    let (namespace, claim) = claim.unwrap_or_default();
    let condition = match condition(volume) {
        ready if ready == "Ready" && volume.spec.access_type == "ro" => "Snapshot".to_owned(),
        other => other,
    };
    VolumeRow {
        namespace,
        claim,
        node: volume.spec.node_name.clone(),
        class: volume.spec.device_class.clone(),
        size_bytes: size_of(volume).0,
        used_bytes: used,
        condition,
        logical_volume: volume.name_any(),
        volume_id: id(volume).to_owned(),
    }
}
