//! The extender's HTTP interface: `/predicate`, `/prioritize`, `/status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{debug, info, warn};

use crate::filter::{fits, wanted};
use crate::score::{Divisors, node_score};
use crate::wire::{FilterAnswer, HostPriority, Node, NodeList, Pod, Question};

/// The largest question, in bytes: about 10,000 whole nodes. Upstream stops at 10 MiB,
/// and then no pod with a volume is scheduled any more.
const MAX_QUESTION: usize = 64 << 20;
/// How long a question may take to arrive and be answered.
const LIMIT: Duration = Duration::from_secs(30);

/// The routes. As with upstream the method does not matter.
pub fn router(divisors: Divisors) -> Router {
    Router::new()
        .route("/predicate", any(predicate))
        .route("/prioritize", any(prioritize))
        .route("/status", any(async || "ok"))
        .layer(DefaultBodyLimit::max(MAX_QUESTION))
        .layer(middleware::from_fn(watch))
        .with_state(Arc::new(divisors))
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
    if url.path() == "/status" {
        debug!(http_method = %method, %url, http_status_code = status, response_time = seconds, "access");
    } else {
        info!(http_method = %method, %url, http_status_code = status, response_time = seconds, http_user_agent = agent, "access");
    }
    response
}

/// A question with everything an answer needs.
struct Asked<'a> {
    pod: Pod,
    nodes: NodeList<'a>,
}

/// Reads a question.
///
/// # Errors
/// What is wrong with it, in words for who configures kube-scheduler.
fn read(body: &[u8]) -> Result<Asked<'_>, String> {
    let question: Question<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("the body is no question: {error}"))?;
    let pod = question.pod.ok_or("the question has no pod")?;
    match (question.nodes, question.nodenames) {
        (Some(nodes), _) => Ok(Asked { pod, nodes }),
        (None, Some(_)) => Err(
            "the question has the nodes' names only, and their capacity stands in their \
             annotations: set nodeCacheCapable to false for this extender"
                .to_owned(),
        ),
        (None, None) => Err("the question has no nodes".to_owned()),
    }
}

fn node(raw: &RawValue) -> Result<Node, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("a node cannot be read: {error}"))
}

fn filter(asked: Asked<'_>) -> Result<FilterAnswer<'_>, String> {
    let wanted = wanted(&asked.pod.metadata);
    if wanted.is_empty() {
        return Ok(FilterAnswer {
            nodes: Some(asked.nodes),
            ..FilterAnswer::default()
        });
    }
    let mut fit = Vec::new();
    let mut failed_nodes = BTreeMap::new();
    for raw in asked.nodes.items.unwrap_or_default() {
        let node = node(raw)?.metadata;
        match fits(&node, &wanted) {
            Ok(()) => fit.push(raw),
            Err(misfit) => {
                failed_nodes.insert(node.name, misfit.to_string());
            }
        }
    }
    Ok(FilterAnswer {
        nodes: Some(NodeList {
            metadata: asked.nodes.metadata,
            items: Some(fit),
        }),
        failed_nodes,
        error: String::new(),
    })
}

/// `None`, written as `null`, when the pod wants nothing: upstream's answer.
fn score(asked: Asked<'_>, divisors: &Divisors) -> Result<Option<Vec<HostPriority>>, String> {
    let mut priorities = Vec::new();
    for raw in asked.nodes.items.unwrap_or_default() {
        let node = node(raw)?.metadata;
        let Some(score) = node_score(&node, &asked.pod.metadata, divisors) else {
            return Ok(None);
        };
        priorities.push(HostPriority {
            host: node.name,
            score,
        });
    }
    let wants = asked.pod.metadata.capacities().next().is_some();
    Ok(wants.then_some(priorities))
}

async fn predicate(body: Bytes) -> Response {
    answer(read(&body).and_then(filter))
}

async fn prioritize(State(divisors): State<Arc<Divisors>>, body: Bytes) -> Response {
    answer(read(&body).and_then(|asked| score(asked, &divisors)))
}

/// 200 with the answer, or 400 with the reason in the answer's `error`.
fn answer(result: Result<impl Serialize, String>) -> Response {
    let written = result.and_then(|answer| {
        serde_json::to_vec(&answer)
            .map_err(|error| format!("the answer cannot be written: {error}"))
    });
    match written {
        Ok(body) => {
            let json = HeaderValue::from_static("application/json");
            (HeaderMap::from_iter([(CONTENT_TYPE, json)]), body).into_response()
        }
        Err(error) => {
            warn!(error, "question refused");
            let answer = FilterAnswer {
                error,
                ..FilterAnswer::default()
            };
            (StatusCode::BAD_REQUEST, Json(answer)).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
