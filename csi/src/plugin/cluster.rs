//! What is read from the API server. Each command reads the cluster once, so that what it
//! says fits together.

mod adopting;
pub mod collecting;
pub mod contents;
mod examined;
pub mod installing;
mod io;
pub mod legacy;

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use kube::api::ListParams;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, Client};
use lvmd::names::DRIVER;
use lvmd::units::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use anyhow::{Context, bail};

use super::orphans::users::Users;
use crate::kubernetes::logical_volume::LogicalVolume;

pub use examined::{Examined, NODE, Told};
pub use io::Io;

/// How long a node or pod may take to say what a table can do without.
const SOON: Duration = Duration::from_secs(8);
/// Who writes, in managed fields.
const MANAGER: &str = "kubectl-topolvm";

/// See the module.
#[expect(missing_debug_implementations, reason = "a Client has none")]
pub struct Cluster(Client);

/// All that volumes consist of.
#[derive(Debug, Default)]
pub struct Seen {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// What drivers the nodes' kubelets know.
    pub csi_nodes: Vec<CSINode>,
    /// All LogicalVolumes; none where the CRD is not there.
    pub volumes: Vec<LogicalVolume>,
    /// Whether the CRD is there.
    pub crd: bool,
    /// PersistentVolumes of the driver.
    pub persistent: Vec<PersistentVolume>,
    /// VolumeSnapshotContents of the driver, where there are such things.
    pub snapshots: Vec<DynamicObject>,
    /// All StorageClasses.
    pub classes: Vec<StorageClass>,
    /// Bytes in use by namespace and claim, as far as kubelets said.
    pub used: HashMap<(String, String), u64>,
    /// What went through volumes by node and LV, as far as their pods said.
    pub io: HashMap<(String, String), Io>,
}

/// What has to do with one claim.
#[derive(Debug)]
pub struct ClaimFacts {
    /// The claim.
    pub claim: PersistentVolumeClaim,
    /// Pods of its namespace.
    pub pods: Vec<Pod>,
    /// What was said of the claim and of the pods that use it.
    pub events: Vec<Event>,
    /// The rest.
    pub seen: Seen,
}

impl Cluster {
    /// The cluster of a client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    async fn all<K>(&self) -> anyhow::Result<Vec<K>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.0.clone());
        let list = api.list(&ListParams::default()).await;
        Ok(list
            .with_context(|| format!("cannot list {}", K::plural(&())))?
            .items)
    }

    /// Reads all that volumes consist of.
    ///
    /// # Errors
    /// The API server does not answer or refuses.
    pub async fn read(&self) -> anyhow::Result<Seen> {
        let volumes: Api<LogicalVolume> = Api::all(self.0.clone());
        let (volumes, crd) = match volumes.list(&ListParams::default()).await {
            Ok(list) => (list.items, true),
            Err(kube::Error::Api(status)) if status.code == 404 => (vec![], false),
            Err(error) => return Err(error).context("cannot list LogicalVolumes"),
        };
        let mut persistent: Vec<PersistentVolume> = self.all().await?;
        persistent.retain(|volume| handle(volume).is_some());
        Ok(Seen {
            nodes: self.all().await?,
            csi_nodes: self.all().await?,
            volumes,
            crd,
            persistent,
            snapshots: self.snapshots().await?,
            classes: self.all().await?,
            used: HashMap::new(),
            io: HashMap::new(),
        })
    }

    /// All PersistentVolumeClaims.
    ///
    /// # Errors
    /// See [`Cluster::read`].
    pub async fn claims(&self) -> anyhow::Result<Vec<PersistentVolumeClaim>> {
        self.all().await
    }

    /// Who may use volumes; read after [`Cluster::read`], so that what came since is in it.
    ///
    /// # Errors
    /// See [`Cluster::read`].
    pub async fn users(&self) -> anyhow::Result<Users> {
        Ok(Users {
            claims: self.all().await?,
            pods: self.all().await?,
            attachments: self.all().await?,
        })
    }

    /// All objects of a kind that disk-watcher shows.
    ///
    /// # Errors
    /// See [`Cluster::read`]; its CRDs are not there.
    pub async fn of_watcher(&self, kind: &str) -> anyhow::Result<Vec<DynamicObject>> {
        let kind = GroupVersionKind::gvk("basalt.storage", "v1alpha1", kind);
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource);
        match api.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                bail!(
                    "this cluster has no {}: is disk-watcher installed?",
                    resource.plural
                )
            }
            Err(error) => Err(error).with_context(|| format!("cannot list {}", resource.plural)),
        }
    }

    /// Asks the kubelets of nodes with volumes how full these are. One that does not answer
    /// says nothing.
    pub async fn used(&self, seen: &Seen) -> HashMap<(String, String), u64> {
        let mut nodes: Vec<&str> = seen
            .volumes
            .iter()
            .map(|v| v.spec.node_name.as_str())
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        let asked = nodes
            .into_iter()
            .map(|node| self.get_soon(format!("/api/v1/nodes/{node}/proxy/stats/summary")));
        let told = join_all(asked).await;
        told.into_iter()
            .flatten()
            .flat_map(|text| used_of(&text))
            .collect()
    }

    /// For a column that can be left empty: one that cannot be reached holds nobody up.
    async fn get_soon(&self, path: String) -> Option<String> {
        let told = tokio::time::timeout(SOON, self.get(path)).await;
        told.ok()?.ok()
    }

    async fn get(&self, path: String) -> kube::Result<String> {
        let request = kube::core::Request::new(path).get("", &Default::default());
        self.0
            .request_text(request.map_err(kube::Error::BuildRequest)?)
            .await
    }

    /// Reads what has to do with one claim.
    ///
    /// # Errors
    /// There is no such claim; see [`Cluster::read`].
    pub async fn claim(&self, namespace: &str, name: &str) -> anyhow::Result<ClaimFacts> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.0.clone(), namespace);
        let Some(claim) = claims
            .get_opt(name)
            .await
            .context("cannot read the claim")?
        else {
            bail!("there is no PersistentVolumeClaim {name} in the namespace {namespace}");
        };
        let pods: Api<Pod> = Api::namespaced(self.0.clone(), namespace);
        let pods = pods
            .list(&ListParams::default())
            .await
            .context("cannot list pods")?
            .items;
        let events: Api<Event> = Api::namespaced(self.0.clone(), namespace);
        let told = events
            .list(&ListParams::default())
            .await
            .context("cannot list Events")?;
        let about = |event: &Event| {
            let object = &event.involved_object;
            object.kind.as_deref() == Some("PersistentVolumeClaim")
                && object.name.as_deref() == Some(name)
        };
        Ok(ClaimFacts {
            claim,
            pods,
            events: told.items.into_iter().filter(about).collect(),
            seen: self.read().await?,
        })
    }
}

/// The volume's id, if the PersistentVolume is the driver's.
pub fn handle(volume: &PersistentVolume) -> Option<&str> {
    let csi = volume.spec.as_ref()?.csi.as_ref()?;
    (csi.driver == DRIVER).then_some(csi.volume_handle.as_str())
}

/// Bytes in use by claim, from a kubelet's summary.
fn used_of(summary: &str) -> Vec<((String, String), u64)> {
    let summary: Value = serde_json::from_str(summary).unwrap_or_default();
    let pods = summary["pods"].as_array().into_iter().flatten();
    let volumes = pods.flat_map(|pod| pod["volume"].as_array().into_iter().flatten());
    let used = volumes.filter_map(|volume| {
        let text = |key: &str| volume["pvcRef"][key].as_str().map(str::to_owned);
        Some((
            (text("namespace")?, text("name")?),
            volume["usedBytes"].as_u64()?,
        ))
    });
    used.collect()
}

/// The current size of a LogicalVolume, or what it shall have.
pub fn size_of(volume: &LogicalVolume) -> Bytes {
    let current = volume
        .status
        .as_ref()
        .and_then(|status| status.current_size.as_ref());
    current
        .unwrap_or(&volume.spec.size)
        .bytes()
        .unwrap_or(Bytes(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_says_how_full_claims_are() {
        let summary = r#"{"pods": [
            {"volume": [{"usedBytes": 7, "pvcRef": {"name": "data", "namespace": "ns"}}, {"usedBytes": 9}]},
            {"podRef": {}}
        ]}"#;
        assert_eq!(
            used_of(summary),
            [(("ns".to_owned(), "data".to_owned()), 7)]
        );
        assert_eq!(used_of("not found"), []);
    }
}
