//! `kubectl topolvm` as a person runs it.

mod adopt;
mod bundle;
mod disks;
mod import;
mod install;
mod orphans;
mod snapshots;

use std::path::Path;
use std::process::Command;

use csi::kubernetes::logical_volume::LogicalVolume;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::chart::apply;
use crate::server::Server;
use crate::volumes::Crd;

/// What it writes, and whether it says that all is well.
fn run(server: &Server, args: &[&str]) -> (String, bool) {
    #[expect(clippy::disallowed_methods, reason = "the door of these tests")]
    let done = Command::new(Path::new(env!("CARGO_BIN_EXE_kubectl-topolvm")))
        .args(args)
        .env("KUBECONFIG", server.kubeconfig())
        .output()
        .unwrap();
    let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    (text, done.status.success())
}

/// The words of each line of a table.
fn lines(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| {
            line.split("   ")
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .collect()
        })
        .collect()
}

/// Two nodes of which `n1` has the driver and room, and classes of all kinds.
async fn cluster() -> Server {
    let server = Server::start(Crd::Ours).await;
    let nodes: Api<Node> = Api::all(server.client.clone());
    let params = PatchParams::default();
    let free = json!({"metadata": {"annotations": {
        "capacity.topolvm.io/ssd": (10u64 << 30).to_string(), "capacity.topolvm.io/00default": (10u64 << 30).to_string()
    }}});
    nodes
        .patch("n1", &params, &Patch::Merge(&free))
        .await
        .unwrap();
    for name in ["n1", "n2"] {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        nodes
            .patch_status(name, &params, &Patch::Merge(&ready))
            .await
            .unwrap();
    }
    let csi = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "n1"},
        "spec": {"drivers": [{"name": "topolvm.io", "nodeID": "n1", "topologyKeys": ["topology.topolvm.io/node"]}]}});
    apply(&server.client, &csi).await;
    for (name, provisioner, mode, class) in [
        ("fast", "topolvm.io", "WaitForFirstConsumer", "ssd"),
        ("now", "topolvm.io", "Immediate", "ssd"),
        ("slow", "topolvm.io", "Immediate", "hdd"),
        ("other", "other.io", "Immediate", "x"),
    ] {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": mode,
            "parameters": {"topolvm.io/device-class": class}});
        apply(&server.client, &class).await;
    }
    server
}

async fn claim(server: &Server, name: &str, class: Value, size: &str) -> String {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}}}});
    apply(&server.client, &claim).await;
    let api: Api<PersistentVolumeClaim> = Api::default_namespaced(server.client.clone());
    api.get(name).await.unwrap().uid().unwrap()
}

async fn volume(server: &Server, name: &str, node: &str, status: Value) {
    let object = json!({"apiVersion": "topolvm.io/v1", "kind": "LogicalVolume", "metadata": {"name": name},
        "spec": {"name": name, "nodeName": node, "size": "1Gi", "deviceClass": "ssd"}});
    apply(&server.client, &object).await;
    let api: Api<LogicalVolume> = server.volumes();
    let patch = json!({"status": status});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

async fn persistent(server: &Server, name: &str, id: &str, phase: &str) {
    let object = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
            "claimRef": {"namespace": "default", "name": format!("claim-of-{name}")},
            "csi": {"driver": "topolvm.io", "volumeHandle": id}}});
    apply(&server.client, &object).await;
    let api: Api<PersistentVolume> = Api::all(server.client.clone());
    let patch = json!({"status": {"phase": phase}});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

/// A volume on `n1` that a claim has.
async fn bound(server: &Server, name: &str, id: &str) {
    let made = json!({"volumeID": id, "currentSize": "1Gi"});
    volume(server, name, "n1", made).await;
    persistent(server, name, id, "Bound").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_volumes_and_orphans_are_told() {
    let server = cluster().await;
    let made = |id: &str| json!({"volumeID": id, "currentSize": "1Gi"});
    volume(&server, "lv-1", "n1", made("id-1")).await;
    volume(&server, "lv-2", "n1", made("id-2")).await;
    volume(&server, "lv-3", "gone", made("id-3")).await;
    volume(
        &server,
        "lv-4",
        "n1",
        json!({"code": 8, "message": "no room"}),
    )
    .await;
    persistent(&server, "pv-1", "id-1", "Bound").await;
    persistent(&server, "pv-2", "id-lost", "Bound").await;
    persistent(&server, "pv-3", "id-3", "Released").await;

    let (text, well) = run(&server, &["nodes"]);
    assert!(well);
    assert_eq!(
        lines(&text),
        [
            vec![
                "NODE", "READY", "DRIVER", "CLASS", "FREE", "VOLUMES", "GIVEN"
            ],
            vec!["n1", "yes", "yes", "ssd", "10Gi", "3", "3Gi"],
        ]
    );
    let (text, _) = run(&server, &["volumes"]);
    let table = lines(&text);
    assert!(
        table.contains(&vec![
            "default",
            "claim-of-pv-1",
            "n1",
            "ssd",
            "1Gi",
            "-",
            "-",
            "Ready",
            "lv-1",
            "id-1"
        ]),
        "{text}"
    );
    assert!(
        table.contains(&vec![
            "-",
            "-",
            "n1",
            "ssd",
            "1Gi",
            "-",
            "-",
            "Failed: no room",
            "lv-4",
            "-"
        ]),
        "{text}"
    );
    let (text, _) = run(&server, &["volumes", "-o", "json"]);
    let rows: Value = serde_json::from_str(&text).unwrap();
    let ids: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["volumeId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(rows[3]["sizeBytes"], 1 << 30);

    let (text, _) = run(&server, &["orphans"]);
    let table = lines(&text);
    for row in [
        vec![
            "LogicalVolume",
            "lv-2",
            "n1",
            "1Gi",
            "no PersistentVolume refers to it",
        ],
        vec!["LogicalVolume", "lv-3", "gone", "1Gi", "its Node is gone"],
        vec![
            "PersistentVolume",
            "pv-2",
            "-",
            "0",
            "its LogicalVolume is gone: pods that use it cannot start",
        ],
        vec![
            "PersistentVolume",
            "pv-3",
            "gone",
            "1Gi",
            "its claim is gone and it is kept (Retain)",
        ],
    ] {
        assert!(table.contains(&row), "{row:?} is not in\n{text}");
    }
    assert_eq!(table.len(), 5, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_is_wrong_with_a_volume_is_shown() {
    let server = cluster().await;
    for (name, status, reason, message) in [
        ("lv-1", "False", "Sick", "a physical volume is missing"),
        ("lv-2", "Unknown", "CannotTell", "its volume group is away"),
        ("lv-3", "True", "Well", "nothing is known"),
    ] {
        bound(&server, name, &format!("id-{name}")).await;
        let said = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-02T00:00:00Z"})
        };
        let conditions = [
            said("Ready", "True", "Made", "the volume has 1Gi"),
            said("Healthy", status, reason, message),
        ];
        let patch = json!({"status": {"conditions": conditions}});
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        let patched = server.volumes().patch_status(name, &params, &patch).await;
        patched.unwrap();
    }
    let (text, _) = run(&server, &["volumes"]);
    let table = lines(&text);
    let mut columns = table[0].iter();
    let at = columns.position(|name| *name == "CONDITION").unwrap();
    let said: Vec<_> = table[1..].iter().map(|row| row[at]).collect();
    let wrong = [
        "Sick: a physical volume is missing",
        "CannotTell: its volume group is away",
    ];
    assert_eq!(said, [wrong[0], wrong[1], "Ready"], "{text}");
    let (text, well) = run(&server, &["doctor"]);
    let table = lines(&text);
    for (name, wrong) in ["volume lv-1", "volume lv-2"].into_iter().zip(wrong) {
        assert!(table.contains(&vec![name, "PROBLEM", wrong]), "{text}");
    }
    assert!(!well && !text.contains("volume lv-3"), "{text}");

    // As kubectl get prints them.
    let request = kube::core::Request::new("/apis/topolvm.io/v1/logicalvolumes");
    let mut request = request.list(&Default::default()).unwrap();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    request
        .headers_mut()
        .insert("accept", table.parse().unwrap());
    let table: Value = server.client.request(request).await.unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap();
    let healthy = columns
        .iter()
        .position(|column| column["name"] == "Healthy")
        .unwrap();
    let rows = table["rows"].as_array().unwrap().iter();
    let cells: Vec<_> = rows.map(|row| &row["cells"][healthy]).collect();
    assert_eq!(cells, ["False", "Unknown", "True"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_volume_is_explained() {
    let server = cluster().await;
    let says = |claim: &str, parts: &[&str], well: bool| {
        let (text, is) = run(&server, &["why", claim]);
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(is, well, "{text}");
    };
    says(
        "nothing",
        &["there is no PersistentVolumeClaim nothing in the namespace default"],
        false,
    );
    for (name, class, size) in [
        ("classless", json!(""), "1Gi"),
        ("missing", json!("none"), "1Gi"),
        ("foreign", json!("other"), "1Gi"),
        ("waiting", json!("fast"), "1Gi"),
        ("large", json!("fast"), "20Gi"),
    ] {
        claim(&server, name, class, size).await;
    }
    says(
        "classless",
        &["waits for a PersistentVolume that a person makes"],
        false,
    );
    says("missing", &["there is no none"], false);
    says("foreign", &["of another driver, other.io"], false);
    says("waiting", &["no pod uses it yet"], true);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "large"}}]}});
    apply(&server.client, &pod).await;
    let pods: Api<Pod> = Api::default_namespaced(server.client.clone());
    let full = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/2 nodes are available"}]}});
    pods.patch_status("db", &PatchParams::default(), &Patch::Merge(&full))
        .await
        .unwrap();
    says(
        "large",
        &[
            "db has no node: 0/2 nodes are available",
            "has 10Gi, and 20Gi are wanted",
            "does not run the driver",
        ],
        false,
    );

    let uid = claim(&server, "failed", json!("now"), "1Gi").await;
    says("failed", &["no LogicalVolume yet"], true);
    volume(
        &server,
        &format!("pvc-{uid}"),
        "n1",
        json!({"code": 13, "message": "lvcreate said no"}),
    )
    .await;
    says(
        "failed",
        &["on n1: Failed: lvcreate said no", "PROBLEM"],
        false,
    );
    let bound = json!({"status": {"phase": "Bound"}});
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(server.client.clone());
    claims
        .patch_status("failed", &PatchParams::default(), &Patch::Merge(&bound))
        .await
        .unwrap();
    says("failed", &["it has its volume"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_all_that_runs_on_a_node_and_says_what_it_could_not_ask() {
    let server = cluster().await;
    for (name, component) in [
        ("topolvm", "node-1"),
        ("topolvm", "lvmd"),
        ("topolvm", "controller"),
        ("disk-watcher", "watcher"),
        ("other", "node"),
    ] {
        let labels =
            json!({"app.kubernetes.io/name": name, "app.kubernetes.io/component": component});
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-{component}"), "namespace": "default", "labels": labels},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
        apply(&server.client, &pod).await;
    }
    let (text, well) = run(&server, &["doctor"]);
    let table = lines(&text);
    let asked = table.iter().filter(|row| row[0].ends_with(" n1"));
    let asked: Vec<_> = asked.map(|row| (row[0], row[1])).collect();
    let problem = |what| (what, "PROBLEM");
    assert_eq!(
        asked,
        [
            problem("node n1"),
            problem("disk-watcher n1"),
            problem("lvmd n1")
        ],
        "{text}"
    );
    // No kubelet is there.
    assert!(!well && text.contains("cannot be asked"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_missing_and_then_nothing() {
    let server = Server::bare().await;
    let (text, well) = run(&server, &["doctor"]);
    for part in [
        "the CRD logicalvolumes.topolvm.io is missing",
        "the CSIDriver topolvm.io is missing",
        "no DaemonSet",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!well);

    let server = cluster().await;
    apply(
        &server.client,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "topolvm-system"}}),
    )
    .await;
    let objects = crate::chart::render(&[]);
    for kind in ["CSIDriver", "Deployment", "DaemonSet"] {
        for object in objects.iter().filter(|object| object["kind"] == kind) {
            apply(&server.client, object).await;
        }
    }
    // Controllers of Kubernetes' own are not there to do it.
    let params = PatchParams::default();
    let controllers: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(server.client.clone(), "topolvm-system");
    let status = json!({"status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2}});
    controllers
        .patch_status("topolvm-controller", &params, &Patch::Merge(&status))
        .await
        .unwrap();
    let sets: Api<k8s_openapi::api::apps::v1::DaemonSet> =
        Api::namespaced(server.client.clone(), "topolvm-system");
    let status = json!({"status": {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberReady": 1, "numberMisscheduled": 0}});
    sets.patch_status("topolvm-node", &params, &Patch::Merge(&status))
        .await
        .unwrap();
    let (text, well) = run(&server, &["doctor"]);
    assert!(
        text.contains("no node has its device class hdd") && !well,
        "{text}"
    );
    let problems: Vec<_> = text
        .lines()
        .filter(|line| line.contains("PROBLEM"))
        .collect();
    assert_eq!(problems.len(), 1, "{text}");
    let classes: Api<k8s_openapi::api::storage::v1::StorageClass> = Api::all(server.client.clone());
    classes.delete("slow", &Default::default()).await.unwrap();
    let (text, well) = run(&server, &["doctor"]);
    assert!(well, "{text}");
}
