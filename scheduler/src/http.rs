//! The extender's HTTP interface: `/predicate`, `/prioritize`, `/status`, `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use futures::stream;
use lvmd::metrics::Page;
use prometheus_client::registry::Registry;
use tracing::{debug, info, warn};

use crate::answers::Refusal;
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::room::Room;
use crate::score::Divisors;
use crate::wire::{FilterAnswer, LastSeen};
use crate::written::{Pieces, filtered, scored};

/// The largest question, in bytes: 10,000 whole nodes with the fifty images that a kubelet
/// reports at most. Upstream stops at 10 MiB, and then no pod with a volume is scheduled
/// any more.
const MAX_QUESTION: usize = 256 << 20;
/// How long a question may take to arrive and be answered.
const LIMIT: Duration = Duration::from_secs(30);

/// The routes. As with upstream the method does not matter.
pub fn router(extender: Extender) -> Router {
    routes(Arc::new(extender))
}

fn routes(extender: Arc<Extender>) -> Router {
    Router::new()
        .route("/predicate", any(predicate))
        .route("/prioritize", any(prioritize))
        .route("/status", any(status))
        .route("/metrics", any(metrics))
        .layer(middleware::from_fn(watch))
        .with_state(extender)
}

/// Writes the access log and ends what takes too long.
async fn watch(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let url = request.uri().clone();
    let agent = request.headers().get(USER_AGENT).cloned();
    let response = tokio::time::timeout(LIMIT, next.run(request))
        .await
        .unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response());
    let agent = agent.as_ref().and_then(|a| a.to_str().ok());
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    if ["/status", "/metrics"].contains(&url.path()) {
        debug!(http_method = %method, %url, http_status_code = status, response_time = seconds, "access");
    } else {
        info!(http_method = %method, %url, http_status_code = status, response_time = seconds, http_user_agent = agent, "access");
    }
    response
}

async fn predicate(State(extender): State<Arc<Extender>>, request: Request) -> Response {
    let mut arriving = extender.last.arriving();
    let body = match body::read(request, MAX_QUESTION, &extender.room, &mut arriving).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let asked = extender.timed("predicate");
    asked.answered(filtered(
        body,
        extender.nodes(),
        (&arriving, &extender.last),
    ))
}

async fn prioritize(State(extender): State<Arc<Extender>>, request: Request) -> Response {
    let mut arriving = extender.last.arriving();
    let body = match body::read(request, MAX_QUESTION, &extender.room, &mut arriving).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let asked = extender.timed("prioritize");
    asked.answered(scored(
        &body.held,
        &extender.divisors,
        extender.nodes(),
        (&arriving, &extender.last),
    ))
}

async fn status(State(extender): State<Arc<Extender>>) -> Response {
    match extender.nodes().is_none_or(Nodes::is_filled) {
        true => "ok".into_response(),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the nodes are not known yet",
        )
            .into_response(),
    }
}

async fn metrics(State(extender): State<Arc<Extender>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let (kind, text) = extender.page.render(accept);
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// What answers need.
#[derive(Debug)]
pub struct Extender {
    divisors: Divisors,
    nodes: Option<Nodes>,
    metrics: Metrics,
    page: Page,
    room: Arc<Room>,
    last: LastSeen,
}

impl Extender {
    /// An extender; with `nodes` it understands questions with names alone.
    pub fn new(divisors: Divisors, nodes: Option<Nodes>) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let page = Page::new(registry);
        Self {
            divisors,
            nodes,
            metrics,
            page,
            room: Arc::default(),
            last: LastSeen::default(),
        }
    }

    fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref()
    }

    fn timed(&self, verb: &'static str) -> Timed<'_> {
        Timed {
            metrics: &self.metrics,
            verb,
            since: Instant::now(),
        }
    }
}

/// A question that is being answered.
struct Timed<'a> {
    metrics: &'a Metrics,
    verb: &'static str,
    since: Instant,
}

impl Timed<'_> {
    fn answered(self, result: Result<Pieces, Refusal>) -> Response {
        let response = answer(result);
        let took = self.since.elapsed();
        self.metrics
            .answered(self.verb, response.status().as_u16(), took);
        response
    }
}

/// 200 with the answer, or 400 or 503 with the reason in the answer's `error`.
fn answer(result: Result<Pieces, Refusal>) -> Response {
    match result {
        Ok(pieces) => {
            let length = pieces.iter().map(Bytes::len).sum::<usize>();
            let pieces = pieces.into_iter().map(Ok::<_, Infallible>);
            let headers = HeaderMap::from_iter([
                (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (CONTENT_LENGTH, HeaderValue::from(length)),
            ]);
            (headers, Body::from_stream(stream::iter(pieces))).into_response()
        }
        Err(refusal) => {
            warn!(error = %refusal, "question refused");
            let code = match refusal {
                Refusal::Bad(_) => StatusCode::BAD_REQUEST,
                Refusal::NotYet => StatusCode::SERVICE_UNAVAILABLE,
            };
            let answer = FilterAnswer {
                error: refusal.to_string(),
                ..FilterAnswer::default()
            };
            (code, Json(answer)).into_response()
        }
    }
}

mod body;
#[cfg(test)]
mod tests;
