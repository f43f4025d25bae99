//! What has to be so before the charts are installed, each with the way out.

use k8s_openapi::api::core::v1::{Node, PodSpec};
use kube::ResourceExt;

use super::{DRIVER, WATCHER};
use crate::plugin::cluster::installing::Before;
use crate::plugin::doctor;
use crate::plugin::helm::Release;
use crate::plugin::nodes::is_ready;
use crate::plugin::why::{Finding, Verdict};

/// What a namespace says of the pods it takes.
/// <https://kubernetes.io/docs/concepts/security/pod-security-admission/>
pub const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";
/// What it has to say.
pub const PRIVILEGED: &str = "privileged";

/// The API server.
pub fn cluster(before: &Before) -> Vec<Finding> {
    vec![doctor::version(before.version)]
}

/// The nodes that are to have pods.
pub fn nodes(before: &Before, label: Option<&(String, String)>, named: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    let problem = |what: String, text: String| Finding::new(what, Verdict::Problem, text);
    for name in named {
        let what = format!("node {name}");
        let node = before.nodes.iter().find(|node| node.name_any() == *name);
        match (node, label) {
            (None, _) => found.push(problem(what, "there is no such node".to_owned())),
            (Some(node), Some((key, value))) => {
                let has = node.labels().get(key).filter(|has| *has != value);
                found.extend(has.map(|has| {
                    problem(
                        what,
                        format!("it has the label {key}={has}; take that off, or ask for another"),
                    )
                }));
            }
            (Some(_), None) => {}
        }
    }
    let chosen: Vec<&Node> = before
        .nodes
        .iter()
        .filter(|node| match label {
            None => true,
            Some(label) => has(node, label) || named.contains(&node.name_any()),
        })
        .collect();
    let ready = chosen.iter().filter(|node| is_ready(node)).count();
    let (verdict, text) = match (chosen.len(), label) {
        (0, Some((key, value))) => (
            Verdict::Problem,
            format!("none has the label {key}={value}: say which get it, with --node"),
        ),
        (0, None) => (Verdict::Problem, "there is none".to_owned()),
        (count, _) => (
            Verdict::Ok,
            format!("{count} get pods, of which {ready} are ready"),
        ),
    };
    found.push(Finding::new("nodes", verdict, text));
    found
}

fn has(node: &Node, (key, value): &(String, String)) -> bool {
    node.labels().get(key) == Some(value)
}

/// Those of the named nodes that have the label not yet.
pub fn unlabelled(
    before: &Before,
    label: Option<&(String, String)>,
    named: &[String],
) -> Vec<String> {
    let Some(label) = label else { return vec![] };
    let there = before.nodes.iter().filter(|node| has(node, label));
    let there: Vec<String> = there.map(ResourceExt::name_any).collect();
    let missing = named.iter().filter(|name| !there.contains(name));
    missing.cloned().collect()
}

/// Whether a namespace takes privileged pods, and whether it has to be told that it does.
pub fn namespace(before: &Before, name: &str) -> (Finding, bool) {
    let what = format!("namespace {name}");
    let Some(there) = before
        .namespaces
        .iter()
        .find(|there| there.name_any() == name)
    else {
        let text = format!("is made, with {POD_SECURITY}={PRIVILEGED}: the nodes' pods are");
        return (Finding::new(what, Verdict::Waits, text), true);
    };
    match there.labels().get(POD_SECURITY).map(String::as_str) {
        Some(PRIVILEGED) => (
            Finding::new(what, Verdict::Ok, "takes privileged pods"),
            false,
        ),
        Some(other) => {
            let text = format!(
                "{POD_SECURITY}={other}, and the nodes' pods are privileged; if that may be: kubectl label namespace {name} \
                 --overwrite {POD_SECURITY}={PRIVILEGED}"
            );
            (Finding::new(what, Verdict::Problem, text), false)
        }
        None => {
            let text = format!("gets {POD_SECURITY}={PRIVILEGED}: the nodes' pods are");
            (Finding::new(what, Verdict::Waits, text), true)
        }
    }
}

/// Releases that are more than one, or at which somebody works.
pub fn releases(all: &[Release]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (chart, _) in [WATCHER, DRIVER] {
        let of: Vec<&Release> = all
            .iter()
            .filter(|release| release.chart_name() == chart)
            .collect();
        if of.len() > 1 {
            let names: Vec<String> = of
                .iter()
                .map(|one| format!("{}/{}", one.namespace, one.name))
                .collect();
            let text = format!(
                "{} are of one chart, and a node takes one: remove all but one",
                names.join(" and ")
            );
            found.push(Finding::new(
                format!("chart {chart}"),
                Verdict::Problem,
                text,
            ));
        }
        for release in of
            .iter()
            .filter(|release| release.status.starts_with("pending-"))
        {
            let text = format!(
                "it is {}: somebody is at it, or was cut off; then helm rollback {} -n {}, or helm uninstall if it is its first",
                release.status, release.name, release.namespace
            );
            found.push(Finding::new(
                format!("release {}/{}", release.namespace, release.name),
                Verdict::Problem,
                text,
            ));
        }
    }
    found
}

/// Who else is at volume groups or disks.
pub fn foreign(before: &Before, driver: Option<&Release>) -> Vec<Finding> {
    let mut found = Vec::new();
    let ours = |namespace: &str| driver.is_some_and(|release| release.namespace == namespace);
    for (what, namespace, pod) in &before.workloads {
        let text = if is_upstreams(pod) {
            "it is TopoLVM's own; it is replaced in place, with its values: docs/migration.md"
        } else if is_truecharts_watcher(pod) {
            "it is another lvm-disk-watcher; two would both take disks: docs/truecharts.md"
        } else if is_driver(pod) && !ours(namespace) {
            "a driver of this name runs already, and Helm's release of it is not there: remove it first"
        } else {
            continue;
        };
        found.push(Finding::new(what.clone(), Verdict::Problem, text));
    }
    found
}

fn images(pod: &PodSpec) -> impl Iterator<Item = &str> {
    let containers = pod.containers.iter();
    containers.filter_map(|container| container.image.as_deref())
}

/// An image's last part, without tag and digest.
fn base(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let name = name.rsplit('/').next().unwrap_or(name);
    name.split(':').next().unwrap_or(name)
}

/// TopoLVM's image, which our chart refuses, or the container that only TopoLVM's chart has.
fn is_upstreams(pod: &PodSpec) -> bool {
    let image = images(pod).any(|image| ["topolvm", "topolvm-with-sidecar"].contains(&base(image)));
    image
        || is_driver(pod)
            && pod
                .containers
                .iter()
                .any(|container| container.name == "csi-registrar")
}

fn is_truecharts_watcher(pod: &PodSpec) -> bool {
    images(pod).any(|image| base(image) == "lvm-disk-watcher")
}

fn is_driver(pod: &PodSpec) -> bool {
    pod.containers
        .iter()
        .any(|container| container.name == "topolvm-node")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    fn release(chart: &str, namespace: &str, status: &str) -> Release {
        object(json!({"name": "r", "namespace": namespace, "status": status, "chart": chart}))
    }

    fn before(containers: Value) -> Before {
        Before {
            version: (1, 35),
            workloads: vec![(
                "DaemonSet a/b".to_owned(),
                "a".to_owned(),
                object(json!({"containers": containers})),
            )],
            ..Before::default()
        }
    }

    #[test]
    fn others_at_the_same_disks_and_groups_are_told_from_ours() {
        let ours = json!([{"name": "topolvm-node", "image": "example.org/basalt:0.1.0"}]);
        let there = release("topolvm-0.1.0", "a", "deployed");
        assert_eq!(foreign(&before(ours.clone()), Some(&there)), []);
        for (containers, way) in [
            (ours, "not there"),
            (
                json!([{"name": "topolvm-node", "image": "ghcr.io/topolvm/topolvm-with-sidecar:0.41.0"}]),
                "migration.md",
            ),
            (
                json!([{"name": "topolvm-node", "image": "mirror/x@sha256:0"}, {"name": "csi-registrar"}]),
                "migration.md",
            ),
            (
                json!([{"name": "main", "image": "example.org:5000/containerforge/lvm-disk-watcher:v1@sha256:0"}]),
                "truecharts.md",
            ),
        ] {
            let found = foreign(&before(containers.clone()), None);
            assert!(
                found[0].is_problem() && found[0].text.contains(way),
                "{containers}: {found:?}"
            );
        }
        assert_eq!(
            foreign(&before(json!([{"name": "web", "image": "nginx"}])), None),
            []
        );
    }

    #[test]
    fn two_releases_and_unfinished_ones_are_refused() {
        let one = release("topolvm-0.1.0", "a", "deployed");
        assert_eq!(
            releases(&[one.clone(), release("disk-watcher-0.1.0", "a", "failed")]),
            []
        );
        let two = releases(&[one, release("topolvm-15.5.2", "b", "deployed")]);
        assert!(two[0].text.contains("a/r and b/r"), "{two:?}");
        let cut = releases(&[release("topolvm-0.1.0", "a", "pending-install")]);
        assert!(cut[0].is_problem(), "{cut:?}");
    }

    #[test]
    fn a_node_is_not_taken_from_somebody_elses_label() {
        let node = |name: &str, labels: Value| {
            object(json!({"metadata": {"name": name, "labels": labels}}))
        };
        let before = Before {
            nodes: vec![
                node("n1", json!({"k": "v"})),
                node("n2", json!({"k": "w"})),
                node("n3", json!({})),
            ],
            ..Before::default()
        };
        let label = ("k".to_owned(), "v".to_owned());
        let names = |all: &[&str]| {
            all.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let judged = |all: &[&str]| {
            let found = nodes(&before, Some(&label), &names(all));
            (
                found.iter().filter(|one| one.is_problem()).count(),
                found.last().unwrap().text.clone(),
            )
        };
        assert_eq!(
            judged(&[]),
            (0, "1 get pods, of which 0 are ready".to_owned())
        );
        assert_eq!(
            judged(&["n3"]),
            (0, "2 get pods, of which 0 are ready".to_owned())
        );
        assert_eq!(judged(&["n2"]).0, 1, "it has another value");
        assert_eq!(judged(&["n9"]).0, 1, "there is none");
        assert_eq!(
            unlabelled(&before, Some(&label), &names(&["n1", "n3"])),
            ["n3"]
        );
        let nobody = ("other".to_owned(), "v".to_owned());
        let found = nodes(&before, Some(&nobody), &[]);
        assert!(
            found[0].is_problem() && found[0].text.contains("--node"),
            "{found:?}"
        );
    }

    #[test]
    fn a_namespace_is_told_unless_somebody_said_otherwise() {
        let mut before = Before::default();
        assert!(namespace(&before, "x").1);
        let there = |labels: Value| object(json!({"metadata": {"name": "x", "labels": labels}}));
        before.namespaces = vec![there(json!({}))];
        assert!(namespace(&before, "x").1);
        before.namespaces = vec![there(json!({POD_SECURITY: "privileged"}))];
        let (finding, told) = namespace(&before, "x");
        assert!(!told && finding.verdict == Verdict::Ok);
        before.namespaces = vec![there(json!({POD_SECURITY: "baseline"}))];
        let (finding, told) = namespace(&before, "x");
        assert!(!told && finding.is_problem() && finding.text.contains("--overwrite"));
    }
}
