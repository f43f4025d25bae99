//! What only `support-bundle` reads.

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{ListParams, LogParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use super::Cluster;
use crate::plugin::bundle::FILE_MAX;

/// How many objects one answer has, and how many answers are asked for.
const PAGE: (u32, usize) = (500, 20);

/// One container of a pod of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// Whether it ran before.
    pub restarted: bool,
    /// Whether it serves metrics and says how it is.
    pub has_pages: bool,
}

impl Container {
    /// All of a pod.
    pub fn of(pod: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let statuses = pod["status"]["containerStatuses"].as_array();
        let restarted = |name: &Value| {
            let mut all = statuses.into_iter().flatten();
            all.any(|status| {
                status["name"] == *name && status["restartCount"].as_u64().unwrap_or(0) > 0
            })
        };
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let one = |container: &Value| {
            let ports = container["ports"].as_array().into_iter().flatten();
            let mut named = ports.map(|port| (&port["name"], &port["containerPort"]));
            Self {
                namespace: text(&pod["metadata"]["namespace"]),
                pod: text(&pod["metadata"]["name"]),
                container: text(&container["name"]),
                restarted: restarted(&container["name"]),
                has_pages: named.any(|(name, port)| name == "metrics" && *port == json!(8080)),
            }
        };
        containers.map(one).collect()
    }
}

impl Cluster {
    /// The API server's version, as it says it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn version_text(&self) -> anyhow::Result<String> {
        let version = self.0.apiserver_version().await;
        Ok(version
            .context("the API server does not answer")?
            .git_version)
    }

    /// All objects of a kind, up to some ten thousand.
    ///
    /// # Errors
    /// There is no such kind; the API server refuses.
    pub async fn of_kind(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> anyhow::Result<Vec<Value>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource);
        let mut params = ListParams::default().limit(PAGE.0);
        let mut all = Vec::new();
        for _ in 0..PAGE.1 {
            let list = match api.list(&params).await {
                Ok(list) => list,
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    anyhow::bail!("there is no such kind here")
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot list {}", resource.plural));
                }
            };
            for object in list.items {
                // In a list the server leaves out what the list says.
                let mut value = serde_json::to_value(object)?;
                value["apiVersion"] = json!(resource.api_version);
                value["kind"] = json!(kind);
                all.push(value);
            }
            match list.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => break,
            }
        }
        Ok(all)
    }

    /// The Secrets of a namespace.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn secrets(&self, namespace: &str) -> anyhow::Result<Vec<Secret>> {
        let api: Api<Secret> = Api::namespaced(self.0.clone(), namespace);
        let all = api.list(&ListParams::default()).await;
        Ok(all.context("cannot list Secrets")?.items)
    }

    /// The last lines that a container wrote, or the one before it.
    ///
    /// # Errors
    /// The API server or the kubelet refuses.
    pub async fn log(&self, of: &Container, lines: i64, previous: bool) -> anyhow::Result<String> {
        let api: Api<Pod> = Api::namespaced(self.0.clone(), &of.namespace);
        let params = LogParams {
            container: Some(of.container.clone()),
            tail_lines: Some(lines),
            limit_bytes: i64::try_from(FILE_MAX).ok(),
            previous,
            timestamps: true,
            ..LogParams::default()
        };
        api.logs(&of.pod, &params)
            .await
            .context("cannot read its log")
    }

    /// A page of a pod of ours.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn page(&self, of: &Container, page: &str) -> anyhow::Result<String> {
        let Container { namespace, pod, .. } = of;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/{page}");
        self.get(path)
            .await
            .with_context(|| format!("cannot read /{page}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_ran_before_and_that_have_pages_are_told() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [
                {"name": "a", "ports": [{"name": "metrics", "containerPort": 8080}]},
                {"name": "b", "ports": [{"name": "metrics", "containerPort": 9999}]}]},
            "status": {"containerStatuses": [{"name": "a", "restartCount": 0}, {"name": "b", "restartCount": 2}]}});
        let told: Vec<_> = Container::of(&pod)
            .into_iter()
            .map(|one| (one.container, one.restarted, one.has_pages))
            .collect();
        assert_eq!(
            told,
            [("a".to_owned(), false, true), ("b".to_owned(), true, false)]
        );
    }
}
