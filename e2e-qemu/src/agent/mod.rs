//! The guest's first process: makes the booted kernel usable, then does what the host asks.
//!
//! The main thread reads messages from the host; [`Processes`] owns one thread that collects ended programs and
//! three short-lived ones per program (its two outputs and its end). All of them write to the one [`Line`].

mod disks;
mod line;
mod processes;
mod setup;
mod watch;

use std::io;

use line::Line;
use processes::Processes;

use crate::frame;
use crate::protocol::{ToGuest, ToHost};

/// Runs as process 1 until the host says to power off or its line, a device of this name, is cut; then the
/// machine ends.
pub fn run(line: &str) -> ! {
    let ended = serve(line);
    if let Err(error) = &ended {
        eprintln!("agent: {error}");
    }
    setup::power_off()
}

fn serve(line: &str) -> io::Result<()> {
    setup::first_mounts()?;
    let line = Line::open(line)?;
    let mut from_host = line.reader()?;
    let processes = Processes::start(line.clone());
    line.send(
        &ToHost::Hello {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        },
        b"",
    )?;
    loop {
        let (message, payload): (ToGuest, _) = frame::read(&mut from_host)?;
        match message {
            ToGuest::Setup(setup) => {
                let answer = match setup::apply(&setup, &processes) {
                    Ok(()) => ToHost::Ready,
                    Err(error) => ToHost::SetupFailed {
                        error: error.to_string(),
                    },
                };
                line.send(&answer, b"")?;
            }
            ToGuest::Spawn(spawn) => processes.spawn(&spawn)?,
            ToGuest::Stdin { id } => processes.feed(id, payload),
            ToGuest::StdinEnd { id } => processes.end_input(id),
            ToGuest::Signal { id, signal, group } => processes.signal(id, signal, group),
            ToGuest::AwaitDisk { id, key } => disks::await_disk(line.clone(), id, key),
            ToGuest::AwaitNoDisk { id, name } => disks::await_no_disk(line.clone(), id, name),
            ToGuest::PowerOff => {
                processes.end_all();
                return Ok(());
            }
        }
    }
}
