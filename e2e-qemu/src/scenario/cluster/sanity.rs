//! csi-sanity, whole, against the sockets of the driver's pods, as the chart made them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::workloads::NAMESPACE;
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::peer::SANITY;
use crate::spec::{Backend, Disk};

#[path = "../../../../csi/tests/guest_sanity/specs.rs"]
mod specs;

use specs::Outcome;

/// A run has about a hundred specs, of which half make a volume.
const LIMIT: Duration = Duration::from_mins(20);
/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
const KUBELET: &str = "/var/lib/kubelet";

/// See the module.
pub(in super::super) fn passes(context: &Context) -> Result<()> {
    SANITY.build(&context.workspace.join(".cache"))?;
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        let disk = node.guest().plug(Disk::new(8 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 4G -T vg/pool"
        )))?;
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        let [size, larger] = specs::THICK_SIZES;
        let no_copies = specs::no_copies();
        let thick = [size, larger, &no_copies];
        for (class, args, expected) in [
            ("thin", &specs::THIN_SIZES[..], specs::thin()),
            ("thick", &thick[..], specs::thick()),
        ] {
            let started = Instant::now();
            let outcome = run(context, cluster, &node, class, args)?;
            let table = outcome.table(&expected);
            print!("{class} volumes:\n{table}");
            std::fs::write(cluster.dir().join(format!("sanity-{class}.txt")), table)?;
            outcome
                .check(&expected)
                .map_err(|found| anyhow!("{class}: {found}"))?;
            context.result(format!(
                "{class}: {} specs passed, {} are not for these volumes, in {:.0} s",
                outcome.passed.len(),
                outcome.left.len(),
                started.elapsed().as_secs_f32()
            ));
        }
        let volumes = ["get", "logicalvolumes", "-o", "name"];
        cluster::until("no LogicalVolume is left", SOON, || {
            Ok(cluster.control.kubectl(&volumes)?.is_empty())
        })?;
        let left = Command::shell("lvm lvs --noheadings -o lv_name vg");
        cluster::until("what was removed is overwritten", SOON, || {
            Ok(node.guest().check(left.clone())? == "pool")
        })?;
        Ok(())
    })
}

/// Runs csi-sanity in the node, against both pods, with volumes of a class.
fn run(
    context: &Context,
    cluster: &Cluster,
    node: &Node,
    class: &str,
    args: &[&str],
) -> Result<Outcome> {
    let parameters = cluster.dir().join(format!("{class}.yaml"));
    std::fs::write(&parameters, format!("topolvm.io/device-class: {class}\n"))?;
    let label = "app.kubernetes.io/component=controller";
    let uid = "jsonpath={.items[0].metadata.uid}";
    let uid =
        (cluster.control).kubectl(&["get", "pods", "-n", NAMESPACE, "-l", label, "-o", uid])?;
    // The path of a socket has 107 bytes at most, and the pod's is longer.
    let controller = "/run/controller";
    let link = format!(
        "ln -sfn {KUBELET}/pods/{uid}/volumes/kubernetes.io~empty-dir/socket-dir {controller}"
    );
    node.guest().shell(link)?;
    // Below a folder whose mounts the node's pod shares with its host.
    let place = format!("{KUBELET}/plugins/kubernetes.io/csi/sanity");
    let program = SANITY.current(&context.workspace.join(".cache"));
    let report = format!("/run/sanity-{class}.json");
    let mut command = Command::new(program.join("csi-sanity").display().to_string());
    for arg in [
        format!("--csi.endpoint=unix://{KUBELET}/plugins/topolvm.io/node/csi-topolvm.sock"),
        format!("--csi.controllerendpoint=unix://{controller}/csi-topolvm.sock"),
        format!("--csi.mountdir={place}/mount"),
        format!("--csi.stagingdir={place}/staging"),
        format!("--csi.testvolumeparameters={}", parameters.display()),
        "--ginkgo.no-color".to_owned(),
        specs::report(&report),
    ] {
        command = command.arg(arg);
    }
    command = args.iter().fold(command, |all, arg| all.arg(*arg));
    node.guest().shell(format!("mkdir -p {place}"))?;
    let out = node.guest().run(command.timeout(LIMIT))?;
    let text = out.text();
    std::fs::write(cluster.dir().join(format!("sanity-{class}.log")), &text)?;
    let report = node.guest().shell(format!("cat {report}"))?;
    Outcome::of(&report).context("csi-sanity did not come to its end")
}

fn values() -> Value {
    json!({
        "image": images::chart_value(true),
        "controller": {"replicaCount": 1},
        "snapshot": {"enabled": false},
        "lvmd": {"managed": false, "deviceClasses": [
            {"name": "thin", "volume-group": "vg", "default": true, "spare-gb": 0, "type": "thin",
             "thin-pool": {"name": "pool", "overprovision-ratio": 20.0}},
            {"name": "thick", "volume-group": "vg", "spare-gb": 0},
        ]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_is_newly_left_out_or_run_is_named() {
        let spec = |about: &str, name: &str, state: &str| {
            json!({
            "ContainerHierarchyTexts": [about], "LeafNodeType": "It", "LeafNodeText": name, "State": state})
        };
        let health = "ControllerListVolumeHealth [Controller Server]";
        let report = json!([{"SpecReports": [
            {"ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "", "State": "passed"},
            spec("ExpandVolume [Controller Server]", "should work", "skipped"),
            spec(health, "should return appropriate response", "passed"),
            spec("Node Service", "should work", "failed"),
        ]}]);
        let outcome = Outcome::of(&report.to_string()).unwrap();
        assert_eq!(outcome.passed.len(), 1);
        let table = outcome.table(&specs::thin());
        for line in [
            "passed   ControllerListVolumeHealth [Controller Server] should return appropriate response",
            "not run  ExpandVolume [Controller Server] should work: not known why",
            "failed   Node Service should work: failed: ",
        ] {
            assert!(table.lines().any(|said| said == line), "{table}");
        }
        let found = outcome.check(&specs::thin()).unwrap_err();
        for line in [
            "ExpandVolume [Controller Server] should work: not run",
            "ControllerListVolumeHealth [Controller Server] should return appropriate response: was run",
            "Node Service should work: failed: ",
        ] {
            assert!(found.lines().any(|said| said == line), "{found}");
        }
        assert_eq!(Outcome::of("["), None);
    }
}
