//! What the replayer printed, brought to what is compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::script::Difference;

/// The fields of an answer by their path, as text.
pub type Flat = BTreeMap<String, String>;

/// One line of the replayer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub id: String,
    #[serde(default)]
    pub call: String,
    #[serde(default)]
    pub code: String,
    /// Free text: shown, never compared.
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    response: Value,
    /// Lines that lvm printed, the first word of each being its key.
    #[serde(default)]
    shown: Vec<String>,
}

impl Answer {
    /// Everything in it that has to be equal.
    pub fn flat(&self) -> Flat {
        let mut flat = Flat::new();
        if !self.code.is_empty() {
            flat.insert("code".into(), self.code.clone());
        }
        flatten("", &self.response, &mut flat);
        for line in &self.shown {
            let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest: Vec<_> = rest.split_whitespace().collect();
            flat.insert(key.into(), rest.join(" "));
        }
        flat
    }
}

/// The replayer's lines.
pub fn answers(lines: &str) -> Vec<Answer> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

/// The fields in which two answers differ; `None` when they are equal.
pub fn difference(ours: &Answer, theirs: &Answer) -> Option<Difference> {
    let (mut ours, mut theirs) = (ours.flat(), theirs.flat());
    let equal: BTreeSet<_> = ours
        .iter()
        .filter(|(key, value)| theirs.get(*key) == Some(*value))
        .map(|(key, _)| key.clone())
        .collect();
    ours.retain(|key, _| !equal.contains(key));
    theirs.retain(|key, _| !equal.contains(key));
    (!ours.is_empty() || !theirs.is_empty()).then_some(Difference { ours, theirs })
}

/// What is wrong when two answers do not differ exactly as listed: a difference that is not
/// in the list, or one that is and does not occur.
pub fn surprise(ours: &Answer, theirs: &Answer, listed: Option<&Difference>) -> Option<String> {
    let found = difference(ours, theirs);
    if found.as_ref() == listed {
        return None;
    }
    let entry = |d: &Difference| as_entry(&ours.id, d);
    let found = found.map_or_else(|| "  no difference\n".into(), |d| entry(&d));
    let listed = listed.map_or_else(|| "  no difference\n".into(), entry);
    Some(format!(
        "# step {} {} (ours says {:?}, theirs {:?}) is\n{found}# and is listed as\n{listed}",
        ours.id, ours.call, ours.message, theirs.message
    ))
}

/// Lists are keyed by what names their entries, as their order says nothing: upstream's is random.
fn flatten(path: &str, value: &Value, flat: &mut Flat) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(fields) => {
            // Device numbers are the kernel's choice; that there are any is not.
            let number = |name: &str| fields.get(name).and_then(Value::as_u64);
            if let (Some(major), Some(minor)) = (number("dev_major"), number("dev_minor")) {
                let device = if (major, minor) == (0, 0) {
                    "none"
                } else {
                    "some"
                };
                flat.insert(below("device"), device.into());
            }
            for (key, value) in fields {
                if !key.starts_with("dev_") {
                    flatten(&below(key), value, flat);
                }
            }
        }
        Value::Array(entries) if entries.iter().all(Value::is_object) => {
            for entry in entries {
                let name = ["name", "device_class"]
                    .iter()
                    .find_map(|key| entry.get(*key)?.as_str());
                flatten(&below(name.expect("an entry has a name")), entry, flat);
            }
        }
        Value::Array(words) => {
            flat.insert(path.to_owned(), Value::Array(words.clone()).to_string());
        }
        Value::Null => {}
        Value::String(text) => {
            flat.insert(path.to_owned(), text.clone());
        }
        // Percentages: LVM prints two digits, we compute all.
        Value::Number(number) => {
            let number = number
                .as_f64()
                .map_or_else(|| number.to_string(), |n| format!("{n:.1}"));
            flat.insert(path.to_owned(), number);
        }
        Value::Bool(truth) => {
            flat.insert(path.to_owned(), truth.to_string());
        }
    }
}

/// A difference as it would stand in the list.
pub fn as_entry(id: &str, difference: &Difference) -> String {
    let side = |flat: &Flat| {
        let field = |(key, value): (&String, &String)| match key.strip_prefix('[') {
            Some(_) => format!("{key:?}: {value:?}"),
            None => format!("{key}: {value:?}"),
        };
        format!(
            "{{{}}}",
            flat.iter().map(field).collect::<Vec<_>>().join(", ")
        )
    };
    format!(
        "  - call: {id}\n    ours: {}\n    theirs: {}\n",
        side(&difference.ours),
        side(&difference.theirs)
    )
}
