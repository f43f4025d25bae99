//! Telling the kubelet about the CSI node, without a sidecar.
//!
//! The kubelet watches a folder for sockets and asks each who it is. The socket is put
//! there in one step under its name and is left behind at the end: a restart replaces it,
//! and at no time is the driver unknown to the kubelet, which would refuse pods then. Only
//! where this program does not come back ([`successor`](crate::kubernetes::successor)) it
//! is removed.

use std::io;
use std::path::{Path, PathBuf};

use lvmd::names;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing::{error, info, warn};

use crate::proto::registration::registration_server::{
    Registration as Service, RegistrationServer,
};
use crate::proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use crate::run::Bound;

/// Beside the folder of this name, in which the CSI socket is, the kubelet has its [`REGISTRY`].
const PLUGINS: &str = "plugins";
/// Where the kubelet looks for sockets.
const REGISTRY: &str = "plugins_registry";

/// The folder that the kubelet watches, if the CSI socket is in a folder of the kubelet's
/// and the folder is there: with upstream's manifests a sidecar has it.
pub fn folder(csi_socket: &Path) -> Option<PathBuf> {
    let plugins = csi_socket
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|name| name == PLUGINS))?;
    Some(plugins.with_file_name(REGISTRY)).filter(|folder| folder.is_dir())
}

/// The socket's name. The kubelet calls the server by the socket's path, percent-encoded, as
/// HTTP/2's `:authority` (gRPC for Go does so with an address it knows nothing of), and a
/// host with percent signs is one that our HTTP refuses, with PROTOCOL_ERROR. What stands
/// before an `@` is a user, who may have them: so the name has an `@`. Any name is good to
/// the kubelet, and the driver's is what `GetInfo` says.
fn socket_name() -> String {
    format!("csi@{}-reg.sock", names::DRIVER)
}

#[derive(Debug)]
struct Registration {
    endpoint: String,
}

#[tonic::async_trait]
impl Service for Registration {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: names::DRIVER.to_owned(),
            endpoint: self.endpoint.clone(),
            // The kubelet's own interface to CSI drivers is called so; all of CSI 1 is meant.
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus {
            plugin_registered,
            error,
        } = request.into_inner();
        if plugin_registered {
            info!("the kubelet knows the driver");
        } else {
            // It asks again by itself.
            warn!(error, "the kubelet does not take the driver yet");
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

/// Serves the registration of the driver at `csi_socket` in `folder` until `stop`.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(folder: &Path, csi_socket: &Path, stop: CancellationToken) -> io::Result<Registered> {
    let name = socket_name();
    let socket = folder.join(&name);
    // The kubelet does not look at names that begin with a dot.
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    let registered = Registered(Bound::of(&new).renamed(&socket)?);
    let service = RegistrationServer::new(Registration {
        endpoint: csi_socket.display().to_string(),
    });
    let serving = Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            error!(%error, "the kubelet is not answered any more");
        }
    });
    Ok(registered)
}

/// The socket that the kubelet knows the driver by. It stays when this is dropped, for the next
/// program of ours.
#[derive(Debug)]
pub struct Registered(Bound);

impl Registered {
    /// Has the kubelet forget the driver, so that another program of the same driver can register;
    /// not when one has already.
    ///
    /// # Errors
    /// The socket cannot be removed.
    pub fn leave(self) -> io::Result<()> {
        self.0.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::registration::registration_client::RegistrationClient;
    use tonic::transport::Endpoint;

    async fn info(folder: &Path) -> PluginInfo {
        let socket = folder.join(socket_name());
        // As gRPC for Go encodes an authority (RFC 3986, 3.2), and so the kubelet.
        let path = socket.display().to_string().replace('/', "%2F");
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display())).unwrap();
        let endpoint = endpoint.origin(format!("http://{path}").parse().unwrap());
        let mut client = RegistrationClient::new(endpoint.connect().await.unwrap());
        client.get_info(InfoRequest {}).await.unwrap().into_inner()
    }

    #[tokio::test]
    async fn the_kubelet_finds_the_driver_and_a_restart_replaces_the_socket() {
        let kubelet = tempfile::tempdir().unwrap();
        let csi = kubelet
            .path()
            .join("plugins/topolvm.io/node/csi-topolvm.sock");
        assert_eq!(folder(&csi), None, "somebody else registers");
        let registry = kubelet.path().join("plugins_registry");
        std::fs::create_dir(&registry).unwrap();
        assert_eq!(folder(&csi), Some(registry.clone()));
        assert_eq!(folder(Path::new("/run/topolvm/csi-topolvm.sock")), None);
        let stop = CancellationToken::new();
        let first = serve(&registry, &csi, stop.clone()).unwrap();
        let told = info(&registry).await;
        assert_eq!(
            (told.r#type.as_str(), told.name.as_str()),
            ("CSIPlugin", "topolvm.io")
        );
        assert_eq!(
            (told.endpoint, told.supported_versions),
            (csi.display().to_string(), vec!["1.0.0".into()])
        );
        stop.cancel();
        let second = serve(&registry, &csi, CancellationToken::new()).unwrap();
        info(&registry).await;
        assert_eq!(std::fs::read_dir(&registry).unwrap().count(), 1);
        first.leave().unwrap();
        info(&registry).await;
        second.leave().unwrap();
        assert_eq!(std::fs::read_dir(&registry).unwrap().count(), 0);
    }
}
