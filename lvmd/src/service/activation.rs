//! Activating a volume for a node in another process, which runs no lvm.

use tonic::{Request, Response, Status};

use super::{Service, made_message};
use crate::cmd::Runner;
use crate::proto::activation_server::Activation;
use crate::proto::{ActivateLvRequest, ActivateLvResponse};

#[tonic::async_trait]
impl<R: Runner + Clone> Activation for Service<R> {
    async fn activate_lv(
        &self,
        request: Request<ActivateLvRequest>,
    ) -> Result<Response<ActivateLvResponse>, Status> {
        let ActivateLvRequest { name, device_class } = request.into_inner();
        let volumes = self.volumes.clone();
        let active = self
            .operate("ActivateLV", async move {
                volumes.activate(&name, &device_class).await
            })
            .await?;
        Ok(Response::new(ActivateLvResponse {
            volume: Some(made_message(active)),
        }))
    }
}
