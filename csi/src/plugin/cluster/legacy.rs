//! What TopoLVM's older group and driver left, and the one thing that is changed of it.

use anyhow::Context;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Cluster, MANAGER};
use crate::kubernetes::logical_volume::LogicalVolume;
use crate::plugin::adopt::Plan;

/// The group and the driver of TopoLVM before it was called topolvm.io.
pub const LEGACY: &str = "topolvm.cybozu.com";

/// Volumes of the older group.
#[derive(Debug, Default)]
pub struct Legacy {
    /// Its LogicalVolumes, which have the same fields.
    pub volumes: Vec<LogicalVolume>,
    /// PersistentVolumes of its driver.
    pub persistent: Vec<PersistentVolume>,
}

impl Legacy {
    /// The PersistentVolume of an LV.
    pub fn persistent_of(&self, id: &str) -> Option<&PersistentVolume> {
        self.persistent.iter().find(|pv| {
            let csi = pv.spec.as_ref().and_then(|spec| spec.csi.as_ref());
            csi.is_some_and(|csi| csi.volume_handle == id)
        })
    }
}

impl Cluster {
    /// Reads the older group's volumes.
    ///
    /// # Errors
    /// There is no such group; the API server refuses.
    pub async fn legacy(&self) -> anyhow::Result<Legacy> {
        let volumes = self.of_kind(LEGACY, "v1", "LogicalVolume").await;
        let volumes = volumes.with_context(|| format!("cannot read LogicalVolumes of {LEGACY}"))?;
        let volumes: Result<_, _> = volumes.into_iter().map(serde_json::from_value).collect();
        let mut persistent: Vec<PersistentVolume> = self.all().await?;
        persistent.retain(|pv| {
            let csi = pv.spec.as_ref().and_then(|spec| spec.csi.as_ref());
            csi.is_some_and(|csi| csi.driver == LEGACY)
        });
        Ok(Legacy {
            volumes: volumes.with_context(|| {
                format!("a LogicalVolume of {LEGACY} is none of any version that is known")
            })?,
            persistent,
        })
    }

    /// Makes the objects of an imported volume, once nobody deletes its LV with the old ones.
    ///
    /// # Errors
    /// As [`Cluster::adopt`].
    pub async fn import(&self, old: &PersistentVolume, plan: &Plan) -> anyhow::Result<()> {
        self.retain(old).await?;
        self.adopt(plan).await
    }

    /// Has a PersistentVolume outlive its claim, with its data.
    async fn retain(&self, pv: &PersistentVolume) -> anyhow::Result<()> {
        let name = pv.name_any();
        let api: Api<PersistentVolume> = Api::all(self.0.clone());
        let patch = json!({
            "metadata": {"uid": pv.uid()},
            "spec": {"persistentVolumeReclaimPolicy": "Retain"},
        });
        let kept = api
            .patch(&name, &PatchParams::apply(MANAGER), &Patch::Merge(&patch))
            .await;
        kept.map(drop)
            .with_context(|| format!("cannot keep PersistentVolume {name}"))
    }
}
