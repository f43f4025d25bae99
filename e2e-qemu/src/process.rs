//! A program that runs in a guest.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::command::{Command, Output};
use crate::connection::{Connection, NoAnswer, Program, Said, Sink};
use crate::console;
use crate::error::{GuestError, Result};
use crate::frame::CHUNK;
use crate::protocol::{Id, Status, ToGuest};

/// How long the guest has to start a program, and to report the end of one that was killed.
const PROMPT: Duration = Duration::from_secs(30);

/// A program that runs in a guest. Dropping it leaves the program running.
#[derive(Debug)]
pub struct Process {
    link: Link,
    id: Id,
    pid: i32,
    line: String,
    started: Instant,
}

/// What it takes to talk to a guest and to say what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) connection: Arc<Connection>,
    pub(crate) name: String,
    pub(crate) console: PathBuf,
}

impl Link {
    /// The error for an answer that did not come.
    pub(crate) fn missing(&self, why: NoAnswer, doing: &str, limit: Duration) -> GuestError {
        match why {
            NoAnswer::Closed => GuestError::Gone {
                name: self.name.clone(),
                doing: doing.to_owned(),
                console: console::tail(&self.console),
            },
            NoAnswer::Late => GuestError::TimedOut {
                name: self.name.clone(),
                doing: doing.to_owned(),
                limit,
                output: None,
            },
        }
    }

    pub(crate) fn send(&self, message: &ToGuest, payload: &[u8], doing: &str) -> Result<()> {
        self.connection
            .send(message, payload)
            .map_err(|why| self.missing(why, doing, Duration::ZERO))
    }

    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        doing: &str,
        find: impl FnMut(&mut Said) -> Option<T>,
    ) -> Result<T> {
        self.connection
            .wait(Instant::now() + limit, find)
            .map_err(|why| self.missing(why, doing, limit))
    }
}

impl Process {
    /// Starts `command`; returns when the guest says that it runs.
    pub(crate) fn start(link: Link, command: &Command, keep_stdin: bool) -> Result<Self> {
        let sink = if command.inherit {
            Sink::Inherit
        } else {
            Sink::Keep
        };
        Self::start_into(link, command, keep_stdin, sink)
    }

    /// Starts `command` with its stdin open and its stdout going to the receiver.
    pub(crate) fn start_piped(link: Link, command: &Command) -> Result<(Self, Receiver<Vec<u8>>)> {
        let (pipe, output) = channel();
        let process = Self::start_into(link, command, true, Sink::Pipe(pipe))?;
        Ok((process, output))
    }

    fn start_into(link: Link, command: &Command, keep_stdin: bool, sink: Sink) -> Result<Self> {
        let started = Instant::now();
        let id = link.connection.id();
        let line = command.line();
        let program = Program {
            sink,
            ..Program::default()
        };
        link.connection.said().programs.insert(id, program);
        link.send(&ToGuest::Spawn(command.message(id, keep_stdin)), b"", &line)?;
        let answer = link.wait(PROMPT, &format!("starting {line}"), |said| {
            let program = said.programs.get(&id)?;
            match (&program.refused, program.pid) {
                (Some(error), _) => Some(Err(error.clone())),
                (None, pid) => pid.map(Ok),
            }
        })?;
        let pid = answer.map_err(|error| GuestError::Spawn {
            argv: line.clone(),
            error,
        })?;
        let this = Self {
            link,
            id,
            pid,
            line,
            started,
        };
        if let Some(stdin) = &command.stdin {
            this.write(stdin)?;
        }
        if command.stdin.is_some() && !keep_stdin {
            this.close_stdin()?;
        }
        Ok(this)
    }

    /// Its process id in the guest; also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Writes to its stdin.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(CHUNK) {
            self.link
                .send(&ToGuest::Stdin { id: self.id }, piece, &self.line)?;
        }
        Ok(())
    }

    /// Ends its stdin.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn close_stdin(&self) -> Result<()> {
        self.link
            .send(&ToGuest::StdinEnd { id: self.id }, b"", &self.line)
    }

    /// Sends it a signal. Nothing happens if it has ended.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send_signal(signal, false)
    }

    /// Sends a signal to it and to everything it started that is still in its process group.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        self.send_signal(signal, true)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.link.connection.said().programs.get(&self.id)?.status
    }

    /// What it has written to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<u8> {
        let said = self.link.connection.said();
        said.programs
            .get(&self.id)
            .map(|program| program.stdout.clone())
            .unwrap_or_default()
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<u8> {
        let said = self.link.connection.said();
        said.programs
            .get(&self.id)
            .map(|program| program.stderr.clone())
            .unwrap_or_default()
    }

    /// Waits until `wanted` holds for a line it wrote to stdout or stderr, and returns that line.
    ///
    /// # Errors
    /// It ended without such a line, the limit is over, or the guest is gone.
    pub fn await_line(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let id = self.id;
        let found = self.link.wait(
            limit,
            &format!("waiting for a line of {}", self.line),
            |said| {
                let program = said.programs.get(&id)?;
                let line = [&program.stdout, &program.stderr]
                    .into_iter()
                    .find_map(|stream| {
                        let text = String::from_utf8_lossy(stream);
                        text.lines().find(|line| wanted(line)).map(str::to_owned)
                    });
                line.map(Ok).or(program.status.map(Err))
            },
        )?;
        found.map_err(|status| GuestError::Failed {
            argv: self.line.clone(),
            output: Box::new(self.take(status)),
        })
    }

    /// Waits for its end. When the limit is over, it and everything in its process group is killed.
    ///
    /// # Errors
    /// The limit is over, or the guest is gone.
    pub fn wait(&self, limit: Duration) -> Result<Output> {
        if let Some(status) = self.ended_within(limit)? {
            return Ok(self.take(status));
        }
        self.signal_group(Signal::SIGKILL)?;
        let Some(status) = self.ended_within(PROMPT)? else {
            return Err(self.hung());
        };
        Err(GuestError::TimedOut {
            name: self.link.name.clone(),
            doing: self.line.clone(),
            limit,
            output: Some(Box::new(self.take(status))),
        })
    }

    /// How it ended within this time; `None`: it goes on.
    ///
    /// # Errors
    /// The guest is gone.
    pub(crate) fn ended_within(&self, limit: Duration) -> Result<Option<Status>> {
        let id = self.id;
        let ended = |said: &mut Said| said.programs.get(&id)?.status;
        match self.link.connection.wait(Instant::now() + limit, ended) {
            Ok(status) => Ok(Some(status)),
            Err(NoAnswer::Late) => Ok(None),
            Err(why) => Err(self.link.missing(why, &self.line, limit)),
        }
    }

    /// That its guest hangs, with what it had written.
    pub(crate) fn hung(&self) -> GuestError {
        GuestError::Hung {
            name: self.link.name.clone(),
            doing: self.line.clone(),
            output: Box::new(self.take(Status::Signal(Signal::SIGKILL as i32))),
        }
    }

    fn take(&self, status: Status) -> Output {
        let mut said = self.link.connection.said();
        let program = said.programs.entry(self.id).or_default();
        Output {
            status,
            stdout: std::mem::take(&mut program.stdout),
            stderr: std::mem::take(&mut program.stderr),
            took: self.started.elapsed(),
        }
    }

    fn send_signal(&self, signal: Signal, group: bool) -> Result<()> {
        let message = ToGuest::Signal {
            id: self.id,
            signal: signal as i32,
            group,
        };
        self.link.send(&message, b"", &self.line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.link.connection.said().programs.remove(&self.id);
    }
}
