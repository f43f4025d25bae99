//! What a cluster with snapshots has beside the driver: their CRDs and their controller.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::workloads::list;
use crate::cluster::{Cluster, images};
use crate::host;

/// The CRDs of snapshots, as their module has them.
pub(super) fn crds(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut go = host::command("go");
    go.args([
        "mod",
        "download",
        "-json",
        "github.com/kubernetes-csi/external-snapshotter/client/v8",
    ])
    .current_dir(workspace.join("e2e-qemu/kubernetes/sidecars"));
    let found: Value = serde_json::from_slice(&host::capture(&mut go)?)?;
    let dir = Path::new(found["Dir"].as_str().context("go names no folder")?).join("config/crd");
    let kinds = [
        "volumesnapshotclasses",
        "volumesnapshotcontents",
        "volumesnapshots",
    ];
    Ok(kinds
        .map(|kind| dir.join(format!("snapshot.storage.k8s.io_{kind}.yaml")))
        .into())
}

/// Installs both; `crds` are those of [`crds`], which needs the machine's own network.
pub(super) fn install(cluster: &Cluster, crds: &[PathBuf]) -> Result<()> {
    for crd in crds {
        let file = crd.to_str().context("the folder is no text")?;
        cluster
            .control
            .kubectl(&["apply", "--server-side", "-f", file])?;
    }
    cluster.apply(&controller())
}

/// The controller that every cluster with snapshots has, with an administrator's rights.
fn controller() -> String {
    let labels = json!({"app": "snapshot-controller"});
    list(&[
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
                    "args": ["--leader-election=false"]}]}}}}),
    ])
}
