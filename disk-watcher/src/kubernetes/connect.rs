//! The way to the API server. That there is none yet keeps nothing from starting: the files of
//! the node are worked with, and what was in force before is looked after.

use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A client, as soon as `make` makes one; `None` when `stop` comes before that.
pub async fn client<E: std::fmt::Display>(
    make: impl AsyncFn() -> Result<Client, E>,
    stop: &CancellationToken,
) -> Option<Client> {
    let mut said = String::new();
    loop {
        match make().await {
            Ok(client) => return Some(client),
            Err(why) if why.to_string() != said => {
                said = why.to_string();
                error!(
                    why = said,
                    "there is no way to the API server, so nothing is heard of its objects; it is tried again. Is there a cluster, and can the token be read?"
                );
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => return None,
        }
    }
}
