//! Percentages as LVM counts and prints them.

use std::fmt;

use crate::units::Bytes;

/// A share in millionths of a percent, from 0 to 100 %.
///
/// Only what is exactly nothing is 0 %, and only what is exactly all is 100 %; printed
/// with two digits, what lies between is never shown as either (libdm's `dm_make_percent`
/// and `dm_percent_to_round_float`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

const ONE: u32 = 1_000_000;
const ALL: u32 = 100 * ONE;

impl Percent {
    /// The share of `used` in `total`; all of nothing is 100 %.
    pub fn of(used: u64, total: u64) -> Self {
        if used == 0 && total > 0 {
            return Self(0);
        }
        if used >= total {
            return Self(ALL);
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "libdm divides in double precision, and its result is wanted; it is between 0 and 1"
        )]
        let share = (f64::from(ALL) * (used as f64 / total as f64)) as u32;
        Self(share.clamp(1, ALL - 1))
    }

    /// Reads what lvs prints; two shares that print the same are then the same only as
    /// far as [`Percent::rounded`] tells. `None` when it is no percentage.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, hundredths) = text.split_once('.')?;
        let whole: u32 = whole.parse().ok()?;
        let hundredths: u32 = hundredths.parse().ok().filter(|h| *h < 100)?;
        let share = whole.checked_mul(ONE)? + hundredths * (ONE / 100);
        (share <= ALL).then_some(Self(share))
    }

    /// So much of a size.
    pub fn share_of(self, size: Bytes) -> Bytes {
        let share = u128::from(size.0) * u128::from(self.0) / u128::from(ALL);
        // It is no more than the whole.
        Bytes(u64::try_from(share).unwrap_or(size.0))
    }

    /// As a number with two digits, the one that is printed.
    pub fn rounded(self) -> f64 {
        self.to_string().parse().unwrap_or_default()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredth = ONE / 100;
        match self.0 {
            share if share > 0 && share < hundredth => f.write_str("0.01"),
            share if share < ALL && share > ALL - hundredth => f.write_str("99.99"),
            #[expect(
                clippy::cast_precision_loss,
                reason = "libdm rounds in single precision"
            )]
            share => write!(f, "{:.2}", share as f32 / ONE as f32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_size_is_no_more_than_it() {
        for (share, size, part) in [
            (Percent::of(1, 4), 1 << 40, 1 << 38),
            (Percent::of(0, 4), 1 << 40, 0),
            (Percent::of(4, 4), u64::MAX, u64::MAX),
        ] {
            assert_eq!(share.share_of(Bytes(size)), Bytes(part));
        }
    }

    #[test]
    fn prints_what_lvs_prints() {
        for (used, total, printed) in [
            (0, 1024, "0.00"),
            (1, 1_000_000, "0.01"),
            (112, 1024, "10.94"),
            (114, 1024, "11.13"),
            (214, 2048, "10.45"),
            (160, 1024, "15.62"),
            (999_999, 1_000_000, "99.99"),
            (1, 1, "100.00"),
            (2, 1, "100.00"),
            (0, 0, "100.00"),
        ] {
            assert_eq!(
                Percent::of(used, total).to_string(),
                printed,
                "{used}/{total}"
            );
        }
        assert_eq!(Percent::of(112, 1024).rounded(), 10.94);
    }
}
