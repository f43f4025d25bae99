//! What can go wrong with a guest.

use std::path::PathBuf;
use std::time::Duration;

use crate::command::Output;

/// The result of something done with a guest.
pub type Result<T, E = GuestError> = std::result::Result<T, E>;

/// A guest could not be booted, or did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The tree or the kernel is not to be had.
    #[error("the guest has nothing to boot")]
    Tree(#[from] extension::TreeError),
    /// No folder at or above this one is the workspace.
    #[error("no workspace at or above {}", .0.display())]
    NoWorkspace(PathBuf),
    /// Guests need namespaces and mounts.
    #[error("guests need root")]
    NotRoot,
    /// Something on the host failed.
    #[error("could not {what}")]
    Host {
        /// The action, an infinitive with its object.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The kernel came up, but the guest could not be made usable.
    #[error("guest {name}: {error}\n{console}")]
    Setup {
        /// The guest's name.
        name: String,
        /// What the agent said.
        error: String,
        /// The end of its console.
        console: String,
    },
    /// The guest is not running: powered off, crashed, cut, or over its time limit.
    #[error("guest {name} is gone while {doing}\n{console}")]
    Gone {
        /// The guest's name.
        name: String,
        /// What was under way.
        doing: String,
        /// The end of its console.
        console: String,
    },
    /// Something took longer than it may. A command was killed, and what it wrote is here.
    #[error("guest {name}: {doing} took longer than {limit:?}{}", tail(output))]
    TimedOut {
        /// The guest's name.
        name: String,
        /// What was under way.
        doing: String,
        /// How long it may take.
        limit: Duration,
        /// What a command wrote before it was killed.
        output: Option<Box<Output>>,
    },
    /// A program that was killed did not end: it waits in the kernel, or the kernel does nothing else any more.
    #[error("guest {name} hangs: {doing} was killed and did not end{}", tail(&Some(output.clone())))]
    Hung {
        /// The guest's name.
        name: String,
        /// What was killed.
        doing: String,
        /// What it had written.
        output: Box<Output>,
    },
    /// A program could not be started in the guest.
    #[error("could not start {argv}: {error}")]
    Spawn {
        /// The program and its arguments.
        argv: String,
        /// Why not.
        error: String,
    },
    /// A command ended with another status than 0.
    #[error("{argv}: {}{}", output.status, tail(&Some(output.clone())))]
    Failed {
        /// The program and its arguments.
        argv: String,
        /// How it ended and what it wrote.
        output: Box<Output>,
    },
    /// The kernel refused to attach or detach a disk.
    #[error("disk {disk}: {error}")]
    Disk {
        /// Its name.
        disk: String,
        /// What the kernel or the machine said.
        error: String,
    },
}

impl GuestError {
    /// For `map_err` on what the host does: `could not <what>`.
    pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Host { what, source }
    }
}

/// The last lines of what a command wrote, for a message.
fn tail(output: &Option<Box<Output>>) -> String {
    let Some(output) = output else {
        return String::new();
    };
    let mut text = String::new();
    for stream in [&output.stdout, &output.stderr] {
        let stream = String::from_utf8_lossy(stream);
        let lines: Vec<&str> = stream.lines().collect();
        for line in &lines[lines.len().saturating_sub(20)..] {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    text
}
