//! The CRDs and the examples, as the API server takes them.

use disk_watcher::config::Config;
use disk_watcher::kubernetes::types::{
    DiskClass, DiskClassSpec, DiskRemovalRequest, DiskWipeRequest, crds,
};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::server::{Server, eventually};

impl Server {
    /// An API server that has our kinds.
    pub async fn with_kinds() -> Self {
        let this = Self::bare().await;
        for crd in crds() {
            this.install_crd(crd).await;
        }
        eventually("all kinds are served", async || {
            for crd in crds() {
                let resource = kube::core::ApiResource::from_gvk_with_plural(
                    &kube::core::GroupVersionKind::gvk(
                        &crd.spec.group,
                        "v1alpha1",
                        &crd.spec.names.kind,
                    ),
                    &crd.spec.names.plural,
                );
                let api: Api<DynamicObject> = Api::all_with(this.client.clone(), &resource);
                api.list(&Default::default()).await.ok()?;
            }
            Some(())
        })
        .await;
        this
    }
}

const EXAMPLE: &str = include_str!("../../examples/config.yaml");

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// What the API server says of an object that it is to take without storing it.
async fn dry<K>(api: &Api<K>, object: &Value) -> Result<K, String>
where
    K: Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let name = object["metadata"]["name"].as_str().unwrap();
    let mut strict = PatchParams::apply("test").validation_strict();
    strict.dry_run = true;
    api.patch(name, &strict, &Patch::Apply(object))
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_and_requests_pass_a_strict_dry_run_and_slips_do_not() {
    let server = Server::with_kinds().await;
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    for document in documents(EXAMPLE) {
        let taken = dry(&classes, &document).await.unwrap();
        assert_eq!(
            taken.spec.0, document["spec"],
            "nothing is dropped, nothing is filled in"
        );
    }
    let class = |spec: Value| {
        json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskClass",
        "metadata": {"name": "a"}, "spec": spec})
    };
    for (spec, words) in [
        (json!({"volumeGroup": {"name": "a"}}), "every disk"),
        (
            json!({"select": {"size": {"min": "1Gi"}}, "volumeGroup": {"name": "a"}}),
            "every disk",
        ),
        (
            json!({"select": {"model": ["x"]}, "volumeGroup": {}}),
            "volumeGroup.name is missing",
        ),
        (
            json!({"mode": "Force", "select": {"model": ["x"]}, "volumeGroup": {"name": "a"}}),
            "Unsupported value",
        ),
        (
            json!({"select": {"model": ["x"]}, "limits": {"settle": "soon"}, "volumeGroup": {"name": "a"}}),
            "spec.limits.settle",
        ),
    ] {
        let refused = dry(&classes, &class(spec.clone())).await.unwrap_err();
        assert!(refused.contains(words), "{spec}: {refused}");
    }
    let wipes: Api<DiskWipeRequest> = Api::default_namespaced(server.client.clone());
    let wipe = |confirm: &str| {
        json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskWipeRequest",
        "metadata": {"name": "w"}, "spec": {"node": "n1", "diskId": "naa.1", "method": "Full",
        "expect": {"fingerprint": format!("sha256:{}", "a".repeat(64)), "signatures": ["ext4"]},
        "notAfter": "2026-11-20T12:00Z", "confirm": confirm}})
    };
    dry(&wipes, &wipe("destroy naa.1 on n1")).await.unwrap();
    let refused = dry(&wipes, &wipe("yes")).await.unwrap_err();
    assert!(refused.contains("destroy <diskId> on <node>"), "{refused}");
    let removals: Api<DiskRemovalRequest> = Api::default_namespaced(server.client.clone());
    let removal = |spec: Value| {
        json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskRemovalRequest",
        "metadata": {"name": "r"}, "spec": spec})
    };
    dry(
        &removals,
        &removal(json!({"node": "n1", "diskId": "naa.1"})),
    )
    .await
    .unwrap();
    for spec in [
        json!({"node": "n1"}),
        json!({"node": "n1", "diskId": "a", "pvUUID": "b"}),
    ] {
        let refused = dry(&removals, &removal(spec)).await.unwrap_err();
        assert!(refused.contains("by diskId or by pvUUID"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_another_group_or_pool_cannot_be_written_into_a_class() {
    let server = Server::with_kinds().await;
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    let spec = |group: &str, pool: &str, chunk: &str, mode: &str| {
        json!({"mode": mode, "select": {"model": ["x"], "exlcude": 1}, "volumeGroup": {"name": group},
            "thinPool": {"name": pool, "chunkSize": {"policy": "Static", "value": chunk}}})
    };
    let first = DiskClass::new("a", DiskClassSpec(spec("g", "p", "64Ki", "Plan")));
    let stored = classes
        .create(&PostParams::default(), &first)
        .await
        .unwrap();
    assert_eq!(
        stored.spec.0["select"]["exlcude"], 1,
        "a key that nobody knows reaches who refuses it"
    );
    let error = Config::load(
        &json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskClass",
        "metadata": {"name": stored.name_any()}, "spec": stored.spec.0})
        .to_string(),
    );
    assert!(error.unwrap_err().to_string().contains("exlcude"));
    let change = async |spec: Value| {
        let patch = Patch::Merge(json!({"spec": spec}));
        let changed = classes.patch("a", &PatchParams::default(), &patch).await;
        changed.map(drop).map_err(|error| error.to_string())
    };
    for (spec, field) in [
        (spec("h", "p", "64Ki", "Plan"), "volumeGroup.name"),
        (spec("g", "q", "64Ki", "Plan"), "thinPool.name"),
    ] {
        let refused = change(spec).await.unwrap_err();
        assert!(refused.contains(field), "{field}: {refused}");
    }
    change(spec("g", "p", "64Ki", "Enforce")).await.unwrap();
}
