//! LogicalVolumes that nothing refers to, and their deletion.

use csi::kubernetes::local::Local;
use kube::api::DeleteParams;
use lvmd::units::{Bytes, GIB};
use lvmd::volumes::Create;

use super::adopt::{bereft, gone, make, strays};
use super::*;
use crate::node::{Memory, Running};

/// As after `kubectl delete pv`.
async fn forget(server: &Server, name: &str) {
    let api: Api<PersistentVolume> = Api::all(server.client.clone());
    let free = json!({"metadata": {"finalizers": null}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    let done = api.delete(name, &DeleteParams::default()).await;
    assert!(done.is_ok(), "{done:?}");
}

/// A pod that runs on `n1` and uses a claim; nothing admits pods here but the server itself.
fn pod(name: &str, claim: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_volume_of_a_deleted_persistent_volume_goes_on_request_and_only_then() {
    let server = Server::start(Crd::Ours).await;
    let node = Running::start(&server.client, "n1");
    let ids = [make(&server, "pvc-1").await, make(&server, "pvc-2").await];
    persistent(&server, "pvc-1", &ids[0], "Released").await;
    persistent(&server, "kept", &ids[1], "Released").await;
    let remove = ["orphans", "--remove", "pvc-1"];
    let really = [&remove[..], &["--yes"]].concat();
    let (text, well) = run(&server, &really);
    assert!(
        !well && text.contains("none that nothing refers to"),
        "{text}"
    );

    forget(&server, "pvc-1").await;
    let (text, _) = run(&server, &["orphans"]);
    assert!(text.contains("no PersistentVolume refers to it"), "{text}");
    let (text, well) = run(&server, &remove);
    assert!(well && text.contains("would be deleted"), "{text}");
    for part in [&ids[0], "made for default/data-of-pvc-1", "n1", "1Gi"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }

    // A pod runs with a claim that is gone; then somebody attached it; then its claim waits for it.
    apply(&server.client, &pod("db", "data-of-pvc-1")).await;
    let (text, well) = run(&server, &really);
    assert!(
        !well && text.contains("pod default/db is on its node"),
        "{text}"
    );
    let pods: Api<Pod> = Api::default_namespaced(server.client.clone());
    let now = DeleteParams::default().grace_period(0);
    pods.delete("db", &now).await.unwrap();
    let attached = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
        "metadata": {"name": "csi-1"}, "spec": {"attacher": "topolvm.io", "nodeName": "n1",
            "source": {"persistentVolumeName": "pvc-1"}}});
    apply(&server.client, &attached).await;
    let (text, well) = run(&server, &really);
    assert!(!well && text.contains("VolumeAttachment csi-1"), "{text}");
    let attachments: Api<k8s_openapi::api::storage::v1::VolumeAttachment> =
        Api::all(server.client.clone());
    attachments.delete("csi-1", &now).await.unwrap();
    let waiting = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "lost", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pvc-1",
            "resources": {"requests": {"storage": "1Gi"}}}});
    apply(&server.client, &waiting).await;
    let (text, well) = run(&server, &really);
    assert!(
        !well && text.contains("PersistentVolumeClaim default/lost"),
        "{text}"
    );
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(server.client.clone());
    let free = json!({"metadata": {"finalizers": null}});
    claims
        .patch("lost", &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    claims.delete("lost", &now).await.unwrap();
    assert_eq!(node.memory.names().len(), 2, "nothing was removed so far");

    let (text, well) = run(&server, &really);
    assert!(well && text.contains("it is deleted"), "{text}");
    gone(&server, "pvc-1").await;
    assert_eq!(node.memory.names(), [ids[1].clone()]);
    let (text, well) = run(&server, &really);
    assert!(!well && text.contains("pvc-1 is no LV"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_changed_since_it_was_looked_at_is_not_deleted() {
    let server = Server::start(Crd::Ours).await;
    let node = Running::start(&server.client, "n1");
    let id = make(&server, "pvc-1").await;
    let seen = server.volumes().get("pvc-1").await.unwrap();
    let noted = json!({"metadata": {"annotations": {"somebody": "wants it"}}});
    server
        .volumes()
        .patch("pvc-1", &PatchParams::default(), &Patch::Merge(&noted))
        .await
        .unwrap();
    let cluster = csi::plugin::cluster::Cluster::new(server.client.clone());
    let error = cluster.delete(&seen).await.unwrap_err().to_string();
    assert!(error.contains("ask again"), "{error}");
    let there = server.volumes().get("pvc-1").await.unwrap();
    assert!(!there.is_leaving());
    assert_eq!(node.memory.names(), [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lv_of_a_lost_claim_stays_until_the_claim_is_gone() {
    let (server, memory, ids) = bereft(Crd::Ours).await;
    let _node = Running::with(&server.client, "n1", memory.clone());
    strays(&server, 2).await;
    let lost = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-of-pvc-1", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pvc-1",
            "resources": {"requests": {"storage": "1Gi"}}}});
    apply(&server.client, &lost).await;
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(server.client.clone());
    let phase = json!({"status": {"phase": "Lost"}});
    claims
        .patch_status(
            "data-of-pvc-1",
            &PatchParams::default(),
            &Patch::Merge(&phase),
        )
        .await
        .unwrap();
    let really = ["orphans", "--remove", &ids[0], "--yes"];
    let (text, well) = run(&server, &really);
    for part in [
        "PersistentVolumeClaim default/data-of-pvc-1",
        "its volume is pvc-1",
        "delete the claim first",
    ] {
        assert!(!well && text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(memory.names().len(), 2, "nothing was removed");
    assert!(server.volumes().get_opt("pvc-1").await.unwrap().is_none());

    let free = json!({"metadata": {"finalizers": null}});
    claims
        .patch(
            "data-of-pvc-1",
            &PatchParams::default(),
            &Patch::Merge(&free),
        )
        .await
        .unwrap();
    claims
        .delete("data-of-pvc-1", &DeleteParams::default())
        .await
        .unwrap();
    let (text, well) = run(&server, &really);
    assert!(well, "{text}");
    gone(&server, "pvc-1").await;
    assert_eq!(memory.names(), [ids[1].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inline_volume_of_a_pod_that_comes_back_after_a_reboot_stays() {
    let server = Server::start(Crd::Ours).await;
    let memory = Memory::default();
    let id = format!("csi-{}", "0123456789abcdef".repeat(4));
    let inline = Create {
        name: id.clone(),
        class: "ssd".to_owned(),
        option_class: String::new(),
        size: Bytes(GIB),
        tags: vec!["basalt.ephemeral=default/db".to_owned()],
    };
    memory.create(&inline).await.unwrap();
    // Nobody has it mounted, as before its kubelet publishes it again.
    let _node = Running::with(&server.client, "n1", memory.clone());
    strays(&server, 1).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db", "namespace": "default"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "csi": {"driver": "topolvm.io"}}]}});
    apply(&server.client, &pod).await;
    let (text, well) = run(&server, &["orphans"]);
    assert!(
        well && text.contains("inline volume of pod default/db"),
        "{text}"
    );
    let really = ["orphans", "--remove", &id, "--yes"];
    let (text, well) = run(&server, &really);
    for part in ["pod default/db is on its node", "Delete the pod"] {
        assert!(!well && text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(memory.names(), std::slice::from_ref(&id));

    let pods: Api<Pod> = Api::default_namespaced(server.client.clone());
    let now = DeleteParams::default().grace_period(0);
    pods.delete("db", &now).await.unwrap();
    let (text, well) = run(&server, &really);
    assert!(well, "{text}");
    gone(&server, &format!("adopted-{id}")).await;
    assert_eq!(memory.names(), Vec::<String>::new());
}
