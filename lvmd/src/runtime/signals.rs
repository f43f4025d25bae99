//! SIGTERM and SIGINT: the first asks to end, the second ends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Cancels the returned token at the first SIGTERM or SIGINT, so that work under way
/// ends in order; the second one ends the process at once with code 1.
///
/// # Errors
/// The handlers cannot be installed.
pub fn stop_token() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let signals = Signals {
        term: signal(SignalKind::terminate())?,
        int: signal(SignalKind::interrupt())?,
    };
    tokio::spawn(wait(signals, token.clone()));
    Ok(token)
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

async fn wait(mut signals: Signals, token: CancellationToken) {
    let signal = signals.next().await;
    info!(signal, "stopping; what is under way is finished first");
    token.cancel();
    let signal = signals.next().await;
    warn!(signal, "asked a second time, ending at once");
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal::SIGTERM, kill};
    use nix::unistd::Pid;

    #[tokio::test]
    async fn the_first_sigterm_cancels() {
        let token = stop_token().unwrap();
        assert!(!token.is_cancelled());
        kill(Pid::this(), SIGTERM).unwrap();
        let wait = token.cancelled();
        tokio::time::timeout(std::time::Duration::from_secs(5), wait)
            .await
            .unwrap();
    }
}
