//! What `install` and `uninstall` read, and the little that they write themselves: a namespace, and labels.

use anyhow::Context;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, PodSpec, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Cluster, MANAGER, Seen};
use crate::kubernetes::claims::uses;
use crate::plugin::install::checks::{POD_SECURITY, PRIVILEGED};
use crate::plugin::orphans::users::has_inline;

/// What there is before anything is installed.
#[derive(Debug, Default)]
pub struct Before {
    /// The API server's version.
    pub version: (u32, u32),
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// Workloads in words, their namespaces, and their pods.
    pub workloads: Vec<(String, String, PodSpec)>,
    /// Whether snapshots' CRDs are there.
    pub snapshots: bool,
}

/// What stays when the programs go.
#[derive(Debug, Default)]
pub struct Left {
    /// Volumes and what belongs to them.
    pub seen: Seen,
    /// Pods that use volumes, of claims or inline ones, as `namespace/name`.
    pub pods: Vec<String>,
    /// Names of our CRDs.
    pub crds: Vec<String>,
    /// Volume groups as disk-watcher shows them: node and name.
    pub groups: Vec<(String, String)>,
    /// Secrets with LVM's descriptions of groups.
    pub backups: Vec<String>,
}

impl Cluster {
    /// Reads what there is before anything is installed.
    ///
    /// # Errors
    /// The API server does not answer or refuses.
    pub async fn before(&self) -> anyhow::Result<Before> {
        let mut workloads = Vec::new();
        for set in self.all::<DaemonSet>().await? {
            let (name, namespace) = (set.name_any(), set.namespace().unwrap_or_default());
            let pod = set.spec.and_then(|spec| spec.template.spec);
            workloads
                .extend(pod.map(|pod| (format!("DaemonSet {namespace}/{name}"), namespace, pod)));
        }
        for deployment in self.all::<Deployment>().await? {
            let (name, namespace) = (
                deployment.name_any(),
                deployment.namespace().unwrap_or_default(),
            );
            let pod = deployment.spec.and_then(|spec| spec.template.spec);
            workloads
                .extend(pod.map(|pod| (format!("Deployment {namespace}/{name}"), namespace, pod)));
        }
        let crds: Api<CustomResourceDefinition> = Api::all(self.0.clone());
        let snapshots = crds
            .get_opt("volumesnapshotcontents.snapshot.storage.k8s.io")
            .await;
        Ok(Before {
            version: self.version().await?,
            nodes: self.all().await?,
            namespaces: self.all().await?,
            workloads,
            snapshots: snapshots.context("cannot read CRDs")?.is_some(),
        })
    }

    /// Reads what stays when the programs go.
    ///
    /// # Errors
    /// As [`Cluster::before`].
    pub async fn left(&self) -> anyhow::Result<Left> {
        let seen = self.read().await?;
        let claims: Vec<(&str, &str)> = seen
            .persistent
            .iter()
            .filter_map(|pv| pv.spec.as_ref()?.claim_ref.as_ref())
            .filter_map(|claim| Some((claim.namespace.as_deref()?, claim.name.as_deref()?)))
            .collect();
        let ended = |pod: &Pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        let mut pods = self.all::<Pod>().await?;
        pods.retain(|pod| {
            let namespace = pod.namespace().unwrap_or_default();
            let of_ours = |(there, claim): &(&str, &str)| *there == namespace && uses(pod, claim);
            !ended(pod) && (has_inline(pod) || claims.iter().any(of_ours))
        });
        let pods = pods
            .iter()
            .map(|pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()));
        let mut crds = self.all::<CustomResourceDefinition>().await?;
        crds.retain(|crd| ["topolvm.io", "basalt.storage"].contains(&crd.spec.group.as_str()));
        // Without its CRDs it shows none.
        let groups = self.of_watcher("NodeVolumeGroup").await.unwrap_or_default();
        let groups = groups.iter().map(|group| {
            let text = |part: &str, key: &str| {
                group.data[part][key]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            (text("spec", "nodeName"), text("status", "name"))
        });
        Ok(Left {
            pods: pods.collect(),
            crds: crds.iter().map(ResourceExt::name_any).collect(),
            groups: groups.collect(),
            backups: self.backups().await?,
            seen,
        })
    }

    /// Secrets with LVM's descriptions of groups, as `namespace/name`.
    async fn backups(&self) -> anyhow::Result<Vec<String>> {
        let api: Api<Secret> = Api::all(self.0.clone());
        let of = ListParams::default().labels("app.kubernetes.io/managed-by=disk-watcher");
        let all = api
            .list_metadata(&of)
            .await
            .context("cannot list Secrets")?;
        let name = |one: &kube::core::PartialObjectMeta<Secret>| {
            format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any())
        };
        Ok(all.items.iter().map(name).collect())
    }

    /// Makes a namespace that takes privileged pods, or has one take them.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn make_privileged(&self, name: &str) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.0.clone());
        let wanted = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {POD_SECURITY: PRIVILEGED}}});
        let made = api
            .patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(&wanted))
            .await;
        made.map(drop)
            .with_context(|| format!("cannot make namespace {name}"))
    }

    /// Gives a node a label.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn label(&self, node: &str, (key, value): &(String, String)) -> anyhow::Result<()> {
        let api: Api<Node> = Api::all(self.0.clone());
        let label = json!({"metadata": {"labels": {key: value}}});
        let done = api
            .patch(node, &PatchParams::apply(MANAGER), &Patch::Merge(&label))
            .await;
        done.map(drop)
            .with_context(|| format!("cannot label node {node}"))
    }
}
