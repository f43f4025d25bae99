//! Reads YAML as Talos does, and says where it is read otherwise than it is written.
//!
//! Talos' decoder takes the first document, passes over keys that it does not know, and takes `1.10` as a text. What
//! it refuses is [`Rule::Malformed`]; what it takes and we do not is a rule of its own.

use serde_json::{Map, Value};

use super::finding::{Finding, Rule};

/// Reads one file.
#[derive(Debug)]
pub struct Reader<'a> {
    file: &'a str,
    findings: &'a mut Vec<Finding>,
}

/// A mapping and where it is in its file.
#[derive(Debug)]
pub struct Node<'v> {
    at: String,
    keys: Option<&'v Map<String, Value>>,
}

impl<'a> Reader<'a> {
    /// A reader of `file`, a path for people.
    pub fn new(file: &'a str, findings: &'a mut Vec<Finding>) -> Self {
        Self { file, findings }
    }

    /// The first document of `bytes`; nothing if that is no YAML.
    pub fn document(&mut self, bytes: &[u8]) -> Option<Value> {
        let documents = std::str::from_utf8(bytes)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                serde_saphyr::from_multiple::<Value>(text).map_err(|error| error.to_string())
            });
        match documents {
            Ok(documents) => {
                if documents.len() > 1 {
                    self.note(Rule::MoreDocuments, "", "only the first document is read");
                }
                documents.into_iter().next().or(Some(Value::Null))
            }
            Err(error) => {
                let line = error.lines().next().unwrap_or_default();
                self.note(Rule::Malformed, "", line);
                None
            }
        }
    }

    /// Notes a finding at `at` of the file.
    pub fn note(&mut self, rule: Rule, at: &str, what: impl Into<String>) {
        let at = match at {
            "" => self.file.to_owned(),
            at => format!("{}: {at}", self.file),
        };
        self.findings.push(Finding::new(rule, at, what));
    }

    /// `value` as a mapping with these keys and no others.
    pub fn node<'v>(&mut self, at: &str, value: &'v Value, known: &[&str]) -> Node<'v> {
        let keys = match value {
            Value::Object(keys) => Some(keys),
            Value::Null => None,
            other => {
                self.note(
                    Rule::Malformed,
                    at,
                    format!("{} instead of keys", kind(other)),
                );
                None
            }
        };
        for key in keys.into_iter().flat_map(Map::keys) {
            if !known.contains(&key.as_str()) {
                let known = known.join(", ");
                self.note(Rule::UnknownKey, at, format!("{key:?}: there are {known}"));
            }
        }
        Node {
            at: at.to_owned(),
            keys,
        }
    }

    /// The mapping under `key`.
    pub fn child<'v>(&mut self, node: &Node<'v>, key: &str, known: &[&str]) -> Node<'v> {
        let at = node.at(key);
        self.node(&at, node.get(key), known)
    }

    /// The text under `key`; empty if there is none.
    pub fn text(&mut self, node: &Node, key: &str) -> String {
        self.as_text(&node.at(key), node.get(key))
    }

    /// The list under `key`.
    pub fn list<'v>(&mut self, node: &Node<'v>, key: &str) -> &'v [Value] {
        match node.get(key) {
            Value::Array(items) => items,
            Value::Null => &[],
            other => {
                let what = format!("{} instead of a list", kind(other));
                self.note(Rule::Malformed, &node.at(key), what);
                &[]
            }
        }
    }

    /// The list of texts under `key`.
    pub fn texts(&mut self, node: &Node, key: &str) -> Vec<String> {
        let at = node.at(key);
        self.list(node, key)
            .iter()
            .map(|item| self.as_text(&at, item))
            .collect()
    }

    /// The boolean under `key`; false if there is none.
    pub fn flag(&mut self, node: &Node, key: &str) -> bool {
        let at = node.at(key);
        match node.get(key) {
            Value::Bool(flag) => *flag,
            Value::Null => false,
            other => {
                let what = format!("{} instead of true or false", kind(other));
                self.note(Rule::Malformed, &at, what);
                false
            }
        }
    }

    fn as_text(&mut self, at: &str, value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            Value::Bool(_) | Value::Number(_) => {
                self.note(Rule::Scalar, at, format!("write \"{value}\", in quotes"));
                value.to_string()
            }
            other => {
                self.note(
                    Rule::Malformed,
                    at,
                    format!("{} instead of a text", kind(other)),
                );
                String::new()
            }
        }
    }
}

impl<'v> Node<'v> {
    /// Where `key` of it is.
    #[must_use]
    pub fn at(&self, key: &str) -> String {
        match self.at.as_str() {
            "" => key.to_owned(),
            at => format!("{at}.{key}"),
        }
    }

    /// What is under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> &'v Value {
        self.keys
            .and_then(|keys| keys.get(key))
            .unwrap_or(&Value::Null)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "keys",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(yaml: &str, read: impl Fn(&mut Reader, &Node)) -> Vec<Rule> {
        let mut findings = Vec::new();
        let mut reader = Reader::new("x.yaml", &mut findings);
        if let Some(value) = reader.document(yaml.as_bytes()) {
            let node = reader.node("", &value, &["a", "b"]);
            read(&mut reader, &node);
        }
        findings.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn what_talos_takes_and_what_it_refuses_are_told_apart() {
        let text = |reader: &mut Reader, node: &Node| drop(reader.text(node, "a"));
        assert_eq!(rules("a: x\n", text), []);
        assert_eq!(rules("a: 1.10\n", text), [Rule::Scalar]);
        assert_eq!(rules("a: [x]\n", text), [Rule::Malformed]);
        assert_eq!(rules("c: x\n", text), [Rule::UnknownKey]);
        assert_eq!(rules("a: x\n---\na: y\n", text), [Rule::MoreDocuments]);
        assert_eq!(rules("a: [\n", text), [Rule::Malformed]);
        assert_eq!(rules("a: x\na: y\n", text), [Rule::Malformed]);
        let flag = |reader: &mut Reader, node: &Node| {
            reader.flag(node, "b");
        };
        assert_eq!(rules("b: true\n", flag), []);
        assert_eq!(rules("b: perhaps\n", flag), [Rule::Malformed]);
    }

    #[test]
    fn a_finding_says_where() {
        let mut findings = Vec::new();
        let mut reader = Reader::new("x.yaml", &mut findings);
        let value = reader.document(b"a: {b: {}}\n").unwrap();
        let node = reader.node("", &value, &["a"]);
        let inner = reader.child(&node, "a", &["b"]);
        reader.text(&inner, "b");
        assert_eq!(
            findings[0].to_string(),
            "Malformed: x.yaml: a.b: keys instead of a text"
        );
    }
}
