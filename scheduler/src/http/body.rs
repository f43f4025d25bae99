//! The body of a question, in one piece of text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use futures::{FutureExt, StreamExt};

use crate::room::{Room, Taken};
use crate::wire::Arriving;

/// How much is set aside at most before any of it came, in bytes: what one says that one will send is not believed
/// without bound.
const AHEAD: usize = 32 << 20;

/// How long the next part of a question is looked for before it is waited for.
const MOMENT: Duration = Duration::from_micros(200);
/// How long that may be in all, for one question.
const PATIENCE: Duration = Duration::from_millis(10);

/// Why there is no body, in words.
type Refused = (StatusCode, String);

/// Reads a body of at most `most` bytes, and has it looked at while it comes.
///
/// Each part is copied to its place as it comes, so that the connection's own buffer is free for the next one: it stays the
/// same memory, which the processor has at hand. All parts kept, each would be memory that the kernel has to make.
pub(super) async fn read(
    request: Request,
    most: usize,
    room: &Arc<Room>,
    arriving: &mut Arriving,
) -> Result<Taken<String>, Refused> {
    let large = || {
        let said = format!(
            "a question has at most {most} bytes; is there a limit on the nodes that kube-scheduler sends (percentageOfNodesToScore)?"
        );
        (StatusCode::PAYLOAD_TOO_LARGE, said)
    };
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    if length > most {
        return Err(large());
    }
    let mut text = Text {
        whole: room.take(length.min(AHEAD)),
        begun: Vec::new(),
    };
    let mut parts = request.into_body().into_data_stream();
    let mut patience = PATIENCE;
    while let Some(part) = soon(&mut parts, &mut patience).await {
        let part = part.map_err(|error| {
            let said = format!("the question broke off: {error}");
            (StatusCode::BAD_REQUEST, said)
        })?;
        if part.len() > most - text.len() {
            return Err(large());
        }
        text.push(&part)?;
        arriving.look(text.whole.held.as_bytes());
    }
    text.end()
}

/// The next part. It is about to come: for a moment it is looked for again and again, since to be woken takes longer.
async fn soon(
    parts: &mut BodyDataStream,
    patience: &mut Duration,
) -> Option<Result<Bytes, axum::Error>> {
    let since = Instant::now();
    let moment = MOMENT.min(*patience);
    while since.elapsed() < moment {
        if let Some(part) = parts.next().now_or_never() {
            *patience -= since.elapsed().min(moment);
            return part;
        }
        tokio::task::yield_now().await;
    }
    *patience -= moment;
    parts.next().await
}

/// Text that comes in parts, which may end within a character.
struct Text {
    whole: Taken<String>,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Text {
    fn len(&self) -> usize {
        self.whole.held.len() + self.begun.len()
    }

    fn push(&mut self, mut part: &[u8]) -> Result<(), Refused> {
        while !self.begun.is_empty()
            && let Some((byte, rest)) = part.split_first()
        {
            part = rest;
            let mut character = std::mem::take(&mut self.begun);
            character.push(*byte);
            self.add(&character)?;
        }
        self.add(part)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.whole.held.push_str(text),
            Err(error) => {
                let (text, rest) = bytes.split_at(error.valid_up_to());
                self.add(text)?;
                if error.error_len().is_some() {
                    return Err(self.no_text());
                }
                self.begun = rest.to_vec();
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Taken<String>, Refused> {
        match self.begun.is_empty() {
            true => Ok(self.whole),
            false => Err(self.no_text()),
        }
    }

    fn no_text(&self) -> Refused {
        let at = self.whole.held.len();
        let said = format!("the body is no question: it is no UTF-8 at byte {at}");
        (StatusCode::BAD_REQUEST, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], part: usize) -> Result<String, Refused> {
        let mut text = Text {
            whole: Arc::new(Room::default()).take(0),
            begun: Vec::new(),
        };
        for part in bytes.chunks(part) {
            text.push(part)?;
        }
        text.end().map(|text| text.held.clone())
    }

    #[test]
    fn text_is_the_same_in_whatever_parts_it_comes() {
        let text = "a\u{e4}\u{20ac}\u{1f980}b";
        for part in 1..=text.len() {
            assert_eq!(read(text.as_bytes(), part).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_the_place() {
        for (bytes, at) in [
            (&b"ab\xffc"[..], 2),
            (b"a\xe2\x82", 1),
            (b"a\xe2\x82b", 1),
            (b"\xc3\xa4\xa4", 2),
            (b"\xf0\x9f\xa6a", 0),
        ] {
            for part in 1..=bytes.len() {
                let (status, said) = read(bytes, part).unwrap_err();
                let expected = format!("the body is no question: it is no UTF-8 at byte {at}");
                assert_eq!((status, said), (StatusCode::BAD_REQUEST, expected));
            }
        }
    }
}
