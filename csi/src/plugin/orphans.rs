//! Objects that nothing refers to any more, and LVs that no object names. Each is named with
//! the reason, and none touched unasked: it may be the last copy of somebody's data.

use anyhow::{Context, bail};
use kube::ResourceExt;
use lvmd::names;
use lvmd::units::Bytes;
use serde::Serialize;

use super::adopt::{self, Plan};
use super::cluster::{Seen, handle, size_of};
use super::strays::{self, Found};
use super::table::{Row, size};
use super::volumes::{id, persistent};
use crate::kubernetes::logical_volume::LogicalVolume;

/// One of them.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// `LogicalVolume`, `PersistentVolume` or `LV`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The node, if that is known.
    pub node: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Why it is here.
    pub why: String,
}

impl Row for Orphan {
    const COLUMNS: &'static [&'static str] = &["KIND", "NAME", "NODE", "SIZE", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.to_owned(),
            self.name.clone(),
            self.node.clone(),
            size(Bytes(self.size_bytes)),
            self.why.clone(),
        ]
    }
}

/// All of them.
///
/// # Errors
/// What a node reports cannot be read.
pub fn rows(seen: &Seen) -> anyhow::Result<Vec<Orphan>> {
    let volumes = seen.volumes.iter().filter_map(|volume| {
        Some(Orphan {
            kind: "LogicalVolume",
            name: volume.name_any(),
            node: volume.spec.node_name.clone(),
            size_bytes: size_of(volume).0,
            why: volume_why(seen, volume)?.to_owned(),
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
            why: why.to_owned(),
        })
    });
    let reported = strays::of(seen)?;
    let orphans = reported
        .found
        .iter()
        .filter(|found| found.stray.is_orphan());
    let more = reported.more.iter().map(|(node, more)| Orphan {
        kind: "LV",
        name: format!("{more} more"),
        node: node.clone(),
        size_bytes: 0,
        why: "its node reports them when these have objects".to_owned(),
    });
    let objects = volumes.chain(persistent);
    Ok(objects.chain(orphans.map(lv)).chain(more).collect())
}

fn lv(found: &Found) -> Orphan {
    let stray = &found.stray;
    let claim = stray.tag(names::TAG_PVC);
    let claim = claim.map(|claim| format!(", made for {claim}"));
    Orphan {
        kind: "LV",
        name: stray.lv.clone(),
        node: found.node.clone(),
        size_bytes: stray.size_bytes,
        why: format!(
            "no LogicalVolume names it; group {} {}{}",
            stray.vg,
            stray.vg_uuid,
            claim.unwrap_or_default()
        ),
    }
}

/// What has an orphaned LV removed by its node, and what it is.
///
/// # Errors
/// It is no orphan, on several nodes, or has a PersistentVolume.
pub fn removal(seen: &Seen, name: &str) -> anyhow::Result<(Plan, Orphan)> {
    let reported = strays::of(seen)?;
    let mut all = reported.found.iter();
    let mut next = || all.find(|found| found.stray.lv == name && found.stray.is_orphan());
    let found = next().with_context(|| {
        format!("{name} is no LV that a cluster's driver made and no LogicalVolume names")
    })?;
    if let Some(other) = next() {
        bail!(
            "nodes {} and {} both have an LV {name}: one is a copy",
            found.node,
            other.node
        );
    }
    if let Some(pv) = seen.persistent.iter().find(|pv| handle(pv) == Some(name)) {
        bail!(
            "PersistentVolume {} refers to LV {name}: delete that first, or adopt the LV",
            pv.name_any()
        );
    }
    let own = adopt::name(found).context("its name cannot be one of Kubernetes' objects")?;
    let plan = Plan {
        volume: adopt::objects::volume(found, &own),
        made: (name.to_owned(), found.stray.size()),
        persistent: None,
    };
    let mut row = lv(found);
    row.why = format!("would be removed, with its data: --yes; {}", row.why);
    Ok((plan, row))
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
