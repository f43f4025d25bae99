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
    /// How many bytes were read of it since it became active, where its node's pod says so.
    pub read_bytes: Option<u64>,
    /// How many were written to it.
    pub written_bytes: Option<u64>,
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
        "IO",
        "CONDITION",
        "LOGICALVOLUME",
        "LV",
    ];

    fn cells(&self) -> Vec<String> {
        let used = self.used_bytes.map(|used| {
            let percent = (u128::from(used) * 100).checked_div(u128::from(self.size_bytes));
            format!("{} ({}%)", size(Bytes(used)), percent.unwrap_or(0))
        });
        let io = self.read_bytes.zip(self.written_bytes);
        let io = io.map(|(read, written)| {
            let [read, written] = [read, written].map(|bytes| size(Bytes(bytes)));
            format!("{read}/{written}")
        });
        vec![
            self.namespace.clone(),
            self.claim.clone(),
            self.node.clone(),
            self.class.clone(),
            size(Bytes(self.size_bytes)),
            used.unwrap_or_default(),
            io.unwrap_or_default(),
            self.condition.clone(),
            self.logical_volume.clone(),
            self.volume_id.clone(),
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
    let lv = (volume.spec.node_name.clone(), id(volume).to_owned());
    let io = seen.io.get(&lv);
    let (node, volume_id) = lv.clone();
    VolumeRow {
        namespace,
        claim,
        node,
        class: volume.spec.device_class.clone(),
        size_bytes: size_of(volume).0,
        used_bytes: used,
        read_bytes: io.map(|io| io.read_bytes),
        written_bytes: io.map(|io| io.written_bytes),
        condition,
        logical_volume: volume.name_any(),
        volume_id,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::cluster::Io;

    #[test]
    fn a_volume_has_its_lv_and_what_went_through_that_on_its_node() {
        let volume = |node: &str| {
            let volume = json!({
                "apiVersion": "topolvm.io/v1", "kind": "LogicalVolume", "metadata": {"name": format!("pvc-{node}")},
                "spec": {"name": "pvc-1", "nodeName": node, "size": "1Gi", "deviceClass": "ssd"},
                "status": {"volumeID": "uid-1"},
            });
            serde_json::from_value(volume).unwrap()
        };
        let io = Io {
            read_bytes: 1536,
            written_bytes: 5 << 20,
        };
        let seen = Seen {
            volumes: vec![volume("n1"), volume("n2")],
            io: [(("n1".to_owned(), "uid-1".to_owned()), io)].into(),
            ..Seen::default()
        };
        let rows = rows(&seen);
        let cells = |at: usize| {
            let cells = rows[at].cells();
            let named = VolumeRow::COLUMNS.iter().zip(cells);
            let shown = named.filter(|(name, _)| ["NODE", "IO", "LV"].contains(name));
            shown.map(|(_, cell)| cell).collect::<Vec<_>>()
        };
        assert_eq!(cells(0), ["n1", "1.5Ki/5Mi", "uid-1"]);
        assert_eq!(cells(1), ["n2", "", "uid-1"], "its pod does not say");
        let told = serde_json::to_value(&rows).unwrap();
        assert_eq!(
            (&told[0]["readBytes"], &told[0]["writtenBytes"]),
            (&json!(1536), &json!(5 << 20))
        );
        assert_eq!(told[1]["readBytes"], json!(null));
    }
}
