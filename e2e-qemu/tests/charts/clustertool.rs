//! The releases of the drop-in for ClusterTool, as Flux has Helm render them.

use serde_json::Value;

use crate::helm::{self, container, workspace};

/// The values in the HelmRelease of this app.
fn values(app: &str) -> String {
    let release =
        format!("talos/clustertool/clusters/main/kubernetes/system/{app}/app/helm-release.yaml");
    let text = std::fs::read_to_string(workspace().join(release)).unwrap();
    let release: Value = serde_saphyr::from_str(&text).unwrap();
    release["spec"]["values"].to_string()
}

#[test]
fn helm_renders_the_driver_of_the_drop_in_from_its_registry() {
    let objects = helm::topolvm(&values("topolvm")).objects();
    let node = objects.one("DaemonSet", "topolvm-node");
    let image = container(node, "topolvm-node")["image"].as_str().unwrap();
    assert!(image.starts_with("registry.example/basalt:"), "{image}");
    let class = objects.one("StorageClass", "topolvm-thin-provisioner");
    assert_eq!(class["provisioner"], "topolvm.io");
}

#[test]
fn helm_renders_the_watcher_of_the_drop_in_with_the_config_of_truecharts() {
    let objects = helm::disk_watcher(&values("lvm-disk-watcher")).objects();
    assert_eq!(objects.count("DaemonSet"), 1);
    let config = objects.one("ConfigMap", "disk-config");
    let lines = config["data"]["disk-config"].as_str().unwrap();
    assert_eq!(lines.trim(), "k8s-control-1: all");
}
