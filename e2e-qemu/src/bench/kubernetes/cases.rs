//! What is measured, and which of it is wanted.

use anyhow::bail;

/// Fifty claims at once, on a node with two processors.
pub(super) const BURST: &str = "burst-50-bound";
/// The same on a node with one processor.
pub(super) const BURST_ON_ONE: &str = "burst-50-bound-1-processor";

/// The cases, in the order of the table, with their units.
pub(super) const CASES: [(&str, &str); 16] = [
    ("pvc-bound", "s"),
    ("pod-ready", "s"),
    ("expand", "s"),
    ("snapshot-ready", "s"),
    ("restore-bound", "s"),
    ("delete", "s"),
    (BURST, "s"),
    (BURST_ON_ONE, "s"),
    ("extender-1000", "ms"),
    ("extender-5000", "ms"),
    ("extender-5000-names", "ms"),
    ("node-rss", "MiB"),
    ("controller-rss", "MiB"),
    ("api-calls-per-volume", "calls"),
    ("watch-events-per-volume", "events"),
    ("lvm-per-volume-life", "processes"),
];

/// Those that need more than a claim, a pod and their deletion.
const FULL: [&str; 3] = ["expand", "snapshot-ready", "restore-bound"];

/// Which cases are wanted.
#[derive(Debug)]
pub(super) struct Cases(Vec<String>);

impl Cases {
    /// These, or all when none is named.
    ///
    /// # Errors
    /// There is no such case.
    pub(super) fn of(named: &[String]) -> anyhow::Result<Self> {
        let known = CASES.map(|(case, _)| case);
        if let Some(unknown) = named.iter().find(|case| !known.contains(&case.as_str())) {
            bail!("there is no case {unknown}; there are {}", known.join(", "));
        }
        Ok(Self(named.to_vec()))
    }

    /// Whether that one is wanted.
    pub(super) fn has(&self, case: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == case)
    }

    /// Whether none is left out.
    pub(super) fn all(&self) -> bool {
        CASES.iter().all(|(case, _)| self.has(case))
    }

    /// Whether a life has to have all that one does with a volume.
    pub(super) fn full(&self) -> bool {
        FULL.iter().any(|case| self.has(case))
    }

    /// Whether the drivers have to run.
    pub(super) fn drivers(&self) -> bool {
        self.lives() || self.has(BURST)
    }

    /// Whether what is wanted is measured on nodes with one processor.
    pub(super) fn lives(&self) -> bool {
        let mut cases = CASES.iter().map(|(case, _)| *case);
        cases.any(|case| !case.starts_with("extender-") && case != BURST && self.has(case))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_cases_bring_what_they_need_and_no_more() {
        let of = |named: &[&str]| {
            Cases::of(
                &named
                    .iter()
                    .map(|&case| case.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let all = of(&[]).unwrap();
        assert!(all.has("expand") && all.full() && all.drivers() && all.all());
        let extender = of(&["extender-5000"]).unwrap();
        assert!(extender.has("extender-5000") && !extender.has("expand"));
        assert!(!extender.all() && !extender.full() && !extender.drivers());
        let calls = of(&["api-calls-per-volume"]).unwrap();
        assert!(calls.drivers() && calls.lives() && !calls.full());
        let burst = of(&[BURST]).unwrap();
        assert!(burst.drivers() && !burst.lives());
        assert!(of(&["expnd"]).unwrap_err().to_string().contains("expand"));
    }
}
