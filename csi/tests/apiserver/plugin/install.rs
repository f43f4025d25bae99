//! `install` and `uninstall` with Helm, the two charts and a real API server.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::DeleteParams;

use super::*;
use crate::server::program;

/// `install` or `uninstall`, with Helm and the charts of the workspace.
fn with_helm(server: &Server, args: &[&str]) -> (String, bool) {
    let helm = program("helm", "helm").display().to_string();
    let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
    let charts = charts.display().to_string();
    let place: &[&str] = match args[0] {
        "install" => &["--charts", &charts],
        _ => &[],
    };
    run(server, &[args, &["--helm", &helm], place].concat())
}

async fn daemon_set(server: &Server, namespace: &str, name: &str) -> Option<Value> {
    let api: Api<DaemonSet> = Api::namespaced(server.client.clone(), namespace);
    let set = api.get_opt(name).await.unwrap();
    set.map(|set| serde_json::to_value(set).unwrap()["spec"]["template"]["spec"].take())
}

async fn namespaces(server: &Server) -> Vec<String> {
    let api: Api<Namespace> = Api::all(server.client.clone());
    let all = api.list(&Default::default()).await.unwrap();
    let names = all.iter().map(ResourceExt::name_any);
    // The API server makes its own in its own time.
    names.filter(|name| !name.starts_with("kube-")).collect()
}

async fn classes(server: &Server) -> String {
    let api: Api<ConfigMap> = Api::namespaced(server.client.clone(), "disk-watcher");
    let map = api.get("disk-watcher-classes").await.unwrap();
    map.data.unwrap()["config.yaml"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn install_shows_then_does_and_uninstall_leaves_the_volumes() {
    let server = Server::bare().await;
    let before = namespaces(&server).await;
    for dry in [&["install"][..], &["install", "--dry-run"]] {
        let (text, well) = with_helm(&server, dry);
        assert!(
            well && text.contains("mode Plan: no disk is touched"),
            "{text}"
        );
        assert!(text.contains("release topolvm-system/topolvm"), "{text}");
    }
    assert_eq!(namespaces(&server).await, before, "nothing was changed");

    let (text, well) = with_helm(&server, &["install", "--yes"]);
    assert!(well, "{text}");
    assert!(classes(&server).await.contains("mode: Plan"));
    let labels: Api<Namespace> = Api::all(server.client.clone());
    for (namespace, set) in [
        ("disk-watcher", "disk-watcher"),
        ("topolvm-system", "topolvm-node"),
    ] {
        let label = labels.get(namespace).await.unwrap();
        assert_eq!(
            label.labels()["pod-security.kubernetes.io/enforce"],
            "privileged"
        );
        assert!(daemon_set(&server, namespace, set).await.is_some(), "{set}");
    }

    // A file for a disk, on one node: what was there stays.
    let files = [
        "install",
        "--files=2Gi",
        "--label=superedge.io/local.pv=topolvm",
        "--node=n1",
        "--yes",
    ];
    let (text, well) = with_helm(&server, &files);
    assert!(
        well && text.contains("/var/lib/basalt/files.img (2Gi) is made"),
        "{text}"
    );
    let both = classes(&server).await;
    assert!(
        both.contains("\"local\"") && both.contains("\"files\""),
        "{both}"
    );
    for (namespace, set) in [
        ("disk-watcher", "disk-watcher"),
        ("topolvm-system", "topolvm-node"),
    ] {
        let pod = daemon_set(&server, namespace, set).await.unwrap();
        assert_eq!(
            pod["nodeSelector"]["superedge.io/local.pv"], "topolvm",
            "{set}"
        );
    }
    let nodes: Api<Node> = Api::all(server.client.clone());
    assert!(
        nodes
            .get("n1")
            .await
            .unwrap()
            .labels()
            .contains_key("superedge.io/local.pv")
    );
    assert!(
        !nodes
            .get("n2")
            .await
            .unwrap()
            .labels()
            .contains_key("superedge.io/local.pv")
    );

    // A pod uses a volume.
    bound(&server, "lv-1", "id-1").await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "claim-of-lv-1"}}]}});
    apply(&server.client, &pod).await;
    let (text, well) = with_helm(&server, &["uninstall", "--yes"]);
    assert!(!well && text.contains("default/db use volumes"), "{text}");
    // Another has one that no PersistentVolume stands for.
    let scratch = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "scratch", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "csi": {"driver": "topolvm.io"}}]}});
    apply(&server.client, &scratch).await;
    let pods: Api<Pod> = Api::default_namespaced(server.client.clone());
    let now = DeleteParams::default().grace_period(0);
    pods.delete("db", &now).await.unwrap();
    let (text, well) = with_helm(&server, &["uninstall", "--yes"]);
    assert!(
        !well && text.contains("default/scratch use volumes"),
        "{text}"
    );
    assert!(
        daemon_set(&server, "topolvm-system", "topolvm-node")
            .await
            .is_some()
    );
    let (text, well) = with_helm(&server, &["uninstall", "--in-use", "--yes"]);
    assert!(well, "{text}");
    for part in [
        "1 LogicalVolumes of 1Gi",
        "/var/lib/basalt/files.img",
        "logicalvolumes.topolvm.io",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(
        daemon_set(&server, "topolvm-system", "topolvm-node")
            .await
            .is_none()
    );
    assert!(
        daemon_set(&server, "disk-watcher", "disk-watcher")
            .await
            .is_none()
    );
    let kept = server.volumes().get("lv-1").await.unwrap();
    assert!(!kept.is_leaving() && kept.volume_id() == Some("id-1"));
    let persistent: Api<PersistentVolume> = Api::all(server.client.clone());
    assert!(
        persistent
            .get("lv-1")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );

    let (text, well) = with_helm(&server, &["uninstall", "--yes"]);
    assert!(well && text.contains("Helm knows none"), "{text}");
    let (text, well) = with_helm(&server, &["install", "--yes"]);
    assert!(well, "it takes the CRD over again: {text}");
    assert_eq!(
        server.volumes().get("lv-1").await.unwrap().volume_id(),
        Some("id-1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn install_refuses_before_it_changes_anything() {
    let server = Server::bare().await;
    let before = namespaces(&server).await;
    let refused = |args: &[&str], words: &str| {
        let (text, well) = with_helm(&server, args);
        assert!(!well && text.contains(words), "{args:?}: {text}");
    };
    let by_label = ["install", "--yes", "--label=a=b"];
    refused(&by_label, "none has the label a=b");
    refused(
        &[&by_label[..], &["--node=n9"]].concat(),
        "there is no such node",
    );
    let (text, well) = run(&server, &["install", "--charts=/nowhere", "--yes"]);
    assert!(
        !well && text.contains("there is no /nowhere/disk-watcher"),
        "{text}"
    );
    let values = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(values.path(), "imag: {}").unwrap();
    let file = format!("--topolvm-values={}", values.path().display());
    refused(&["install", "--yes", &file], "Helm's trial");
    assert_eq!(namespaces(&server).await, before);

    // Another's watcher of disks.
    let theirs = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "w", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "main", "image": "example.org/lvm-disk-watcher:1"}]}}}});
    apply(&server.client, &theirs).await;
    refused(&["install", "--yes"], "docs/truecharts.md");
    // A namespace of which somebody said what it takes.
    let api: Api<DaemonSet> = Api::default_namespaced(server.client.clone());
    api.delete("w", &Default::default()).await.unwrap();
    let strict = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "disk-watcher",
        "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    apply(&server.client, &strict).await;
    refused(&["install", "--yes"], "--overwrite");
    assert!(
        daemon_set(&server, "disk-watcher", "disk-watcher")
            .await
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_would_take_the_volumes_with_it_stays() {
    let server = Server::bare().await;
    let values = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(values.path(), "crd: {keep: false}").unwrap();
    let file = format!("--topolvm-values={}", values.path().display());
    let (text, well) = with_helm(&server, &["install", "--yes", &file]);
    assert!(well, "{text}");
    let (text, well) = with_helm(&server, &["uninstall", "--yes"]);
    assert!(!well && text.contains("--set crd.keep=true"), "{text}");
    assert!(
        daemon_set(&server, "topolvm-system", "topolvm-node")
            .await
            .is_some()
    );
}
