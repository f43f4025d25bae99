//! How well a node fits.

use std::collections::BTreeMap;

use crate::wire::Metadata;

/// What room is divided by before it is scored, so that a class of large disks is
/// measured by another stick than one of small ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Divisors {
    /// For a class that is not in `by_class`; above 0.
    pub default: f64,
    /// By class; above 0.
    pub by_class: BTreeMap<String, f64>,
}

impl Divisors {
    fn of(&self, class: &str) -> f64 {
        self.by_class.get(class).copied().unwrap_or(self.default)
    }
}

/// The score of one class: 0 for nothing, else 1 to 10, one more for each doubling.
pub fn class_score(bytes: u64, divisor: f64) -> u8 {
    let gib = bytes >> 30;
    if bytes == 0 {
        return 0;
    }
    // Less than a GiB: its logarithm has no bound, and it is more than nothing.
    let doublings = (gib as f64 / divisor).log2().clamp(1.0, 10.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1..=10; the fraction is dropped, as upstream does"
    )]
    let score = doublings as u8;
    score
}

/// The score of a node: that of the scarcest class the pod wants and the node has.
/// `None` when the pod wants nothing.
pub fn node_score(node: &Metadata<'_>, pod: &Metadata<'_>, divisors: &Divisors) -> Option<u8> {
    pod.capacities().next()?;
    let scores = pod.capacities().filter_map(|(class, _)| {
        // What is no number counts as nothing.
        let bytes = node.capacity(class)?.parse().unwrap_or(0);
        Some(class_score(bytes, divisors.of(class)))
    });
    Some(scores.min().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_table_of_class_scores() {
        let rows: [_; 8] = [
            (0, 1.0, 0),
            (1, 1.0, 1),
            (1 << 30, 1.0, 1),
            (128 << 30, 1.0, 7),
            (128 << 30, 2.0, 6),
            (128 << 30, 0.5, 8),
            (u64::MAX, 1.0, 10),
            (255 << 30, 1.0, 7),
        ];
        for (bytes, divisor, score) in rows {
            assert_eq!(class_score(bytes, divisor), score, "{bytes} / {divisor}");
        }
    }

    #[test]
    fn upstreams_table_of_node_scores() {
        let annotated = |capacities: &[(&str, u64)], extra: Option<(&str, &str)>| {
            let texts = capacities
                .iter()
                .map(|(class, bytes)| (*class, bytes.to_string()));
            let extra = extra.map(|(class, text)| (class, text.to_owned()));
            let annotation = |(class, text): (&str, String)| {
                (format!("capacity.topolvm.io/{class}").into(), text.into())
            };
            Metadata::new("", texts.chain(extra).map(annotation))
        };
        let divisors = Divisors {
            default: 2.0,
            by_class: BTreeMap::from([("dc1".to_owned(), 4.0), ("dc2".to_owned(), 10.0)]),
        };
        let pod = annotated(&[("dc1", 64), ("dc2", 64), ("dc3", 64)], None);
        let full = annotated(
            &[("dc1", 128 << 30), ("dc2", 128 << 30), ("dc3", 128 << 30)],
            None,
        );
        let (bare, foo) = (Metadata::default(), annotated(&[], Some(("dc1", "foo"))));
        let rows: [_; 4] = [
            (&full, &pod, Some(3)),
            (&bare, &pod, Some(0)),
            (&foo, &pod, Some(0)),
            // Not in upstream's table.
            (&full, &bare, None),
        ];
        for (node, pod, score) in rows {
            assert_eq!(node_score(node, pod, &divisors), score, "{node:?} {pod:?}");
        }
    }
}
