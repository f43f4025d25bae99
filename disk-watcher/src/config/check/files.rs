//! `spec.select.files`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lvmd::units::MIB;

use super::{Check, DiskClass, Problem, raw};
use crate::files::{MIN, WantedFile, refused};

const FIELD: &str = "spec.select.files";

impl Check<'_> {
    /// The files of one class.
    pub(super) fn files(&mut self, raw: Vec<raw::SelectFile>) -> Vec<WantedFile> {
        let mut files = Vec::with_capacity(raw.len());
        for file in raw {
            if let Some(why) = refused(Path::new(&file.path)) {
                self.fault(FIELD, why);
            }
            if file.size < MIN || !file.size.0.is_multiple_of(MIB) {
                self.fault(
                    FIELD,
                    format!(
                        "{}: size {} is less than {MIN} or no multiple of 1Mi",
                        file.path, file.size
                    ),
                );
            }
            files.push(WantedFile {
                path: PathBuf::from(file.path),
                size: file.size,
            });
        }
        files
    }
}

/// Files that are named more than once.
pub(super) fn shared(classes: &[DiskClass]) -> Vec<Problem> {
    let mut users: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
    for class in classes {
        for file in &class.select.files {
            users.entry(&file.path).or_default().push(&class.name);
        }
    }
    users
        .into_iter()
        .filter(|(_, users)| users.len() > 1)
        .map(|(path, users)| Problem::Value {
            class: users.last().copied().unwrap_or_default().to_owned(),
            field: FIELD.to_owned(),
            what: format!(
                "{} is named {} times (by {}); a file is one disk of one class",
                path.display(),
                users.len(),
                users.join(", ")
            ),
        })
        .collect()
}
