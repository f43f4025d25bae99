//! The table of docs/charts-values.md: which values differ.

use std::collections::BTreeSet;

use super::marks::Path;
use crate::helm::workspace;

/// The keys that its first column names; `*` stands for any part.
#[derive(Debug)]
pub(super) struct Table(Vec<String>);

impl Table {
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(workspace().join("docs/charts-values.md")).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
        let first = rows.filter_map(|row| row.split(" | ").next());
        let quoted = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let keys: Vec<_> = quoted
            .map(|key| key.split(':').next().unwrap_or(key).to_owned())
            .collect();
        assert!(keys.len() > 20, "{keys:?}");
        Self(keys)
    }

    /// Whether it speaks of a key, or of what is above it.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.0.iter().any(|key| covers(key, &path.to_string()))
    }

    /// Its keys that stand for none of these.
    pub(super) fn without(&self, keys: &BTreeSet<Path>) -> Vec<&str> {
        let is_there = |key: &str| keys.iter().any(|path| covers(key, &path.to_string()));
        let all = self.0.iter().map(String::as_str);
        all.filter(|key| *key != "values" && !is_there(key))
            .collect()
    }
}

fn covers(key: &str, path: &str) -> bool {
    match key.split_once('*') {
        Some((before, after)) => path.strip_prefix(before).is_some_and(|rest| {
            rest.match_indices(after)
                .any(|(at, _)| ends(&rest[at + after.len()..]))
        }),
        None => path.strip_prefix(key).is_some_and(ends),
    }
}

/// Whether a key ends where this begins.
fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.')
}

#[test]
fn a_row_is_for_its_key_and_what_is_below() {
    for (key, path, is) in [
        ("a.b", "a.b", true),
        ("a.b", "a.b.c", true),
        ("a.b", "a.bc", false),
        ("*.c", "a.b.c", true),
        ("*.c", "a.c.d", true),
        ("*.c", "a.cd", false),
    ] {
        assert_eq!(covers(key, path), is, "{key} {path}");
    }
}
