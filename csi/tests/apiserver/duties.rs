//! What one of several controllers does: cleaning up after Nodes, telling kubelets, leading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use csi::args::ControllerCli;
use csi::kubernetes::cache::Cache;
use csi::kubernetes::claims;
use csi::kubernetes::cleanup::Cleanup;
use csi::kubernetes::leader::Election;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::{Running, made, theirs};
use crate::server::{Server, eventually};
use crate::volumes::Crd;

fn claim(name: &str, provisioner: &str, node: &str) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": name, "finalizers": ["topolvm.io/pvc"], "annotations": {
            "volume.kubernetes.io/storage-provisioner": provisioner,
            "volume.kubernetes.io/selected-node": node
        }},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "x",
            "resources": {"requests": {"storage": "1Gi"}}}
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_node_takes_its_claims_along_and_leaves_its_disks_alone() {
    for keep in [false, true] {
        let server = Server::start(Crd::Ours).await;
        let node = Running::start(&server.client, "n1");
        let volumes = server.volumes();
        volumes
            .create(&PostParams::default(), &theirs("pvc-1", "n1", "1Gi"))
            .await
            .unwrap();
        made(&volumes, "pvc-1").await;
        let all: Api<PersistentVolumeClaim> = Api::namespaced(server.client.clone(), "default");
        for (name, provisioner, at) in [
            ("ours", "topolvm.io", "n1"),
            ("elsewhere", "topolvm.io", "n2"),
            ("others", "other.io", "n1"),
        ] {
            let mut claim = claim(name, provisioner, at);
            claim.metadata.finalizers = None;
            all.create(&PostParams::default(), &claim).await.unwrap();
        }
        let nodes: Api<Node> = Api::all(server.client.clone());
        let mark = json!({"metadata": {"finalizers": ["topolvm.io/node"]}});
        nodes
            .patch("n1", &PatchParams::default(), &Patch::Merge(&mark))
            .await
            .unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let metadata: Api<PartialObjectMeta<Node>> = Api::all(server.client.clone());
        let cache = Cache::follow(watcher(metadata, Config::default()), &tasks, &stop);
        tasks.spawn(Cleanup::new(server.client.clone(), cache, keep).run(stop.clone()));
        nodes.delete("n1", &DeleteParams::default()).await.unwrap();
        eventually("the Node is gone", async || {
            nodes.get_opt("n1").await.unwrap().is_none().then_some(())
        })
        .await;
        // The API server itself may have put a finalizer on the claim; nobody takes it here.
        let left = all.list(&Default::default()).await.unwrap();
        let mut left: Vec<_> = left
            .items
            .iter()
            .filter(|claim| claim.metadata.deletion_timestamp.is_none())
            .map(ResourceExt::name_any)
            .collect();
        left.sort();
        let volume = volumes.get_opt("pvc-1").await.unwrap();
        if keep {
            assert_eq!(left, ["elsewhere", "others", "ours"]);
            assert!(volume.is_some());
        } else {
            assert_eq!(left, ["elsewhere", "others"]);
            assert!(volume.is_none());
        }
        assert_eq!(
            node.memory.names().len(),
            1,
            "what is on the disk stays there"
        );
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_of_a_pod_is_told_of_a_volume_that_has_grown() {
    let server = Server::start(Crd::Ours).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(server.client.clone(), "default");
    let pods: Api<Pod> = Api::namespaced(server.client.clone(), "default");
    for (name, provisioner) in [("data", "topolvm.io"), ("other", "other.io")] {
        claims
            .create(&PostParams::default(), &claim(name, provisioner, "n1"))
            .await
            .unwrap();
        let pod = serde_json::from_value(json!({
            "metadata": {"name": format!("uses-{name}")},
            "spec": {"containers": [{"name": "c", "image": "x"}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]}
        }))
        .unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
    let stop = CancellationToken::new();
    let work = tokio::spawn(claims::run(server.client.clone(), stop.clone()));
    for name in ["data", "other"] {
        eventually("the old finalizer goes", async || {
            let claim = claims.get(name).await.unwrap();
            (!claim.finalizers().contains(&"topolvm.io/pvc".to_owned())).then_some(())
        })
        .await;
        let pending = json!({"status": {"conditions": [{
            "type": "FileSystemResizePending", "status": "True",
            "lastTransitionTime": "2026-01-02T00:00:00Z"
        }]}});
        claims
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&pending))
            .await
            .unwrap();
    }
    let key = "topolvm.io/last-resizefs-requested-at";
    let stamp = eventually("the pod is stamped", async || {
        pods.get("uses-data")
            .await
            .unwrap()
            .annotations()
            .get(key)
            .cloned()
    })
    .await;
    let touched = json!({"metadata": {"labels": {"x": "y"}}});
    claims
        .patch("data", &PatchParams::default(), &Patch::Merge(&touched))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let now = pods.get("uses-data").await.unwrap();
    assert_eq!(
        now.annotations().get(key),
        Some(&stamp),
        "once for each growth"
    );
    assert_eq!(
        pods.get("uses-other").await.unwrap().annotations().get(key),
        None
    );
    stop.cancel();
    work.await.unwrap();
}

/// Leads with short times, counting who leads.
fn lead(
    server: &Server,
    me: &str,
    count: &Arc<AtomicUsize>,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let cli = ControllerCli::parse_from([
        "topolvm-controller",
        "--leader-election-lease-duration=2s",
        "--leader-election-renew-deadline=1s",
        "--leader-election-retry-period=200ms",
    ]);
    let election = Election::new(&server.client, "default", &cli.election, me.to_owned());
    let stop = CancellationToken::new();
    let count = count.clone();
    let running = tokio::spawn(election.run(stop.clone(), move |token| {
        let count = count.clone();
        async move {
            assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two lead at once");
            token.cancelled().await;
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }));
    (stop, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_next_one_follows_soon() {
    let server = Server::start(Crd::Ours).await;
    let count = Arc::new(AtomicUsize::new(0));
    let leases: Api<Lease> = Api::namespaced(server.client.clone(), "default");
    let holder = async || {
        leases
            .get_opt("topolvm")
            .await
            .unwrap()?
            .spec?
            .holder_identity
    };
    let (stop_a, a) = lead(&server, "a", &count);
    eventually("a leads", async || {
        holder().await.filter(|name| name == "a")
    })
    .await;
    let (stop_b, b) = lead(&server, "b", &count);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        holder().await.as_deref(),
        Some("a"),
        "a Lease that is renewed stays"
    );
    stop_a.cancel();
    a.await.unwrap();
    eventually("b leads", async || {
        holder().await.filter(|name| name == "b")
    })
    .await;
    // One that dies gives nothing back: its Lease is waited for.
    b.abort();
    let _ = b.await;
    count.store(0, Ordering::SeqCst);
    let (stop_c, c) = lead(&server, "c", &count);
    eventually("c leads", async || {
        holder().await.filter(|name| name == "c")
    })
    .await;
    stop_c.cancel();
    c.await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 0);
    drop(stop_b);
}
