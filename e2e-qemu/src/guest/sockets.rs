//! Unix sockets of a guest, reached from the host.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use super::Guest;
use crate::command::Command;
use crate::error::{GuestError, Result};
use crate::frame::CHUNK;
use crate::process::{Link, Process};

/// Where the agent's executable is in every guest.
const AGENT: &str = "/.basalt/agent";

/// Tells the host's ends of forwarded sockets apart.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A socket on the host that leads to one in a guest, as long as this lives and the guest is not rebooted. Each
/// connection costs one process in the guest.
#[derive(Debug)]
pub struct Forward {
    path: PathBuf,
    closed: Arc<AtomicBool>,
}

impl Forward {
    /// The socket on the host, for any client.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // The listener looks at the flag when somebody connects.
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Guest {
    /// Makes a socket on the host that leads to the unix socket `socket` in the guest. Nobody needs to listen there
    /// yet; a connection that finds nobody is closed.
    ///
    /// # Errors
    /// The guest is not running.
    pub fn forward(&self, socket: impl Into<String>) -> Result<Forward> {
        let socket = socket.into();
        let link = self.link("forwarding a socket")?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.path().join(format!("forward{number}"));
        let listener = UnixListener::bind(&path)
            .map_err(GuestError::host(format!("listen on {}", path.display())))?;
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), false) = (stream, flag.load(Ordering::Acquire)) else {
                    return;
                };
                let (link, socket) = (link.clone(), socket.clone());
                std::thread::spawn(move || join(stream, link, &socket));
            }
        });
        Ok(Forward { path, closed })
    }
}

/// Copies between a connection and a relay in the guest until either ends. Whatever goes wrong ends the
/// connection, which is all that its client could be told anyway.
fn join(stream: UnixStream, link: Link, socket: &str) {
    let relay = Command::new(AGENT).args(["relay", socket]);
    let Ok((process, output)) = Process::start_piped(link, &relay) else {
        return;
    };
    let Ok(back) = stream.try_clone() else { return };
    let answers = std::thread::spawn(move || pass_back(back, &output));
    let mut stream = stream;
    let mut buffer = vec![0; CHUNK];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if process.write(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = process.close_stdin();
    let _ = answers.join();
}

fn pass_back(mut stream: UnixStream, output: &Receiver<Vec<u8>>) {
    for piece in output {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
