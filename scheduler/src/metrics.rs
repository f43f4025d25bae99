//! What the extender counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds of answers: from a few nodes to ten thousand.
const BUCKETS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    verb: &'static str,
    code: u16,
}

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    answers: Family<Answer, Counter>,
    seconds: Family<Verb, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// Metrics that are shown on a page.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            answers: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        registry.register(
            "basalt_extender_answers",
            "Questions of kube-scheduler, by the answer's HTTP status",
            this.answers.clone(),
        );
        registry.register_with_unit(
            "basalt_extender_answer",
            "How long answers took, from the last byte of the question on",
            Unit::Seconds,
            this.seconds.clone(),
        );
        this
    }

    /// Counts an answer, also one to a question that did not come as a whole.
    pub fn answered(&self, verb: &'static str, code: u16) {
        self.answers.get_or_create(&Answer { verb, code }).inc();
    }

    /// Says how long an answer took.
    pub fn took(&self, verb: &'static str, took: Duration) {
        let seconds = self.seconds.get_or_create(&Verb { verb });
        seconds.observe(took.as_secs_f64());
    }
}
