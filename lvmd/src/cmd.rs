//! The one door through which programs on a node are spawned.
//!
//! A [`Cmd`] is data, so tests compare it and logs print it whole. A child gets no
//! stdin, a cleared environment with `LC_ALL=C`, and a limit; at the limit it gets
//! SIGTERM and is waited for, because LVM blocks SIGTERM while it writes metadata
//! and a SIGKILL there leaves wrecks. A child that does not end is reported as
//! [`CmdError::Stuck`] and left to finish; whoever asked must stop touching what the
//! child may still hold. Nobody's disconnect stops a child: dropping the future
//! does not kill it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tracing::{debug, warn};

/// How much of a child's stdout is kept, in bytes. A report of 10,000 LVs is about 8 MiB.
const MAX_STDOUT: usize = 64 << 20;
/// How much of a child's stderr joins an error, in bytes (the last ones).
const STDERR_TAIL: usize = 4096;
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

    /// The first argument: the lvm sub-command, for metrics and logs.
    pub fn verb(&self) -> &str {
        self.args.first().and_then(|a| a.to_str()).unwrap_or("")
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

/// Runs programs on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl Runner for Host {
    async fn run(&self, cmd: Cmd) -> Result<Output, CmdError> {
        // A task of its own: when the caller's future is dropped the child is still
        // waited for and its pipes are still drained.
        let text = cmd.to_string();
        match tokio::spawn(run_child(cmd)).await {
            Ok(result) => result,
            Err(error) => Err(CmdError::Start {
                program: text,
                reason: error.to_string(),
            }),
        }
    }
}

async fn run_child(cmd: Cmd) -> Result<Output, CmdError> {
    let text = cmd.to_string();
    let started = Instant::now();
    debug!(cmd = %text, "starting");
    let mut child = command(&cmd).spawn().map_err(|error| CmdError::Start {
        program: cmd.program.display().to_string(),
        reason: error.to_string(),
    })?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .unwrap_or_default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reaped = Arc::new(AtomicBool::new(false));
    // Ended means that nobody holds its pipes either: behind a prefix such as nsenter
    // the program may outlive the process that we started.
    let noted = reaped.clone();
    let mut whole = Box::pin(async move {
        let wait = async {
            let status = child.wait().await;
            noted.store(true, Ordering::Release);
            status
        };
        tokio::join!(wait, read_all(stdout), read_tail(stderr))
    });
    let mut ended = tokio::time::timeout(cmd.limit, &mut whole).await.ok();
    if ended.is_none() && pid > 0 {
        warn!(cmd = %text, pid, limit = ?cmd.limit, "time limit reached, sending SIGTERM and waiting");
        let pid = Pid::from_raw(pid);
        // Its own pid while it is not waited for; its group for as long as one is in it.
        if !cmd.prefix.is_empty() {
            let _ = killpg(pid, Signal::SIGTERM);
        } else if !reaped.load(Ordering::Acquire) {
            let _ = kill(pid, Signal::SIGTERM);
        }
        ended = tokio::time::timeout(cmd.grace, &mut whole).await.ok();
    }
    let Some((status, stdout, stderr)) = ended else {
        // Left running, and still waited for, so that it leaves no zombie.
        let (done, ended) = watch::channel(false);
        tokio::spawn(async move {
            let _ = whole.await;
            done.send_replace(true);
        });
        return Err(CmdError::Stuck {
            cmd: text,
            pid,
            limit: cmd.limit,
            ended,
        });
    };
    let status = status.map_err(|error| CmdError::Start {
        program: text.clone(),
        reason: error.to_string(),
    })?;
    let elapsed = started.elapsed();
    debug!(cmd = %text, ?elapsed, code = status.code(), "ended");
    finish(text, status, elapsed, stdout, stderr)
}

fn finish(
    cmd: String,
    status: ExitStatus,
    elapsed: Duration,
    stdout: Vec<u8>,
    stderr: String,
) -> Result<Output, CmdError> {
    match status.code() {
        Some(0) if stdout.len() > MAX_STDOUT => Err(CmdError::TooMuchOutput { cmd }),
        Some(0) => Ok(Output {
            stdout,
            stderr,
            elapsed,
        }),
        Some(code) => Err(CmdError::Failed { cmd, code, stderr }),
        None => {
            let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
            Err(CmdError::Signalled {
                cmd,
                signal,
                elapsed,
                stderr,
            })
        }
    }
}

fn command(cmd: &Cmd) -> tokio::process::Command {
    let mut words = cmd
        .prefix
        .iter()
        .map(OsString::as_os_str)
        .chain([cmd.program.as_os_str()]);
    let first = words.next().unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "this is the one door")]
    let mut command = tokio::process::Command::new(first);
    command
        .args(words)
        .args(&cmd.args)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(&cmd.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A process group of its own: Ctrl-C on our terminal must not reach an lvm.
        .process_group(0)
        .kill_on_drop(false);
    command
}

/// Reads to the end, keeping at most one byte more than [`MAX_STDOUT`].
async fn read_all(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return kept };
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = pipe.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        let room = (MAX_STDOUT + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
    kept
}

/// Reads to the end, keeping the last [`STDERR_TAIL`] bytes, on one line.
async fn read_tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = pipe.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..n]);
        let excess = kept.len().saturating_sub(STDERR_TAIL);
        kept.drain(..excess);
    }
    let text = String::from_utf8_lossy(&kept);
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Cmd {
        Cmd::new("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn a_child_gets_a_clean_environment_and_no_stdin() {
        let out = Host.run(sh("cat; env | sort").env("A", "b")).await.unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(
            text.contains("A=b\n") && text.contains("LC_ALL=C\n"),
            "{text}"
        );
        assert!(!text.contains("CARGO"), "{text}");
    }

    #[tokio::test]
    async fn a_failure_carries_argv_code_and_the_tail_of_stderr() {
        let error = Host
            .run(sh("echo one >&2; echo two >&2; exit 5"))
            .await
            .unwrap_err();
        let CmdError::Failed { cmd, code, stderr } = error else {
            panic!("{error:?}")
        };
        assert_eq!((code, stderr.as_str()), (5, "one; two"));
        assert_eq!(cmd, "/bin/sh -c 'echo one >&2; echo two >&2; exit 5'");
    }

    #[tokio::test]
    async fn a_child_past_its_limit_gets_sigterm_not_sigkill() {
        let script = "trap 'echo ended >&2; exit 7' TERM; while :; do sleep 0.05; done";
        let error = Host
            .run(sh(script).limit(Duration::from_millis(200)))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CmdError::Failed { code: 7, stderr, .. } if stderr == "ended"),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_program_that_outlives_its_prefix_is_asked_to_end_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let ended = dir.path().join("ended");
        // As nsenter does: a fork works on, and the process we know dies at the signal.
        let work = format!(
            "(trap 'sleep 0.3; touch {}; exit' TERM; while :; do sleep 0.05; done) & wait",
            ended.display()
        );
        let mut cmd = sh(&work).limit(Duration::from_millis(200));
        cmd.prefix = vec!["/usr/bin/env".into()];
        let error = Host.run(cmd).await.unwrap_err();
        assert!(matches!(error, CmdError::Signalled { .. }), "{error:?}");
        assert!(ended.exists(), "the fork was asked to end and has ended");
    }

    #[tokio::test]
    async fn one_that_holds_the_pipes_for_ever_is_stuck() {
        let cmd = sh("setsid sleep 5 & exit 0")
            .limit(Duration::from_millis(200))
            .grace(Duration::from_millis(100));
        let started = Instant::now();
        let error = Host.run(cmd).await.unwrap_err();
        assert!(matches!(error, CmdError::Stuck { .. }), "{error:?}");
        assert!(error.is_abnormal() && started.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_stop_the_child() {
        let dir = tempfile::tempdir().unwrap();
        let done = dir.path().join("done");
        let script = format!("sleep 0.3; touch {}", done.display());
        let run = Host.run(sh(&script));
        assert!(
            tokio::time::timeout(Duration::from_millis(50), run)
                .await
                .is_err()
        );
        tokio::time::timeout(Duration::from_secs(5), async {
            while !done.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
    }

    #[test]
    fn a_missing_program_names_the_places_searched() {
        let error = find_program("no-such-program").unwrap_err().to_string();
        assert!(
            error.contains("no-such-program") && error.contains("/usr/sbin"),
            "{error}"
        );
    }
}
