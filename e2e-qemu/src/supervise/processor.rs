//! The one processor of the host that a user-mode kernel runs on.
//!
//! Such a kernel and each process in it are processes of the host that take turns: every system call and every page
//! fault goes from one to another and back. On two processors each turn wakes one that sleeps, which takes several times
//! as long as the turn; an lvcreate took 0.85 s, and 0.3 s on one processor.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// A file for each guest that a processor may have, locked for as long as the guest lives.
const HELD: &str = "/run/lock/basalt-processors";
/// How many guests share a processor at most; more than that many run on any.
const SHARED: usize = 64;

/// A processor that this process and all that it starts from now on run on.
#[derive(Debug)]
pub(super) struct Processor {
    _held: Flock<File>,
}

impl Processor {
    /// Takes one of those that this process may run on, one with as few other guests as there is.
    ///
    /// # Errors
    /// The files cannot be made.
    pub(super) fn take() -> io::Result<Option<Self>> {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this)?;
        let Some((processor, held)) = free(Path::new(HELD), &allowed)? else {
            return Ok(None);
        };
        let mut only = CpuSet::new();
        only.set(processor)?;
        sched_setaffinity(this, &only)?;
        Ok(Some(Self { _held: held }))
    }
}

/// The first file that nobody holds, and its processor: all processors get a guest before one gets its second.
fn free(dir: &Path, allowed: &CpuSet) -> io::Result<Option<(usize, Flock<File>)>> {
    fs::create_dir_all(dir)?;
    for guest in 0..SHARED {
        for processor in 0..CpuSet::count() {
            if !allowed.is_set(processor)? {
                continue;
            }
            let path = dir.join(format!("{processor}.{guest}"));
            let mut options = OpenOptions::new();
            let file = options
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok(Some((processor, held))),
                Err((_, Errno::EWOULDBLOCK)) => {}
                Err((_, errno)) => return Err(errno.into()),
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_gets_a_guest_before_one_gets_its_second_and_an_ended_guests_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let mut allowed = CpuSet::new();
        for processor in [1, 5] {
            allowed.set(processor).unwrap();
        }
        let take = || free(dir.path(), &allowed).unwrap().unwrap();
        let (first, second, third) = (take(), take(), take());
        assert_eq!([first.0, second.0, third.0], [1, 5, 1]);
        drop(second);
        assert_eq!(take().0, 5);
    }
}
