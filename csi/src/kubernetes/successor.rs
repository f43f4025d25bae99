//! Who takes this node's place when it ends: the next pod of its DaemonSet.
//!
//! Upstream's pod has a sidecar that registers with the kubelet by a socket of another name. The kubelet refuses a second
//! driver of one name, and the sidecar ends then, again and again: what is left of ours would keep upstream's from running.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client};
use tracing::warn;

/// Upstream's container that registers with the kubelet.
const REGISTRAR: &str = "csi-registrar";
/// Ending does not wait longer for the answer: less than the 30 s that a pod has to end, as a node with much to do is slow.
const LIMIT: Duration = Duration::from_secs(20);

/// Whether the next pod of the DaemonSet of this name, in this pod's namespace, is this program again, which takes the
/// registration over; also when it cannot be told: then the kubelet knows the driver without a gap.
pub async fn takes_over(client: &Client, daemonset: &str) -> bool {
    let api: Api<DaemonSet> = Api::default_namespaced(client.clone());
    match tokio::time::timeout(LIMIT, api.get_opt(daemonset)).await {
        Ok(Ok(found)) => found.is_some_and(|set| registers_itself(&set)),
        // The right to ask goes with our chart, and so does who may ask: 401 once the service account is gone. A pod that was
        // deleted by force is answered so too: then the kubelet does not know the driver until the next pod is there.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => false,
        Ok(Err(error)) => {
            warn!(%error, "cannot tell who comes next; the kubelet is left to know the driver");
            true
        }
        Err(_) => {
            warn!("nobody says in time who comes next; the kubelet is left to know the driver");
            true
        }
    }
}

fn registers_itself(set: &DaemonSet) -> bool {
    let pod = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let sidecar = |pod: &k8s_openapi::api::core::v1::PodSpec| {
        pod.containers.iter().any(|one| one.name == REGISTRAR)
    };
    set.metadata.deletion_timestamp.is_none() && !pod.is_some_and(sidecar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn registers(metadata: Value, containers: &[&str]) -> bool {
        let containers: Vec<_> = containers
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        let set = json!({"metadata": metadata, "spec": {"selector": {},
            "template": {"spec": {"containers": containers}}}});
        registers_itself(&serde_json::from_value(set).unwrap())
    }

    #[test]
    fn upstreams_pod_and_no_pod_do_not_register_by_our_socket() {
        assert!(registers(json!({}), &["topolvm-node", "debug"]));
        let upstream = ["topolvm-node", "csi-registrar", "liveness-probe"];
        assert!(!registers(json!({}), &upstream));
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!registers(gone, &["topolvm-node"]));
    }
}
