//! The record of the long tests under docs/results: what came of each part, of which state of the code, on what
//! machine.
//!
//! A part is a job. Its row is replaced whenever it is run again, and it is not run again while the code is the same
//! and it passed, so an interrupted run goes on where it was. What is in docs/ does not count as code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::Outcome;
use crate::host::{self, HostError};

/// The record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// git or another program that tells where we are.
    #[error("cannot tell the state of the code")]
    Code(#[source] HostError),
    /// A file of the code or of the machine.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What an earlier run left is not a record.
    #[error("{} is not a record: remove it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Where and of what a row was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The commit, with `+ changes` when there were any outside docs/.
    pub commit: String,
    /// A hash of every file outside docs/ that git knows or would know.
    pub code: String,
    /// Processors, their model, memory and kernel.
    pub machine: String,
}

/// A row: what came of one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    passed: bool,
    seconds: f64,
    /// What the test counted, in its own words.
    results: Vec<String>,
    /// When it ended, UTC.
    at: String,
    #[serde(flatten)]
    origin: Origin,
}

/// The rows, and where they are kept.
#[derive(Debug)]
pub struct Record {
    json: PathBuf,
    table: PathBuf,
    origin: Origin,
    parts: BTreeMap<String, Part>,
}

impl Record {
    /// The record in the workspace's docs/results, with the code as it is now.
    ///
    /// # Errors
    /// git is missing, or what is there is not a record.
    pub fn open(workspace: &Path) -> Result<Self, RecordError> {
        Self::open_at(&workspace.join("docs/results"), Origin::of(workspace)?)
    }

    fn open_at(dir: &Path, origin: Origin) -> Result<Self, RecordError> {
        let json = dir.join("test-all.json");
        let parts = match fs::read(&json) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| RecordError::Format {
                path: json.clone(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(RecordError::Read { path: json, source }),
        };
        Ok(Self {
            json,
            table: dir.join("test-all.md"),
            origin,
            parts,
        })
    }

    /// Did this part pass with the code as it is now?
    #[must_use]
    pub fn has_passed(&self, name: &str) -> bool {
        let part = self.parts.get(name);
        part.is_some_and(|part| part.passed && part.origin.code == self.origin.code)
    }

    /// Drops the rows of parts that no longer exist.
    pub fn keep_only(&mut self, names: &BTreeSet<String>) {
        self.parts.retain(|name, _| names.contains(name));
    }

    /// Takes up what came of a part and writes the files.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(super) fn add(&mut self, outcome: &Outcome) -> io::Result<()> {
        let part = Part {
            passed: outcome.passed,
            seconds: (outcome.seconds * 10.0).round() / 10.0,
            results: outcome.results.clone(),
            at: now().map_err(io::Error::other)?,
            origin: self.origin.clone(),
        };
        self.parts.insert(outcome.name.clone(), part);
        replace(
            &self.json,
            &(serde_json::to_string_pretty(&self.parts)? + "\n"),
        )?;
        replace(&self.table, &self.table())
    }

    /// For people: a table for each state of the code and machine that rows are of.
    fn table(&self) -> String {
        let mut text =
            "# What `make test-all` found\n\nWritten by `e2e-qemu test --all --record`; \
                        `test-all.json` has the same for programs.\n"
                .to_owned();
        let origins: BTreeSet<&Origin> = self.parts.values().map(|part| &part.origin).collect();
        for origin in origins {
            let rows: Vec<_> = self
                .parts
                .iter()
                .filter(|(_, part)| &part.origin == origin)
                .collect();
            let passed = rows.iter().filter(|(_, part)| part.passed).count();
            let seconds: f64 = rows.iter().map(|(_, part)| part.seconds).sum();
            let Origin {
                commit, machine, ..
            } = origin;
            let _ = write!(
                text,
                "\n## Commit {commit}\n\n{machine}. {passed} of {} parts passed, {:.0} minutes of tests.\n\n\
                 | part | | seconds | counted | ended |\n|---|---|---:|---|---|\n",
                rows.len(),
                seconds / 60.0
            );
            for (name, part) in rows {
                let word = if part.passed { "passed" } else { "**failed**" };
                let results = part.results.join("<br>").replace('|', "\\|");
                let _ = writeln!(
                    text,
                    "| {name} | {word} | {:.1} | {results} | {} |",
                    part.seconds, part.at
                );
            }
        }
        text
    }
}

impl Origin {
    fn of(workspace: &Path) -> Result<Self, RecordError> {
        let git = |args: &[&str]| {
            // The checkout may be another user's, as in a container.
            let mut command = host::command("git");
            command.args(["-c", "safe.directory=*"]).args(args);
            host::capture(command.current_dir(workspace)).map_err(RecordError::Code)
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        let changed = git(&["status", "--porcelain", "--", ".", ":!docs"])?;
        let files = git(&[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            ".",
            ":!docs",
        ])?;
        Ok(Self {
            commit: text(git(&["rev-parse", "--short=12", "HEAD"])?)
                + if changed.is_empty() { "" } else { " + changes" },
            code: hash(workspace, &files)?,
            machine: machine()?,
        })
    }
}

/// A hash of the files, whose names end with a NUL each; 16 hexadecimal digits.
fn hash(workspace: &Path, files: &[u8]) -> Result<String, RecordError> {
    let mut names: Vec<_> = files
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    let mut hash = Sha256::new();
    for name in names {
        let path = workspace.join(String::from_utf8_lossy(name).as_ref());
        let content = match fs::read(&path) {
            Ok(content) => content,
            // Removed, and git was not told yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        for part in [name, &content] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn machine() -> Result<String, RecordError> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|source| RecordError::Read {
            path: path.into(),
            source,
        })
    };
    let (cpus, memory, kernel) = (
        read("/proc/cpuinfo")?,
        read("/proc/meminfo")?,
        read("/proc/sys/kernel/osrelease")?,
    );
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let kib =
        value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    Ok(format!(
        "{} processors ({}), {} GiB, Linux {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        value(&cpus, "model name").unwrap_or_else(|| "unknown model".to_owned()),
        kib.unwrap_or(0) >> 20,
        kernel.trim(),
    ))
}

fn now() -> Result<String, HostError> {
    let out = host::capture(host::command("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
    Ok(String::from_utf8_lossy(&out).trim().to_owned())
}

/// Whole or not at all: a run may be interrupted at any moment.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let next = path.with_extension("next");
    fs::write(&next, text)?;
    fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn origin(code: &str) -> Origin {
        Origin {
            commit: format!("commit of {code}"),
            code: code.to_owned(),
            machine: "4 processors".to_owned(),
        }
    }

    fn outcome(name: &str, failure: Option<&str>) -> Outcome {
        let mut outcome = Outcome::new(
            name,
            "s",
            Duration::from_secs(3),
            failure.map(str::to_owned),
        );
        outcome.results = vec!["20 of 20 | survived".to_owned()];
        outcome
    }

    #[test]
    fn what_passed_is_not_asked_for_again_until_the_code_changes() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::open_at(dir.path(), origin("one")).unwrap();
        record.add(&outcome("a", None)).unwrap();
        record.add(&outcome("b", Some("broken"))).unwrap();
        let again = Record::open_at(dir.path(), origin("one")).unwrap();
        assert!(again.has_passed("a"));
        assert!(!again.has_passed("b"), "a failure is run again");
        assert!(!again.has_passed("c"));
        let later = Record::open_at(dir.path(), origin("two")).unwrap();
        assert!(!later.has_passed("a"), "the code has changed");
    }

    #[test]
    fn the_table_tells_rows_of_different_commits_apart() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::open_at(dir.path(), origin("one")).unwrap();
        record.add(&outcome("a", None)).unwrap();
        record.add(&outcome("gone", None)).unwrap();
        let mut record = Record::open_at(dir.path(), origin("two")).unwrap();
        record.keep_only(&BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        record.add(&outcome("b", Some("broken"))).unwrap();
        let table = fs::read_to_string(dir.path().join("test-all.md")).unwrap();
        assert!(
            table.contains("## Commit commit of one\n\n4 processors. 1 of 1 parts passed"),
            "{table}"
        );
        assert!(
            table.contains("| a | passed | 3.0 | 20 of 20 \\| survived | 20"),
            "{table}"
        );
        assert!(table.contains("| b | **failed** |"), "{table}");
        assert!(!table.contains("gone"), "{table}");
    }

    #[test]
    fn the_code_is_what_git_lists_but_not_the_docs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("b"), "2").unwrap();
        let of = |names: &[u8]| hash(dir.path(), names).unwrap();
        let first = of(b"a\0b\0");
        assert_eq!(first, of(b"b\0a\0gone\0"));
        assert_ne!(first, of(b"a\0"));
        fs::write(dir.path().join("b"), "3").unwrap();
        assert_ne!(first, of(b"a\0b\0"));
    }
}
