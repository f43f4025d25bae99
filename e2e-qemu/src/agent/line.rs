//! The agent's line to the host: a serial line of a user-mode kernel, or a virtio port of a virtual machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::watch::until;
use crate::frame;
use crate::protocol::{TOLD_EVERY, ToHost};

/// The line; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    writer: Arc<Mutex<File>>,
}

impl Line {
    /// Opens the device, waiting for it if need be, and makes it carry bytes unchanged.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let path = Path::new("/dev").join(name);
        until(|| path.exists().then_some(()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no line to the host"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NOCTTY)
            .open(path)?;
        if let Ok(mut settings) = tcgetattr(&file) {
            cfmakeraw(&mut settings);
            tcsetattr(&file, SetArg::TCSAFLUSH, &settings)?;
        }
        Ok(Self {
            writer: Arc::new(Mutex::new(file)),
        })
    }

    /// A second handle, for the one thread that reads.
    pub(super) fn reader(&self) -> io::Result<io::BufReader<Counted>> {
        let file = self.lock().try_clone()?;
        Ok(io::BufReader::new(Counted {
            file,
            line: self.clone(),
            taken: 0,
            told: 0,
        }))
    }

    pub(super) fn send(&self, message: &ToHost, payload: &[u8]) -> io::Result<()> {
        frame::write(&mut *self.lock(), message, payload)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line as it is read: the host is told what was taken off it.
#[derive(Debug)]
pub(super) struct Counted {
    file: File,
    line: Line,
    taken: u64,
    told: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.taken += read as u64;
        if self.taken - self.told >= TOLD_EVERY {
            self.told = self.taken;
            let bytes = self.taken;
            self.line.send(&ToHost::Took { bytes }, b"")?;
        }
        Ok(read)
    }
}
