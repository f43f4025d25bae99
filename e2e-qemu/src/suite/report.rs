//! What came of each job, for people and for machines.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;

/// What came of one job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The job's full name.
    pub name: String,
    /// The part of the name that the summary adds up by.
    pub suite: String,
    /// Did it pass?
    pub passed: bool,
    /// From its start to its end, without booting a guest for it, in seconds.
    pub seconds: f64,
    /// What it counted: the lines it printed that start with `result: `.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<String>,
    /// Why it failed: the error, the test's output, the end of the console.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failure: String,
}

impl Outcome {
    pub(super) fn new(name: &str, suite: &str, took: Duration, failure: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            suite: suite.to_owned(),
            passed: failure.is_none(),
            seconds: took.as_secs_f64(),
            results: Vec::new(),
            failure: failure.unwrap_or_default(),
        }
    }

    /// One line that also says how far all is, and what is known about a failure.
    pub(super) fn print(&self, done: usize, of: usize) {
        let word = if self.passed { "ok  " } else { "FAIL" };
        println!("{word} {done:3}/{of} {} ({:.2} s)", self.name, self.seconds);
        for line in &self.results {
            println!("     {line}");
        }
        for line in self.failure.lines() {
            println!("     | {line}");
        }
    }
}

/// What came of all jobs.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// From the start of the first to the end of the last, in seconds.
    pub seconds: f64,
    /// How many guests were booted for guest tests.
    pub guests: usize,
    /// Each job, by name.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(mut outcomes: Vec<Outcome>, took: Duration, guests: usize) -> Self {
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
        Self {
            passed,
            failed: outcomes.len() - passed,
            seconds: took.as_secs_f64(),
            guests,
            outcomes,
        }
    }

    /// True if there was something to run and all of it passed.
    #[must_use]
    pub fn success(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }

    /// A table with a row per suite, then the names of what failed.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut suites: BTreeMap<&str, (usize, usize, f64)> = BTreeMap::new();
        for outcome in &self.outcomes {
            let (passed, failed, seconds) = suites.entry(&outcome.suite).or_default();
            *(if outcome.passed { passed } else { failed }) += 1;
            *seconds += outcome.seconds;
        }
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_header(["suite", "passed", "failed", "seconds"]);
        for (suite, (passed, failed, seconds)) in suites {
            table.add_row([
                suite.to_owned(),
                passed.to_string(),
                failed.to_string(),
                format!("{seconds:.1}"),
            ]);
        }
        table.add_row([
            "all".to_owned(),
            self.passed.to_string(),
            self.failed.to_string(),
            format!("{:.1} (wall)", self.seconds),
        ]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = table.to_string();
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.passed) {
            text.push_str("\nfailed: ");
            text.push_str(&outcome.name);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, failure: Option<&str>) -> Outcome {
        let took = Duration::from_millis(1500);
        Outcome::new(name, "s", took, failure.map(str::to_owned))
    }

    #[test]
    fn nothing_run_is_no_success() {
        assert!(!Report::new(vec![], Duration::ZERO, 0).success());
        assert!(Report::new(vec![outcome("a", None)], Duration::ZERO, 1).success());
    }

    #[test]
    fn a_failure_is_counted_and_named() {
        let outcomes = vec![outcome("s::b", Some("broken")), outcome("s::a", None)];
        let report = Report::new(outcomes, Duration::from_secs(2), 1);
        assert!(!report.success());
        assert_eq!((report.passed, report.failed), (1, 1));
        let summary = report.summary();
        assert!(summary.contains("failed: s::b"), "{summary}");
        assert!(!summary.contains("failed: s::a"));
    }

    #[test]
    fn the_file_has_each_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e2e/results.json");
        Report::new(vec![outcome("s::a", None)], Duration::ZERO, 1)
            .write(&path)
            .unwrap();
        let back: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(back["outcomes"][0]["name"], "s::a");
        assert_eq!(back["outcomes"][0]["seconds"], 1.5);
    }
}
