//! The HTTP side door: `/metrics`, `/healthz`, `/readyz`.
//!
//! A health page answers 200 when no check failed and 503 when one did, with a line for
//! each check either way: `[+]` is well, `[-]` has failed. What a person has to see to, and
//! no restart cures nor other pod does better, is `[!]`, and the page is 200 as for `[+]`. A
//! check that does not answer has failed.

use std::borrow::Cow;
use std::fmt::Write;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Page;
use crate::runtime::bind::Bind;

/// How long a health page waits for its checks.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a thing is that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A person has to see to it; the program does its job as far as that goes.
    Warns,
    /// The program cannot do its job.
    Failed,
}

impl Verdict {
    /// The sign of its line, and its word there.
    fn words(self) -> (char, &'static str) {
        match self {
            Self::Ok => ('+', "ok"),
            Self::Warns => ('!', "warns"),
            Self::Failed => ('-', "failed"),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in one word.
    pub name: Cow<'static, str>,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
}

impl Check {
    /// A check that went well.
    pub fn ok(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, text)
    }

    /// A check that found what a person has to see to.
    pub fn warns(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warns, text)
    }

    /// A check that did not go well.
    pub fn failed(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self::new(name, Verdict::Failed, text)
    }

    fn new(name: impl Into<Cow<'static, str>>, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict,
            text: text.into(),
        }
    }

    /// Whether it keeps the program from its job.
    pub fn has_failed(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

/// Tells how the program is. In production the implementors are lvmd's engine and the
/// CSI programs.
pub trait Health: Send + Sync + 'static {
    /// Whether the program works at all; what fails here is cured by a restart.
    fn live(&self) -> impl Future<Output = Vec<Check>> + Send;
    /// Whether it can do its job now.
    fn ready(&self) -> impl Future<Output = Vec<Check>> + Send;
}

impl<H: Health> Health for Arc<H> {
    fn live(&self) -> impl Future<Output = Vec<Check>> + Send {
        H::live(self)
    }
    fn ready(&self) -> impl Future<Output = Vec<Check>> + Send {
        H::ready(self)
    }
}

/// The side door while it is open.
#[derive(Debug)]
pub struct Served {
    /// Where it is, for tests with port 0.
    pub address: SocketAddr,
    /// Ends after the token is cancelled and the requests under way are answered.
    pub task: JoinHandle<()>,
}

/// Opens the side door until `stop`; `None` when `bind` is off.
///
/// # Errors
/// The address cannot be listened at.
pub async fn serve<H: Health>(
    bind: &Bind,
    page: Page,
    health: H,
    stop: CancellationToken,
) -> std::io::Result<Option<Served>> {
    let Some(listener) = bind.listen().await? else {
        return Ok(None);
    };
    let address = listener.local_addr()?;
    info!(%address, "serving metrics and health");
    let app = router(page, health);
    let task = tokio::spawn(async move {
        let serving = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            warn!(%error, "metrics and health are no longer served");
        }
    });
    Ok(Some(Served { address, task }))
}

/// The three pages, for servers that have more of them.
pub fn router<H: Health>(page: Page, health: H) -> Router {
    let health = Arc::new(health);
    Router::new()
        .route("/healthz", get(live::<H>))
        .route("/readyz", get(ready::<H>))
        .with_state(health)
        .route("/metrics", get(metrics).with_state(page))
}

async fn metrics(State(page): State<Page>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    let (content_type, text) = page.now(accept).await;
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

async fn live<H: Health>(State(health): State<Arc<H>>) -> (StatusCode, String) {
    answer("healthz", PATIENCE, health.live()).await
}

async fn ready<H: Health>(State(health): State<Arc<H>>) -> (StatusCode, String) {
    answer("readyz", PATIENCE, health.ready()).await
}

/// Waits for the checks and writes them as Kubernetes' own components do.
async fn answer(
    page: &str,
    patience: Duration,
    checks: impl Future<Output = Vec<Check>>,
) -> (StatusCode, String) {
    let checks = tokio::time::timeout(patience, checks)
        .await
        .unwrap_or_else(|_| {
            let text = format!("no answer within {patience:?}");
            vec![Check::failed("checks", text)]
        });
    let ok = !checks.iter().any(Check::has_failed);
    let mut text = String::new();
    for check in &checks {
        let (sign, verdict) = check.verdict.words();
        let found = if check.text.is_empty() { "" } else { ": " };
        // A line is a check, whatever lvm said.
        let told = check.text.trim().replace('\n', "; ");
        // Writing to a String does not fail.
        let _ = writeln!(text, "[{sign}]{} {verdict}{found}{told}", check.name);
    }
    let (status, verdict) = if ok {
        (StatusCode::OK, "passed")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failed")
    };
    let _ = writeln!(text, "{page} check {verdict}");
    (status, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    #[derive(Debug)]
    struct Fake {
        checks: Vec<Check>,
    }

    impl Health for Fake {
        async fn live(&self) -> Vec<Check> {
            vec![Check::ok("loop", "")]
        }
        async fn ready(&self) -> Vec<Check> {
            self.checks.clone()
        }
    }

    async fn get(fake: Fake, path: &str) -> (StatusCode, String) {
        let app = router(
            Page::new(prometheus_client::registry::Registry::default()),
            fake,
        );
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn fake(checks: Vec<Check>) -> Fake {
        Fake { checks }
    }

    #[tokio::test]
    async fn one_check_that_failed_makes_the_page_503_and_all_are_shown() {
        let checks = vec![Check::ok("lvm", "2.03.31"), Check::failed("vg1", "missing")];
        let (status, text) = get(fake(checks), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            text,
            "[+]lvm ok: 2.03.31\n[-]vg1 failed: missing\nreadyz check failed\n"
        );
    }

    #[tokio::test]
    async fn what_a_person_has_to_see_to_is_shown_and_disturbs_no_probe() {
        let checks = vec![
            Check::ok("lvm", "2.03.31"),
            Check::warns("class ssd", "two\nlines"),
        ];
        let (status, text) = get(fake(checks), "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            text,
            "[+]lvm ok: 2.03.31\n[!]class ssd warns: two; lines\nreadyz check passed\n"
        );
    }

    #[tokio::test]
    async fn all_well_is_200() {
        let (status, text) = get(fake(Vec::new()), "/healthz").await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::OK, "[+]loop ok\nhealthz check passed\n")
        );
        assert_eq!(
            get(fake(Vec::new()), "/other").await.0,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn checks_that_hang_are_not_well() {
        let patience = Duration::from_millis(10);
        let (status, text) = answer("healthz", patience, std::future::pending()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("no answer within 10ms"), "{text}");
    }

    #[tokio::test]
    async fn the_door_opens_and_closes() {
        let stop = CancellationToken::new();
        let page = Page::new(prometheus_client::registry::Registry::default());
        let bind = "127.0.0.1:0".parse().unwrap();
        let served = serve(&bind, page.clone(), fake(Vec::new()), stop.clone()).await;
        let served = served.unwrap().unwrap();
        tokio::net::TcpStream::connect(served.address)
            .await
            .unwrap();
        stop.cancel();
        served.task.await.unwrap();
        let off = serve(&Bind::Off, page, fake(Vec::new()), stop)
            .await
            .unwrap();
        assert!(off.is_none());
    }
}
