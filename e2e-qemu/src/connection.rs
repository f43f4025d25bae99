//! The host's end of the line to a guest's agent.
//!
//! One thread reads messages and keeps what they say; everyone else waits, with a deadline, until what they are
//! interested in has been said.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::frame;
use crate::protocol::{Id, Status, Stream, ToGuest, ToHost};

/// Why waiting ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The deadline passed.
    Late,
    /// The line is closed.
    Closed,
}

/// The line; shared by everyone who talks to the guest.
#[derive(Debug)]
pub(crate) struct Connection {
    writer: Mutex<UnixStream>,
    said: Mutex<Said>,
    changed: Condvar,
    next: AtomicU64,
}

/// What the agent has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) kernel: Option<String>,
    pub(crate) ready: Option<Result<(), String>>,
    pub(crate) programs: HashMap<Id, Program>,
    pub(crate) disks: HashMap<Id, String>,
    closed: bool,
}

/// What the agent has said about one program.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) pid: Option<i32>,
    pub(crate) refused: Option<String>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) status: Option<Status>,
    /// Pass output on instead of keeping it.
    pub(crate) inherit: bool,
}

impl Connection {
    /// Starts the reading thread, which ends with the line.
    pub(crate) fn open(line: UnixStream) -> std::io::Result<Arc<Self>> {
        let reader = line.try_clone()?;
        let this = Arc::new(Self {
            writer: Mutex::new(line),
            said: Mutex::default(),
            changed: Condvar::new(),
            next: AtomicU64::new(1),
        });
        let shared = Arc::clone(&this);
        std::thread::spawn(move || shared.listen(reader));
        Ok(this)
    }

    /// A number for a new command or question.
    pub(crate) fn id(&self) -> Id {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn send(&self, message: &ToGuest, payload: &[u8]) -> Result<(), NoAnswer> {
        if self.said().closed {
            return Err(NoAnswer::Closed);
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut *writer, message, payload).map_err(|_| NoAnswer::Closed)
    }

    /// Changes what is known, for example to announce a program before it is started.
    pub(crate) fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `find` finds its answer in what was said.
    pub(crate) fn wait<T>(
        &self,
        deadline: Instant,
        mut find: impl FnMut(&mut Said) -> Option<T>,
    ) -> Result<T, NoAnswer> {
        let mut said = self.said();
        loop {
            if let Some(answer) = find(&mut said) {
                return Ok(answer);
            }
            if said.closed {
                return Err(NoAnswer::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Late);
            }
            said = self
                .changed
                .wait_timeout(said, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(said, _)| said);
        }
    }

    /// Ends the reading thread; whoever still waits is told that the line is closed.
    pub(crate) fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.shutdown(std::net::Shutdown::Both);
    }

    fn listen(&self, line: UnixStream) {
        let mut line = BufReader::with_capacity(64 << 10, line);
        while let Ok((message, payload)) = frame::read(&mut line) {
            self.take(message, payload);
            self.changed.notify_all();
        }
        self.said().closed = true;
        self.changed.notify_all();
    }

    fn take(&self, message: ToHost, payload: Vec<u8>) {
        let mut said = self.said();
        match message {
            ToHost::Hello { kernel } => said.kernel = Some(kernel),
            ToHost::Ready => said.ready = Some(Ok(())),
            ToHost::SetupFailed { error } => said.ready = Some(Err(error)),
            ToHost::Disk { id, name } => drop(said.disks.insert(id, name)),
            ToHost::DiskGone { id } => drop(said.disks.insert(id, String::new())),
            ToHost::Started { id, pid } => said.programs.entry(id).or_default().pid = Some(pid),
            ToHost::SpawnFailed { id, error } => {
                said.programs.entry(id).or_default().refused = Some(error);
            }
            ToHost::Exited { id, status } => {
                said.programs.entry(id).or_default().status = Some(status);
            }
            ToHost::Output { id, stream } => {
                let program = said.programs.entry(id).or_default();
                match (program.inherit, stream) {
                    (false, Stream::Stdout) => program.stdout.extend(payload),
                    (false, Stream::Stderr) => program.stderr.extend(payload),
                    (true, stream) => {
                        drop(said);
                        pass_on(stream, &payload);
                    }
                }
            }
        }
    }
}

/// A reader of ours who has gone away does not stop the guest's program.
fn pass_on(stream: Stream, payload: &[u8]) {
    let _ = match stream {
        Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(payload).and_then(|()| out.flush())
        }
        Stream::Stderr => std::io::stderr().lock().write_all(payload),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_reach_those_who_wait_and_the_end_does_too() {
        let (ours, mut agent) = UnixStream::pair().unwrap();
        let connection = Connection::open(ours).unwrap();
        let soon = || Instant::now() + Duration::from_secs(5);
        frame::write(&mut agent, &ToHost::Started { id: 1, pid: 42 }, b"").unwrap();
        let stream = Stream::Stdout;
        frame::write(&mut agent, &ToHost::Output { id: 1, stream }, b"out").unwrap();
        let pid = connection.wait(soon(), |said| said.programs.get(&1)?.pid);
        assert_eq!(pid, Ok(42));
        let out = connection.wait(soon(), |said| {
            let program = said.programs.get(&1)?;
            (program.stdout == b"out").then_some(())
        });
        assert_eq!(out, Ok(()));
        let late = connection.wait(Instant::now(), |said| said.kernel.clone());
        assert_eq!(late, Err(NoAnswer::Late));
        drop(agent);
        let closed = connection.wait(soon(), |said| said.kernel.clone());
        assert_eq!(closed, Err(NoAnswer::Closed));
        assert_eq!(
            connection.send(&ToGuest::PowerOff, b""),
            Err(NoAnswer::Closed)
        );
    }
}
