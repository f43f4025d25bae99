//! The metrics page, in the format the scraper asks for.

use std::fmt::{Debug, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tracing::{error, warn};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long a page waits for what is looked at before; Prometheus waits ten seconds for the page.
const PATIENCE: Duration = Duration::from_secs(8);

/// A look that goes on.
pub type Looking<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Looks at what a page shows, before it does: for what changes without an event, and costs too much to be watched. There is one
/// look at a time, whatever number of pages is asked for, and none is broken off when a page is not waited for any more.
pub trait Look: Send + Sync + Debug + 'static {
    /// Brings what it writes to up to date.
    fn look(&self) -> Looking<'_>;
}

/// A registry as a page. Clones show the same registry.
#[derive(Debug, Clone)]
pub struct Page {
    registry: Arc<Registry>,
    look: Option<Arc<dyn Look>>,
    /// Whose turn it is to look; when the last look began.
    turn: Arc<Mutex<Option<Instant>>>,
}

impl Page {
    /// The page of a registry that is complete.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry: Arc::new(registry),
            look: None,
            turn: Arc::default(),
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
            && tokio::time::timeout(PATIENCE, self.looked(look))
                .await
                .is_err()
        {
            warn!("metrics show what was seen before: a look takes too long");
        }
        self.render(accept)
    }

    /// Waits until a look has ended that began after this was asked for.
    async fn looked(&self, look: &Arc<dyn Look>) {
        let asked = Instant::now();
        let mut turn = self.turn.clone().lock_owned().await;
        if turn.is_some_and(|began| began > asked) {
            return;
        }
        *turn = Some(Instant::now());
        let look = look.clone();
        let looking = tokio::spawn(async move {
            look.look().await;
            drop(turn);
        });
        if let Err(error) = looking.await {
            error!(%error, "a look at what metrics show broke off");
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Ends with each permit.
    #[derive(Debug)]
    struct Slow {
        begun: AtomicUsize,
        ended: AtomicUsize,
        permits: Semaphore,
    }

    impl Look for Arc<Slow> {
        fn look(&self) -> Looking<'_> {
            Box::pin(async {
                self.begun.fetch_add(1, Ordering::SeqCst);
                self.permits.acquire().await.unwrap().forget();
                self.ended.fetch_add(1, Ordering::SeqCst);
            })
        }
    }

    #[tokio::test]
    async fn pages_share_a_look_and_none_breaks_it_off() {
        let slow = Arc::new(Slow {
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            permits: Semaphore::new(0),
        });
        let page = Page::new(Registry::default()).after(slow.clone());
        let ask = || {
            let page = page.clone();
            tokio::spawn(async move { page.now(None).await })
        };
        let gone = ask();
        while slow.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        let asked = [ask(), ask(), ask()];
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(slow.begun.load(Ordering::SeqCst), 1, "it goes on");
        slow.permits.add_permits(9);
        for page in asked {
            page.await.unwrap();
        }
        // The one that was under way, and one for all that asked meanwhile.
        assert_eq!(slow.begun.load(Ordering::SeqCst), 2);
        assert_eq!(slow.ended.load(Ordering::SeqCst), 2);
    }
}
