//! The rules of lvmd.yaml. All are checked, and every violation is reported.

mod class;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_saphyr::Spanned;

use crate::config::class::{DeviceClass, DeviceClasses};
use crate::config::options::LvcreateOptions;
use crate::config::raw::{RawConfig, RawOptionClass};
use crate::config::{Config, LvmSystemDir};
use crate::names::LVMD_SOCKET;

/// The longest path a Unix socket can have, in bytes.
const MAX_SOCKET: usize = 107;

/// A rule that the configuration breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The line of the entry it is about, where there is one (from 1).
    pub line: Option<u64>,
    /// What it is about: `device class "ssd"`, or a top-level key.
    pub subject: String,
    /// The rule, as found broken.
    pub rule: String,
    /// The way out.
    pub fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}; {}", self.subject, self.rule, self.fix)
    }
}

/// Collects violations about one subject.
struct Report<'a> {
    found: &'a mut Vec<Violation>,
    subject: String,
    line: Option<u64>,
}

impl Report<'_> {
    fn add(&mut self, rule: impl Into<String>, fix: impl Into<String>) {
        self.found.push(Violation {
            line: self.line,
            subject: self.subject.clone(),
            rule: rule.into(),
            fix: fix.into(),
        });
    }
}

/// Turns the shape into a configuration.
///
/// # Errors
/// Every rule that is broken.
pub(super) fn check(raw: RawConfig) -> Result<Config, Vec<Violation>> {
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    let socket = socket(raw.socket_name, &mut found);
    let command_prefix = command_prefix(raw.lvm_command_prefix, &mut found);
    let lvm_system_dir = system_dir(raw.lvm_system_dir.as_deref(), &mut found);
    let raw_classes = raw.device_classes.unwrap_or_default();
    let is_empty = raw_classes.is_empty();
    let mut classes: Vec<DeviceClass> = Vec::new();
    for entry in raw_classes {
        let members = class::class(entry, &classes, &mut found, &mut warnings);
        classes.extend(members);
    }
    if is_empty {
        top(&mut found, "device-classes").add(
            "there is no device class",
            "add at least one entry with name and volume-group",
        );
    }
    let option_classes = option_classes(
        raw.lvcreate_option_classes.unwrap_or_default(),
        &mut found,
        &mut warnings,
    );
    if !found.is_empty() {
        return Err(found);
    }
    Ok(Config {
        socket,
        command_prefix,
        lvm_system_dir,
        classes: DeviceClasses::new(classes),
        option_classes,
        warnings,
    })
}

fn top<'a>(found: &'a mut Vec<Violation>, key: &str) -> Report<'a> {
    Report {
        found,
        subject: key.to_owned(),
        line: None,
    }
}

fn socket(name: Option<String>, found: &mut Vec<Violation>) -> PathBuf {
    let Some(name) = name else {
        return LVMD_SOCKET.into();
    };
    let mut report = top(found, "socket-name");
    if name.is_empty() {
        let fix = format!("give a path, or leave the key out for {LVMD_SOCKET}");
        report.add("the path is empty", fix);
    } else if name.len() > MAX_SOCKET {
        let rule = format!(
            "a Unix socket's path has at most {MAX_SOCKET} bytes, this one has {}",
            name.len()
        );
        report.add(rule, "choose a shorter path");
    }
    name.into()
}

fn command_prefix(words: Option<Vec<String>>, found: &mut Vec<Violation>) -> Vec<String> {
    let words = words.unwrap_or_default();
    if words.iter().any(String::is_empty) {
        top(found, "lvm-command-prefix").add(
            "a word is empty",
            "give the command word by word, the path of lvm last, or leave the key out to use \
             the lvm beside lvmd",
        );
    }
    words
}

fn system_dir(text: Option<&str>, found: &mut Vec<Violation>) -> LvmSystemDir {
    match text {
        None | Some("generated") => LvmSystemDir::Generated,
        Some("user") => LvmSystemDir::User,
        Some(other) => {
            top(found, "lvm-system-dir").add(
                format!("{other:?} is neither `generated` nor `user`"),
                "leave the key out, or write `user` if LVM_SYSTEM_DIR's own lvm.conf must be used",
            );
            LvmSystemDir::Generated
        }
    }
}

/// As with upstream, the last of two classes with one name wins; here it is said.
fn option_classes(
    entries: Vec<Spanned<RawOptionClass>>,
    found: &mut Vec<Violation>,
    warnings: &mut Vec<String>,
) -> BTreeMap<String, LvcreateOptions> {
    let mut classes = BTreeMap::new();
    for entry in entries {
        let line = entry.referenced.line();
        let name = entry.value.name.unwrap_or_default();
        let mut report = Report {
            found,
            line: (line > 0).then_some(line),
            subject: format!("lvcreate-option class {name:?}"),
        };
        let options = class::options(entry.value.options, &mut report);
        if name.is_empty() {
            warnings
                .push("an lvcreate-option class has no name, so nothing can ask for it".to_owned());
        } else if classes.insert(name.clone(), options).is_some() {
            warnings.push(format!(
                "lvcreate-option class {name:?} is there twice; the last one counts"
            ));
        }
    }
    classes
}
