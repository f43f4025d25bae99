//! What every cluster with snapshots has beside the driver: the CRDs, and the controller that makes their contents.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Cluster, images, upstream};

/// The CRDs of snapshots, as their module has them. They are looked up before a cluster's network is entered.
///
/// # Errors
/// go does not have the module and cannot get it.
pub fn crds(workspace: &Path) -> Result<Vec<PathBuf>> {
    let name = "github.com/kubernetes-csi/external-snapshotter/client/v8";
    let dir = upstream::module(workspace, name)?.join("config/crd");
    let kinds = [
        "volumesnapshotclasses",
        "volumesnapshotcontents",
        "volumesnapshots",
    ];
    Ok(kinds
        .map(|kind| dir.join(format!("snapshot.storage.k8s.io_{kind}.yaml")))
        .into())
}

/// Applies the CRDs, and the controller with an administrator's rights.
///
/// # Errors
/// The API server refuses them.
pub fn install(cluster: &Cluster, crds: &[PathBuf]) -> Result<()> {
    for crd in crds {
        let file = crd.to_str().context("the folder is no text")?;
        let apply = ["apply", "--server-side", "-f", file];
        cluster.control.kubectl(&apply)?;
    }
    let labels = json!({"app": "snapshot-controller"});
    let controller = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "snapshot-controller", "namespace": "kube-system"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "snapshot-controller"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "snapshot-controller", "namespace": "kube-system"}]}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "snapshot-controller", "namespace": "kube-system"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": "snapshot-controller", "containers": [{
                    "name": "c", "image": images::sidecar("snapshot-controller"), "imagePullPolicy": "Never",
                    // With its own rate, 5 calls a second, it is what is measured: 0.2 s for each call after the first ten.
                    "args": ["--leader-election=false", "--kube-api-qps=50", "--kube-api-burst=100"]}]}}}}),
    ];
    cluster.apply(&controller.map(|object| object.to_string()).join("\n---\n"))
}
