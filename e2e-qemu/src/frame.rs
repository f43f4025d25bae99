//! How messages travel over a byte stream between host and guest.
//!
//! A frame is the mark `bslt`, the length of its header and of its payload (both u32, little endian), the
//! header as JSON, and the payload as it is. The mark lets the reader skip what a terminal driver said before
//! the agent took the line over.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

const MARK: [u8; 4] = *b"bslt";

/// The longest header or payload that is believed, in bytes.
const LIMIT: usize = 16 << 20;

/// Payloads are cut into pieces of this many bytes, so that no message holds up the others for long.
pub const CHUNK: usize = 32 << 10;

/// Writes one frame; the writer is not flushed.
///
/// # Errors
/// The writer's own, or `InvalidInput` for a header or payload beyond 16 MiB.
pub fn write<H: Serialize>(to: &mut impl Write, header: &H, payload: &[u8]) -> io::Result<()> {
    to.write_all(&encode(header, payload)?)
}

/// One frame.
///
/// # Errors
/// `InvalidInput` for a header or payload beyond 16 MiB.
pub fn encode<H: Serialize>(header: &H, payload: &[u8]) -> io::Result<Vec<u8>> {
    let header = serde_json::to_vec(header)?;
    let mut frame = Vec::with_capacity(12 + header.len() + payload.len());
    frame.extend_from_slice(&MARK);
    for part in [&header[..], payload] {
        let length = u32::try_from(part.len())
            .ok()
            .filter(|_| part.len() <= LIMIT)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "frame too long"))?;
        frame.extend_from_slice(&length.to_le_bytes());
    }
    frame.extend_from_slice(&header);
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Reads one frame, skipping whatever is before its mark.
///
/// # Errors
/// The reader's own (`UnexpectedEof` at the end of the stream), or `InvalidData` for a frame that cannot be.
pub fn read<H: DeserializeOwned>(from: &mut impl Read) -> io::Result<(H, Vec<u8>)> {
    let mut window = [0; 4];
    from.read_exact(&mut window)?;
    while window != MARK {
        window.rotate_left(1);
        from.read_exact(&mut window[3..])?;
    }
    let header = length(from)?;
    let payload = length(from)?;
    let header = block(from, header)?;
    let payload = block(from, payload)?;
    Ok((serde_json::from_slice(&header)?, payload))
}

fn length(from: &mut impl Read) -> io::Result<usize> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    usize::try_from(u32::from_le_bytes(bytes))
        .ok()
        .filter(|length| *length <= LIMIT)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "frame too long"))
}

fn block(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &header, payload).unwrap();
        bytes
    }

    #[test]
    fn frames_come_back_in_order() {
        let mut bytes = encoded("one", b"");
        bytes.extend(encoded("two", &[0, 255, b'b', b's', b'l', b't']));
        let mut reader = &bytes[..];
        let (header, payload): (String, _) = read(&mut reader).unwrap();
        assert_eq!((header.as_str(), payload), ("one", vec![]));
        let (header, payload): (String, _) = read(&mut reader).unwrap();
        assert_eq!(
            (header.as_str(), payload),
            ("two", vec![0, 255, b'b', b's', b'l', b't'])
        );
        assert_eq!(
            read::<String>(&mut reader).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn noise_before_the_mark_is_skipped() {
        for noise in ["", "x", "bs", "bsl", "bbslbs", "hello\r\n"] {
            let mut bytes = noise.as_bytes().to_vec();
            bytes.extend(encoded("here", b"p"));
            let (header, _): (String, _) = read(&mut &bytes[..]).unwrap();
            assert_eq!(header, "here", "after {noise:?}");
        }
    }

    #[test]
    fn an_absurd_length_is_refused() {
        let mut bytes = MARK.to_vec();
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0; 4]);
        assert_eq!(
            read::<String>(&mut &bytes[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
