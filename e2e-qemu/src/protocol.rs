//! What host and agent say to each other. Each is the header of one [`frame`](crate::frame).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Names one command or question; chosen by the host, never used twice in a guest's life.
pub type Id = u64;

/// How many bytes the host has on the line at most that the agent did not take off it. A user-mode kernel whose serial line
/// has some 4000 to be read stops listening to it, and its `reactivate_fd` does not have it listen again.
pub const ON_THE_LINE: u64 = 2048;

/// The agent says [`ToHost::Took`] whenever it took so many bytes more off the line.
pub const TOLD_EVERY: u64 = 512;

/// From the host to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToGuest {
    /// The first message: make the guest usable, then say [`ToHost::Ready`].
    Setup(Setup),
    /// Start a program.
    Spawn(Spawn),
    /// The payload goes to the program's stdin.
    Stdin {
        /// Which program.
        id: Id,
    },
    /// The program's stdin ends.
    StdinEnd {
        /// Which program.
        id: Id,
    },
    /// Send a signal.
    Signal {
        /// To which program.
        id: Id,
        /// The signal's number.
        signal: i32,
        /// To everything it started as well (its process group).
        group: bool,
    },
    /// Wait until a disk is there, then say [`ToHost::Disk`].
    AwaitDisk {
        /// Names the question.
        id: Id,
        /// How the disk is known.
        key: DiskKey,
    },
    /// Wait until a disk is gone, then say [`ToHost::DiskGone`].
    AwaitNoDisk {
        /// Names the question.
        id: Id,
        /// The disk's name in /sys/block.
        name: String,
    },
    /// End every program, unmount, power off.
    PowerOff,
}

/// How to make a booted kernel usable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The guest's host name.
    pub hostname: String,
    /// Host folders to mount.
    pub shares: Vec<ShareMount>,
    /// Kernel modules to load.
    pub modules: Vec<String>,
    /// Give /run/lock a tmpfs of its own, as Debian does; else it is a folder of /run, as on Talos.
    pub lock_tmpfs: bool,
    /// Start systemd-udevd and wait until it has handled the disks that are there.
    pub udev: bool,
}

/// One host folder in the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShareMount {
    /// `hostfs` or `9p`.
    pub fstype: String,
    /// What the file system calls the source: a path for hostfs, a tag for 9p.
    pub source: String,
    /// Where in the guest.
    pub target: PathBuf,
    /// May the guest write?
    pub writable: bool,
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spawn {
    /// What the host will call it.
    pub id: Id,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment, on top of PATH, HOME and LC_ALL.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Will the host send input? Else stdin is /dev/null.
    pub stdin: bool,
}

/// How a disk is known that was just attached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskKey {
    /// By its name in /sys/block.
    Name(String),
    /// By the serial number that its driver shows.
    Serial(String),
}

/// From the agent to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToHost {
    /// The agent runs; the first message.
    Hello {
        /// The kernel's release.
        kernel: String,
    },
    /// The setup is done.
    Ready,
    /// The setup could not be done.
    SetupFailed {
        /// Why not.
        error: String,
    },
    /// A program runs.
    Started {
        /// Which.
        id: Id,
        /// Its process id in the guest.
        pid: i32,
    },
    /// A program could not be started.
    SpawnFailed {
        /// Which.
        id: Id,
        /// Why not.
        error: String,
    },
    /// The payload is what a program wrote.
    Output {
        /// Which program.
        id: Id,
        /// To which stream.
        stream: Stream,
    },
    /// A program ended; what it wrote was sent before.
    Exited {
        /// Which program.
        id: Id,
        /// How.
        status: Status,
    },
    /// So much of what the host sent was taken off the line.
    Took {
        /// Since the agent runs.
        bytes: u64,
    },
    /// The disk is there.
    Disk {
        /// Names the question.
        id: Id,
        /// The disk's name in /sys/block.
        name: String,
    },
    /// The disk is gone.
    DiskGone {
        /// Names the question.
        id: Id,
    },
}

/// Where a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// By itself, with this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Status {
    /// Exit status 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The status as a shell would show it: a signal counts from 128.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let spawn = ToGuest::Spawn(Spawn {
            id: 7,
            argv: vec!["lvs".into(), "--noheadings".into()],
            env: BTreeMap::from([("A".into(), "b=c".into())]),
            cwd: "/".into(),
            stdin: true,
        });
        let mut bytes = Vec::new();
        crate::frame::write(&mut bytes, &spawn, b"").unwrap();
        let (back, _): (ToGuest, _) = crate::frame::read(&mut &bytes[..]).unwrap();
        assert_eq!(back, spawn);
    }

    #[test]
    fn statuses_as_a_shell_shows_them() {
        assert_eq!(Status::Code(3).shell_code(), 3);
        assert_eq!(Status::Signal(9).shell_code(), 137);
        assert!(!Status::Signal(0).success());
    }
}
