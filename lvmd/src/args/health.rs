//! `lvmd health`: asks a running lvmd, for probes of the kubelet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::Endpoint;

use crate::proto::health::HealthCheckRequest;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_client::HealthClient;

/// Flags of `lvmd health`; the socket comes from `--listen` or `--config`.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// How long to wait for the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub timeout: u64,
}

/// lvmd does not serve, or did not say so.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// Nobody answers at the socket.
    #[error("nobody answers at {}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The transport's words.
        source: tonic::transport::Error,
    },
    /// The answer took too long.
    #[error("no answer at {} within {limit:?}", socket.display())]
    Late {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The call failed.
    #[error("asking at {} failed: {} ({})", socket.display(), status.message(), status.code())]
    Failed {
        /// The socket.
        socket: PathBuf,
        /// The answer.
        status: Box<tonic::Status>,
    },
    /// lvmd says that it does not serve.
    #[error("lvmd at {} answers {status}; its log and /readyz say why", socket.display())]
    Status {
        /// The socket.
        socket: PathBuf,
        /// The status's name.
        status: &'static str,
    },
}

/// Asks the lvmd at `socket` whether it serves, and waits `limit` for the answer.
///
/// # Errors
/// Anything but a clear yes in time; see [`NotServing`].
pub async fn ask(socket: &Path, limit: Duration) -> Result<(), NotServing> {
    tokio::time::timeout(limit, check(socket))
        .await
        .unwrap_or_else(|_| {
            Err(NotServing::Late {
                socket: socket.to_owned(),
                limit,
            })
        })
}

async fn check(socket: &Path) -> Result<(), NotServing> {
    let unreachable = |source| NotServing::Unreachable {
        socket: socket.to_owned(),
        source,
    };
    let endpoint = Endpoint::try_from(format!("unix:{}", socket.display())).map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map_err(|status| NotServing::Failed {
            socket: socket.to_owned(),
            status: Box::new(status),
        })?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(NotServing::Status {
            socket: socket.to_owned(),
            status: other.as_str_name(),
        }),
    }
}
