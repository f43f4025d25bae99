//! Snapshots whose objects are lost, and made again from what the LVs say of themselves.

use csi::controller::Controller;
use csi::kubernetes::store::KubeStore;
use csi::proto::controller_server::Controller as Service;
use csi::proto::{CreateSnapshotRequest, DeleteSnapshotRequest, ListSnapshotsRequest};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Request;

use super::adopt::{gone, lose, make, strays};
use super::*;
use crate::node::{Running, VG_UUID};
use crate::server::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_objects_were_lost_gets_them_back() {
    let server = Server::start(Crd::Ours).await;
    let node = Running::start(&server.client, "n1");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let store = KubeStore::start(&server.client, &tasks, &stop);
    let controller = Controller::new(store.into(), Default::default(), tasks);
    let source = make(&server, "pvc-1").await;
    // As csi-snapshotter asks with --extra-create-metadata.
    let take = CreateSnapshotRequest {
        name: "snapshot-1".into(),
        source_volume_id: source.clone(),
        parameters: [("name", "before"), ("namespace", "default")]
            .map(|(key, value)| {
                let key = format!("csi.storage.k8s.io/volumesnapshot/{key}");
                (key, value.to_owned())
            })
            .into(),
        ..CreateSnapshotRequest::default()
    };
    let taken = controller.create_snapshot(Request::new(take)).await;
    let taken = taken.unwrap().into_inner().snapshot.unwrap();
    let (id, memory) = (taken.snapshot_id.clone(), node.memory.clone());
    let all = memory.names();
    drop(node);
    lose(&server, "snapshot-1").await;

    let _node = Running::with(&server.client, "n1", memory.clone());
    strays(&server, 1).await;
    let (text, _) = run(&server, &["orphans"]);
    assert!(text.contains("VolumeSnapshot default/before"), "{text}");
    let adopt = ["adopt", "--vg-uuid", VG_UUID, "--all", "--yes"];
    let (text, well) = run(&server, &adopt);
    assert!(
        !well && text.contains("are the CRDs of snapshots there?"),
        "{text}"
    );
    server.install_contents().await;
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent");
    let contents: Api<DynamicObject> =
        Api::all_with(server.client.clone(), &ApiResource::from_gvk(&kind));
    eventually("contents are served", async || {
        contents.list(&Default::default()).await.ok()
    })
    .await;
    let (text, well) = run(&server, &adopt);
    assert!(well && text.contains("default/before"), "{text}");
    let content = contents.get("snapcontent-1").await.unwrap();
    assert_eq!(content.data["spec"]["source"]["snapshotHandle"], id);
    assert_eq!(content.data["spec"]["deletionPolicy"], "Retain");
    let (text, well) = run(&server, &adopt);
    assert!(well && text.contains("was adopted before"), "{text}");
    memory.set_wrong(None);
    strays(&server, 0).await;
    let (text, _) = run(&server, &["orphans"]);
    assert!(!text.contains("snapshot-1"), "{text}");

    // From here on it is a snapshot like any other.
    let list = ListSnapshotsRequest {
        snapshot_id: id.clone(),
        ..ListSnapshotsRequest::default()
    };
    let listed = controller.list_snapshots(Request::new(list)).await;
    let listed = listed
        .unwrap()
        .into_inner()
        .entries
        .remove(0)
        .snapshot
        .unwrap();
    assert!(listed.ready_to_use);
    assert_eq!(
        (listed.source_volume_id, listed.size_bytes),
        (source.clone(), taken.size_bytes)
    );
    assert_eq!(memory.names(), all, "no LV was made or removed");
    let delete = DeleteSnapshotRequest {
        snapshot_id: id,
        ..DeleteSnapshotRequest::default()
    };
    controller
        .delete_snapshot(Request::new(delete))
        .await
        .unwrap();
    gone(&server, "snapshot-1").await;
    assert_eq!(memory.names(), [source]);
    stop.cancel();
}
