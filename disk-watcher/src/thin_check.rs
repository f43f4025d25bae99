//! `disk-watcher thin-check`: thin_check with a limit, for lvm.
//!
//! lvm starts a program before it activates a pool, waits for it without limit, and goes on
//! when it is missing (lvm2 `lib/activate/dev_manager.c`, `_pool_callback`). We have it start
//! this one, which refuses in both cases and leaves a note that says why.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lvmd::cmd::{Cmd, CmdError, Host, Runner, find_program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::activation::Failure;

/// How long thin_check may take after it was asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Flags of `disk-watcher thin-check`.
#[derive(Debug, clap::Args)]
pub struct ThinCheckArgs {
    /// Seconds after which it is given up
    #[arg(long)]
    limit: u64,
    /// Where the note is left
    #[arg(long)]
    note: PathBuf,
    /// The metadata
    device: PathBuf,
}

/// How lvm is to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinCheck {
    /// This program.
    pub program: PathBuf,
    /// How long it may take.
    pub limit: Duration,
    /// The folder for notes.
    pub notes: PathBuf,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The metadata is sound.
    Passed,
    /// It is not, or thin_check could not tell.
    Failed,
    /// There is no thin_check.
    Missing,
    /// It took too long.
    TimedOut,
}

/// What a check leaves for who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How it ended.
    pub verdict: Verdict,
    /// What thin_check said, or why it did not run; empty when all is well.
    pub text: String,
}

impl ThinCheck {
    /// The settings with which lvm checks each pool before it activates it.
    pub fn settings(&self, class: &str) -> String {
        // lvm's configuration quotes as JSON does.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let options = [
            "thin-check".to_owned(),
            format!("--limit={}", self.limit.as_secs()),
            format!("--note={}", self.note_path(class).display()),
        ];
        let options: Vec<String> = options.iter().map(|word| quoted(word)).collect();
        format!(
            "global/thin_check_executable={} global/thin_check_options=[{}]",
            quoted(&self.program.to_string_lossy()),
            options.join(",")
        )
    }

    /// Makes room for a note; that of an earlier check goes.
    pub fn prepare(&self, class: &str) {
        let _ = std::fs::create_dir_all(&self.notes);
        let _ = std::fs::remove_file(self.note_path(class));
    }

    /// The note of the last check; `None` where none ran.
    pub fn note(&self, class: &str) -> Option<Note> {
        serde_json::from_slice(&std::fs::read(self.note_path(class)).ok()?).ok()
    }

    fn note_path(&self, class: &str) -> PathBuf {
        self.notes.join(format!("thin-check-{class}.json"))
    }
}

impl Note {
    /// Why a pool with this note is not activated; `None` when the check is not the reason.
    pub fn failure(&self) -> Option<Failure> {
        match self.verdict {
            Verdict::Passed => None,
            Verdict::Failed => Some(Failure::ThinCheckFailed),
            Verdict::Missing => Some(Failure::ThinCheckMissing),
            Verdict::TimedOut => Some(Failure::ThinCheckTimedOut),
        }
    }
}

/// Checks the metadata.
///
/// # Errors
/// When it is not shown to be sound. The exit code is then 1: to
/// lvm a 2 (`ENOENT`) would mean that there is nothing to check with.
pub async fn run(args: ThinCheckArgs) -> anyhow::Result<()> {
    let limit = Duration::from_secs(args.limit);
    let note = match find_program("thin_check") {
        Err(error) => Note {
            verdict: Verdict::Missing,
            text: error.to_string(),
        },
        Ok(program) => check(&program, &args.device, limit).await,
    };
    // The exit code is what counts.
    if let Err(error) = std::fs::write(&args.note, serde_json::to_vec(&note)?) {
        eprintln!("{}: {error}", args.note.display());
    }
    anyhow::ensure!(
        note.verdict == Verdict::Passed,
        "thin_check: {:?}: {}",
        note.verdict,
        note.text
    );
    Ok(())
}

async fn check(program: &Path, device: &Path, limit: Duration) -> Note {
    let cmd = Cmd::new(program)
        // What lvm itself would give it.
        .args(["-q", "--clear-needs-check-flag"])
        .arg(device)
        .limit(limit)
        .grace(GRACE);
    match Host.run(cmd).await {
        Ok(_) => Note {
            verdict: Verdict::Passed,
            text: String::new(),
        },
        Err(error) => {
            if let CmdError::Stuck { pid, .. } = &error {
                // It only reads; while it runs lvm cannot let go of the metadata.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            let timed_out = match &error {
                CmdError::Stuck { .. } => true,
                CmdError::Signalled { elapsed, .. } => *elapsed >= limit,
                _ => false,
            };
            Note {
                verdict: if timed_out {
                    Verdict::TimedOut
                } else {
                    Verdict::Failed
                },
                text: error.to_string(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("thin_check");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn verdict(text: &str, limit: Duration) -> Note {
        let dir = tempfile::tempdir().unwrap();
        check(&script(dir.path(), text), Path::new("/dev/null"), limit).await
    }

    #[tokio::test]
    async fn only_a_check_that_ends_well_and_in_time_passes() {
        let long = Duration::from_secs(60);
        assert_eq!(verdict("exit 0", long).await.verdict, Verdict::Passed);
        let failed = verdict("echo bad block >&2; exit 1", long).await;
        assert_eq!(failed.verdict, Verdict::Failed);
        assert!(failed.text.contains("bad block"), "{}", failed.text);
        let killed = verdict("kill -9 $$", long).await;
        assert_eq!(killed.verdict, Verdict::Failed);
        let hangs = verdict("exec sleep 60", Duration::from_millis(100)).await;
        assert_eq!(hangs.verdict, Verdict::TimedOut, "{}", hangs.text);
    }

    #[test]
    fn lvm_is_told_the_program_its_limit_and_where_to_leave_a_note() {
        let notes = tempfile::tempdir().unwrap();
        let check = ThinCheck {
            program: "/usr/bin/disk-watcher".into(),
            limit: Duration::from_secs(600),
            notes: notes.path().to_owned(),
        };
        let settings = check.settings("fast");
        let note = notes.path().join("thin-check-fast.json");
        assert_eq!(
            settings,
            format!(
                "global/thin_check_executable=\"/usr/bin/disk-watcher\" \
                 global/thin_check_options=[\"thin-check\",\"--limit=600\",\"--note={}\"]",
                note.display()
            )
        );
        assert_eq!(check.note("fast"), None);
        std::fs::write(&note, r#"{"verdict":"Missing","text":"x"}"#).unwrap();
        assert_eq!(
            check.note("fast").unwrap().failure(),
            Some(Failure::ThinCheckMissing)
        );
        check.prepare("fast");
        assert_eq!(check.note("fast"), None);
    }
}
