//! Long steps tell people what they do and how long it took; off a terminal they say nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A step under way. Ends when dropped, silently, or with [`Step::done`], with a line.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    what: String,
    start: Instant,
}

impl Step {
    /// Starts to show `what`, for example `building the guest tree`.
    #[must_use]
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            what,
            start: Instant::now(),
        }
    }

    /// Replaces the text that is shown.
    pub fn update(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {detail}", self.what));
        }
    }

    /// Ends the step with a line that says how long it took.
    pub fn done(self) {
        if let Some(bar) = &self.bar {
            let seconds = self.start.elapsed().as_secs_f64();
            bar.finish_and_clear();
            eprintln!("{} ({seconds:.1} s)", self.what);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
