//! The only module that starts processes for this crate.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

/// How much of a failed program's stderr goes into the error.
const STDERR_TAIL: usize = 2048;

/// A program could not be run, or said that it failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The program could not be started at all.
    #[error("could not start {program}")]
    Start {
        /// What was to be started.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The program ran and failed.
    #[error("{program}: {status}\n{stderr}")]
    Failed {
        /// What ran.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
}

/// A command for `program`; nothing is started yet.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    Command::new(program)
}

/// Has the kernel kill the child when the thread that spawns it ends, however it ends.
#[expect(
    unsafe_code,
    reason = "the only way to act between fork and exec is pre_exec"
)]
pub fn die_with_caller(command: &mut Command) -> &mut Command {
    // SAFETY: prctl is async-signal-safe, and nothing here allocates or takes a lock.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
                .map_err(std::io::Error::from)
        })
    }
}

/// Runs the command to its end with stdin null; stdout is returned, stderr joins the error.
///
/// # Errors
/// [`HostError::Start`] if it could not be started, [`HostError::Failed`] if its status is not 0.
pub fn capture(command: &mut Command) -> Result<Vec<u8>, HostError> {
    capture_fed(command, Stdio::null())
}

/// As [`capture`], of a program that reads `input`.
///
/// # Errors
/// As [`capture`].
pub fn capture_fed(command: &mut Command, input: impl Into<Stdio>) -> Result<Vec<u8>, HostError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command
        .stdin(input)
        .output()
        .map_err(|source| HostError::Start {
            program: program.clone(),
            source,
        })?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let tail = out.stderr.len().saturating_sub(STDERR_TAIL);
    Err(HostError::Failed {
        program,
        status: out.status,
        stderr: String::from_utf8_lossy(&out.stderr[tail..])
            .trim()
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_returns_stdout() {
        let out = capture(command("echo").arg("hello")).unwrap();
        assert_eq!(out, b"hello\n");
    }

    #[test]
    fn a_failure_carries_status_and_stderr() {
        let error = capture(command("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("broken"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = capture(&mut command("/nonexistent/program")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/program"));
    }
}
