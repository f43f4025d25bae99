//! Starts programs for the host, passes their streams, and collects everything that ends.
//!
//! As process 1 the agent inherits every orphan. One thread waits for any child to end, looks who it was
//! without collecting it, and collects it under the lock that also covers starting one; so no end is missed
//! and none is taken from the standard library while that starts a program.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id as WaitId, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::line::Line;
use crate::frame::CHUNK;
use crate::host;
use crate::protocol::{Id, Spawn, Status, Stream, ToHost};

/// Where programs are looked for.
const PATH: &str = "/usr/sbin:/usr/bin";

/// How long the end of a program waits for its output, which a daemon it left behind may hold open.
const OUTPUT_GRACE: Duration = Duration::from_millis(300);

/// How long programs have to end after SIGTERM when the machine goes down.
const END_GRACE: Duration = Duration::from_secs(5);

/// The programs of this guest; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Processes {
    line: Line,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Signalled when a child was started, and when one was collected.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<i32, Sender<Status>>,
    pids: HashMap<Id, i32>,
    inputs: HashMap<Id, Sender<Vec<u8>>>,
}

impl Processes {
    /// Starts the collecting thread.
    pub(super) fn start(line: Line) -> Self {
        let shared = Arc::new(Shared::default());
        let collector = Arc::clone(&shared);
        std::thread::spawn(move || collector.collect_for_ever());
        Self { line, shared }
    }

    /// Runs a program of the agent's own to its end; its output goes to the console.
    pub(super) fn run(&self, argv: &[&str]) -> io::Result<Status> {
        let ended = {
            let mut table = self.shared.lock();
            let child = host::bare(argv[0])
                .args(&argv[1..])
                .env("PATH", PATH)
                .stdin(Stdio::null())
                .process_group(0)
                .spawn()
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", argv[0])))?;
            self.shared.watch(&mut table, child.id())
        };
        ended.recv().map_err(io::Error::other)
    }

    /// Starts a program for the host and tells it so. Fails only if the host cannot be told.
    pub(super) fn spawn(&self, spawn: &Spawn) -> io::Result<()> {
        let id = spawn.id;
        let Some((program, args)) = spawn.argv.split_first() else {
            return self.refuse(id, "no program named");
        };
        let mut command = host::bare(program);
        command
            .args(args)
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .envs(&spawn.env)
            .current_dir(&spawn.cwd)
            .stdin(if spawn.stdin {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut table = self.shared.lock();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                drop(table);
                return self.refuse(id, &format!("{program}: {error}"));
            }
        };
        let pid = child.id().cast_signed();
        let ended = self.shared.watch(&mut table, child.id());
        table.pids.insert(id, pid);
        if let Some(stdin) = child.stdin.take() {
            let (input, pieces) = channel();
            table.inputs.insert(id, input);
            std::thread::spawn(move || pass_input(stdin, &pieces));
        }
        drop(table);
        self.line.send(&ToHost::Started { id, pid }, b"")?;

        let (open, closed) = channel::<()>();
        if let Some(stdout) = child.stdout.take() {
            self.pass_output(id, Stream::Stdout, stdout, open.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            self.pass_output(id, Stream::Stderr, stderr, open);
        }
        let this = self.clone();
        std::thread::spawn(move || this.report_end(id, &ended, &closed));
        Ok(())
    }

    pub(super) fn feed(&self, id: Id, piece: Vec<u8>) {
        if let Some(input) = self.shared.lock().inputs.get(&id) {
            // A program that has closed its stdin does not want the rest.
            let _ = input.send(piece);
        }
    }

    pub(super) fn end_input(&self, id: Id) {
        self.shared.lock().inputs.remove(&id);
    }

    /// Sends a signal; to one that has ended, nothing happens.
    pub(super) fn signal(&self, id: Id, signal: i32, group: bool) {
        let table = self.shared.lock();
        let Some(pid) = table.pids.get(&id).map(|pid| Pid::from_raw(*pid)) else {
            return;
        };
        let Ok(signal) = Signal::try_from(signal) else {
            return;
        };
        let _ = if group {
            killpg(pid, signal)
        } else {
            kill(pid, signal)
        };
    }

    /// Ends every program of the guest: SIGTERM, time to react, SIGKILL.
    pub(super) fn end_all(&self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            // -1: everyone but the agent itself.
            let _ = kill(Pid::from_raw(-1), signal);
            if self.await_none(Instant::now() + END_GRACE) {
                return;
            }
        }
    }

    /// Waits until no child is left; false when the deadline passes first.
    fn await_none(&self, deadline: Instant) -> bool {
        let mut table = self.shared.lock();
        while waitid(WaitId::All, PEEK | WaitPidFlag::WNOHANG) != Err(Errno::ECHILD) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            table = self
                .shared
                .changed
                .wait_timeout(table, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(table, _)| table);
        }
        true
    }

    fn refuse(&self, id: Id, error: &str) -> io::Result<()> {
        let error = error.to_owned();
        self.line.send(&ToHost::SpawnFailed { id, error }, b"")
    }

    fn pass_output(
        &self,
        id: Id,
        stream: Stream,
        mut from: impl Read + Send + 'static,
        open: Sender<()>,
    ) {
        let line = self.line.clone();
        std::thread::spawn(move || {
            let _open = open;
            let mut buffer = vec![0; CHUNK];
            loop {
                match from.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => {
                        if line
                            .send(&ToHost::Output { id, stream }, &buffer[..n])
                            .is_err()
                        {
                            return;
                        }
                    }
                }
            }
        });
    }

    fn report_end(&self, id: Id, ended: &Receiver<Status>, closed: &Receiver<()>) {
        let Ok(status) = ended.recv() else { return };
        // Ends at once when both outputs are closed: then nobody holds the other side.
        let _ = closed.recv_timeout(OUTPUT_GRACE);
        {
            let mut table = self.shared.lock();
            table.inputs.remove(&id);
            table.pids.remove(&id);
        }
        let _ = self.line.send(&ToHost::Exited { id, status }, b"");
    }
}

const PEEK: WaitPidFlag = WaitPidFlag::WEXITED.union(WaitPidFlag::WNOWAIT);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a child that was started under this lock.
    fn watch(&self, table: &mut Table, pid: u32) -> Receiver<Status> {
        let (end, ended) = channel();
        table.running.insert(pid.cast_signed(), end);
        self.changed.notify_all();
        ended
    }

    fn collect_for_ever(&self) {
        loop {
            match waitid(WaitId::All, PEEK) {
                Err(Errno::ECHILD) => {
                    let table = self.lock();
                    // A child may have been started since; then there is nothing to wait for.
                    if waitid(WaitId::All, PEEK | WaitPidFlag::WNOHANG) == Err(Errno::ECHILD) {
                        drop(self.changed.wait(table));
                    }
                }
                Err(_) => {}
                Ok(seen) => {
                    let mut table = self.lock();
                    if let Some(pid) = seen.pid() {
                        self.collect(&mut table, pid);
                    }
                }
            }
        }
    }

    fn collect(&self, table: &mut Table, pid: Pid) {
        let status = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Status::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Status::Signal(signal as i32),
            _ => return,
        };
        if let Some(end) = table.running.remove(&pid.as_raw()) {
            let _ = end.send(status);
        }
        self.changed.notify_all();
    }
}

fn pass_input(mut to: ChildStdin, pieces: &Receiver<Vec<u8>>) {
    for piece in pieces {
        if to.write_all(&piece).is_err() {
            return;
        }
    }
}
