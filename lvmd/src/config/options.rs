//! `lvcreate-options`: which options of lvcreate a configuration may add.
//!
//! Upstream passes the words on as they are. Here they are read as lvcreate reads
//! them and only options that shape the volume pass: each option lvcreate has is in
//! one table, as allowed or with the reason why not; what is not in the table is
//! refused. Refused is what would lead past the safety of the engine (where LVM
//! looks, what it locks, whether the kernel is told), what names another thing than
//! the request does, what leaves old data readable, and what lvmd gives itself (lvcreate
//! takes no option twice, so with upstream these fail at every creation).
//!
//! The words that are kept are written in one form, `--long` or `--long=value`.

mod table;

use std::fmt;

use table::{OPTIONS, Opt, Takes};

/// Options for lvcreate that were read and found harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LvcreateOptions {
    args: Vec<String>,
}

impl LvcreateOptions {
    /// Reads options as they stand in the configuration: each entry one word of the
    /// command line, values attached or as the next entry.
    ///
    /// # Errors
    /// The first word that is refused, and why.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, Refused> {
        let mut args = Vec::new();
        let mut words = words.iter().map(AsRef::as_ref);
        while let Some(word) = words.next() {
            if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                // lvcreate itself ignores hyphens inside a name.
                let name: String = name.chars().filter(|c| *c != '-').collect();
                let option = OPTIONS.iter().find(|o| o.long == name);
                args.push(check(word, option, value, &mut words)?);
            } else if let Some(shorts) = word.strip_prefix('-').filter(|s| !s.is_empty()) {
                read_shorts(word, shorts, &mut words, &mut args)?;
            } else {
                return Err(Refused::new(
                    word,
                    "it is no option; lvcreate would take it for the volume group",
                ));
            }
        }
        Ok(Self { args })
    }

    /// The options, each one word: `--long` or `--long=value`.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The value of an option by its long name without hyphens, e.g. `mirrors`; the
    /// empty text when it has none. `None`: the option is not given.
    pub fn value(&self, long: &str) -> Option<&str> {
        self.args.iter().find_map(|arg| {
            let rest = arg.strip_prefix("--")?.strip_prefix(long)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None => rest.is_empty().then_some(""),
            }
        })
    }

    /// Whether nothing is added to the command.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }
}

/// An option that must not be added to lvcreate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option {word:?} is refused: {reason}")]
pub struct Refused {
    /// The word as it was written.
    pub word: String,
    /// Why it is refused.
    pub reason: String,
}

impl Refused {
    fn new(word: &str, reason: impl fmt::Display) -> Self {
        Self {
            word: word.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Reads `-m1`, `-m 1`, and bundles such as `-Ci2`.
fn read_shorts<'a>(
    word: &str,
    shorts: &str,
    words: &mut impl Iterator<Item = &'a str>,
    args: &mut Vec<String>,
) -> Result<(), Refused> {
    let mut rest = shorts;
    while let Some(short) = rest.chars().next() {
        rest = &rest[short.len_utf8()..];
        let option = OPTIONS.iter().find(|o| o.short == Some(short));
        let takes_value = option.is_some_and(|o| !matches!(o.takes, Takes::Nothing));
        let attached = (takes_value && !rest.is_empty()).then_some(rest);
        args.push(check(word, option, attached, words)?);
        if takes_value {
            break;
        }
    }
    Ok(())
}

/// Checks one option and its value, and writes them in the one form.
fn check<'a>(
    word: &str,
    option: Option<&Opt>,
    attached: Option<&str>,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<String, Refused> {
    let Some(option) = option else {
        return Err(Refused::new(
            word,
            "it is not an option of lvcreate that is known here; long names are written out in full",
        ));
    };
    let allowed = match option.takes {
        Takes::Refused(reason) => return Err(Refused::new(word, reason)),
        Takes::Nothing if attached.is_some() => {
            return Err(Refused::new(word, "the option takes no value"));
        }
        Takes::Nothing => return Ok(format!("--{}", option.long)),
        Takes::Any => None,
        Takes::OneOf(values, reason) => Some((values, reason)),
    };
    let Some(value) = attached.or_else(|| words.next()) else {
        return Err(Refused::new(word, "its value is missing"));
    };
    if value.is_empty() {
        return Err(Refused::new(word, "its value is empty"));
    }
    if let Some((values, reason)) = allowed
        && !values.contains(&value)
    {
        let reason = format!("{reason}; allowed values: {}", values.join(", "));
        return Err(Refused::new(word, reason));
    }
    if option.long == "addtag" && value.trim_start_matches('@').starts_with("basalt.") {
        let reason = "tags that begin with `basalt.` state ownership and are lvmd's alone";
        return Err(Refused::new(word, reason));
    }
    Ok(format!("--{}={value}", option.long))
}

#[cfg(test)]
mod tests;
