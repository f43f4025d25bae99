//! All volumes at once for a node in another process, which says which of them no object names.

use tonic::{Request, Response, Status};

use super::Service;
use crate::cmd::Runner;
use crate::proto::inventory_server::Inventory;
use crate::proto::{Empty, ListAllResponse, ListedVolume};
use crate::units::Bytes;
use crate::volumes::{self, Listed};

#[tonic::async_trait]
impl<R: Runner + Clone> Inventory for Service<R> {
    async fn list_all(&self, _: Request<Empty>) -> Result<Response<ListAllResponse>, Status> {
        let all = self.volumes.inventory().await?;
        Ok(Response::new(all.into()))
    }
}

impl From<volumes::Inventory> for ListAllResponse {
    fn from(all: volumes::Inventory) -> Self {
        let volumes = all.volumes.into_iter().map(|listed| ListedVolume {
            vg: listed.vg,
            vg_uuid: listed.vg_uuid,
            name: listed.name,
            device_classes: listed.classes,
            size_bytes: listed.size.0,
            tags: listed.tags,
            is_whole: listed.is_whole,
            is_open: listed.is_open,
        });
        Self {
            device_classes: all.classes,
            volumes: volumes.collect(),
        }
    }
}

impl From<ListAllResponse> for volumes::Inventory {
    fn from(all: ListAllResponse) -> Self {
        let volumes = all.volumes.into_iter().map(|listed| Listed {
            vg: listed.vg,
            vg_uuid: listed.vg_uuid,
            name: listed.name,
            classes: listed.device_classes,
            size: Bytes(listed.size_bytes),
            tags: listed.tags,
            is_whole: listed.is_whole,
            is_open: listed.is_open,
        });
        Self {
            classes: all.device_classes,
            volumes: volumes.collect(),
        }
    }
}
