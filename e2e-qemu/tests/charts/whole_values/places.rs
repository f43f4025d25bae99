//! Where in objects a mark is found.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::marks::Path;

/// For each key the places of its mark.
pub(super) type Places = BTreeMap<Path, BTreeSet<String>>;

/// Kind and name of an object.
pub(super) fn object(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

/// Looks for all marks.
pub(super) fn places(objects: &[Value], marks: &BTreeMap<Path, String>) -> Places {
    let mut search = Search {
        marks,
        found: Places::new(),
    };
    for object in objects {
        let name = search.plain(&self::object(object));
        search.value(&name, object);
    }
    search.found
}

struct Search<'a> {
    marks: &'a BTreeMap<Path, String>,
    found: Places,
}

impl Search<'_> {
    /// A text for a path: marks are left out.
    fn plain(&self, text: &str) -> String {
        match self.marks.values().any(|mark| text.contains(mark.as_str())) {
            true => "*".to_owned(),
            false => text.to_owned(),
        }
    }

    fn text(&mut self, at: &str, text: &str) {
        for (key, mark) in self.marks {
            if text.contains(mark.as_str()) {
                let places = self.found.entry(key.clone()).or_default();
                places.insert(at.to_owned());
            }
        }
    }

    fn value(&mut self, at: &str, value: &Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.text(at, key);
                    let key = match key.as_str() {
                        // One list of words for the program.
                        "command" | "args" => "argv".to_owned(),
                        key => self.plain(key),
                    };
                    self.value(&format!("{at} {key}"), value);
                }
            }
            Value::Array(items) => {
                for item in items {
                    let name = item["name"].as_str().unwrap_or("*");
                    let name = self.plain(name);
                    self.value(&format!("{at} {name}"), item);
                }
            }
            Value::String(text) => match serde_saphyr::from_str::<Value>(text) {
                // A file in a ConfigMap.
                Ok(inner) if text.contains('\n') && !inner.is_string() => self.value(at, &inner),
                _ => self.text(at, text),
            },
            Value::Number(number) => self.text(at, &number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }
}
