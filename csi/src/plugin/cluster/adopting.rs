//! Writing what `adopt` and `orphans --remove` decided. Each step that was done before is
//! found done, so whatever is cut off goes on when it is asked for again.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use lvmd::names;
use serde_json::json;

use super::{Cluster, MANAGER, handle};
use crate::kubernetes::logical_volume::LogicalVolume;
use crate::kubernetes::size::Size;
use crate::plugin::adopt::{Plan, begun};

impl Cluster {
    /// Makes the objects of an LV that is there. A node heeds the LogicalVolume only when its
    /// status names the LV: before that it would make one.
    ///
    /// # Errors
    /// The API server refuses; what has such a name is another volume's.
    pub async fn adopt(&self, plan: &Plan) -> anyhow::Result<()> {
        let volume = self.given_up(plan).await?;
        if let Some(wanted) = &plan.persistent {
            self.persistent(wanted).await?;
        }
        if let Some(wanted) = &plan.content {
            self.content(wanted).await?;
        }
        let volume = self.says_its_lv(plan, &volume).await?;
        self.heeded(&volume).await
    }

    /// Has the node remove an LV that is there: it gets a LogicalVolume, which is deleted. Until it is heeded nobody can
    /// adopt the LV, and to delete it by hand leaves the LV.
    ///
    /// # Errors
    /// As [`Cluster::adopt`].
    pub async fn remove(&self, plan: &Plan) -> anyhow::Result<()> {
        let volume = self.given_up(plan).await?;
        let mut volume = self.says_its_lv(plan, &volume).await?;
        self.heeded(&volume).await?;
        // It is ours, whatever its node writes now.
        volume.metadata.resource_version = None;
        self.delete(&volume).await
    }

    /// Deletes a LogicalVolume, if it is what it was when it was read (its version, where it has one). Its node removes the LV.
    ///
    /// # Errors
    /// It changed, or is gone; the API server refuses.
    pub async fn delete(&self, volume: &LogicalVolume) -> anyhow::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: volume.uid(),
                resource_version: volume.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let name = volume.name_any();
        let deleted = self.volumes().delete(&name, &params).await;
        deleted.map(drop).with_context(|| {
            format!("LogicalVolume {name} is not deleted; if it changed meanwhile, ask again")
        })
    }

    fn volumes(&self) -> Api<LogicalVolume> {
        Api::all(self.0.clone())
    }

    /// The LogicalVolume, which no node heeds yet.
    async fn given_up(&self, plan: &Plan) -> anyhow::Result<LogicalVolume> {
        let name = plan.volume.name_any();
        let made = self.volumes().create(&params(), &plan.volume).await;
        match made {
            Ok(made) => Ok(made),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let there = self.volumes().get(&name).await;
                let there = there.with_context(|| format!("cannot read LogicalVolume {name}"))?;
                begun(&there, &plan.volume).map_err(anyhow::Error::msg)?;
                Ok(there)
            }
            Err(error) => Err(error).with_context(|| format!("cannot make LogicalVolume {name}")),
        }
    }

    async fn persistent(&self, wanted: &PersistentVolume) -> anyhow::Result<()> {
        let api: Api<PersistentVolume> = Api::all(self.0.clone());
        let name = wanted.name_any();
        match api.create(&params(), wanted).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let there = api.get(&name).await;
                let there = there.with_context(|| format!("cannot read {name}"))?;
                if handle(&there) != handle(wanted) {
                    bail!("PersistentVolume {name} is there and is another one's");
                }
                Ok(())
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot make PersistentVolume {name}"))
            }
        }
    }

    /// Names the LV in the status of this version of the object.
    async fn says_its_lv(
        &self,
        plan: &Plan,
        volume: &LogicalVolume,
    ) -> anyhow::Result<LogicalVolume> {
        let (lv, size) = &plan.made;
        let status = json!({
            "metadata": {"uid": volume.uid(), "resourceVersion": volume.resource_version()},
            "status": {"volumeID": lv, "currentSize": Size::from(*size)},
        });
        let name = volume.name_any();
        let said = self
            .volumes()
            .patch_status(&name, &PatchParams::apply(MANAGER), &Patch::Merge(&status))
            .await;
        said.with_context(|| format!("cannot write the status of LogicalVolume {name}"))
    }

    /// Takes off the mark that nodes pass this version of it over by, and has it wait for its node when it goes. Who deleted
    /// it meanwhile made another version, or none: then this fails, and the LV stays.
    async fn heeded(&self, volume: &LogicalVolume) -> anyhow::Result<()> {
        let name = volume.name_any();
        if volume.is_leaving() {
            bail!("somebody deletes LogicalVolume {name}: ask again when it is gone");
        }
        let mut finalizers = volume.finalizers().to_vec();
        if !volume.has_finalizer() {
            finalizers.push(names::FINALIZER_LV.to_owned());
        }
        let patch = json!({"metadata": {
            "uid": volume.uid(),
            "resourceVersion": volume.resource_version(),
            "finalizers": finalizers,
            "annotations": {names::ANNOTATION_PENDING_DELETION: null},
        }});
        let patched = self
            .volumes()
            .patch(&name, &PatchParams::apply(MANAGER), &Patch::Merge(&patch))
            .await;
        patched
            .map(drop)
            .with_context(|| format!("cannot write LogicalVolume {name}"))
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}
