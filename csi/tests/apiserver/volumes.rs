//! LogicalVolumes on an API server.

use std::path::{Path, PathBuf};
use std::process::Command;

use csi::kubernetes::logical_volume::LogicalVolume;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::DeleteParams;
use kube::{Api, CustomResourceExt};

use crate::server::{Server, eventually};

/// The source of a module, of the version that upstream's programs are built from.
fn module(name: &str) -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e-qemu/kubernetes/sidecars");
    #[expect(clippy::disallowed_methods, reason = "the door of these tests")]
    let told = Command::new("go")
        .args(["mod", "download", "-json", name])
        .current_dir(module)
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    PathBuf::from(told["Dir"].as_str().unwrap())
}

/// Which CRD there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crd {
    Ours,
    Upstreams,
}

impl Crd {
    fn read(self) -> CustomResourceDefinition {
        match self {
            Self::Ours => LogicalVolume::crd(),
            Self::Upstreams => {
                let file = "config/crd/bases/topolvm.io_logicalvolumes.yaml";
                crd(&module("github.com/topolvm/topolvm").join(file))
            }
        }
    }
}

fn crd(file: &Path) -> CustomResourceDefinition {
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

impl Server {
    /// Puts external-snapshotter's CRD of VolumeSnapshotContents there.
    pub async fn install_contents(&self) {
        let module = module("github.com/kubernetes-csi/external-snapshotter/client/v8");
        let file = "config/crd/snapshot.storage.k8s.io_volumesnapshotcontents.yaml";
        self.install_crd(crd(&module.join(file))).await;
    }

    /// An API server with a CRD for LogicalVolumes and the nodes `n1` and `n2`.
    pub async fn start(crd: Crd) -> Self {
        let this = Self::bare().await;
        this.install(crd).await;
        this
    }

    /// Puts a CRD in the place of another; the objects are kept.
    pub async fn install(&self, crd: Crd) {
        self.install_crd(crd.read()).await;
        eventually("the CRD is served", async || {
            self.volumes().list(&Default::default()).await.ok()
        })
        .await;
    }

    pub fn volumes(&self) -> Api<LogicalVolume> {
        Api::all(self.client.clone())
    }

    pub async fn delete(&self, name: &str) {
        self.volumes()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
}
