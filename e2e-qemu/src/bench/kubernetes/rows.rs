//! What is wanted of our driver beside upstream's, and whether a row has it. Ratios and counts: the machine does not count.

use serde::{Deserialize, Serialize};

/// A row of `target/bench/kubernetes.json`: medians.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// The case.
    pub case: String,
    /// With our driver.
    pub ours: f64,
    /// With upstream's.
    pub peer: f64,
    /// Of both.
    pub unit: String,
    /// How many measurements stand behind the smaller of both.
    pub n: u32,
}

/// What is wanted of a case.
enum Goal {
    /// At least so many times less than upstream's.
    Less(f64),
    /// At most so many.
    Most(f64),
}

impl Row {
    /// How many times less than upstream's ours is.
    pub(super) fn ratio(&self) -> f64 {
        self.peer / self.ours
    }

    /// What is missed, empty when nothing is; `None` when nothing is wanted.
    pub(super) fn missed(&self) -> Option<String> {
        let goal = match self.case.as_str() {
            "pvc-bound" | "expand" => Goal::Less(3.5),
            "snapshot-ready" => Goal::Less(5.0),
            "burst-50-bound" | "node-rss" => Goal::Less(4.0),
            "extender-5000" => Goal::Less(20.0),
            "lvm-per-volume-life" => Goal::Most(2.0),
            _ => return None,
        };
        Some(match goal {
            Goal::Less(times) if self.ratio() < times => format!("peer / {times}"),
            Goal::Most(most) if self.ours > most => format!("{most} {}", self.unit),
            Goal::Less(_) | Goal::Most(_) => String::new(),
        })
    }
}

/// The middle one, of an even number the mean of the two in the middle; `None` of none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(lower.midpoint(upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_misses_what_it_does_not_reach() {
        let missed = |case: &str, ours, peer| {
            let (unit, n) = ("s".to_owned(), 1);
            let case = case.to_owned();
            let row = Row {
                case,
                ours,
                peer,
                unit,
                n,
            };
            row.missed()
        };
        let met = Some(String::new());
        assert_eq!(missed("pvc-bound", 2.0, 7.0), met);
        assert_eq!(missed("pvc-bound", 2.0, 6.9).unwrap(), "peer / 3.5");
        assert_eq!(missed("lvm-per-volume-life", 2.0, 2.0), met);
        assert_eq!(missed("lvm-per-volume-life", 3.0, 90.0).unwrap(), "2 s");
        assert_eq!(missed("pod-ready", 9.0, 1.0), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
