//! What `disk-watcher status` gets when it asks the running daemon, and what it does when nobody
//! answers.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{NodeStatus, json, table};

/// The name of the socket in the folder of the status.
pub const SOCKET: &str = "status.sock";
/// How old what is shown may be before that is said.
pub const LATE: Duration = Duration::from_secs(60);
/// How long the daemon is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The forms in which status is shown; the daemon keeps each ready to be printed.
#[derive(Debug, Clone, Copy)]
pub enum View {
    /// For programs.
    Json,
    /// A line for each disk.
    Table,
    /// Reasons and plans in full.
    Details,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Table, Self::Details];

    /// How the daemon is asked for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Table => "table",
            Self::Details => "details",
        }
    }

    /// The name of its file in the folder of the status.
    pub fn file(self) -> String {
        format!("status.{}", self.word())
    }

    /// The node in this form.
    ///
    /// # Errors
    /// Never in practice; JSON of plain data can be written.
    pub fn render(self, status: &NodeStatus) -> serde_json::Result<String> {
        match self {
            Self::Json => json(status),
            Self::Table => Ok(table(status, None, false)),
            Self::Details => Ok(table(status, None, true)),
        }
    }
}

/// What was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What of it is old, or that nobody answers. Empty: all is as it was a moment ago.
    pub late: Vec<String>,
    /// The status.
    pub text: String,
}

/// Asks the daemon whose status is in `dir`; where none answers, gives what the last one saw and
/// says so.
///
/// # Errors
/// When no daemon left anything there.
pub fn ask(dir: &Path, view: View) -> anyhow::Result<Answer> {
    match ask_daemon(&dir.join(SOCKET), view) {
        Ok(answer) => Ok(answer),
        Err(why) => left_behind(dir, view, &why),
    }
}

fn ask_daemon(socket: &Path, view: View) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: `writeln!` would make two.
    stream.write_all(format!("{}\n", view.word()).as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn left_behind(dir: &Path, view: View, why: &io::Error) -> anyhow::Result<Answer> {
    let path = dir.join(view.file());
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "no status at {}: disk-watcher does not run here; look yourself with --look CONFIG",
            path.display()
        )
    })?;
    let written = path.metadata().and_then(|meta| meta.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    let age = age.map_or("some time".to_owned(), |age| format!("{} s", age.as_secs()));
    let late = format!("disk-watcher does not answer ({why}); this is what it saw {age} ago");
    Ok(Answer {
        late: vec![late],
        text,
    })
}
