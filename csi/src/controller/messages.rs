//! CSI's messages about what is held.

use std::collections::HashMap;
use std::time::SystemTime;

use lvmd::units::Bytes;

use crate::proto::volume_content_source::{SnapshotSource, Type, VolumeSource};
use crate::proto::{Snapshot, Volume, VolumeContentSource};
use crate::store::{Held, Kind, Source};
use crate::topology;

/// A volume, with what the node is to be told at each publish.
pub(super) fn volume(held: &Held, context: HashMap<String, String>) -> Volume {
    Volume {
        capacity_bytes: signed(held.size),
        volume_id: held.id.clone(),
        volume_context: context,
        content_source: held.source.as_ref().map(content_source),
        accessible_topology: vec![topology::of_node(&held.node)],
    }
}

/// A snapshot. It can be used once all data is in it.
pub(super) fn snapshot(held: &Held) -> Snapshot {
    Snapshot {
        size_bytes: signed(held.size),
        snapshot_id: held.id.clone(),
        source_volume_id: held
            .source
            .as_ref()
            .map(|source| source.id.clone())
            .unwrap_or_default(),
        creation_time: Some(timestamp(held.created)),
        ready_to_use: held.whole,
        group_snapshot_id: String::new(),
    }
}

/// What the controller and the message have in common.
pub(super) fn content_source(source: &Source) -> VolumeContentSource {
    let id = source.id.clone();
    VolumeContentSource {
        r#type: Some(match source.kind {
            Kind::Volume => Type::Volume(VolumeSource { volume_id: id }),
            Kind::Snapshot => Type::Snapshot(SnapshotSource { snapshot_id: id }),
        }),
    }
}

/// Bytes as the protocol counts them.
pub(super) fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}

fn timestamp(at: SystemTime) -> prost_types::Timestamp {
    at.into()
}
