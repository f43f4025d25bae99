//! Until when the caller of a CSI call waits.
//!
//! kubelet and sidecars say it with each call. Work that goes on in a task of its own takes it along, so that what it asks
//! of others is answered, or given up with a reason, while somebody still listens.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

tokio::task_local! {
    static UNTIL: Option<Instant>;
}

/// Left of the caller's time for saying why.
const MARGIN: Duration = Duration::from_millis(500);

/// Until when the caller waits, as `grpc-timeout` says (gRPC over HTTP/2, "Timeout"); `None` where it does not.
pub fn of(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    Instant::now().checked_add(read(text)?)
}

/// At most eight digits and a unit.
fn read(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Does work for somebody who waits until then.
pub async fn keep<T>(until: Option<Instant>, work: impl Future<Output = T>) -> T {
    UNTIL.scope(until, work).await
}

/// How long something may take that has `limit`, and no longer than the caller of this work waits.
pub fn rest(limit: Duration) -> Duration {
    let until = UNTIL.try_with(|until| *until).ok().flatten();
    let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
    rest.map_or(limit, |rest| {
        limit.min(rest.saturating_sub(MARGIN.min(rest / 4)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_takes_no_longer_than_its_caller_waits() {
        let limit = Duration::from_secs(30);
        assert_eq!(rest(limit), limit, "of nobody's call");
        for (text, left) in [
            ("2S", Some(1500)),
            ("1000m", Some(750)),
            ("1H", Some(30_000)),
            ("123456789S", None),
            ("1s", None),
            ("S", None),
            ("", None),
            ("é", None),
        ] {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = text.parse() {
                metadata.insert("grpc-timeout", value);
            }
            let left = left.unwrap_or(30_000);
            let found = keep(of(&metadata), async { rest(limit) }).await;
            let left = Duration::from_millis(left);
            assert!(found <= left && found > left / 2, "{text}: {found:?}");
        }
    }
}
