//! A program on the host talks to one in the guest.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::ensure;

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::spec::Backend;

const SIZE: usize = 1 << 20;
/// How much is under way to the guest at once. A serial line of a user-mode kernel whose 4 KiB of buffer were full once
/// hears no more of what comes later (docs/guests.md).
const AT_ONCE: usize = 2 << 10;

/// Bytes that go through a forwarded socket and back are the same; two connections at once are two; a socket that
/// nobody listens on closes the connection.
pub(super) fn forward(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "socket"))?;
    let nobody = guest.forward("/run/nobody")?;
    let mut answer = Vec::new();
    UnixStream::connect(nobody.path())?.read_to_end(&mut answer)?;
    ensure!(answer.is_empty(), "nobody answered");

    let echo = Command::new("systemd-socket-activate").args([
        "--listen=/run/echo",
        "--accept",
        "--inetd",
        "cat",
    ]);
    let echo = guest.spawn(echo)?;
    echo.await_line(Duration::from_secs(10), |line| {
        line.contains("Listening on")
    })?;
    let forward = guest.forward("/run/echo")?;
    let sent: Vec<u8> = (0..SIZE).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let mut first = UnixStream::connect(forward.path())?;
    let mut second = UnixStream::connect(forward.path())?;
    second.write_all(b"second")?;
    let mut word = [0; 6];
    second.read_exact(&mut word)?;
    ensure!(&word == b"second", "the second connection gave {word:?}");
    for (number, piece) in sent.chunks(AT_ONCE).enumerate() {
        first.write_all(piece)?;
        let mut back = vec![0; piece.len()];
        first.read_exact(&mut back)?;
        ensure!(back == piece, "piece {number} came back as another");
    }
    first.shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    first.read_to_end(&mut rest)?;
    ensure!(rest.is_empty(), "{} bytes too many came back", rest.len());
    Ok(())
}
