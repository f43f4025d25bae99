//! The one door through which programs on a node are spawned.
//!
//! A [`Cmd`] is data, so tests compare it and logs print it whole. A child gets no
//! stdin, a cleared environment with `LC_ALL=C`, and a limit; at the limit it gets
//! SIGTERM and is waited for, because LVM blocks SIGTERM while it writes metadata
//! and a SIGKILL there leaves wrecks. A child that does not end is reported as
//! [`CmdError::Stuck`] and left to finish; whoever asked must stop touching what the
//! child may still hold. Nobody's disconnect stops a child: dropping the future
//! does not kill it.

mod child;
mod namespace;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use child::Host;
pub use namespace::may_enter;

/// How much of a child's stdout is kept, in bytes. A report of 10,000 LVs is about 8 MiB.
const MAX_STDOUT: usize = 64 << 20;
/// How long a child that got SIGTERM is waited for before it is called stuck, if not told otherwise.
const TERM_GRACE: Duration = Duration::from_secs(60);

/// A program call, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// Words before the program, e.g. `nsenter -m -t 1`; usually empty.
    pub prefix: Vec<OsString>,
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What it sees as `/dev`, in a mount namespace of its own; `None`: what we see.
    pub dev: Option<PathBuf>,
    /// Its whole environment besides `LC_ALL` and `PATH`.
    pub env: BTreeMap<OsString, OsString>,
    /// When SIGTERM is sent.
    pub limit: Duration,
    /// How long after that it may go on before it is called stuck.
    pub grace: Duration,
}

impl Cmd {
    /// A call of `program` without arguments and with a limit of 60 s.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            prefix: Vec::new(),
            program: program.into(),
            args: Vec::new(),
            dev: None,
            env: BTreeMap::new(),
            limit: Duration::from_secs(60),
            grace: TERM_GRACE,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets one variable of the child's environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .insert(key.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets when SIGTERM is sent.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long after SIGTERM it may go on.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The lvm sub-command, for metrics and logs: the first argument, or what the file of
    /// commands that it names is called after.
    pub fn verb(&self) -> &str {
        let name = self.args.first().and_then(|a| Path::new(a).file_name());
        let name = name.and_then(OsStr::to_str).unwrap_or("");
        name.split('.').next().unwrap_or(name)
    }
}

impl fmt::Display for Cmd {
    /// The call as a shell would take it, so that a person can repeat it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self
            .prefix
            .iter()
            .map(OsString::as_os_str)
            .chain([self.program.as_os_str()]);
        for (i, word) in words
            .chain(self.args.iter().map(OsString::as_os_str))
            .enumerate()
        {
            if i > 0 {
                f.write_str(" ")?;
            }
            let word = word.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                f.write_str(&word)?;
            } else {
                write!(f, "'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

/// What a program printed and how it ended, when it ended by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// The last 4 KiB of stderr.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CmdError {
    /// The program could not be started.
    #[error("cannot start {program}: {reason}")]
    Start {
        /// The program.
        program: String,
        /// The system's words.
        reason: String,
    },
    /// The program ended with a code other than 0.
    #[error("{cmd} ended with code {code}: {stderr}")]
    Failed {
        /// The call, as a shell would take it.
        cmd: String,
        /// Its exit code.
        code: i32,
        /// The tail of its stderr.
        stderr: String,
    },
    /// The program was ended by a signal (ours at the limit, or somebody's).
    #[error("{cmd} was ended by signal {signal} after {elapsed:?}: {stderr}")]
    Signalled {
        /// The call, as a shell would take it.
        cmd: String,
        /// The signal's number.
        signal: i32,
        /// How long it ran.
        elapsed: Duration,
        /// The tail of its stderr.
        stderr: String,
    },
    /// The program ignored SIGTERM and still runs.
    #[error("{cmd} (pid {pid}) does not end: SIGTERM was sent after {limit:?} and it still runs")]
    Stuck {
        /// The call, as a shell would take it.
        cmd: String,
        /// The child that still runs.
        pid: i32,
        /// The limit it had.
        limit: Duration,
        /// Becomes true when it has ended after all.
        ended: watch::Receiver<bool>,
    },
    /// The program printed more than is kept.
    #[error("{cmd} printed more than {MAX_STDOUT} bytes")]
    TooMuchOutput {
        /// The call, as a shell would take it.
        cmd: String,
    },
}

impl CmdError {
    /// Whether the child did not end by itself, so that its work may be half done.
    pub fn is_abnormal(&self) -> bool {
        matches!(self, Self::Signalled { .. } | Self::Stuck { .. })
    }

    /// The tail of the child's stderr, where there is one.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } | Self::Signalled { stderr, .. } => stderr,
            _ => "",
        }
    }
}

/// Runs programs. In production the only implementor is [`Host`].
pub trait Runner: Send + Sync + fmt::Debug + 'static {
    /// Runs `cmd` to its end.
    ///
    /// # Errors
    /// See [`CmdError`]; an exit code other than 0 is an error.
    fn run(&self, cmd: Cmd) -> impl Future<Output = Result<Output, CmdError>> + Send;
}

impl<R: Runner> Runner for Arc<R> {
    fn run(&self, cmd: Cmd) -> impl Future<Output = Result<Output, CmdError>> + Send {
        R::run(self, cmd)
    }
}

/// The directories programs are looked for in, in this order.
const SEARCH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Finds `name` in the usual directories.
///
/// # Errors
/// Names the program and the places that were searched.
pub fn find_program(name: &str) -> Result<PathBuf, CmdError> {
    SEARCH
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| CmdError::Start {
            program: name.to_owned(),
            reason: format!("not found in {}", SEARCH.join(", ")),
        })
}
