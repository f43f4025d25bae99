//! Why a claim has no volume: each thing that has to be so, in the order in which it happens.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use lvmd::names::{CAPACITY_DEFAULT, DRIVER, PARAM_CLASS};
use lvmd::units::{Bytes, GIB};
use serde::Serialize;

use super::cluster::ClaimFacts;
use super::nodes::{free, has_driver, is_ready};
use super::table::{Row, size};
use super::volumes::condition;
use crate::kubernetes::claims::uses;
use crate::kubernetes::size::Size;

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// In words, with the way out where there is one.
    pub text: String,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not wrong: something else comes first.
    Waits,
    /// This is why.
    Problem,
}

impl Finding {
    /// A finding.
    pub fn new(what: impl Into<String>, verdict: Verdict, text: impl Into<String>) -> Self {
        let (what, text) = (what.into(), text.into());
        Self {
            what,
            verdict,
            text,
        }
    }

    /// Whether somebody has to do something.
    pub fn is_problem(&self) -> bool {
        self.verdict == Verdict::Problem
    }
}

impl Row for Finding {
    const COLUMNS: &'static [&'static str] = &["WHAT", "", "HOW IT IS"];

    fn cells(&self) -> Vec<String> {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Waits => "waits",
            Verdict::Problem => "PROBLEM",
        };
        vec![self.what.clone(), verdict.to_owned(), self.text.clone()]
    }
}

/// The scheduler's choice, on a claim that waited for its first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// What has to be so, as far as it is; the last finding is the reason.
pub fn explain(facts: &ClaimFacts) -> Vec<Finding> {
    use Verdict::{Ok, Problem, Waits};
    let mut found = Vec::new();
    let spec = facts.claim.spec.clone().unwrap_or_default();
    let phase = facts
        .claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if phase == Some("Bound") {
        let volume = spec.volume_name.unwrap_or_default();
        return vec![Finding::new(
            "claim",
            Ok,
            format!("it has its volume, {volume}"),
        )];
    }
    let class = match class(facts, spec.storage_class_name.as_deref()) {
        Result::Ok(class) => class,
        Err(finding) => return vec![finding],
    };
    let device_class = class
        .parameters
        .as_ref()
        .and_then(|all| all.get(PARAM_CLASS));
    let device_class = device_class.map_or(CAPACITY_DEFAULT, String::as_str);
    let text = format!("{}, device class {}", class.name_any(), named(device_class));
    found.push(Finding::new("storage class", Ok, text));

    let volume = facts.claim.uid().map(|uid| format!("pvc-{uid}"));
    let volume = facts
        .seen
        .volumes
        .iter()
        .find(|v| Some(v.name_any()) == volume);
    let chosen = facts.claim.annotations().get(SELECTED_NODE);
    if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
        && chosen.is_none()
        && volume.is_none()
    {
        let claim = facts.claim.name_any();
        let mut pods = facts.pods.iter().filter(|pod| uses(pod, &claim));
        let Some(pod) = pods.next() else {
            found.push(Finding::new(
                "pod",
                Waits,
                "no pod uses it yet; its volume is made for the first one",
            ));
            return found;
        };
        let said = unscheduled(pod)
            .unwrap_or_else(|| "kube-scheduler has not looked at it yet".to_owned());
        found.push(Finding::new(
            "pod",
            Waits,
            format!("{} has no node: {said}", pod.name_any()),
        ));
        let wanted = wanted(&spec);
        found.extend(room(facts, device_class, wanted));
        return found;
    }
    if let Some(node) = chosen {
        found.push(node_finding(facts, node));
    }
    found.push(match volume {
        None => Finding::new(
            "volume",
            Waits,
            "no LogicalVolume yet: csi-provisioner in the controller's pod makes it",
        ),
        Some(volume) => {
            let text = format!(
                "LogicalVolume {} on {}: {}",
                volume.name_any(),
                volume.spec.node_name,
                condition(volume)
            );
            let failed = volume
                .status
                .as_ref()
                .is_some_and(|status| status.code != 0);
            Finding::new("volume", if failed { Problem } else { Waits }, text)
        }
    });
    let mut warnings: Vec<_> = facts
        .events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .collect();
    warnings.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    found.extend(warnings.iter().rev().take(3).map(|event| {
        let reason = event.reason.clone().unwrap_or_default();
        let text = format!("{reason}: {}", event.message.clone().unwrap_or_default());
        Finding::new("event", Problem, text)
    }));
    found
}

fn class<'a>(facts: &'a ClaimFacts, name: Option<&str>) -> Result<&'a StorageClass, Finding> {
    let problem = |text: String| Finding::new("storage class", Verdict::Problem, text);
    let name = match name {
        None => {
            return Err(problem(
                "it names none, and there is no default one".to_owned(),
            ));
        }
        Some("") => {
            return Err(problem(
                "it wants none (\"\"): it waits for a PersistentVolume that a person makes"
                    .to_owned(),
            ));
        }
        Some(name) => name,
    };
    let classes = &facts.seen.classes;
    let Some(class) = classes.iter().find(|class| class.name_any() == name) else {
        return Err(problem(format!("there is no {name}")));
    };
    match class.provisioner.as_str() {
        DRIVER => Ok(class),
        other => Err(problem(format!("{name} is of another driver, {other}"))),
    }
}

fn named(device_class: &str) -> &str {
    match device_class {
        CAPACITY_DEFAULT => "of the node's default",
        name => name,
    }
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions
        .iter()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    scheduled.message.clone()
}

/// Bytes that the claim wants.
fn wanted(spec: &k8s_openapi::api::core::v1::PersistentVolumeClaimSpec) -> u64 {
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let quantity = requests.and_then(|all| all.get("storage"));
    let bytes = quantity.and_then(|quantity| Size::from(quantity.0.clone()).bytes().ok());
    bytes.map_or(GIB, |bytes| bytes.0)
}

/// What each node with the driver says of the room it has.
fn room(facts: &ClaimFacts, device_class: &str, wanted: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &facts.seen.nodes {
        let name = node.name_any();
        let left = free(node).get(device_class).copied().flatten();
        let (verdict, text) = match left {
            None if !has_driver(&facts.seen, &name) => {
                (Verdict::Problem, "does not run the driver".to_owned())
            }
            None => (
                Verdict::Problem,
                "has no such device class, or its volume group is missing".to_owned(),
            ),
            Some(left) if left < wanted => (
                Verdict::Problem,
                format!(
                    "has {}, and {} are wanted",
                    size(Bytes(left)),
                    size(Bytes(wanted))
                ),
            ),
            Some(left) => (Verdict::Ok, format!("has room: {}", size(Bytes(left)))),
        };
        found.push(match node_finding(facts, &name) {
            unwell if unwell.is_problem() => unwell,
            _ => Finding::new(format!("node {name}"), verdict, text),
        });
    }
    if found.is_empty() {
        found.push(Finding::new("node", Verdict::Problem, "there is no node"));
    }
    found
}

fn node_finding(facts: &ClaimFacts, name: &str) -> Finding {
    let node = facts.seen.nodes.iter().find(|node| node.name_any() == name);
    let (verdict, text) = match node {
        None => (Verdict::Problem, "is gone"),
        Some(node) if !is_ready(node) => (Verdict::Problem, "is not ready"),
        Some(node)
            if node
                .spec
                .as_ref()
                .is_some_and(|spec| spec.unschedulable == Some(true)) =>
        {
            (Verdict::Problem, "is cordoned")
        }
        Some(_) => (Verdict::Ok, "is ready"),
    };
    Finding::new(format!("node {name}"), verdict, text)
}
