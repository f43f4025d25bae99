//! The API server's questions and our answers: `POST /pod/mutate`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use kube::{Api, Client};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tracing::{debug, warn};

use super::pod::{self, Objects};
use crate::error::Error;

/// The largest question, in bytes: some times what etcd takes of one object.
const MAX_QUESTION: usize = 8 << 20;
/// How long the API server may be asked back; it waits ten seconds itself.
const LIMIT: Duration = Duration::from_secs(8);

/// How many questions there were, by what came of them.
#[derive(Debug, Clone, Default)]
pub struct Counts(Family<Answer, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    /// `patched`, `passed`, `refused`.
    result: &'static str,
}

impl Counts {
    /// Counts that are shown on a metrics page.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "basalt_webhook_answers",
            "Pods that the webhook judged, by result",
            this.0.clone(),
        );
        this
    }

    fn count(&self, result: &'static str) {
        self.0.get_or_create(&Answer { result }).inc();
    }
}

/// Claims and classes as the API server has them now: each pod is asked about once, so
/// there is nothing to remember, and nothing old to be wrong about.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a Client has none")]
pub struct Live(pub Client);

impl Objects for Live {
    async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, Error> {
        if !is_name(name) {
            return Ok(None);
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.0.clone(), namespace);
        Ok(api.get_opt(name).await?)
    }

    async fn class(&self, name: &str) -> Result<Option<StorageClass>, Error> {
        if !is_name(name) {
            return Ok(None);
        }
        let api: Api<StorageClass> = Api::all(self.0.clone());
        Ok(api.get_opt(name).await?)
    }
}

/// Whether anything can have this name. The API server checks a pod's fields only after the
/// webhooks, and a name becomes part of a path.
fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(known)
}

struct Webhook<O> {
    objects: O,
    counts: Counts,
}

/// The routes.
pub fn router<O: Objects + 'static>(objects: O, counts: Counts) -> Router {
    Router::new()
        .route("/pod/mutate", post(mutate::<O>))
        .layer(DefaultBodyLimit::max(MAX_QUESTION))
        .with_state(Arc::new(Webhook { objects, counts }))
}

async fn mutate<O: Objects>(State(webhook): State<Arc<Webhook<O>>>, body: Bytes) -> Response {
    let review: Result<AdmissionReview<Pod>, _> = serde_json::from_slice(&body);
    let request = review
        .map_err(|error| error.to_string())
        .and_then(|review| {
            TryInto::<AdmissionRequest<Pod>>::try_into(review).map_err(|error| error.to_string())
        });
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            warn!(error, "the question cannot be read");
            webhook.counts.count("refused");
            return (StatusCode::BAD_REQUEST, error).into_response();
        }
    };
    let (response, result) = match answer(&request, &webhook.objects).await {
        Ok(answered) => answered,
        Err(error) => {
            let pod = request.name.as_str();
            warn!(namespace = request.namespace, pod, %error, "a pod is refused");
            let mut refusal = AdmissionResponse::from(&request).deny(&error);
            refusal.result.code = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
            (refusal, "refused")
        }
    };
    webhook.counts.count(result);
    Json(response.into_review()).into_response()
}

async fn answer(
    request: &AdmissionRequest<Pod>,
    objects: &impl Objects,
) -> Result<(AdmissionResponse, &'static str), Error> {
    let response = AdmissionResponse::from(request);
    let Some(pod) = &request.object else {
        return Ok((response, "passed"));
    };
    if pod
        .spec
        .as_ref()
        .is_none_or(|spec| spec.containers.is_empty())
    {
        return Ok((response.deny("pod has no containers"), "refused"));
    }
    let namespace = pod
        .metadata
        .namespace
        .as_ref()
        .filter(|name| !name.is_empty());
    let namespace = namespace
        .or(request.namespace.as_ref())
        .map_or("", String::as_str);
    let wanted = tokio::time::timeout(LIMIT, pod::wanted(pod, namespace, objects))
        .await
        .map_err(|_| Error::Unavailable("the API server does not answer".to_owned()))??;
    if wanted.is_empty() {
        return Ok((response, "passed"));
    }
    debug!(
        namespace,
        pod = request.name,
        ?wanted,
        "a pod wants volumes"
    );
    let patched = serde_json::from_value(pod::patch(pod, &wanted))
        .map_err(|error| error.to_string())
        .and_then(|patch| {
            response
                .with_patch(patch)
                .map_err(|error| error.to_string())
        })
        .map_err(Error::Internal)?;
    Ok((patched, "patched"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_elsewhere() {
        for (name, is) in [
            ("data", true),
            ("data-web-0.x", true),
            ("", false),
            ("..", false),
            ("../../secrets/x", false),
            ("a/b", false),
            ("a?watch=1", false),
            ("a%2fb", false),
        ] {
            assert_eq!(is_name(name), is, "{name}");
        }
    }
}
