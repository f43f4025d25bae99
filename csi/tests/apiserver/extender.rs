//! kube-scheduler itself asks the extender, with the configuration in docs/scheduler.

use std::path::Path;
use std::process::Child;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::chart::{apply, one, render};
use crate::server::{Server, eventually, free_port, metrics, program, start_with};

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The extender with the chart's options and service account, its metrics at a port, and kube-scheduler.
async fn start(server: &Server, dir: &Path, capable: bool, metrics: u16) -> [Program; 2] {
    let objects = render(&[
        "scheduler.enabled=true",
        "scheduler.prometheus.podMonitor.enabled=true",
        "scheduler.metrics.host=127.0.0.1",
        &format!("scheduler.metrics.port={metrics}"),
        &format!("scheduler.nodeCacheCapable={capable}"),
    ]);
    for object in &objects {
        if object["metadata"]["name"] == "topolvm-system:scheduler" {
            apply(&server.client, object).await;
        }
    }
    let port = free_port();
    let options = &one(&objects, "ConfigMap", "topolvm-scheduler-options")["data"];
    let options = options["scheduler-options.yaml"].as_str().unwrap();
    let options = options.replace("localhost:9251", &format!("127.0.0.1:{port}"));
    std::fs::write(dir.join("options.yaml"), options).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scheduler/kube-scheduler.yaml");
    let mut config: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(docs).unwrap()).unwrap();
    config["clientConnection"]["kubeconfig"] = json!(server.kubeconfig());
    config["leaderElection"]["leaderElect"] = json!(false);
    config["extenders"][0]["urlPrefix"] = json!(format!("http://127.0.0.1:{port}"));
    config["extenders"][0]["nodeCacheCapable"] = json!(capable);
    std::fs::write(dir.join("kube-scheduler.json"), config.to_string()).unwrap();
    let extender = start_with(
        Path::new(env!("CARGO_BIN_EXE_hypertopolvm")),
        &[
            "topolvm-scheduler".to_owned(),
            format!("--config={}", dir.join("options.yaml").display()),
        ],
        &[("KUBECONFIG", &server.kubeconfig_of("scheduler"))],
        &dir.join("extender.log"),
    );
    let scheduler = start_with(
        &program("control", "kube-scheduler"),
        &[
            format!("--config={}", dir.join("kube-scheduler.json").display()),
            "--secure-port=0".to_owned(),
        ],
        &[],
        &dir.join("kube-scheduler.log"),
    );
    [Program(extender), Program(scheduler)]
}

#[test]
fn the_policy_of_old_kube_schedulers_says_the_same() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scheduler");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    let config: Value = serde_saphyr::from_str(&read("kube-scheduler.yaml")).unwrap();
    let policy: Value = serde_json::from_str(&read("policy.json")).unwrap();
    assert_eq!(policy["extenders"], config["extenders"]);
}

/// Makes a node one that pods may go to, with so many GiB of a class.
async fn prepare(nodes: &Api<Node>, name: &str, gib: u64) {
    let params = PatchParams::default();
    let free = (gib << 30).to_string();
    let patch = json!({
        "metadata": {"annotations": {"capacity.topolvm.io/ssd": free}}, "spec": {"taints": null}
    });
    nodes
        .patch(name, &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let ready = json!({"type": "Ready", "status": "True", "reason": "x", "message": "x",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"capacity": room, "allocatable": room, "conditions": [ready]}});
    nodes
        .patch_status(name, &params, &Patch::Merge(&status))
        .await
        .unwrap();
}

fn pod(name: &str, gib: u64) -> Pod {
    let one = json!({"topolvm.io/capacity": "1"});
    let want = (gib << 30).to_string();
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"capacity.topolvm.io/ssd": want}},
        "spec": {"containers": [{"name": "c", "image": "x",
            "resources": {"requests": one, "limits": one}}]},
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_scheduler_sends_pods_to_where_there_is_room() {
    for capable in [false, true] {
        let server = Server::bare().await;
        let nodes: Api<Node> = Api::all(server.client.clone());
        prepare(&nodes, "n1", 20).await;
        prepare(&nodes, "n2", 600).await;
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let _programs = start(&server, dir.path(), capable, port).await;
        let pods: Api<Pod> = Api::default_namespaced(server.client.clone());
        for (name, gib) in [("small", 1), ("large", 100), ("huge", 1000)] {
            pods.create(&PostParams::default(), &pod(name, gib))
                .await
                .unwrap();
        }
        // Both fit the small one; the score decides.
        for name in ["small", "large"] {
            let node = eventually("the pod has a node", async || {
                pods.get(name).await.unwrap().spec.unwrap().node_name
            })
            .await;
            assert_eq!(node, "n2", "{name}, nodeCacheCapable {capable}");
        }
        let words = eventually("the pod that fits nowhere says why", async || {
            let status = pods.get("huge").await.unwrap().status?;
            let scheduled = status
                .conditions?
                .into_iter()
                .find(|c| c.type_ == "PodScheduled")?;
            // `SchedulerError` until the extender has heard of the nodes (503): tried again.
            (scheduled.reason? == "Unschedulable").then_some(scheduled.message?)
        })
        .await;
        assert!(words.contains("2 out of VG free space"), "{words}");
        // Where Prometheus looks for it, which is not where kube-scheduler asks.
        let page = metrics(port).await;
        let answered = "basalt_extender_answers_total{verb=\"predicate\",code=\"200\"}";
        assert!(page.contains(answered), "{page}");
    }
}
