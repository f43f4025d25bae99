//! The body of a question, in one piece.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;

/// How much is set aside at most before any of it came, in bytes: what one says that one will send is not believed
/// without bound.
const AHEAD: usize = 32 << 20;

/// Why there is no body, in words.
type Refused = (StatusCode, String);

/// Reads a body of at most `most` bytes.
///
/// Each part is copied to its place as it comes, so that the connection's own buffer is free for the next one: it stays the
/// same memory, which the processor has at hand. All parts kept, each would be memory that the kernel has to make.
pub(super) async fn read(request: Request, most: usize) -> Result<Vec<u8>, Refused> {
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
    let mut body = Vec::with_capacity(length.min(AHEAD));
    let mut parts = request.into_body().into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            let said = format!("the question broke off: {error}");
            (StatusCode::BAD_REQUEST, said)
        })?;
        if part.len() > most - body.len() {
            return Err(large());
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
