//! Which nodes fit.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::wire::Metadata;

/// Bytes a pod wants, by device class.
pub type Wanted = BTreeMap<String, i64>;

/// Why a node does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// The node says nothing of a class the pod wants.
    Unknown,
    /// What the node says is no number of bytes.
    Unreadable(String),
    /// The node has less than the pod wants.
    Full,
}

impl fmt::Display for Misfit {
    /// Upstream's words; kube-scheduler shows them in the pod's events.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no capacity annotation"),
            Self::Unreadable(text) => write!(f, "bad capacity annotation: {text}"),
            Self::Full => f.write_str("out of VG free space"),
        }
    }
}

impl Serialize for Misfit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a pod wants. What is no number is passed over.
pub fn wanted(pod: &Metadata<'_>) -> Wanted {
    pod.capacities()
        .filter_map(|(class, bytes)| Some((class.to_owned(), bytes.parse().ok()?)))
        .collect()
}

/// Whether a node has what is wanted.
///
/// # Errors
/// The reason of the first class that does not fit.
pub fn fits(node: &Metadata<'_>, wanted: &Wanted) -> Result<(), Misfit> {
    for (class, bytes) in wanted {
        let text = node.capacity(class).ok_or(Misfit::Unknown)?;
        let free: u64 = text
            .parse()
            .map_err(|_| Misfit::Unreadable(text.to_owned()))?;
        // A negative wish cannot be met, as with upstream.
        if !u64::try_from(*bytes).is_ok_and(|bytes| bytes <= free) {
            return Err(Misfit::Full);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn annotated(capacities: &[(&str, &str)]) -> Metadata<'static> {
        with(
            capacities
                .iter()
                .map(|(class, text)| (format!("capacity.topolvm.io/{class}"), *text)),
        )
    }

    fn with<'a>(annotations: impl Iterator<Item = (String, &'a str)>) -> Metadata<'static> {
        Metadata::new(
            "",
            annotations.map(|(key, text)| (key.into(), text.to_owned().into())),
        )
    }

    fn node(gib: [i64; 3]) -> Metadata<'static> {
        let text = gib.map(|g| (g * GIB).to_string());
        annotated(&[("dc1", &text[0]), ("dc2", &text[1]), ("dc3", &text[2])])
    }

    fn want(classes: &[(&str, i64)]) -> Wanted {
        classes
            .iter()
            .map(|(c, g)| ((*c).to_owned(), g * GIB))
            .collect()
    }

    #[test]
    fn upstreams_table_of_filters() {
        let one = want(&[("dc1", 2)]);
        let foo = annotated(&[("dc1", "foo")]);
        let three = want(&[("dc1", 5), ("dc2", 10), ("dc3", 20)]);
        let (zero, none, less) = (want(&[("dc1", 0)]), want(&[]), want(&[("dc1", -1)]));
        let rows: [_; 10] = [
            (node([5, 10, 10]), &one, Ok(())),
            (node([1, 10, 10]), &one, Err(Misfit::Full)),
            (Metadata::default(), &one, Err(Misfit::Unknown)),
            (foo, &one, Err(Misfit::Unreadable("foo".to_owned()))),
            (node([10, 20, 30]), &three, Ok(())),
            (node([1, 5, 10]), &three, Err(Misfit::Full)),
            (node([100, 5, 100]), &three, Err(Misfit::Full)),
            (node([5, 10, 10]), &zero, Ok(())),
            // Not in upstream's table.
            (Metadata::default(), &none, Ok(())),
            (node([5, 5, 5]), &less, Err(Misfit::Full)),
        ];
        for (node, wanted, fit) in rows {
            assert_eq!(fits(&node, wanted), fit, "{node:?} {wanted:?}");
        }
    }

    #[test]
    fn reasons_are_in_upstreams_words() {
        let rows: [_; 3] = [
            (Misfit::Unknown, "no capacity annotation"),
            (
                Misfit::Unreadable("foo".to_owned()),
                "bad capacity annotation: foo",
            ),
            (Misfit::Full, "out of VG free space"),
        ];
        for (misfit, text) in rows {
            assert_eq!(misfit.to_string(), text);
        }
    }

    #[test]
    fn a_pods_wish_is_read_from_its_annotations() {
        let pod = with(
            [
                ("capacity.topolvm.io/dc1", "many"),
                ("capacity.topolvm.io/dc2", "1"),
                ("capacity.topolvm.io/dc1", "5368709120"),
                ("capacity.topolvm.io/dc2", "many"),
                ("capacity.topolvm.io/", "7"),
                ("capacity.topolvm.io", "1"),
                ("capacity.topolvm.iox/a", "1"),
            ]
            .into_iter()
            .map(|(key, text)| (key.to_owned(), text)),
        );
        let expected = Wanted::from([(String::new(), 7), ("dc1".to_owned(), 5 * GIB)]);
        assert_eq!(wanted(&pod), expected);
        assert_eq!(wanted(&Metadata::default()), Wanted::new());
    }
}
