//! The calls of a container orchestrator, with only what a test cares about.

use std::path::{Path, PathBuf};

use csi::proto::controller_client::ControllerClient;
use csi::proto::node_client::NodeClient;
use csi::proto::volume_capability::access_mode::Mode;
use csi::proto::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi::proto::volume_content_source::{SnapshotSource, Type, VolumeSource};
use csi::proto::{
    CapacityRange, ControllerExpandVolumeRequest, CreateSnapshotRequest, CreateVolumeRequest,
    DeleteVolumeRequest, NodeExpandVolumeRequest, NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    VolumeCapability, VolumeContentSource,
};
use tonic::Status;
use tonic::transport::Channel;

use crate::harness::{Driver, run};

pub const MIB: i64 = 1 << 20;

/// A volume with a file system.
pub fn mount(kind: &str) -> VolumeCapability {
    capability(AccessType::Mount(MountVolume {
        fs_type: kind.into(),
        ..MountVolume::default()
    }))
}

/// A volume as a device.
pub fn block() -> VolumeCapability {
    capability(AccessType::Block(BlockVolume {}))
}

fn capability(access: AccessType) -> VolumeCapability {
    VolumeCapability {
        access_type: Some(access),
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
    }
}

pub struct Client {
    pub controller: ControllerClient<Channel>,
    pub node: NodeClient<Channel>,
    dir: PathBuf,
}

impl Client {
    pub async fn of(driver: &Driver) -> Self {
        let channel = driver.connect().await;
        Self {
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
            dir: driver.dir.path().to_owned(),
        }
    }

    /// Where a volume is published by default.
    pub fn target(&self) -> PathBuf {
        self.dir.join("pods/a/mount")
    }

    pub async fn create(
        &mut self,
        name: &str,
        class: &str,
        size: i64,
        capability: VolumeCapability,
    ) -> String {
        self.create_from(name, class, size, capability, None).await
    }

    pub async fn clone_of(
        &mut self,
        source: &str,
        name: &str,
        size: i64,
        capability: VolumeCapability,
    ) -> String {
        let source = Type::Volume(VolumeSource {
            volume_id: source.into(),
        });
        self.create_from(name, "thin", size, capability, Some(source))
            .await
    }

    pub async fn restore_of(
        &mut self,
        source: &str,
        name: &str,
        size: i64,
        capability: VolumeCapability,
    ) -> String {
        let source = Type::Snapshot(SnapshotSource {
            snapshot_id: source.into(),
        });
        self.create_from(name, "thin", size, capability, Some(source))
            .await
    }

    async fn create_from(
        &mut self,
        name: &str,
        class: &str,
        size: i64,
        capability: VolumeCapability,
        source: Option<Type>,
    ) -> String {
        let request = CreateVolumeRequest {
            name: name.into(),
            capacity_range: Some(CapacityRange {
                required_bytes: size,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![capability],
            parameters: [("topolvm.io/device-class".to_owned(), class.to_owned())].into(),
            volume_content_source: source.map(|kind| VolumeContentSource { r#type: Some(kind) }),
            ..CreateVolumeRequest::default()
        };
        self.controller
            .create_volume(request)
            .await
            .unwrap()
            .into_inner()
            .volume
            .unwrap()
            .volume_id
    }

    pub async fn snapshot(&mut self, source: &str, name: &str) -> String {
        let request = CreateSnapshotRequest {
            source_volume_id: source.into(),
            name: name.into(),
            ..CreateSnapshotRequest::default()
        };
        let made = self
            .controller
            .create_snapshot(request)
            .await
            .unwrap()
            .into_inner();
        made.snapshot.unwrap().snapshot_id
    }

    pub async fn delete(&mut self, id: &str) -> Result<(), Status> {
        let request = DeleteVolumeRequest {
            volume_id: id.into(),
            ..DeleteVolumeRequest::default()
        };
        self.controller.delete_volume(request).await.map(drop)
    }

    /// The volume, and what is on it.
    pub async fn grow(&mut self, id: &str, size: i64, at: &Path) {
        self.extend(id, size).await;
        self.expand(id, size, at).await;
    }

    /// The controller's part.
    pub async fn extend(&mut self, id: &str, size: i64) {
        let request = ControllerExpandVolumeRequest {
            volume_id: id.into(),
            capacity_range: at_least(size),
            ..ControllerExpandVolumeRequest::default()
        };
        self.controller
            .controller_expand_volume(request)
            .await
            .unwrap();
    }

    /// The node's part.
    pub async fn expand(&mut self, id: &str, size: i64, at: &Path) {
        let request = NodeExpandVolumeRequest {
            volume_id: id.into(),
            volume_path: at.display().to_string(),
            capacity_range: at_least(size),
            ..NodeExpandVolumeRequest::default()
        };
        self.node.node_expand_volume(request).await.unwrap();
    }

    pub fn publish_request(
        &self,
        id: &str,
        capability: VolumeCapability,
    ) -> NodePublishVolumeRequest {
        NodePublishVolumeRequest {
            volume_id: id.into(),
            target_path: self.target().display().to_string(),
            volume_capability: Some(capability),
            ..NodePublishVolumeRequest::default()
        }
    }

    pub async fn publish(&mut self, id: &str, capability: VolumeCapability) -> Result<(), Status> {
        let request = self.publish_request(id, capability);
        self.node.node_publish_volume(request).await.map(drop)
    }

    pub async fn unpublish(&mut self, id: &str) {
        let request = NodeUnpublishVolumeRequest {
            volume_id: id.into(),
            target_path: self.target().display().to_string(),
        };
        self.node.node_unpublish_volume(request).await.unwrap();
    }

    pub async fn stats(&mut self, id: &str) -> Result<NodeGetVolumeStatsResponse, Status> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: id.into(),
            volume_path: self.target().display().to_string(),
            ..NodeGetVolumeStatsRequest::default()
        };
        self.node
            .node_get_volume_stats(request)
            .await
            .map(tonic::Response::into_inner)
    }
}

fn at_least(bytes: i64) -> Option<CapacityRange> {
    Some(CapacityRange {
        required_bytes: bytes,
        limit_bytes: 0,
    })
}

/// The device of a volume, as LVM names it; udev makes the name a moment later.
pub fn device(id: &str) -> String {
    run("udevadm", &["settle"]);
    format!("/dev/vg/{id}")
}
