//! Waiting for a cluster: its programs say by their answers alone that they are ready.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks again and again, five times a second, until it holds.
///
/// # Errors
/// An answer is an error, or it does not hold after `limit`.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing announces that a program of the cluster is ready"
)]
pub fn until(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let started = Instant::now();
    while !holds()? {
        if started.elapsed() > limit {
            bail!("not after {limit:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(started.elapsed())
}
