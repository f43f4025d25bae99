//! What stands between this program and a guest's kernel, so that nothing of a guest outlives it.
//!
//! The caller starts the *keeper* (`e2e-qemu supervise PLAN`) with the agent's line as its stdin. The keeper
//! starts process 1 of a new process namespace (`supervise --inner PLAN`), which makes a private mount
//! namespace with a root for the kernel, and starts the kernel there. So:
//!
//! - the keeper kills process 1, and with it the kernel every process of the namespace, when the caller's end of
//!   the line closes - that is when the caller ends, however it ends -, when the caller sends SIGTERM, which is
//!   how power is cut, or when the time limit is over;
//! - process 1 is killed by the kernel when the keeper is;
//! - mounts, and the memory of a user-mode kernel, which is a file on one of them, go with the last process.

mod processor;
mod root;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, chdir, chroot};
use serde::{Deserialize, Serialize};

use crate::host;
use processor::Processor;
use root::{make_root, mount_at};

pub(crate) use root::{Bind, Root};

/// The keeper's exit status when the time limit was over.
pub(crate) const LIMIT_STATUS: i32 = 124;

/// What to run and where; a file in the guest's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The guest's folder, removed by the keeper when its owner is gone.
    pub(crate) scratch: PathBuf,
    /// After this long everything is killed.
    pub(crate) limit: Option<Duration>,
    /// The kernel's root, where it is not the host's.
    pub(crate) root: Option<Root>,
    /// Whether all runs on one processor of the host.
    pub(crate) one_processor: bool,
    /// The kernel's program and arguments.
    pub(crate) argv: Vec<String>,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, String>,
}

/// Runs the keeper to its end and returns its exit status.
///
/// # Errors
/// The plan cannot be read, or this is not root.
pub fn keep(plan_file: &Path) -> io::Result<i32> {
    let plan = Plan::read(plan_file)?;
    let watched = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT]);
    watched.thread_block()?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let _processor = match plan.one_processor {
        true => Processor::take()?,
        false => None,
    };
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut command = host::command(host::own_executable()?);
    command.args(["supervise", "--inner"]).arg(plan_file);
    let mut first = host::die_with_caller(&mut command).spawn()?;
    let end = plan.limit.map(|limit| Instant::now() + limit);

    let stdin = io::stdin();
    loop {
        let timeout = match end.map(|end| end.saturating_duration_since(Instant::now())) {
            // Rounded up, so that the wait never spins through the last millisecond.
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let mut fds = [
            PollFd::new(stdin.as_fd(), PollFlags::empty()),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let owner_gone = fds[0].revents().is_some_and(|events| !events.is_empty());
        if let Some(status) = first.try_wait()? {
            return Ok(status.code().unwrap_or(1));
        }
        if end.is_some_and(|end| end <= Instant::now()) {
            kill(&mut first)?;
            return Ok(LIMIT_STATUS);
        }
        let told_to_end = loop {
            match signals.read_signal()? {
                Some(info) if info.ssi_signo == Signal::SIGCHLD as u32 => {}
                Some(_) => break true,
                None => break false,
            }
        };
        if owner_gone || told_to_end {
            kill(&mut first)?;
        }
        if owner_gone {
            let _ = fs::remove_dir_all(&plan.scratch);
        }
        if owner_gone || told_to_end {
            return Ok(1);
        }
    }
}

fn kill(first: &mut Child) -> io::Result<()> {
    first.kill()?;
    // Returns only when every process of the namespace is gone.
    first.wait().map(drop)
}

/// Runs as process 1 of the namespace: makes the root, starts the kernel, collects what ends, and ends with the
/// kernel, with its exit status.
///
/// # Errors
/// The plan cannot be read, or a mount or the start of the kernel failed.
pub fn first_process(plan_file: &Path) -> io::Result<i32> {
    let plan = Plan::read(plan_file)?;
    SigSet::all().thread_unblock()?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_at(
        None,
        Path::new("/"),
        None,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None,
    )?;
    mount_at(
        Some(Path::new("proc")),
        Path::new("/proc"),
        Some("proc"),
        MsFlags::empty(),
        None,
    )?;
    if let Some(root) = &plan.root {
        let at = plan.scratch.join("root");
        make_root(root, &at)?;
        chroot(&at)?;
        chdir("/")?;
    }
    let kernel = host::bare(&plan.argv[0])
        .args(&plan.argv[1..])
        .envs(&plan.env)
        .spawn()?;
    let kernel = Pid::from_raw(kernel.id().cast_signed());
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == kernel => return Ok(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == kernel => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Plan {
    fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan {
            scratch: dir.path().to_owned(),
            limit: Some(Duration::from_millis(1500)),
            root: Some(Root {
                tree: "/tree".into(),
                shm_mib: 64,
                binds: vec![Bind {
                    source: "/a".into(),
                    target: "/b".into(),
                    writable: true,
                }],
            }),
            one_processor: true,
            argv: vec!["true".into()],
            env: BTreeMap::new(),
        };
        let file = dir.path().join("plan.json");
        plan.write(&file).unwrap();
        assert_eq!(Plan::read(&file).unwrap(), plan);
    }
}
