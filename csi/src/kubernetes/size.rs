//! Kubernetes' quantities, as far as they are sizes.

use std::fmt;

use lvmd::units::{Bytes, NotASize};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A quantity as it is written in an object.
///
/// Any text and any number is read: a size that nobody understands is one object's
/// trouble, and must not keep a whole list from being read. [`Self::bytes`] judges it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Size(String);

impl Size {
    /// Its value.
    ///
    /// # Errors
    /// It is no size, or no whole number of bytes below 2^64.
    pub fn bytes(&self) -> Result<Bytes, NotASize> {
        let text = self.0.trim();
        if let Ok(bytes) = text.parse() {
            return Ok(bytes);
        }
        exponent(text).ok_or_else(|| NotASize {
            text: self.0.clone(),
        })
    }
}

/// `1e9` and `1.5E3`: the form Kubernetes keeps for whoever wrote it.
fn exponent(text: &str) -> Option<Bytes> {
    let (number, power) = text.split_once(['e', 'E'])?;
    let power: u32 = power.strip_prefix('+').unwrap_or(power).parse().ok()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let left = power.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
    digits.checked_mul(10u64.checked_pow(left)?).map(Bytes)
}

impl From<String> for Size {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Bytes> for Size {
    /// Kubernetes' canonical form with powers of 1024: the largest that leaves no fraction.
    fn from(bytes: Bytes) -> Self {
        const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let mut number = bytes.0;
        let mut at = 0;
        while number > 0 && number.is_multiple_of(1024) && at + 1 < SUFFIXES.len() {
            number /= 1024;
            at += 1;
        }
        Self(format!("{number}{}", SUFFIXES[at]))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        }))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// The schema of a quantity in every Kubernetes API: text or a number.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": QUANTITY,
        })
    }
}

/// What the API server takes as a quantity, as apimachinery documents it.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_kubernetes_writes_them() {
        for (bytes, text) in [
            (0, "0"),
            (1 << 30, "1Gi"),
            (3 << 29, "1536Mi"),
            ((1 << 30) + 4096, "1048580Ki"),
            (1000, "1000"),
            (1 << 60, "1Ei"),
        ] {
            let size = Size::from(Bytes(bytes));
            assert_eq!(size.to_string(), text);
            assert_eq!(size.bytes().unwrap(), Bytes(bytes));
        }
    }

    #[test]
    fn every_form_is_read_and_what_is_no_size_spoils_nothing() {
        let read = |json: &str| serde_json::from_str::<Size>(json).unwrap().bytes().ok();
        assert_eq!(read("\"1Gi\""), Some(Bytes(1 << 30)));
        assert_eq!(read("1073741824"), Some(Bytes(1 << 30)));
        assert_eq!(read("\"10G\""), Some(Bytes(10_000_000_000)));
        assert_eq!(read("\"1e9\""), Some(Bytes(1_000_000_000)));
        assert_eq!(read("\"1.5E3\""), Some(Bytes(1500)));
        for nonsense in [
            "\"-1\"", "-5", "\"1e-3\"", "\"much\"", "\"1e30\"", "1.5e300",
        ] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
