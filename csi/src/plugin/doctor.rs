//! Whether the driver can work in this cluster.

mod page;

use kube::ResourceExt;
use lvmd::names::{CAPACITY_DEFAULT, DRIVER, PARAM_CLASS};

use super::cluster::{Examined, NODE};
use super::nodes::{free, has_driver};
use super::volumes::condition;
use super::why::{Finding, Verdict};

/// The oldest Kubernetes whose API the driver uses.
const OLDEST: (u32, u32) = (1, 30);

/// What was found, each with the way out.
pub fn judge(examined: &Examined) -> Vec<Finding> {
    let mut found = vec![version(examined.version), crd(examined), driver(examined)];
    found.extend(workloads(examined));
    found.extend(nodes(examined));
    found.extend(classes(examined));
    found.extend(volumes(examined));
    found
}

fn verdict(is: bool) -> Verdict {
    if is { Verdict::Ok } else { Verdict::Problem }
}

/// Whether Kubernetes has what the driver uses.
pub(super) fn version((major, minor): (u32, u32)) -> Finding {
    let text = format!(
        "{major}.{minor}; {}.{} or later is needed",
        OLDEST.0, OLDEST.1
    );
    Finding::new("Kubernetes", verdict((major, minor) >= OLDEST), text)
}

fn crd(examined: &Examined) -> Finding {
    let text = match examined.seen.crd {
        true => format!("{} objects", examined.seen.volumes.len()),
        false => "the CRD logicalvolumes.topolvm.io is missing: install the chart with crd.keep or by itself".to_owned(),
    };
    Finding::new("LogicalVolumes", verdict(examined.seen.crd), text)
}

fn driver(examined: &Examined) -> Finding {
    let (verdict, text) = match &examined.driver {
        None => (
            Verdict::Problem,
            "the CSIDriver topolvm.io is missing: install the chart",
        ),
        Some(driver) if driver.spec.storage_capacity == Some(true) => {
            (Verdict::Ok, "kube-scheduler looks at the capacity of nodes")
        }
        Some(_) => (
            Verdict::Ok,
            "kube-scheduler does not look at the capacity of nodes by itself; the extender has to (docs/scheduler.md)",
        ),
    };
    Finding::new("CSIDriver", verdict, text)
}

fn workloads(examined: &Examined) -> Vec<Finding> {
    let mut found = Vec::new();
    for controller in &examined.controllers {
        let status = controller.status.clone().unwrap_or_default();
        let available = status.available_replicas.unwrap_or(0);
        let wanted = controller
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        let text = format!("{available} of {wanted} are available");
        found.push(Finding::new(
            controller.name_any(),
            verdict(available > 0),
            text,
        ));
    }
    if examined.controllers.is_empty() {
        found.push(Finding::new(
            "controller",
            Verdict::Problem,
            "no Deployment of it is there: install the chart",
        ));
    }
    for nodes in &examined.daemon_sets {
        let status = nodes.status.clone().unwrap_or_default();
        let (ready, wanted) = (status.number_ready, status.desired_number_scheduled);
        let text = format!("{ready} of {wanted} are ready");
        found.push(Finding::new(
            nodes.name_any(),
            verdict(ready == wanted && wanted > 0),
            text,
        ));
    }
    if examined.daemon_sets.is_empty() {
        found.push(Finding::new(
            "node",
            Verdict::Problem,
            "no DaemonSet of it is there: install the chart",
        ));
    }
    found
}

/// What the nodes' pods say of themselves, and whether kubelets know the driver.
fn nodes(examined: &Examined) -> Vec<Finding> {
    let mut found = Vec::new();
    for told in &examined.pods {
        let what = format!("{} {}", told.part, told.node);
        found.extend(page::findings(&what, &told.page));
        if told.part == NODE && !has_driver(&examined.seen, &told.node) {
            let text = "its kubelet does not know the driver: is node.kubeletWorkDirectory the kubelet's --root-dir?";
            found.push(Finding::new(&what, Verdict::Problem, text));
        }
    }
    found
}

/// StorageClasses of the driver that no node can serve.
fn classes(examined: &Examined) -> Vec<Finding> {
    let seen = &examined.seen;
    let ours = seen
        .classes
        .iter()
        .filter(|class| class.provisioner == DRIVER);
    ours.map(|class| {
        let wanted = class
            .parameters
            .as_ref()
            .and_then(|all| all.get(PARAM_CLASS));
        let wanted = wanted.map_or(CAPACITY_DEFAULT, String::as_str);
        let have = seen.nodes.iter().filter_map(|node| {
            let free = free(node);
            free.get(wanted).copied()
        });
        // A class whose group is away is told as one without room.
        let have: Vec<bool> = have.map(|free| free.is_some_and(|free| free > 0)).collect();
        let roomy = have.iter().filter(|has_room| **has_room).count();
        let text = match (have.len(), roomy) {
            (0, _) if wanted == CAPACITY_DEFAULT => "no node has a default device class".to_owned(),
            (0, _) => format!("no node has its device class {wanted}"),
            (count, 0) => format!(
                "no volume can be made: of {count} nodes none has room in {}; it is full, frozen or away there",
                its(wanted)
            ),
            (count, roomy) if roomy < count => {
                format!("{count} nodes have its device class, {roomy} of them with room")
            }
            (count, _) => format!("{count} nodes have its device class"),
        };
        Finding::new(
            format!("storage class {}", class.name_any()),
            verdict(roomy > 0),
            text,
        )
    })
    .collect()
}

fn its(class: &str) -> String {
    match class {
        CAPACITY_DEFAULT => "its default device class".to_owned(),
        class => format!("device class {class}"),
    }
}

/// Volumes that somebody has to look at.
fn volumes(examined: &Examined) -> Vec<Finding> {
    let volumes = examined.seen.volumes.iter();
    let bad = volumes.filter_map(|volume| {
        let condition = condition(volume);
        let fine = ["Ready", "Deleting", "Waiting for its node"].contains(&condition.as_str());
        let what = format!("volume {}", volume.name_any());
        (!fine).then(|| Finding::new(what, Verdict::Problem, condition))
    });
    bad.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::cluster::Told;
    use serde_json::json;

    fn told(part: &'static str, node: &str, page: Result<&str, &str>) -> Told {
        Told {
            part,
            node: node.to_owned(),
            page: page.map(str::to_owned).map_err(str::to_owned),
        }
    }

    #[test]
    fn what_a_pod_says_of_its_node_is_passed_on() {
        let page =
            "[+]lvm ok: 2.03.31\n[-]lock directory failed: not the host's\nreadyz check failed\n";
        let examined = Examined {
            pods: vec![
                told(NODE, "n1", Ok(page)),
                told(NODE, "n2", Err("its pod x cannot be asked")),
            ],
            ..Examined::default()
        };
        let text = |node: &str| -> Vec<String> {
            let found = judge(&examined)
                .into_iter()
                .filter(|f| f.what == node && f.is_problem());
            found.map(|finding| finding.text).collect()
        };
        assert_eq!(text("node n1")[0], "lock directory failed: not the host's");
        assert_eq!(text("node n2")[0], "its pod x cannot be asked");
        assert!(text("node n1")[1].contains("--root-dir"));
    }

    #[test]
    fn a_node_whose_groups_are_away_is_a_problem_although_its_pod_is_ready() {
        let page = "[+]lvm ok: 2.03.31\n[+]volume-groups ok: 0 of 1 classes are there\n\
                    [!]class ssd warns: volume group vg is not there\nreadyz check passed\n";
        let examined = Examined {
            pods: vec![told(NODE, "n1", Ok(page))],
            ..Examined::default()
        };
        let found = judge(&examined);
        let of_node = |finding: &&Finding| finding.what == "node n1";
        let problem = found.iter().filter(of_node).find(|f| f.is_problem());
        assert_eq!(
            problem.unwrap().text,
            "class ssd: volume group vg is not there"
        );
    }

    #[test]
    fn what_a_node_is_like_is_told_when_all_is_well_and_its_disk_watcher_is_asked_too() {
        let page = "[+]lvm ok: lvm 2.03.31\n[+]selinux ok: enforcing\nreadyz check passed\n";
        let watcher =
            "[+]passes ok: last pass 3s ago\n[!]ThinPools warns: dm_thin_pool is not loaded\n";
        let examined = Examined {
            pods: vec![
                told(NODE, "n1", Ok(page)),
                told("disk-watcher", "n1", Ok(watcher)),
            ],
            ..Examined::default()
        };
        let found = nodes(&examined);
        let said = |what: &str, verdict: Verdict, text: &str| {
            let is = |f: &Finding| f.what == what && f.verdict == verdict && f.text == text;
            assert!(found.iter().any(is), "{what}: {text}: {found:?}");
        };
        said("node n1", Verdict::Ok, "lvm: lvm 2.03.31");
        said("node n1", Verdict::Ok, "selinux: enforcing");
        let thin = "ThinPools: dm_thin_pool is not loaded";
        said("disk-watcher n1", Verdict::Problem, thin);
        let kubelets = found.iter().filter(|f| f.text.contains("--root-dir"));
        assert_eq!(kubelets.count(), 1, "only the driver registers: {found:?}");
    }

    #[test]
    fn a_class_that_no_node_has_room_in_is_a_problem() {
        let said = |free: &[&str]| {
            let node = |(number, free): (usize, &&str)| {
                serde_json::from_value(json!({"metadata": {"name": format!("n{number}"),
                    "annotations": {"capacity.topolvm.io/ssd": free}}}))
                .unwrap()
            };
            let class = json!({"metadata": {"name": "fast"}, "provisioner": "topolvm.io",
                "parameters": {"topolvm.io/device-class": "ssd"}});
            let mut examined = Examined::default();
            examined.seen.nodes = free.iter().enumerate().map(node).collect();
            examined.seen.classes = vec![serde_json::from_value(class).unwrap()];
            classes(&examined).remove(0)
        };
        for free in [&["0"][..], &["0", "nonsense"]] {
            let found = said(free);
            assert!(
                found.is_problem() && found.text.contains("none has room in device class ssd"),
                "{found:?}"
            );
        }
        let some = said(&["0", "5"]);
        assert!(!some.is_problem(), "{some:?}");
        assert!(some.text.contains("1 of them with room"), "{some:?}");
        assert!(said(&[]).text.contains("no node has its device class ssd"));
        assert_eq!(said(&["5"]).text, "1 nodes have its device class");
    }
}
