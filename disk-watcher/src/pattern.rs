//! One glob, as people write it to pick disks: `?`, `*`, `[]`.

use std::fmt;

use glob::MatchOptions;
use serde::{Serialize, Serializer};

/// A glob over one text: a device link, a model, a serial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(glob::Pattern);

/// A text that is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPattern {
    /// Nothing was written; it would match nothing.
    #[error("an empty pattern matches nothing")]
    Empty,
    /// The text is malformed.
    #[error("{text:?} is not a pattern: {reason} (?, * and [abc] are understood)")]
    Malformed {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Pattern {
    /// Reads a glob.
    ///
    /// # Errors
    /// An empty or malformed text.
    pub fn new(text: &str) -> Result<Self, NotAPattern> {
        if text.trim().is_empty() {
            return Err(NotAPattern::Empty);
        }
        glob::Pattern::new(text)
            .map(Self)
            .map_err(|error| NotAPattern::Malformed {
                text: text.to_owned(),
                reason: error.msg,
            })
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The text up to the first character that is not taken literally.
    pub fn literal_prefix(&self) -> &str {
        let text = self.as_str();
        &text[..text.find(['?', '*', '[']).unwrap_or(text.len())]
    }

    /// Whether any text at all matches, so that the pattern says nothing.
    pub fn matches_everything(&self) -> bool {
        self.as_str().contains('*') && self.as_str().bytes().all(|b| b == b'*')
    }

    /// Whether `path` matches; `*` and `?` do not cross a `/`.
    pub fn matches_path(&self, path: &str) -> bool {
        self.0.matches_with(path, options(true, true))
    }

    /// Whether `text` matches exactly as written.
    pub fn matches_text(&self, text: &str) -> bool {
        self.0.matches_with(text, options(true, false))
    }

    /// Whether `text` matches when upper and lower case are the same: for exclusions,
    /// where a miss would take a disk that somebody wanted kept.
    pub fn matches_loosely(&self, text: &str) -> bool {
        self.0.matches_with(text, options(false, false))
    }
}

fn options(case_sensitive: bool, literal_separator: bool) -> MatchOptions {
    MatchOptions {
        case_sensitive,
        require_literal_separator: literal_separator,
        require_literal_leading_dot: false,
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_one_path_component() {
        let pattern = Pattern::new("/dev/disk/by-id/nvme-*").unwrap();
        assert!(pattern.matches_path("/dev/disk/by-id/nvme-SAMSUNG_1"));
        assert!(!pattern.matches_path("/dev/disk/by-id/nvme-a/b"));
        assert!(
            !Pattern::new("/dev/*")
                .unwrap()
                .matches_path("/dev/disk/by-id/x")
        );
        assert!(Pattern::new("SEAGATE*").unwrap().matches_text("SEAGATE/ST"));
    }

    #[test]
    fn a_pattern_that_says_nothing_is_told_apart() {
        assert_eq!(Pattern::new("  "), Err(NotAPattern::Empty));
        assert!(Pattern::new("**").unwrap().matches_everything());
        assert!(!Pattern::new("*1").unwrap().matches_everything());
        assert!(
            Pattern::new("[a")
                .unwrap_err()
                .to_string()
                .starts_with("\"[a\" is not a pattern: ")
        );
        assert_eq!(
            Pattern::new("/dev/sd[ab]").unwrap().literal_prefix(),
            "/dev/sd"
        );
    }
}
