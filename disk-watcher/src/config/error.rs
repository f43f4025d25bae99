//! What is wrong with a configuration: the thing, the rule, the way out.

use std::fmt;

/// A configuration that cannot be used, with every reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is no YAML, has an unknown key, or a value of the wrong kind.
    #[error("{0}")]
    Syntax(String),
    /// A line of a file that is read line by line.
    #[error("{file}, line {line}: {what}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        what: String,
    },
    /// A document that is not one of ours.
    #[error("document {number}: {what}")]
    Document {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong and what to do.
        what: String,
    },
    /// A field of the planned API that does nothing.
    #[error("class {class:?}: not supported: {field} (line {line}), remove it: {why}")]
    NotYet {
        /// The class.
        class: String,
        /// The field, from `spec` on.
        field: String,
        /// Its line in the file.
        line: u64,
        /// Why it does nothing, and what does instead.
        why: &'static str,
    },
    /// A request that cannot be meant.
    #[error("{kind} {name:?}: {what}")]
    Request {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// A value that breaks a rule.
    #[error("class {class:?}: {field}: {what}")]
    Value {
        /// The class.
        class: String,
        /// The field, from `metadata` or `spec` on.
        field: String,
        /// What is wrong and what to do.
        what: String,
    },
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Every reason, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.problems.as_slice() {
            return problem.fmt(f);
        }
        write!(f, "{} problems:", self.problems.len())?;
        for problem in &self.problems {
            write!(f, "\n- {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
