//! PersistentVolumeClaims of ours: the kubelet is told at once of a volume that has grown,
//! and finalizers of old versions of upstream go.
//!
//! A kubelet looks at a pod's volumes about once a minute; a change of the pod makes it
//! look now. So pods that use a claim whose file system has to grow get an annotation.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher::Config;
use kube::{Api, Client, ResourceExt};
use lvmd::names;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cleanup::is_ours;
use crate::error::Error;

/// Finalizers that upstream wrote until version 0.40 and takes away since.
const OBSOLETE: [&str; 2] = ["topolvm.io/pvc", "topolvm.cybozu.com/pvc"];
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Works until `stop`.
pub async fn run(client: Client, stop: CancellationToken) {
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let done = Controller::new(claims, Config::default())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            |claim, client| async move { reconcile(&claim, &client).await },
            |_, _: &Error, _| Action::requeue(AGAIN),
            Arc::new(client),
        );
    let mut done = std::pin::pin!(done);
    while let Some(result) = done.next().await {
        if let Err(error) = result {
            warn!(%error, "a claim is not done yet");
        }
    }
}

async fn reconcile(claim: &PersistentVolumeClaim, client: &Client) -> Result<Action, Error> {
    let namespace = claim.namespace().unwrap_or_default();
    if let Some(rest) = without_obsolete(claim.finalizers()) {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
        let patch = json!({"metadata": {
            "resourceVersion": claim.resource_version(),
            "finalizers": rest,
        }});
        let params = PatchParams::default();
        api.patch_metadata(&claim.name_any(), &params, &Patch::Merge(&patch))
            .await?;
        return Ok(Action::await_change());
    }
    let Some(since) = pending_since(claim).filter(|_| is_ours(&claim.metadata)) else {
        return Ok(Action::await_change());
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let all = pods.list(&ListParams::default()).await?;
    for pod in all
        .items
        .iter()
        .filter(|pod| uses(pod, &claim.name_any()) && !was_told(pod, since))
    {
        info!(
            namespace,
            pod = pod.name_any(),
            claim = claim.name_any(),
            "its kubelet is told to grow the file system"
        );
        let stamp = Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {names::ANNOTATION_RESIZEFS: stamp}}});
        let params = PatchParams::default();
        match pods
            .patch_metadata(&pod.name_any(), &params, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Action::await_change())
}

/// The finalizers that stay, when one has to go.
fn without_obsolete(finalizers: &[String]) -> Option<Vec<&String>> {
    let stays = |name: &&String| !OBSOLETE.contains(&name.as_str());
    let rest: Vec<_> = finalizers.iter().filter(stays).collect();
    (rest.len() < finalizers.len()).then_some(rest)
}

/// Since when a live claim's file system has to grow.
fn pending_since(claim: &PersistentVolumeClaim) -> Option<Timestamp> {
    if claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = claim.status.as_ref()?.conditions.as_ref()?;
    let pending = conditions.iter().find(|condition| {
        condition.type_ == "FileSystemResizePending" && condition.status == "True"
    })?;
    Some(
        pending
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::MIN, |time| time.0),
    )
}

/// Whether a pod uses the claim, by its name or as its generic ephemeral volume.
pub(crate) fn uses(pod: &Pod, claim: &str) -> bool {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let pod_name = pod.name_any();
    volumes.into_iter().any(|volume| {
        let named = volume.persistent_volume_claim.as_ref();
        let ephemeral =
            volume.ephemeral.is_some() && format!("{pod_name}-{}", volume.name) == claim;
        ephemeral || named.is_some_and(|source| source.claim_name == claim)
    })
}

fn was_told(pod: &Pod, since: Timestamp) -> bool {
    let stamp = pod.annotations().get(names::ANNOTATION_RESIZEFS);
    stamp.is_some_and(|stamp| stamp.parse::<Timestamp>().is_ok_and(|at| at >= since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_pod_is_told_once_for_each_growth() {
        let pod = |told: Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "p", "annotations": {"topolvm.io/last-resizefs-requested-at": told}},
                "spec": {"containers": [], "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "b", "ephemeral": {}}
                ]}
            }))
            .unwrap()
        };
        let claim = |status: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"status": {"conditions": [{
                "type": "FileSystemResizePending", "status": status,
                "lastTransitionTime": "2026-01-02T00:00:00Z"
            }]}}))
            .unwrap()
        };
        let since = pending_since(&claim("True")).unwrap();
        assert_eq!(pending_since(&claim("False")), None);
        // Upstream's form of the time.
        assert!(was_told(&pod(json!("2026-01-02T00:00:00.5Z")), since));
        assert!(!was_told(&pod(json!("2026-01-01T23:59:59Z")), since));
        assert!(!was_told(&pod(json!("never")), since));
        let pod = pod(json!(""));
        assert!(uses(&pod, "data") && uses(&pod, "p-b"));
        assert!(!uses(&pod, "p-a") && !uses(&pod, "other"));
    }

    #[test]
    fn finalizers_of_old_versions_go_and_others_stay() {
        let all = ["kubernetes.io/pvc-protection", "topolvm.io/pvc"].map(str::to_owned);
        assert_eq!(without_obsolete(&all), Some(vec![&all[0]]));
        assert_eq!(without_obsolete(&all[..1]), None);
    }
}
