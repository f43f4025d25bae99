//! Joins its own stdin and stdout to a unix socket of the guest, for the host's end of a forwarded socket.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Copies in both directions until the socket's side ends.
///
/// # Errors
/// Nobody listens on the socket.
pub fn relay(socket: &Path) -> io::Result<()> {
    let socket = UnixStream::connect(socket)?;
    let mut to_socket = socket.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_socket);
        let _ = to_socket.shutdown(Shutdown::Write);
    });
    let mut from_socket = socket;
    let mut out = io::stdout().lock();
    let mut buffer = [0; 1 << 15];
    loop {
        // Not io::copy: what came so far must not wait for more.
        match io::Read::read(&mut from_socket, &mut buffer)? {
            0 => return Ok(()),
            n => out.write_all(&buffer[..n]).and_then(|()| out.flush())?,
        }
    }
}
