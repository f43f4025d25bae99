//! A program to run in a guest, and what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::{Id, Spawn, Status};

/// How long a command may take if nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);

/// A program to run in a guest. Its environment is PATH, HOME, LC_ALL and what [`Command::env`] adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    cwd: PathBuf,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
    pub(crate) inherit: bool,
}

impl Command {
    /// `program` is a path or a name to look for in /usr/sbin and /usr/bin.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            argv: vec![program.into()],
            env: BTreeMap::new(),
            cwd: PathBuf::from("/"),
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
            inherit: false,
        }
    }

    /// A script for the guest's shell, run with `-eu`.
    #[must_use]
    pub fn shell(script: impl Into<String>) -> Self {
        Self::new("sh").args(["-euc"]).arg(script)
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Its working directory; `/` if not set.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = dir.into();
        self
    }

    /// What it reads from stdin; /dev/null if not set.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take before it and all it started is killed; two minutes if not set.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Passes what it writes on to this program's own stdout and stderr as it comes, instead of collecting it.
    #[must_use]
    pub fn inherit(mut self) -> Self {
        self.inherit = true;
        self
    }

    /// The program and its arguments, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        self.argv.join(" ")
    }

    pub(crate) fn message(&self, id: Id, keep_stdin: bool) -> Spawn {
        Spawn {
            id,
            argv: self.argv.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            stdin: keep_stdin || self.stdin.is_some(),
        }
    }
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it wrote to stdout; empty if that was passed on.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr; empty if that was passed on.
    pub stderr: Vec<u8>,
    /// From the request to the end, as the host saw it.
    pub took: Duration,
}

impl Output {
    /// What it wrote to stdout, as text without blanks around it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_what_was_built() {
        let command = Command::new("lvs")
            .arg("-a")
            .args(["-o", "name"])
            .env("K", "v")
            .cwd("/tmp");
        let message = command.message(3, false);
        assert_eq!(message.argv, ["lvs", "-a", "-o", "name"]);
        assert_eq!(message.env["K"], "v");
        assert_eq!(message.cwd, PathBuf::from("/tmp"));
        assert!(!message.stdin);
        assert!(command.clone().stdin("x").message(3, false).stdin);
        assert!(command.message(3, true).stdin);
        assert_eq!(command.line(), "lvs -a -o name");
    }
}
