//! The shape of lvmd.yaml, and what to say about a text that does not have it.
//!
//! Only shape: every field is optional and every value as it was written. What the
//! values must satisfy is in `rules`.

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfig {
    pub(super) socket_name: Option<String>,
    pub(super) lvm_command_prefix: Option<Vec<String>>,
    pub(super) lvm_system_dir: Option<String>,
    pub(super) device_classes: Option<Vec<Spanned<RawClass>>>,
    pub(super) lvcreate_option_classes: Option<Vec<Spanned<RawOptionClass>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawClass {
    pub(super) name: Option<String>,
    pub(super) volume_group: Option<String>,
    pub(super) volume_groups: Option<Vec<String>>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) default: Option<bool>,
    pub(super) spare_gb: Option<u64>,
    pub(super) stripe: Option<u32>,
    pub(super) stripe_size: Option<String>,
    pub(super) lvcreate_options: Option<Vec<String>>,
    pub(super) thin_pool: Option<RawThinPool>,
    pub(super) zero: Option<String>,
    pub(super) thick_snapshots: Option<String>,
    pub(super) gate_percent: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawThinPool {
    pub(super) name: Option<String>,
    pub(super) overprovision_ratio: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawOptionClass {
    pub(super) name: Option<String>,
    pub(super) options: Option<Vec<String>>,
}

/// Every key and the place it belongs to, for hints about one that stands elsewhere.
const PLACES: [(&str, &[&str]); 4] = [
    (
        "at the top level",
        &[
            "socket-name",
            "lvm-command-prefix",
            "lvm-system-dir",
            "device-classes",
            "lvcreate-option-classes",
        ],
    ),
    (
        "in an entry of device-classes",
        &[
            "volume-group",
            "volume-groups",
            "type",
            "default",
            "spare-gb",
            "stripe",
            "stripe-size",
            "lvcreate-options",
            "thin-pool",
            "zero",
            "thick-snapshots",
            "gate-percent",
        ],
    ),
    ("under thin-pool", &["overprovision-ratio"]),
    ("in an entry of lvcreate-option-classes", &["options"]),
];

/// Reads the shape.
///
/// # Errors
/// The text tells the line, marks the place and, for a key that does not exist,
/// names the nearest one that does.
pub(super) fn read(text: &str) -> Result<RawConfig, String> {
    if text.trim().is_empty() {
        return Ok(RawConfig::default());
    }
    // Upstream's parser takes an empty document for one without keys.
    let raw: Option<RawConfig> = serde_saphyr::from_str(text).map_err(|e| explain(&e))?;
    Ok(raw.unwrap_or_default())
}

/// The parser's words, its picture of the place, and a hint about an unknown key.
fn explain(error: &serde_saphyr::Error) -> String {
    let mut text = error.render().trim_end().to_owned();
    if let serde_saphyr::Error::SerdeUnknownField {
        field, expected, ..
    } = error.without_snippet()
        && let Some(hint) = hint(field, expected)
    {
        text.push_str("\n  = help: ");
        text.push_str(&hint);
    }
    text
}

fn hint(field: &str, expected: &[&str]) -> Option<String> {
    let nearest = expected
        .iter()
        .map(|known| (distance(&field.to_lowercase(), known), known))
        .min()?;
    if nearest.0 <= 1 + field.len() / 4 {
        return Some(format!("did you mean `{}`?", nearest.1));
    }
    let (place, _) = PLACES
        .iter()
        .find(|(_, keys)| keys.contains(&field) && !expected.contains(&field))?;
    Some(format!("`{field}` belongs {place}"))
}

/// How many letters must be added, dropped or changed to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_shown_with_line_caret_and_the_nearest_name() {
        let text = "device-classes:\n  - name: ssd\n    volumegroup: vg\n";
        let error = read(text).unwrap_err();
        assert!(
            error.contains("volumegroup: vg") && error.contains("^"),
            "{error}"
        );
        assert!(error.contains("3:") || error.contains("line 3"), "{error}");
        assert!(error.contains("did you mean `volume-group`?"), "{error}");
    }

    #[test]
    fn a_known_key_in_the_wrong_place_is_sent_to_its_place() {
        let text = "device-classes:\n  - name: a\n    overprovision-ratio: 2\n";
        let error = read(text).unwrap_err();
        assert!(
            error.contains("`overprovision-ratio` belongs under thin-pool"),
            "{error}"
        );
        let error = read("spare-gb: 1\n").unwrap_err();
        assert!(
            error.contains("belongs in an entry of device-classes"),
            "{error}"
        );
    }

    #[test]
    fn a_key_like_no_other_gets_no_hint() {
        let error = read("colour: blue\n").unwrap_err();
        assert!(
            error.contains("colour") && !error.contains("help"),
            "{error}"
        );
    }

    #[test]
    fn values_are_taken_as_upstreams_parser_takes_them() {
        let text = "socket-name: /s\ndevice-classes:\n  - name: 123\n    volume-group: vg\n    \
                    stripe-size: 64\n    default: yes\n    spare-gb: null\n    lvcreate-options: ~\n";
        let raw = read(text).unwrap();
        let class = &raw.device_classes.unwrap()[0];
        assert_eq!(class.referenced.line(), 3);
        let class = &class.value;
        assert_eq!(class.name.as_deref(), Some("123"));
        assert_eq!(class.stripe_size.as_deref(), Some("64"));
        assert_eq!((class.default, class.spare_gb), (Some(true), None));
    }

    #[test]
    fn wrong_types_and_doubled_keys_are_refused_with_their_line() {
        for (text, part) in [
            ("device-classes:\n  - spare-gb: -1\n", "spare-gb: -1"),
            ("device-classes:\n  - spare-gb: 1.5\n", "spare-gb: 1.5"),
            ("socket-name: a\nsocket-name: b\n", "socket-name: b"),
            ("device-classes: {}\n", "device-classes: {}"),
            ("device-classes:\n\t- name: a\n", "2"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(part) && error.contains('^'),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn an_empty_file_has_no_keys() {
        for text in ["", "\n", "# nothing\n", "---\n", "null\n"] {
            assert!(read(text).unwrap().device_classes.is_none(), "{text:?}");
        }
    }
}
