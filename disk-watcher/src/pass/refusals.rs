//! What was looked at in vain, and is not looked at again at once: to read the new part of a
//! disk may take minutes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// At least so long until the next look.
const PAUSE: Duration = Duration::from_secs(10);
/// A look may take this part of the time.
const SHARE: u32 = 20;

/// By PV, or by fingerprint: until when nothing is tried, and why.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<String, (Instant, String)>);

impl Refusals {
    /// Notes that a look from `begun` to `now` ended with a no.
    pub(super) fn refused(&mut self, key: String, begun: Instant, now: Instant, why: &str) {
        let took = now.saturating_duration_since(begun);
        let until = now + PAUSE.max(took * SHARE);
        self.0.insert(key, (until, why.to_owned()));
    }

    /// The last no, while it is too soon for another look.
    pub(super) fn waits(&self, key: &str, now: Instant) -> Option<String> {
        let (until, why) = self.0.get(key)?;
        (now < *until).then(|| why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_took_long_is_not_repeated_soon() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        let waits = |refusals: &Refusals, after: u64| {
            refusals
                .waits("a", begun + Duration::from_secs(after))
                .is_some()
        };
        assert!(!waits(&refusals, 0));
        refusals.refused("a".into(), begun, begun, "no");
        assert!(waits(&refusals, 9) && !waits(&refusals, 10));
        let end = begun + Duration::from_secs(60);
        refusals.refused("a".into(), begun, end, "no");
        assert!(waits(&refusals, 20 * 60) && !waits(&refusals, 21 * 60 + 1));
    }
}
