//! The host's end of the line to a guest's agent.
//!
//! One thread reads messages and keeps what they say; everyone else waits, with a deadline, until what they are
//! interested in has been said.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::frame;
use crate::protocol::{Id, ON_THE_LINE, Status, Stream, ToGuest, ToHost};

/// How much is written at once. Together with what the agent has taken and not told yet, it fits on the line.
const PIECE: usize = 1024;

/// How long the agent may take for that; it has nothing else to do.
const TAKEN: Duration = Duration::from_mins(1);

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
    line: UnixStream,
    /// How many bytes were sent; held by who writes.
    sent: Mutex<u64>,
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
    /// How many bytes it has taken off the line, as far as it told.
    taken: u64,
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
    /// What happens to its output.
    pub(crate) sink: Sink,
}

/// What happens to what a program writes.
#[derive(Debug, Default)]
pub(crate) enum Sink {
    /// It is kept until somebody asks.
    #[default]
    Keep,
    /// It goes to this program's own stdout and stderr.
    Inherit,
    /// Its stdout goes here, until it ends; its stderr is kept.
    Pipe(Sender<Vec<u8>>),
}

impl Connection {
    /// Starts the reading thread, which ends with the line.
    pub(crate) fn open(line: UnixStream) -> std::io::Result<Arc<Self>> {
        let reader = line.try_clone()?;
        let this = Arc::new(Self {
            line,
            sent: Mutex::default(),
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

    /// Sends a message, no faster than the agent reads.
    pub(crate) fn send(&self, message: &ToGuest, payload: &[u8]) -> Result<(), NoAnswer> {
        if self.said().closed {
            return Err(NoAnswer::Closed);
        }
        let frame = frame::encode(message, payload).map_err(|_| NoAnswer::Closed)?;
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in frame.chunks(PIECE) {
            let then = *sent + piece.len() as u64;
            self.wait(Instant::now() + TAKEN, |said| {
                (then <= said.taken + ON_THE_LINE).then_some(())
            })?;
            let written = (&self.line).write_all(piece);
            written.map_err(|_| NoAnswer::Closed)?;
            *sent = then;
        }
        Ok(())
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
        let _ = self.line.shutdown(std::net::Shutdown::Both);
    }

    fn listen(&self, line: UnixStream) {
        let mut line = BufReader::with_capacity(64 << 10, line);
        while let Ok((message, payload)) = frame::read(&mut line) {
            self.take(message, payload);
            self.changed.notify_all();
        }
        let mut said = self.said();
        said.closed = true;
        for program in said.programs.values_mut() {
            program.sink = Sink::Keep;
        }
        drop(said);
        self.changed.notify_all();
    }

    fn take(&self, message: ToHost, payload: Vec<u8>) {
        let mut said = self.said();
        match message {
            ToHost::Hello { kernel } => said.kernel = Some(kernel),
            ToHost::Ready => said.ready = Some(Ok(())),
            ToHost::SetupFailed { error } => said.ready = Some(Err(error)),
            ToHost::Took { bytes } => said.taken = bytes,
            ToHost::Disk { id, name } => drop(said.disks.insert(id, name)),
            ToHost::DiskGone { id } => drop(said.disks.insert(id, String::new())),
            ToHost::Started { id, pid } => said.programs.entry(id).or_default().pid = Some(pid),
            ToHost::SpawnFailed { id, error } => {
                said.programs.entry(id).or_default().refused = Some(error);
            }
            ToHost::Exited { id, status } => {
                let program = said.programs.entry(id).or_default();
                program.status = Some(status);
                // Whoever reads the pipe sees its end.
                program.sink = Sink::Keep;
            }
            ToHost::Output { id, stream } => {
                let program = said.programs.entry(id).or_default();
                match (&program.sink, stream) {
                    (Sink::Inherit, stream) => {
                        drop(said);
                        pass_on(stream, &payload);
                    }
                    // A receiver who has gone away does not stop the program.
                    (Sink::Pipe(pipe), Stream::Stdout) => drop(pipe.send(payload)),
                    (_, Stream::Stdout) => program.stdout.extend(payload),
                    (_, Stream::Stderr) => program.stderr.extend(payload),
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
