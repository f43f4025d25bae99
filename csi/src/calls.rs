//! How long CSI calls take and how they end, as metrics: those that every driver has which is written with
//! Kubernetes' csi-lib-utils, so that they stand beside the sidecars' `csi_sidecar_operations_seconds`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{HeaderMap, Request, Response};
use lvmd::names::DRIVER;
use lvmd::status;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;
use tower::{Layer, Service};

/// Seconds of calls: from an answer out of memory to a volume that is copied or formatted.
const BUCKETS: [f64; 13] = [
    0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0, 300.0,
];

/// Names of methods that are none are not kept: callers could make up any number of them.
const NO_METHOD: &str = "unimplemented";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    driver_name: &'static str,
    /// As it is on the wire, such as `/csi.v1.Node/NodePublishVolume`; of what nobody implements [`NO_METHOD`].
    method_name: String,
    grpc_status_code: &'static str,
}

/// See the module. As a layer of a server it counts what that is asked.
#[derive(Debug, Clone)]
pub struct Calls(Family<Call, Histogram, fn() -> Histogram>);

impl Calls {
    /// Counts that are shown on a metrics page.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self(Family::new_with_constructor(|| Histogram::new(BUCKETS)));
        registry.register(
            "csi_plugin_operations_seconds",
            "Time a CSI call took, by its method and gRPC code",
            this.0.clone(),
        );
        this
    }
}

impl<S> Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        let calls = self.clone();
        Counted { inner, calls }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    calls: Calls,
}

/// A call that is under way. It is counted also when its caller goes away before its end.
struct UnderWay {
    calls: Calls,
    method: String,
    since: Instant,
    code: Code,
}

impl UnderWay {
    fn ended(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let method_name = match self.code {
            Code::Unimplemented => NO_METHOD.to_owned(),
            _ => std::mem::take(&mut self.method),
        };
        let call = Call {
            driver_name: DRIVER,
            method_name,
            grpc_status_code: status::name(self.code),
        };
        let seconds = self.calls.0.get_or_create(&call);
        seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

/// The code of an answer. That of a refusal is in the headers, as nothing follows them; what has none succeeded, since no
/// call of CSI's answers with a stream.
fn code(headers: &HeaderMap) -> Code {
    let code = headers.get("grpc-status");
    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

impl<S, Q, A> Service<Request<Q>> for Counted<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let under_way = UnderWay {
            calls: self.calls.clone(),
            method: request.uri().path().to_owned(),
            since: Instant::now(),
            code: Code::Cancelled,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let headers = answer.as_ref().map(Response::headers);
            under_way.ended(headers.map_or(Code::Unknown, code));
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use lvmd::metrics::Page;
    use tower::ServiceExt;

    use super::*;
    use crate::identity::{Identity, Ready};
    use crate::proto::identity_server::IdentityServer;

    #[derive(Debug)]
    struct Never;

    impl Ready for Never {
        async fn ready(&self) -> bool {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn calls_are_counted_by_method_and_code_also_those_that_are_given_up() {
        let mut registry = Registry::default();
        let calls = Calls::register(&mut registry);
        let service = calls.layer(IdentityServer::new(Identity(Never)));
        let call = |method: &str| {
            let request = Request::post(format!("/csi.v1.Identity/{method}"))
                .header("content-type", "application/grpc")
                // A message of no bytes that is not compressed.
                .body(Body::from(vec![0; 5]));
            service.clone().oneshot(request.unwrap())
        };
        call("GetPluginInfo").await.unwrap();
        call("GetPluginInfo").await.unwrap();
        call("NoSuchCall").await.unwrap();
        let patience = std::time::Duration::from_millis(1);
        let given_up = tokio::time::timeout(patience, call("Probe")).await;
        assert!(given_up.is_err());
        let (_, page) = Page::new(registry).render(None);
        for (method, code, count) in [
            ("/csi.v1.Identity/GetPluginInfo", "OK", 2),
            ("unimplemented", "Unimplemented", 1),
            ("/csi.v1.Identity/Probe", "Canceled", 1),
        ] {
            let line = format!(
                "csi_plugin_operations_seconds_count{{driver_name=\"topolvm.io\",\
                 method_name=\"{method}\",grpc_status_code=\"{code}\"}} {count}"
            );
            assert!(page.lines().any(|l| l == line), "{line} not in:\n{page}");
        }
    }
}
