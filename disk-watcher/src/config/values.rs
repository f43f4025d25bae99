//! Values with a text form of their own: percentages, pool sizes, durations, and the
//! two ways to write a chunk or metadata size.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lvmd::units::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A share, in hundredths of a percent (0 to 10 000), so that it compares exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    /// `whole` percent; more than 100 is 100.
    pub const fn whole(whole: u32) -> Self {
        Self(if whole > 100 { 10_000 } else { whole * 100 })
    }

    /// The percentage, where it is a whole one.
    pub fn whole_percent(self) -> Option<u8> {
        let whole = self.0.is_multiple_of(100).then_some(self.0 / 100)?;
        u8::try_from(whole).ok()
    }

    /// This share of `total`, rounded down.
    pub fn of(self, total: Bytes) -> Bytes {
        let product = u128::from(total.0) * u128::from(self.0) / 10_000;
        Bytes(u64::try_from(product).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}%", self.0 / 100),
            rest if rest % 10 == 0 => write!(f, "{}.{}%", self.0 / 100, rest / 10),
            rest => write!(f, "{}.{rest:02}%", self.0 / 100),
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match PoolSize::deserialize(deserializer)? {
            PoolSize::OfGroup(percent) => Ok(percent),
            PoolSize::Absolute(size) => Err(D::Error::custom(format!(
                "{size} is a size where a share such as 70% belongs"
            ))),
        }
    }
}

/// The size of a pool's data volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolSize {
    /// A share of the volume group.
    OfGroup(Percent),
    /// A size.
    Absolute(Bytes),
}

impl PoolSize {
    /// The size in a group of `group` bytes, before it is rounded to extents.
    pub fn within(self, group: Bytes) -> Bytes {
        match self {
            Self::OfGroup(percent) => percent.of(group),
            Self::Absolute(size) => size,
        }
    }
}

impl fmt::Display for PoolSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfGroup(percent) => percent.fmt(f),
            Self::Absolute(size) => size.fmt(f),
        }
    }
}

impl FromStr for PoolSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `%VG` says the same as `%`: a share is always one of the group.
        let share = text.trim().strip_suffix("VG").unwrap_or(text.trim());
        let Some(number) = share.strip_suffix('%') else {
            return text
                .parse()
                .map(Self::Absolute)
                .map_err(|e| format!("{e}; or a share of the volume group such as 80%"));
        };
        let fail = || format!("{text:?} is no share: write 1% to 99%, with at most two decimals");
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |s: &str, max: usize| {
            (1..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(fraction, 2) {
            return Err(fail());
        }
        let whole: u32 = whole.parse().map_err(|_| fail())?;
        let part: u32 = format!("{fraction:0<2}").parse().map_err(|_| fail())?;
        let value = whole * 100 + part;
        if value == 0 || value > 10_000 {
            return Err(fail());
        }
        Ok(Self::OfGroup(Percent(value)))
    }
}

impl<'de> Deserialize<'de> for PoolSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// `10s`, `500ms`, `2m`, `1h`.
#[derive(Debug, Clone, Copy)]
pub(super) struct DurationText(pub(super) Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no duration: write a whole number with ms, s, m or h, such as 10s"
            ))
        })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A field that is either a size or a mapping with more to say.
#[derive(Debug, Clone)]
pub(super) enum SizeOr<M> {
    Size(Bytes),
    Map(M),
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for SizeOr<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<M>(std::marker::PhantomData<M>);
        impl<'de, M: Deserialize<'de>> Visitor<'de> for Either<M> {
            type Value = SizeOr<M>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 256Ki, or a mapping with a policy")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(SizeOr::Size(Bytes(value)))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
                value.parse().map(SizeOr::Size).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                M::deserialize(MapAccessDeserializer::new(map)).map(SizeOr::Map)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::units::GIB;

    #[test]
    fn a_share_keeps_two_decimals_and_never_exceeds_the_group() {
        let size = |text: &str| text.parse::<PoolSize>();
        assert_eq!(size("80%"), Ok(PoolSize::OfGroup(Percent::whole(80))));
        assert_eq!(size("12.5%").unwrap().to_string(), "12.5%");
        assert_eq!(size("12.05%").unwrap().to_string(), "12.05%");
        assert_eq!(size("95%VG"), size("95%"));
        assert_eq!(size("10Gi"), Ok(PoolSize::Absolute(Bytes(10 * GIB))));
        for text in ["0%", "100.01%", "-1%", "1e1%", "%", "1.%", "1.234%", "80 %"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(
            size("50%").unwrap().within(Bytes(u64::MAX)),
            Bytes(u64::MAX / 2)
        );
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for text in ["10", "s", "1.5s", "-1s", "1d", ""] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
