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
use lvmd::runtime::http::{Check, Health};
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

/// What kube-scheduler asks, each at the path of this name.
const VERBS: [&str; 2] = ["predicate", "prioritize"];

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
        .layer(middleware::from_fn_with_state(extender.clone(), watch))
        .with_state(extender)
}

/// Writes the access log, counts each answer to a question, and ends what takes too long.
async fn watch(State(extender): State<Arc<Extender>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let url = request.uri().clone();
    let agent = request.headers().get(USER_AGENT).cloned();
    let response = tokio::time::timeout(extender.limit, next.run(request))
        .await
        .unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response());
    let agent = agent.as_ref().and_then(|a| a.to_str().ok());
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    let asked = url.path().strip_prefix('/');
    if let Some(verb) = VERBS.into_iter().find(|verb| asked == Some(*verb)) {
        extender.metrics.answered(verb, status);
    }
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
    extender.timed("predicate", || {
        filtered(body, extender.nodes(), (&arriving, &extender.last))
    })
}

async fn prioritize(State(extender): State<Arc<Extender>>, request: Request) -> Response {
    let mut arriving = extender.last.arriving();
    let body = match body::read(request, MAX_QUESTION, &extender.room, &mut arriving).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    extender.timed("prioritize", || {
        let last = (&arriving, &extender.last);
        scored(&body.held, &extender.divisors, extender.nodes(), last)
    })
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
    limit: Duration,
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
            limit: LIMIT,
        }
    }

    /// The page of its metrics, to be served elsewhere too.
    pub fn page(&self) -> Page {
        self.page.clone()
    }

    /// Whether it can answer, to be told elsewhere too.
    pub fn health(&self) -> Answers {
        Answers(self.nodes.clone())
    }

    fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref()
    }

    /// Answers a question that is here as a whole.
    fn timed(
        &self,
        verb: &'static str,
        work: impl FnOnce() -> Result<Pieces, Refusal>,
    ) -> Response {
        let since = Instant::now();
        let response = answer(work());
        self.metrics.took(verb, since.elapsed());
        response
    }
}

/// Whether an extender can answer. Without names it always can.
#[derive(Debug, Clone)]
pub struct Answers(Option<Nodes>);

impl Health for Answers {
    async fn live(&self) -> Vec<Check> {
        vec![Check::ok("process", "it answers")]
    }

    async fn ready(&self) -> Vec<Check> {
        match self.0.as_ref().is_none_or(Nodes::is_filled) {
            true => vec![Check::ok("nodes", "questions can be answered")],
            false => vec![Check::failed("nodes", "they are not known yet")],
        }
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
