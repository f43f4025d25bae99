//! Sizes: bytes, physical extents, and the text forms people write.
//!
//! Everything inside the program is [`Bytes`] or a number of extents; a unit is
//! attached the moment a number enters and removed the moment it leaves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;
/// One tebibyte, in bytes.
pub const TIB: u64 = 1 << 40;
/// The sector LVM and device-mapper count in, in bytes, whatever the disk's own
/// sector size is (dm tables and `extent_size` of VG metadata use it).
pub const SECTOR: u64 = 512;

/// A size in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a size: write a whole number of bytes or a number with a suffix, \
     such as 512Mi, 10Gi, 1.5Ti (powers of 1024) or 10G (powers of 1000)"
)]
pub struct NotASize {
    /// What was written.
    pub text: String,
}

impl Bytes {
    /// Rounds up to a multiple of `step` bytes; `None` when that overflows.
    /// A `step` of zero leaves the size alone.
    pub fn round_up(self, step: u64) -> Option<Self> {
        match self.0.checked_rem(step) {
            None | Some(0) => Some(self),
            Some(rest) => self.0.checked_add(step - rest).map(Self),
        }
    }

    /// Rounds down to a multiple of `step` bytes.
    pub fn round_down(self, step: u64) -> Self {
        match self.0.checked_rem(step) {
            None => self,
            Some(rest) => Self(self.0 - rest),
        }
    }

    /// The number of extents of `extent` bytes that hold this size, rounded up.
    pub fn extents(self, extent: Bytes) -> u64 {
        self.0.div_ceil(extent.0.max(1))
    }

    /// The part `percent` (0 to 100, may have a fraction) of this size, rounded down.
    pub fn percent(self, percent: f64) -> Self {
        let permyriad = to_permyriad(percent);
        let product = u128::from(self.0) * u128::from(permyriad) / 10_000;
        Self(u64::try_from(product).unwrap_or(u64::MAX))
    }
}

/// A percentage as hundredths of a percent; negative and NaN count as zero.
fn to_permyriad(percent: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a range that fits"
    )]
    let value = (percent.clamp(0.0, 1e6) * 100.0).round() as u32;
    value
}

/// Suffixes, longest first so that `Gi` is not read as `G`.
const SUFFIXES: [(&str, u64); 13] = [
    ("Ki", KIB),
    ("Mi", MIB),
    ("Gi", GIB),
    ("Ti", TIB),
    ("Pi", TIB << 10),
    ("Ei", TIB << 20),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

impl FromStr for Bytes {
    type Err = NotASize;

    /// Reads Kubernetes' quantity form: digits, at most one dot, and a suffix.
    /// A fraction of a byte is rounded up, as Kubernetes does.
    fn from_str(text: &str) -> Result<Self, NotASize> {
        let fail = || NotASize {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let (number, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| trimmed.strip_suffix(suffix).map(|n| (n, *factor)))
            .unwrap_or((trimmed, 1));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(fail());
        }
        if fraction.len() > 18 {
            return Err(fail());
        }
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| fail())?
        };
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| fail())?);
        let part: u128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().map_err(|_| fail())?
        };
        let product = whole
            .checked_mul(scale)
            .and_then(|w| w.checked_add(part))
            .and_then(|n| n.checked_mul(u128::from(factor)));
        let bytes = product.ok_or_else(fail)?.div_ceil(scale);
        u64::try_from(bytes).map(Self).map_err(|_| fail())
    }
}

impl fmt::Display for Bytes {
    /// The largest binary unit that divides the size, else one with two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("Ti", TIB), ("Gi", GIB), ("Mi", MIB), ("Ki", KIB)];
        for (name, unit) in UNITS {
            if self.0 >= unit {
                if self.0.is_multiple_of(unit) {
                    return write!(f, "{}{name}", self.0 / unit);
                }
                let hundredths = u128::from(self.0) * 100 / u128::from(unit);
                return write!(f, "{}.{:02}{name}", hundredths / 100, hundredths % 100);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 10Gi, or a number of bytes")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Bytes, E> {
                Ok(Bytes(value))
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Bytes, E> {
                u64::try_from(value)
                    .map(Bytes)
                    .map_err(|_| E::custom("a size is never negative"))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Bytes, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512Mi", 512 * MIB),
            ("10Gi", 10 * GIB),
            ("1.5Ti", 3 * TIB / 2),
            ("10G", 10_000_000_000),
            ("1k", 1000),
            ("0.1Ki", 103),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "",
            "Gi",
            ".",
            "-1",
            "1,5Gi",
            "0x10",
            "1e3",
            "10 Gi",
            "99999999999Ei",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text} must be refused");
        }
    }

    #[test]
    fn prints_a_unit_that_loses_nothing_or_two_decimals() {
        assert_eq!(Bytes(10 * GIB).to_string(), "10Gi");
        assert_eq!(Bytes(1536 * MIB).to_string(), "1.50Gi");
        assert_eq!(Bytes(1000).to_string(), "1000");
    }

    #[test]
    fn rounding_overflows_to_none_not_to_zero() {
        assert_eq!(Bytes(u64::MAX).round_up(4096), None);
        assert_eq!(Bytes(4097).round_up(4096), Some(Bytes(8192)));
        assert_eq!(Bytes(4097).round_down(4096), Bytes(4096));
        assert_eq!(Bytes(0).extents(Bytes(4 * MIB)), 0);
        assert_eq!(Bytes(1).extents(Bytes(4 * MIB)), 1);
    }

    proptest! {
        #[test]
        fn bytes_survive_text(value in any::<u64>()) {
            prop_assert_eq!(value.to_string().parse::<Bytes>(), Ok(Bytes(value)));
        }
    }
}
