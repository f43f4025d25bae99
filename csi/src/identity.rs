//! The CSI identity service.

use std::future::Future;

use lvmd::names;
use tonic::{Request, Response, Status};

use crate::proto::identity_server::Identity as Service;
use crate::proto::plugin_capability::service::Type as Offered;
use crate::proto::plugin_capability::volume_expansion::Type as Expansion;
use crate::proto::plugin_capability::{self, Type, VolumeExpansion};
use crate::proto::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse,
};

/// Tells whether the program works. An unreachable API server is no reason to say no:
/// whoever restarts the program for it only makes things worse.
pub trait Ready: Send + Sync + std::fmt::Debug + 'static {
    /// Whether calls can be answered now.
    fn ready(&self) -> impl Future<Output = bool> + Send;
}

/// See the module.
#[derive(Debug)]
pub struct Identity<H>(pub H);

#[tonic::async_trait]
impl<H: Ready> Service for Identity<H> {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: names::DRIVER.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: Default::default(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let service = |offered: Offered| {
            Type::Service(plugin_capability::Service {
                r#type: offered.into(),
            })
        };
        let expansion = |kind: Expansion| {
            Type::VolumeExpansion(VolumeExpansion {
                r#type: kind.into(),
            })
        };
        let all = [
            service(Offered::ControllerService),
            service(Offered::VolumeAccessibilityConstraints),
            expansion(Expansion::Online),
            expansion(Expansion::Offline),
        ];
        Ok(Response::new(GetPluginCapabilitiesResponse {
            capabilities: all
                .map(|kind| PluginCapability { r#type: Some(kind) })
                .into(),
        }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse {
            ready: Some(self.0.ready().await),
        }))
    }
}
