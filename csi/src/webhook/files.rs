//! A certificate in files, as cert-manager or a person leaves it in a mounted Secret.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lvmd::config::folders::Folders;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::tls::Certificate;

/// How long a folder is quiet before it is read, so that a pair is not read half.
const SETTLE: Duration = Duration::from_millis(250);
/// How often it is read without an event.
const TICK: Duration = Duration::from_secs(60);

/// Keeps `certificate` as `tls.crt` and `tls.key` of a folder are, until `stop`. What cannot
/// be used changes nothing: the certificate so far stays.
pub async fn follow(folder: PathBuf, certificate: Certificate, stop: CancellationToken) {
    let look = Arc::new(Notify::new());
    let mut folders = Folders::new(look.clone());
    let mut seen = None;
    loop {
        // Watch first, read then: nothing that happens in between is missed.
        folders.follow(&folder.join("tls.crt"));
        let found = read(&folder).await;
        if seen.as_ref() != Some(&found) {
            take(&folder, &found, &certificate);
            seen = Some(found);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
            () = look.notified() => tokio::time::sleep(SETTLE).await,
        }
    }
}

type Pair = Result<(Vec<u8>, Vec<u8>), String>;

async fn read(folder: &std::path::Path) -> Pair {
    let file = async |name: &str| {
        let path = folder.join(name);
        let read = tokio::fs::read(&path).await;
        read.map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    Ok((file("tls.crt").await?, file("tls.key").await?))
}

fn take(folder: &std::path::Path, found: &Pair, certificate: &Certificate) {
    let taken = match found {
        Ok((chain, key)) => certificate.set(chain, key).context("it cannot be used"),
        Err(words) => Err(anyhow::anyhow!("{words}")),
    };
    let folder = folder.display();
    match taken {
        Ok(()) => info!(%folder, "the webhook has a certificate"),
        Err(error) if certificate.is_there() => {
            let error = format!("{error:#}");
            warn!(%folder, error, "the new certificate is not taken, the old one stays");
        }
        Err(error) => {
            let error = format!("{error:#}");
            warn!(%folder, error, "the webhook has no certificate yet");
        }
    }
}
