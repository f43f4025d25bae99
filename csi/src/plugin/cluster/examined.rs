//! What the driver consists of in a cluster.

use std::collections::BTreeMap;

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
    /// What the pods on the nodes say of themselves.
    pub pods: Vec<Told>,
    /// The rest.
    pub seen: Seen,
}

/// What a pod says of itself.
#[derive(Debug)]
pub struct Told {
    /// Which it is: [`NODE`], `lvmd` or `disk-watcher`.
    pub part: &'static str,
    /// Its node.
    pub node: String,
    /// The lines of /readyz, or why there are none.
    pub page: Result<String, String>,
}

/// The driver's pod on a node.
pub const NODE: &str = "node";

/// What runs on nodes: the name and the component in its pods' labels, and what it is called here. A group of nodes that has a
/// DaemonSet of its own is a component with a number.
const PARTS: [(&str, &str, &str); 3] = [
    ("topolvm", "node", NODE),
    ("topolvm", "lvmd", "lvmd"),
    ("disk-watcher", "watcher", "disk-watcher"),
];

/// Whether labels are those of a component of this name.
fn is_part(labels: &BTreeMap<String, String>, name: &str, component: &str) -> bool {
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    let of = label("app.kubernetes.io/component").strip_prefix(component);
    label("app.kubernetes.io/name") == name
        && of.is_some_and(|group| group.is_empty() || group.starts_with('-'))
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
        let mut controllers: Vec<Deployment> = self.all().await?;
        controllers.retain(|d| {
            d.spec
                .as_ref()
                .and_then(|s| s.selector.match_labels.as_ref())
                .is_some_and(|labels| is_part(labels, "topolvm", "controller"))
        });
        let mut daemon_sets: Vec<DaemonSet> = self.all().await?;
        daemon_sets.retain(|d| {
            d.spec
                .as_ref()
                .and_then(|s| s.selector.match_labels.as_ref())
                .is_some_and(|labels| is_part(labels, "topolvm", "node"))
        });
        let pods: Vec<Pod> = self.all().await?;
        let asked = pods.iter().filter_map(|pod| {
            let mut parts = PARTS.iter();
            let found = parts.find(|(name, component, _)| is_part(pod.labels(), name, component));
            let &(_, _, part) = found?;
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            Some(async move {
                Told {
                    part,
                    node: node.unwrap_or_default(),
                    page: self.readyz(pod).await,
                }
            })
        });
        let mut pods = join_all(asked).await;
        // Of a node the driver's first.
        pods.sort_by_key(|told| (told.node.clone(), told.part != NODE, told.part));
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
