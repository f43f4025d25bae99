//! The script and the reviewed list, as data.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::compare::Flat;

const SCRIPT: &str = include_str!("script.yaml");
const DIFFERENCES: &str = include_str!("differences.yaml");

/// A layout, a configuration, and what is played on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    pub round: String,
    /// Arguments of lvm; `@0` stands for the first disk.
    pub layout: Vec<Vec<String>>,
    /// lvmd.yaml without socket-name.
    pub config: String,
    /// Steps, as the replayer reads them.
    pub steps: Vec<Value>,
}

/// Some differences and why they are right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reviewed {
    reason: String,
    at: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    call: String,
    #[serde(default)]
    ours: BTreeMap<String, String>,
    #[serde(default)]
    theirs: BTreeMap<String, String>,
}

/// What a step may answer differently: the fields that differ, with each side's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    pub ours: Flat,
    pub theirs: Flat,
}

pub fn rounds() -> Vec<Round> {
    serde_saphyr::from_str(SCRIPT).unwrap()
}

/// The reviewed differences by the step's id.
pub fn reviewed() -> BTreeMap<String, Difference> {
    let list: Vec<Reviewed> = serde_saphyr::from_str(DIFFERENCES).unwrap();
    let mut found = BTreeMap::new();
    for Reviewed { reason, at } in list {
        assert!(reason.len() > 20, "a difference needs a reason: {at:?}");
        for Listed { call, ours, theirs } in at {
            let before = found.insert(call.clone(), Difference { ours, theirs });
            assert!(before.is_none(), "{call} is listed twice");
        }
    }
    found
}

/// The ids of all steps that have a result, and how many of them are calls.
pub fn ids(rounds: &[Round]) -> (Vec<&str>, usize) {
    let steps = || rounds.iter().flat_map(|round| &round.steps);
    let ids = steps()
        .filter_map(|step| step.get("id")?.as_str())
        .collect();
    (
        ids,
        steps().filter(|step| step.get("call").is_some()).count(),
    )
}
