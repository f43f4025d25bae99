//! Beside TopoLVM's own chart: each fact that differs stands in `upstream/differences.yaml`, with the reason.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::helm::topolvm;
use crate::inventory::{facts, inventory};

const SETS: [(&str, &str, &str); 4] = [
    ("defaults", "{}", include_str!("upstream/defaults.json")),
    (
        "seed000",
        include_str!("../../../charts/topolvm/examples/truecharts.yaml"),
        include_str!("upstream/seed000.json"),
    ),
    (
        "scheduler-daemonset",
        "scheduler: {enabled: true}",
        include_str!("upstream/scheduler-daemonset.json"),
    ),
    (
        "webhook",
        "webhook: {podMutatingWebhook: {enabled: true}}",
        include_str!("upstream/webhook.json"),
    ),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    why: String,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    with: Vec<String>,
}

/// Without what is in a thing that is among the lines itself.
fn outermost(lines: BTreeSet<String>) -> impl Iterator<Item = String> {
    let within = |line: &str| {
        let mut ends = line.match_indices(' ').map(|(end, _)| end);
        ends.any(|end| lines.contains(&line[..end]))
    };
    let kept: Vec<_> = lines.iter().filter(|line| !within(line)).cloned().collect();
    kept.into_iter()
}

#[test]
fn what_differs_from_topolvms_chart_is_reviewed() {
    let reviewed: Vec<Difference> =
        serde_saphyr::from_str(include_str!("upstream/differences.yaml")).unwrap();
    let mut stale = BTreeSet::new();
    for difference in &reviewed {
        assert!(!difference.why.is_empty());
        stale.extend(difference.without.iter().map(|line| format!("- {line}")));
        stale.extend(difference.with.iter().map(|line| format!("+ {line}")));
    }
    let known = stale.clone();
    let mut unknown = Vec::new();
    for (set, values, theirs) in SETS {
        let theirs: Value = serde_json::from_str(theirs).unwrap();
        let (theirs, ours) = (
            facts(&theirs),
            facts(&inventory(&topolvm(values).objects().0)),
        );
        let gone = outermost(&theirs - &ours).map(|line| format!("- {line}"));
        let new = outermost(&ours - &theirs).map(|line| format!("+ {line}"));
        for line in gone.chain(new) {
            stale.remove(&line);
            if !known.contains(&line) {
                unknown.push(format!("{set}: {line}"));
            }
        }
    }
    assert!(
        unknown.is_empty() && stale.is_empty(),
        "not reviewed:\n{}\nreviewed, and no difference any more:\n{}",
        unknown.join("\n"),
        stale.into_iter().collect::<Vec<_>>().join("\n")
    );
}
