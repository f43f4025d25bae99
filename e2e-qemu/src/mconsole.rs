//! The management console of a user-mode kernel: one datagram asks, one or more answer.
//!
//! The kernel sends its answer to the path that the asking socket is bound to, and looks that path up in the
//! root it was started in; so sockets lie in the guest's folder, which has the same path there.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

const MAGIC: u32 = 0xcafe_babe;
const VERSION: u32 = 2;
const MAX_DATA: usize = 512;
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the console at `socket` to do `command`; binds `reply` for the answer.
///
/// # Errors
/// The socket's own, or `Other` with the kernel's words if it refused.
pub(crate) fn ask(socket: &Path, reply: &Path, command: &str) -> io::Result<String> {
    let _ = std::fs::remove_file(reply);
    let ours = UnixDatagram::bind(reply)?;
    ours.set_read_timeout(Some(PATIENCE))?;
    ours.send_to(&request(command)?, socket)?;
    let mut text = String::new();
    loop {
        let mut buffer = [0; 12 + MAX_DATA];
        let n = ours.recv(&mut buffer)?;
        let answer = Answer::parse(&buffer[..n])?;
        text.push_str(&answer.text);
        if answer.more {
            continue;
        }
        let _ = std::fs::remove_file(reply);
        return match answer.failed {
            false => Ok(text),
            true => Err(io::Error::other(text)),
        };
    }
}

fn request(command: &str) -> io::Result<Vec<u8>> {
    let length = command.len();
    if length >= MAX_DATA {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "command too long",
        ));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let mut bytes: Vec<u8> = [MAGIC, VERSION, length]
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    bytes.extend_from_slice(command.as_bytes());
    bytes.resize(12 + MAX_DATA, 0);
    Ok(bytes)
}

struct Answer {
    failed: bool,
    more: bool,
    text: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let word = |n: usize| {
            bytes
                .get(4 * n..4 * n + 4)
                .and_then(|word| word.try_into().ok())
                .map(u32::from_ne_bytes)
        };
        let short = || io::Error::new(io::ErrorKind::InvalidData, "answer too short");
        let (failed, more) = word(0).zip(word(1)).ok_or_else(short)?;
        let data = bytes.get(12..).ok_or_else(short)?;
        let end = data
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(data.len());
        Ok(Self {
            failed: failed != 0,
            more: more != 0,
            text: String::from_utf8_lossy(&data[..end]).trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_kernels_layout() {
        let bytes = request("config ubdb=/x").unwrap();
        assert_eq!(bytes.len(), 524);
        assert_eq!(bytes[..4], MAGIC.to_ne_bytes());
        assert_eq!(bytes[8..12], 14u32.to_ne_bytes());
        assert_eq!(&bytes[12..26], b"config ubdb=/x");
        assert!(request(&"x".repeat(MAX_DATA)).is_err());
    }

    #[test]
    fn answers_in_pieces_and_refusals() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("kernel");
        let kernel = UnixDatagram::bind(&socket).unwrap();
        let reply = dir.path().join("reply");
        let answers = [
            (0u32, 1u32, "one "),
            (0, 0, "two\n"),
            (1, 0, "no such device"),
        ];
        let thread = std::thread::spawn(move || {
            for round in [&answers[..2], &answers[2..]] {
                let mut buffer = [0; 600];
                let (_, from) = kernel.recv_from(&mut buffer).unwrap();
                for (failed, more, text) in round {
                    let mut bytes: Vec<u8> = [*failed, *more, u32::try_from(text.len()).unwrap()]
                        .into_iter()
                        .flat_map(u32::to_ne_bytes)
                        .collect();
                    bytes.extend_from_slice(text.as_bytes());
                    bytes.push(0);
                    kernel.send_to(&bytes, from.as_pathname().unwrap()).unwrap();
                }
            }
        });
        assert_eq!(ask(&socket, &reply, "version").unwrap(), "onetwo");
        let refusal = ask(&socket, &reply, "remove ubdz").unwrap_err();
        assert_eq!(refusal.to_string(), "no such device");
        thread.join().unwrap();
    }
}
