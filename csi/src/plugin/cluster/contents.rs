//! VolumeSnapshotContents: external-snapshotter's objects, which are there only where it is.

use anyhow::{Context, bail};
use kube::api::{ListParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, ResourceExt};
use lvmd::names::DRIVER;

use super::{Cluster, MANAGER};

/// What the API server calls them.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent");
    ApiResource::from_gvk(&kind)
}

/// The snapshot that a content names: one that was made for it, or one that a person gave it.
pub fn handles(content: &DynamicObject) -> impl Iterator<Item = &str> {
    let known = [
        &content.data["status"]["snapshotHandle"],
        &content.data["spec"]["source"]["snapshotHandle"],
    ];
    known.into_iter().filter_map(|handle| handle.as_str())
}

impl Cluster {
    fn contents(&self) -> Api<DynamicObject> {
        Api::all_with(self.0.clone(), &resource())
    }

    /// Those of the driver.
    pub(super) async fn snapshots(&self) -> anyhow::Result<Vec<DynamicObject>> {
        match self.contents().list(&ListParams::default()).await {
            Ok(list) => {
                let ours = |content: &DynamicObject| content.data["spec"]["driver"] == DRIVER;
                Ok(list.items.into_iter().filter(ours).collect())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(vec![]),
            Err(error) => Err(error).context("cannot list VolumeSnapshotContents"),
        }
    }

    /// Makes one, or finds it made.
    pub(super) async fn content(&self, wanted: &DynamicObject) -> anyhow::Result<()> {
        let name = wanted.name_any();
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self.contents().create(&params, wanted).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let there = self.contents().get(&name).await;
                let there = there.with_context(|| format!("cannot read {name}"))?;
                if !handles(&there).eq(handles(wanted)) {
                    bail!("VolumeSnapshotContent {name} is there and is another one's");
                }
                Ok(())
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot make VolumeSnapshotContent {name}: are the CRDs of snapshots there?"
                )
            }),
        }
    }
}
