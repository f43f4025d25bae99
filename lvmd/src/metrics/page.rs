//! The metrics page, in the format the scraper asks for.

use std::fmt::{Debug, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tracing::{error, warn};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long a page waits for what is looked at before; Prometheus waits ten seconds for the page.
const PATIENCE: Duration = Duration::from_secs(8);

/// A look that goes on.
pub type Looking<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Looks at what a page shows, before it does: for what changes without an event, and costs too much to be watched.
pub trait Look: Send + Sync + Debug + 'static {
    /// Brings what it writes to up to date.
    fn look(&self) -> Looking<'_>;
}

/// A registry as a page. Clones show the same registry.
#[derive(Debug, Clone)]
pub struct Page {
    registry: Arc<Registry>,
    look: Option<Arc<dyn Look>>,
}

impl Page {
    /// The page of a registry that is complete.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry: Arc::new(registry),
            look: None,
        }
    }

    /// The same, for which somebody looks first each time.
    #[must_use]
    pub fn after(self, look: impl Look) -> Self {
        let look: Arc<dyn Look> = Arc::new(look);
        Self {
            look: Some(look),
            ..self
        }
    }

    /// The page as it is now, as [`Page::render`] gives it. A look that takes too long holds up nothing: what was seen before
    /// is shown then.
    pub async fn now(&self, accept: Option<&str>) -> (&'static str, String) {
        if let Some(look) = &self.look
            && tokio::time::timeout(PATIENCE, look.look()).await.is_err()
        {
            warn!("metrics show what was seen before: a look takes too long");
        }
        self.render(accept)
    }

    /// The content type and the text: OpenMetrics for who accepts it (Prometheus does),
    /// else the classic format that upstream serves. Names of samples are the same.
    pub fn render(&self, accept: Option<&str>) -> (&'static str, String) {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            error!(%error, "metrics cannot be written");
        }
        let openmetrics = accept.is_some_and(|a| a.contains("application/openmetrics-text"));
        if openmetrics {
            return (OPENMETRICS, text);
        }
        (CLASSIC, classic(&text))
    }
}

/// Turns OpenMetrics text into the classic format: there a counter's description bears
/// the name of its samples, with `_total`, and units and the end mark do not exist.
fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The description of a metric, held back until its type is known.
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                // Writing to a String does not fail.
                let _ = writeln!(out, "# HELP {name}{suffix} {text}");
            }
            let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
            continue;
        }
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}
