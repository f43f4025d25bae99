//! A child process, from its start to the end of its pipes.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{Cmd, CmdError, MAX_STDOUT, Output, Runner, namespace};

/// How much of a child's stderr joins an error, in bytes (the last ones).
const STDERR_TAIL: usize = 4096;
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
    let child = match &cmd.dev {
        Some(dev) => namespace::spawn(command(&cmd), dev).await,
        None => command(&cmd).spawn(),
    };
    let mut child = child.map_err(|error| CmdError::Start {
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
