//! A guest: booted, used, cut, booted again.

mod disks;
mod power;
mod sockets;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use sockets::Forward;

use crate::attached::Attached;
use crate::backend::{Boots, Ground};
use crate::command::{Command, Output};
use crate::console;
use crate::error::{GuestError, Result};
use crate::host;
use crate::process::{Link, Process};
use crate::scratch::Scratch;
use crate::spec::{Backend, Disk, Share, Spec, find_workspace};

/// A guest. All of its methods may be called from several threads at once. When it is dropped, its power is cut
/// and everything of it is removed.
#[derive(Debug)]
pub struct Guest {
    spec: Spec,
    ground: Ground,
    console: PathBuf,
    disks: Mutex<Vec<Option<Attached>>>,
    running: Mutex<Option<Running>>,
    // Last: the folder goes when nothing uses it any more.
    scratch: Scratch,
}

/// One boot of a guest.
#[derive(Debug)]
struct Running {
    keeper: Child,
    link: Link,
    kernel: String,
}

impl Guest {
    /// Boots a guest; returns when it can run commands.
    ///
    /// # Errors
    /// The tree cannot be built, the kernel does not come up, or a disk or share is not to be had.
    pub fn boot(spec: Spec) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Err(GuestError::NotRoot);
        }
        let ground = Ground::find(&spec)?;
        let scratch = Scratch::create(&spec.scratch).map_err(GuestError::host(format!(
            "make a folder in {}",
            spec.scratch.display()
        )))?;
        let console = spec
            .console
            .clone()
            .unwrap_or_else(|| scratch.path().join("console.log"));
        let mut disks = Vec::new();
        for (slot, disk) in spec.disks.iter().enumerate() {
            disks.push(Some(ground.attach(&scratch, slot, disk.clone())?));
        }
        let guest = Self {
            spec,
            ground,
            console,
            disks: Mutex::new(disks),
            running: Mutex::default(),
            scratch,
        };
        guest.start()?;
        Ok(guest)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What runs its kernel.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.spec.backend
    }

    /// The release of its kernel.
    ///
    /// # Errors
    /// It is not running.
    pub fn kernel(&self) -> Result<String> {
        self.with_running("asking for the kernel", |running| {
            Ok(running.kernel.clone())
        })
    }

    /// Everything its console has shown.
    #[must_use]
    pub fn console(&self) -> String {
        console::read(&self.console)
    }

    /// Its disks, in the order of their slots.
    #[must_use]
    pub fn disks(&self) -> Vec<Attached> {
        lock(&self.disks).iter().flatten().cloned().collect()
    }

    /// Runs a command to its end, whatever its exit status is.
    ///
    /// # Errors
    /// It cannot be started, it takes longer than it may (then it is killed), or the guest is gone.
    pub fn run(&self, command: Command) -> Result<Output> {
        let timeout = command.timeout;
        Process::start(self.link(&command.line())?, &command, false)?.wait(timeout)
    }

    /// Runs a command as [`Guest::run`]. Once a minute the guest is asked to start another program: one that cannot, twice
    /// in a row, hangs, which is told then and not at the command's limit.
    ///
    /// # Errors
    /// As [`Guest::run`], and [`GuestError::Hung`].
    pub fn run_watched(&self, command: Command) -> Result<Output> {
        const LOOK: Duration = Duration::from_mins(1);
        let limit = command.timeout;
        let process = Process::start(self.link(&command.line())?, &command, false)?;
        let started = Instant::now();
        let mut missed = 0;
        loop {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() || process.ended_within(LOOK.min(left))?.is_some() {
                return process.wait(left);
            }
            match self.run(Command::new("true").timeout(LOOK)) {
                Ok(_) => missed = 0,
                Err(GuestError::Hung { .. } | GuestError::TimedOut { .. }) => missed += 1,
                Err(error) => return Err(error),
            }
            if missed == 2 {
                return Err(process.hung());
            }
        }
    }

    /// Runs a command that must succeed, and returns what it wrote to stdout, without blanks around it.
    ///
    /// # Errors
    /// As [`Guest::run`], or the exit status is not 0.
    pub fn check(&self, command: Command) -> Result<String> {
        let argv = command.line();
        let output = self.run(command)?;
        if output.status.success() {
            return Ok(output.text());
        }
        Err(GuestError::Failed {
            argv,
            output: Box::new(output),
        })
    }

    /// Runs a shell script that must succeed, as [`Guest::check`].
    ///
    /// # Errors
    /// As [`Guest::check`].
    pub fn shell(&self, script: impl Into<String>) -> Result<String> {
        self.check(Command::shell(script))
    }

    /// Starts a command and leaves it running; its stdin stays open until [`Process::close_stdin`].
    ///
    /// # Errors
    /// It cannot be started, or the guest is gone.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        Process::start(self.link(&command.line())?, &command, true)
    }

    fn link(&self, doing: &str) -> Result<Link> {
        self.with_running(doing, |running| Ok(running.link.clone()))
    }

    fn with_running<T>(&self, doing: &str, then: impl FnOnce(&Running) -> Result<T>) -> Result<T> {
        match lock(&self.running).as_ref() {
            Some(running) => then(running),
            None => Err(GuestError::Gone {
                name: self.spec.name.clone(),
                doing: doing.to_owned(),
                console: console::tail(&self.console),
            }),
        }
    }
}

/// Builds what guests of the backend boot, if it is not there yet. Booting does so too; this is for callers that
/// want to wait for it once.
///
/// # Errors
/// The tree cannot be built.
pub fn prepare(workspace: &Path, backend: Backend) -> Result<()> {
    Ok(Boots::find(workspace, backend).map(drop)?)
}

impl Ground {
    fn attach(&self, scratch: &Scratch, slot: usize, disk: Disk) -> Result<Attached> {
        self.boots
            .attach(scratch, slot, disk)
            .map_err(GuestError::host(format!("make disk {slot} of the guest")))
    }

    fn find(spec: &Spec) -> Result<Self> {
        let here = std::env::current_dir().map_err(GuestError::host("find the current folder"))?;
        let program = match &spec.program {
            Some(program) => program.clone(),
            None => host::own_executable().map_err(GuestError::host("find this program"))?,
        };
        let workspace = spec
            .workspace
            .clone()
            .or_else(|| find_workspace(&here))
            .or_else(|| find_workspace(&program))
            .ok_or(GuestError::NoWorkspace(here))?;
        let boots = Boots::find(&workspace, spec.backend)?;
        let mut shares = vec![Share {
            path: workspace,
            writable: false,
        }];
        for share in &spec.shares {
            let path = share
                .path
                .canonicalize()
                .map_err(GuestError::host(format!("share {}", share.path.display())))?;
            shares.push(Share {
                path,
                ..share.clone()
            });
        }
        Ok(Self {
            boots,
            program,
            shares,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
