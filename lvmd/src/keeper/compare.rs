//! Does lvm say the same as is read without it? Asked at start and every hour.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cmd::Runner;
use crate::lvm::reader::Checked;
use crate::volumes::Volumes;

/// How often.
const EVERY: Duration = Duration::from_secs(3600);
/// After how long it is asked again when it could not be told.
const AGAIN: Duration = Duration::from_secs(10);

/// Compares until `stop`; a VG of which something else was read is lvm's from then on.
pub async fn compare<R: Runner + Clone>(volumes: Volumes<R>, stop: CancellationToken) {
    loop {
        let again = tokio::select! {
            checked = volumes.engine().self_check() => match checked {
                Ok(Checked { vgs, differences, .. }) => {
                    info!(vgs, differences = differences.len(), "compared with lvm");
                    EVERY
                }
                Err(error) => {
                    warn!(%error, "cannot compare with lvm");
                    AGAIN
                }
            },
            () = stop.cancelled() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(again) => {}
            () = stop.cancelled() => return,
        }
    }
}
