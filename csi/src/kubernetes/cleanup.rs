//! When a Node is deleted: what was on it cannot come back under its name.
//!
//! As with upstream, unless it is told not to: the PersistentVolumeClaims that were placed
//! on the node are deleted, and its LogicalVolumes are given up, so that the node, should
//! it still run, touches neither them nor their volumes. What is on its disks stays there.

use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use lvmd::names;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cache::Cache;
use super::logical_volume::LogicalVolume;
use crate::error::Error;

/// The scheduler's choice, on a claim that waited for its first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Who makes a claim's volume.
pub(super) const PROVISIONERS: [&str; 2] = [
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// See the module.
#[expect(missing_debug_implementations, reason = "a Client has none")]
pub struct Cleanup {
    client: Client,
    nodes: Cache<PartialObjectMeta<Node>>,
    /// Whether claims and LogicalVolumes are left alone.
    keep: bool,
}

impl Cleanup {
    /// Cleans up after the deleted among `nodes`.
    pub fn new(client: Client, nodes: Cache<PartialObjectMeta<Node>>, keep: bool) -> Self {
        Self {
            client,
            nodes,
            keep,
        }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = self.nodes.told();
        while !stop.is_cancelled() {
            told.borrow_and_update();
            let mut failed = false;
            let leaving = |node: &PartialObjectMeta<Node>| is_leaving(&node.metadata);
            for node in self
                .nodes
                .store()
                .state()
                .into_iter()
                .filter(|node| leaving(node))
            {
                let name = node.name_any();
                match self.finalize(&node).await {
                    Ok(()) => info!(node = name, "the Node may go"),
                    Err(error) => {
                        failed = true;
                        warn!(node = name, %error, "not cleaned up yet after the Node");
                    }
                }
            }
            let again = async {
                match failed {
                    true => tokio::time::sleep(AGAIN).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = again => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn finalize(&self, node: &PartialObjectMeta<Node>) -> Result<(), Error> {
        if !self.keep {
            self.delete_claims(&node.name_any()).await?;
            self.give_up(&node.name_any()).await?;
        }
        let api: Api<Node> = Api::all(self.client.clone());
        without(&api, node, names::FINALIZER_NODE, json!({})).await
    }

    async fn delete_claims(&self, node: &str) -> Result<(), Error> {
        let all: Api<PersistentVolumeClaim> = Api::all(self.client.clone());
        let claims = all.list_metadata(&ListParams::default()).await?;
        let on_it = claims
            .items
            .iter()
            .filter(|claim| is_on(&claim.metadata, node));
        let deleted = on_it.map(async |claim| {
            let namespace = claim.namespace().unwrap_or_default();
            info!(
                namespace,
                claim = claim.name_any(),
                node,
                "deleted with its Node"
            );
            let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &namespace);
            delete(&api, &claim.metadata).await
        });
        try_join_all(deleted).await.map(drop)
    }

    async fn give_up(&self, node: &str) -> Result<(), Error> {
        let api: Api<LogicalVolume> = Api::all(self.client.clone());
        let volumes = api.list(&ListParams::default()).await?;
        let on_it = volumes.items.iter().filter(|lv| lv.spec.node_name == node);
        let given_up = on_it.map(async |volume| {
            let mark = json!({names::ANNOTATION_PENDING_DELETION: "true"});
            without(&api, volume, names::FINALIZER_LV, mark).await?;
            delete(&api, volume.meta()).await
        });
        try_join_all(given_up).await.map(drop)
    }
}

/// Takes a finalizer away and writes annotations, unless the object changed since.
async fn without<K>(
    api: &Api<K>,
    object: &impl ResourceExt,
    finalizer: &str,
    annotations: serde_json::Value,
) -> Result<(), Error>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let finalizers = object.finalizers().iter();
    let rest: Vec<&String> = finalizers.filter(|name| *name != finalizer).collect();
    let patch = json!({"metadata": {
        "resourceVersion": object.resource_version(),
        "finalizers": rest,
        "annotations": annotations,
    }});
    let params = PatchParams::default();
    match api
        .patch_metadata(&object.name_any(), &params, &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn delete<K>(api: &Api<K>, object: &ObjectMeta) -> Result<(), Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api
        .delete(object.name.as_deref().unwrap_or_default(), &params)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a Node is being deleted and waits for us.
fn is_leaving(node: &ObjectMeta) -> bool {
    let finalizers = node.finalizers.as_deref().unwrap_or_default();
    node.deletion_timestamp.is_some() && finalizers.iter().any(|name| name == names::FINALIZER_NODE)
}

/// Whether a claim's volume is ours. The annotation is Kubernetes' own, and outlives the
/// StorageClass.
pub(super) fn is_ours(claim: &ObjectMeta) -> bool {
    let annotations = claim.annotations.as_ref();
    PROVISIONERS.iter().any(|key| {
        annotations
            .and_then(|all| all.get(*key))
            .is_some_and(|by| by == names::DRIVER)
    })
}

fn is_on(claim: &ObjectMeta, node: &str) -> bool {
    let annotations = claim.annotations.as_ref();
    let selected = annotations.and_then(|all| all.get(SELECTED_NODE));
    is_ours(claim) && selected.is_some_and(|selected| selected == node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_claims_of_the_deleted_node_go() {
        let claim = |provisioner: &str, node: &str| -> ObjectMeta {
            serde_json::from_value(json!({"annotations": {
                "volume.kubernetes.io/storage-provisioner": provisioner,
                "volume.kubernetes.io/selected-node": node
            }}))
            .unwrap()
        };
        assert!(is_on(&claim("topolvm.io", "n1"), "n1"));
        assert!(!is_on(&claim("topolvm.io", "n2"), "n1"));
        assert!(!is_on(&claim("other.io", "n1"), "n1"));
        assert!(!is_on(&ObjectMeta::default(), "n1"));
    }
}
