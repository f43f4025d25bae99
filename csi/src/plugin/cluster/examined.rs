//! What the driver consists of in a cluster.

use anyhow::Context;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::{Api, ResourceExt};
use lvmd::names::DRIVER;

use super::{Cluster, Seen};

/// What the driver consists of.
#[derive(Debug, Default)]
pub struct Examined {
    /// The API server's version, such as 1.33.
    pub version: (u32, u32),
    /// The CSIDriver object.
    pub driver: Option<CSIDriver>,
    /// The controllers' Deployments.
    pub controllers: Vec<Deployment>,
    /// The nodes' DaemonSets.
    pub daemon_sets: Vec<DaemonSet>,
    /// What each node's pod says of itself: its name, and the lines of /readyz or why there are none.
    pub pods: Vec<(String, Result<String, String>)>,
    /// The rest.
    pub seen: Seen,
}

impl Cluster {
    /// The page on which a pod says how it is; a page that says no is an answer too.
    async fn readyz(&self, pod: &Pod) -> Result<String, String> {
        let namespace = pod.namespace().unwrap_or_default();
        let pod = pod.name_any();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/readyz");
        match self.get(path).await {
            Ok(page) => Ok(page),
            Err(kube::Error::Api(status)) if status.message.contains("[-]") => Ok(status.message),
            Err(error) => Err(format!("its pod {pod} cannot be asked: {error}")),
        }
    }

    /// The API server's version, such as 1.33.
    pub(super) async fn version(&self) -> anyhow::Result<(u32, u32)> {
        let version = self.0.apiserver_version().await;
        let version = version.context("the API server does not answer")?;
        let number = |text: &str| text.trim_end_matches('+').parse().unwrap_or(0);
        Ok((number(&version.major), number(&version.minor)))
    }

    /// Reads what the driver consists of.
    ///
    /// # Errors
    /// See [`Cluster::read`].
    pub async fn examine(&self) -> anyhow::Result<Examined> {
        let drivers: Api<CSIDriver> = Api::all(self.0.clone());
        let component = |wanted: &'static str| {
            move |labels: &std::collections::BTreeMap<String, String>| {
                let is = |key: &str, value: &str| labels.get(key).is_some_and(|v| v == value);
                let part = labels.get("app.kubernetes.io/component");
                is("app.kubernetes.io/name", "topolvm")
                    && part.is_some_and(|part| {
                        part == wanted || part.starts_with(&format!("{wanted}-"))
                    })
            }
        };
        let (is_node, is_controller) = (component("node"), component("controller"));
        let mut controllers: Vec<Deployment> = self.all().await?;
        controllers.retain(|d| {
            d.spec
                .as_ref()
                .and_then(|s| s.selector.match_labels.as_ref())
                .is_some_and(&is_controller)
        });
        let mut daemon_sets: Vec<DaemonSet> = self.all().await?;
        daemon_sets.retain(|d| {
            d.spec
                .as_ref()
                .and_then(|s| s.selector.match_labels.as_ref())
                .is_some_and(&is_node)
        });
        let mut pods: Vec<Pod> = self.all().await?;
        pods.retain(|pod| is_node(pod.labels()));
        let asked = pods.iter().map(|pod| async {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            (node.unwrap_or_default(), self.readyz(pod).await)
        });
        let pods = join_all(asked).await;
        Ok(Examined {
            version: self.version().await?,
            driver: drivers
                .get_opt(DRIVER)
                .await
                .context("cannot read the CSIDriver")?,
            controllers,
            daemon_sets,
            pods,
            seen: self.read().await?,
        })
    }
}
