//! Volumes of TopoLVM's older group, which get objects of this driver beside their own.

use kube::CustomResourceExt;

use super::adopt::{bereft, gone, strays, unknown};
use super::*;
use crate::node::Running;
use crate::server::eventually;

/// The CRD of the older group, which has the same fields.
fn legacy_crd()
-> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition {
    let mut crd = LogicalVolume::crd();
    crd.metadata.name = Some("logicalvolumes.topolvm.cybozu.com".to_owned());
    crd.spec.group = "topolvm.cybozu.com".to_owned();
    crd
}

/// What TopoLVM's older driver had for an LV.
async fn theirs(server: &Server, name: &str, id: &str) {
    let object = json!({"apiVersion": "topolvm.cybozu.com/v1", "kind": "LogicalVolume",
        "metadata": {"name": name, "finalizers": ["topolvm.cybozu.com/logicalvolume"]},
        "spec": {"name": name, "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"}});
    apply(&server.client, &object).await;
    let status = json!({"apiVersion": "topolvm.cybozu.com/v1", "kind": "LogicalVolume", "metadata": {"name": name},
        "status": {"volumeID": id, "currentSize": "1Gi"}});
    let api = legacy(server);
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    let pv = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "old",
            "claimRef": {"namespace": "default", "name": format!("claim-of-{name}"), "uid": "u"},
            "csi": {"driver": "topolvm.cybozu.com", "volumeHandle": id, "fsType": "xfs"}}});
    apply(&server.client, &pv).await;
}

fn legacy(server: &Server) -> Api<kube::core::DynamicObject> {
    let kind = kube::core::GroupVersionKind::gvk("topolvm.cybozu.com", "v1", "LogicalVolume");
    Api::all_with(
        server.client.clone(),
        &kube::discovery::ApiResource::from_gvk(&kind),
    )
}

/// The LogicalVolume of an LV.
async fn of(server: &Server, id: &str) -> Option<LogicalVolume> {
    let all = server.volumes().list(&Default::default()).await.unwrap();
    let mut all = all.items.into_iter();
    all.find(|volume| volume.volume_id() == Some(id))
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_the_older_group_get_objects_beside_their_own() {
    let (server, memory, ids) = bereft(Crd::Ours).await;
    let (text, well) = run(&server, &["import-legacy"]);
    assert!(
        !well && text.contains("there is no such kind here"),
        "{text}"
    );
    server.install_crd(legacy_crd()).await;
    eventually("the older group is served", async || {
        legacy(&server).list(&Default::default()).await.ok()
    })
    .await;
    for (name, id) in ["old-1", "old-2"].iter().zip(&ids) {
        theirs(&server, name, id).await;
    }
    let all = memory.names();
    let (text, well) = run(&server, &["import-legacy", "--yes"]);
    assert!(
        !well && text.contains("does this driver run there"),
        "{text}"
    );
    let why = "this lvmd does not tell it: set node.lvmdEmbedded: true";
    memory.set_untold(Some(why));
    let _node = Running::with(&server.client, "n1", memory.clone());
    unknown(&server, Some(why)).await;
    let (text, well) = run(&server, &["import-legacy", "--yes"]);
    assert!(!well && text.matches(why).count() == 2, "{text}");
    memory.set_untold(None);
    strays(&server, 2).await;
    let (text, well) = run(&server, &["import-legacy"]);
    assert!(
        well && text.contains("for default/claim-of-old-1"),
        "{text}"
    );
    assert_eq!(
        server
            .volumes()
            .list(&Default::default())
            .await
            .unwrap()
            .items,
        []
    );

    let (text, well) = run(&server, &["import-legacy", "--volume", "old-1", "--yes"]);
    assert!(well, "{text}");
    let (text, well) = run(&server, &["import-legacy", "--yes"]);
    assert!(
        well && text.matches("was imported before").count() == 1,
        "{text}"
    );
    let persistent: Api<PersistentVolume> = Api::all(server.client.clone());
    for (name, id) in ["old-1", "old-2"].iter().zip(&ids) {
        let new = of(&server, id).await.unwrap();
        assert!(!new.is_given_up() && new.has_finalizer());
        let spec = persistent.get(&new.name_any()).await.unwrap().spec.unwrap();
        assert_eq!(spec.csi.unwrap().driver, "topolvm.io");
        assert_eq!(
            spec.claim_ref.unwrap().name,
            Some(format!("claim-of-{name}"))
        );
        // The old ones are as they were, but kept.
        let old = persistent.get(name).await.unwrap().spec.unwrap();
        assert_eq!(
            old.persistent_volume_reclaim_policy.as_deref(),
            Some("Retain")
        );
        assert_eq!(old.csi.unwrap().driver, "topolvm.cybozu.com");
        let old = legacy(&server).get(name).await.unwrap();
        assert_eq!(old.finalizers(), ["topolvm.cybozu.com/logicalvolume"]);
        assert!(old.metadata.deletion_timestamp.is_none());
    }
    assert_eq!(memory.names(), all, "no LV was made or removed");

    // Their object goes by hand, and takes nothing with it.
    let free = json!({"metadata": {"finalizers": null}});
    let api = legacy(&server);
    api.patch("old-1", &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    api.delete("old-1", &Default::default()).await.unwrap();
    assert_eq!(memory.names(), all);
    // Ours is a volume like any other.
    let new = of(&server, &ids[0]).await.unwrap().name_any();
    server.delete(&new).await;
    gone(&server, &new).await;
    assert_eq!(memory.names(), [ids[1].clone()]);
}
