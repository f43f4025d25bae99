//! How fast something fills, from looks at irregular times.

use std::time::Instant;

use super::Rate;

/// The spans over which is averaged, in seconds: haste, and two for what lasts.
const SPANS: [f64; 3] = [3.0, 60.0, 900.0];

/// Exponential averages of the growth of one number of bytes.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    last: Option<(Instant, u64)>,
    averages: [f64; 3],
}

impl Meter {
    /// Notes that `used` bytes are used at `now`. Space that became free counts as no
    /// growth; a clock that does not move counts as no look.
    pub fn note(&mut self, now: Instant, used: u64) {
        let Some((then, before)) = self.last else {
            self.last = Some((now, used));
            return;
        };
        let passed = now.saturating_duration_since(then).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let rate = as_float(used.saturating_sub(before)) / passed;
        for (average, span) in self.averages.iter_mut().zip(SPANS) {
            let weight = 1.0 - (-passed / span).exp();
            *average += weight * (rate - *average);
        }
        self.last = Some((now, used));
    }

    /// The rates as they are.
    pub fn rate(&self) -> Rate {
        let [now, minute, quarter] = self.averages;
        Rate {
            now: as_bytes(now),
            lasting: as_bytes(minute.max(quarter)),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an average needs no more than 52 bits"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number there is, and none is negative"
)]
fn as_bytes(rate: f64) -> u64 {
    rate as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn haste_is_seen_at_once_and_what_lasts_is_seen_later() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for second in 0..=10 {
            meter.note(start + Duration::from_secs(second), second * 1_000);
        }
        let rate = meter.rate();
        assert!((900..=1000).contains(&rate.now), "{rate:?}");
        assert!((100..=200).contains(&rate.lasting), "{rate:?}");
        for second in 11..=600 {
            meter.note(start + Duration::from_secs(second), second * 1_000);
        }
        assert!(meter.rate().lasting > 990, "{:?}", meter.rate());
    }

    #[test]
    fn space_that_becomes_free_and_a_clock_that_stands_are_no_growth() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.note(start, 5_000);
        meter.note(start, 9_000_000);
        meter.note(start + Duration::from_secs(1), 0);
        assert_eq!(meter.rate(), Rate::default());
        assert_eq!(Rate::default().time_to_fill(7), None);
        let rate = Rate { now: 2, lasting: 1 };
        assert_eq!(rate.time_to_fill(7), Some(Duration::from_secs(3)));
    }

    #[test]
    fn looks_at_any_distance_give_the_same_average() {
        let start = Instant::now();
        let (mut often, mut seldom) = (Meter::default(), Meter::default());
        for tenth in 0..=600 {
            often.note(start + Duration::from_millis(tenth * 100), tenth * 100);
        }
        for look in 0..=6 {
            seldom.note(start + Duration::from_secs(look * 10), look * 10_000);
        }
        let (a, b) = (often.rate().lasting, seldom.rate().lasting);
        assert!(a.abs_diff(b) <= 2, "{a} {b}");
    }
}
