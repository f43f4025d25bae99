//! What is read from the API server. Each command reads the cluster once, so that what it
//! says fits together.

use std::collections::HashMap;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, StorageClass};
use kube::api::ListParams;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, Client, ResourceExt};
use lvmd::names::DRIVER;
use lvmd::units::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use anyhow::{Context, bail};

use crate::kubernetes::logical_volume::LogicalVolume;

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
        })
    }

    async fn snapshots(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource);
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                let ours = |content: &DynamicObject| content.data["spec"]["driver"] == DRIVER;
                Ok(list.items.into_iter().filter(ours).collect())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(vec![]),
            Err(error) => Err(error).context("cannot list VolumeSnapshotContents"),
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
            .map(|node| self.get(format!("/api/v1/nodes/{node}/proxy/stats/summary")));
        let told = join_all(asked).await;
        told.into_iter()
            .flatten()
            .flat_map(|text| used_of(&text))
            .collect()
    }

    async fn get(&self, path: String) -> kube::Result<String> {
        let request = kube::core::Request::new(path).get("", &Default::default());
        self.0
            .request_text(request.map_err(kube::Error::BuildRequest)?)
            .await
    }

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

    /// Reads what the driver consists of.
    ///
    /// # Errors
    /// See [`Cluster::read`].
    pub async fn examine(&self) -> anyhow::Result<Examined> {
        let version = self
            .0
            .apiserver_version()
            .await
            .context("the API server does not answer")?;
        let number = |text: &str| text.trim_end_matches('+').parse().unwrap_or(0);
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
            version: (number(&version.major), number(&version.minor)),
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
