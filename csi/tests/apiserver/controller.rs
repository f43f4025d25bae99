//! The controller's side: CSI calls become objects, and objects answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use csi::controller::Controller;
use csi::kubernetes::store::KubeStore;
use csi::proto::controller_server::Controller as Service;
use csi::proto::controller_service_capability::{Type, rpc};
use csi::proto::volume_capability::{AccessType, BlockVolume};
use csi::proto::{
    CapacityRange, ControllerExpandVolumeRequest, ControllerGetVolumeRequest,
    ControllerServiceCapability, CreateSnapshotRequest, CreateVolumeRequest, DeleteSnapshotRequest,
    DeleteVolumeRequest, GetCapacityRequest, ListSnapshotsRequest, Volume, VolumeCapability,
    VolumeCondition,
};
use csi::size::Minimums;
use csi::topology;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use lvmd::config::UnknownClass;
use lvmd::engine::EngineError;
use lvmd::lvm::snapshot::Freeze;
use lvmd::names;
use lvmd::units::GIB;
use lvmd::volumes::VolumeError;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Status};

use crate::node::{Running, theirs};
use crate::server::{Server, eventually};
use crate::volumes::Crd;

struct Driver {
    controller: Controller<KubeStore>,
    stop: CancellationToken,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Driver {
    fn start(server: &Server) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let store = KubeStore::start(&server.client, &tasks, &stop);
        Self {
            controller: Controller::new(Arc::new(store), Minimums::default(), tasks),
            stop,
        }
    }

    async fn create(&self, name: &str, node: &str, size: u64) -> Result<Volume, Status> {
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: range(size),
            volume_capabilities: vec![VolumeCapability {
                access_type: Some(AccessType::Block(BlockVolume {})),
                access_mode: None,
            }],
            parameters: [("topolvm.io/device-class".to_owned(), "ssd".to_owned())].into(),
            accessibility_requirements: Some(csi::proto::TopologyRequirement {
                requisite: vec![],
                preferred: vec![topology::of_node(node)],
            }),
            ..CreateVolumeRequest::default()
        };
        let made = self.controller.create_volume(Request::new(request)).await?;
        Ok(made.into_inner().volume.unwrap())
    }

    /// Its size, and whether kubelet has to grow its file system.
    async fn expand(&self, id: &str, size: u64) -> Result<(i64, bool), Status> {
        let request = ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            capacity_range: range(size),
            ..ControllerExpandVolumeRequest::default()
        };
        let grown = self
            .controller
            .controller_expand_volume(Request::new(request))
            .await?;
        let grown = grown.into_inner();
        Ok((grown.capacity_bytes, grown.node_expansion_required))
    }

    /// The condition of the only volume, which both calls give alike.
    async fn condition(&self, id: &str) -> Option<VolumeCondition> {
        loop {
            let listed = self.controller.list_volumes(ask()).await.unwrap();
            let [entry] = &listed.into_inner().entries[..] else {
                panic!("there is one volume");
            };
            let listed = entry.status.clone();
            let listed = listed.and_then(|status| status.volume_condition);
            let request = ControllerGetVolumeRequest {
                volume_id: id.to_owned(),
            };
            let got = self.controller.controller_get_volume(Request::new(request));
            let got = got.await.unwrap().into_inner().status.unwrap();
            // It may change between the two.
            if listed == got.volume_condition {
                return listed;
            }
        }
    }

    async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = DeleteVolumeRequest {
            volume_id: id.to_owned(),
            ..DeleteVolumeRequest::default()
        };
        self.controller
            .delete_volume(Request::new(request))
            .await
            .map(drop)
    }
}

fn range(size: u64) -> Option<CapacityRange> {
    Some(CapacityRange {
        required_bytes: i64::try_from(size).unwrap(),
        limit_bytes: 0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn kubelet_is_not_asked_to_grow_a_file_system_that_the_node_has_grown() {
    // Upstream's CRD has no room for what the node says of it.
    for (crd, told) in [(Crd::Ours, true), (Crd::Upstreams, false)] {
        let server = Server::start(crd).await;
        let (driver, node) = (Driver::start(&server), Running::start(&server.client, "n1"));
        let id = driver.create("a", "n1", GIB).await.unwrap().volume_id;
        for (size, mounted) in [(2, true), (3, false), (4, true)] {
            *node.memory.mounted.lock().unwrap() = mounted;
            let grown = driver.expand(&id, size * GIB).await.unwrap();
            assert_eq!(grown.1, !(mounted && told), "{size}");
        }
        // Asked again, it is not known to be of this size.
        assert!(driver.expand(&id, 4 * GIB).await.unwrap().1);
    }
}

/// Ten times the goal of what the two need beside LVM.
const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_grown_copied_and_deleted_without_polling() {
    for crd in [Crd::Ours, Crd::Upstreams] {
        let server = Server::start(crd).await;
        let (driver, node) = (Driver::start(&server), Running::start(&server.client, "n1"));
        // The first watches of a new kind start slowly.
        let first = driver.create("first", "n1", GIB).await.unwrap();
        driver.delete(&first.volume_id).await.unwrap();
        let timed = Instant::now();
        let volume = driver.create("PVC-1", "n1", GIB).await.unwrap();
        let mut took = vec![timed.elapsed()];
        assert_eq!(volume.accessible_topology, [topology::of_node("n1")]);
        let again = driver.create("PVC-1", "n1", GIB).await.unwrap();
        assert_eq!(volume, again);
        let other = driver.create("PVC-1", "n1", 2 * GIB).await.unwrap_err();
        assert_eq!(other.code(), Code::AlreadyExists, "{other}");
        let timed = Instant::now();
        let size = driver.expand(&volume.volume_id, 2 * GIB).await.unwrap();
        took.push(timed.elapsed());
        assert_eq!(size, (2 << 30, true));
        // The node is asked each time, also when its last answer still stands there.
        for _ in 0..2 {
            let full = driver.expand(&volume.volume_id, 11 * GIB).await;
            let full = full.unwrap_err();
            assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
        }
        // What failed before is no answer to what is asked now.
        let held = driver.expand(&volume.volume_id, 2 * GIB).await.unwrap();
        assert_eq!(held, (2 << 30, true));

        let snapshot = CreateSnapshotRequest {
            source_volume_id: volume.volume_id.clone(),
            name: "snapshot-1".to_owned(),
            ..CreateSnapshotRequest::default()
        };
        let timed = Instant::now();
        let first = driver
            .controller
            .create_snapshot(Request::new(snapshot.clone()))
            .await
            .unwrap();
        took.push(timed.elapsed());
        let second = driver
            .controller
            .create_snapshot(Request::new(snapshot))
            .await
            .unwrap();
        let (first, second) = (
            first.into_inner().snapshot.unwrap(),
            second.into_inner().snapshot.unwrap(),
        );
        assert_eq!(
            first, second,
            "its time and size are the same when asked again"
        );
        let list = ListSnapshotsRequest {
            source_volume_id: volume.volume_id.clone(),
            ..ListSnapshotsRequest::default()
        };
        let listed = driver
            .controller
            .list_snapshots(Request::new(list))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(listed.entries.len(), 1);
        // A snapshot is no volume.
        driver.delete(&first.snapshot_id).await.unwrap();
        assert_eq!(node.memory.names().len(), 2);
        let delete = DeleteSnapshotRequest {
            snapshot_id: first.snapshot_id,
            ..DeleteSnapshotRequest::default()
        };
        driver
            .controller
            .delete_snapshot(Request::new(delete))
            .await
            .unwrap();
        let timed = Instant::now();
        driver.delete(&volume.volume_id).await.unwrap();
        took.push(timed.elapsed());
        driver.delete(&volume.volume_id).await.unwrap();
        assert_eq!(node.memory.names(), Vec::<String>::new());
        println!("with {crd:?} CRD: create, grow, snapshot, delete took {took:.0?}");
        assert!(took.iter().all(|took| *took < LIMIT), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_volume_is_told_where_the_crd_keeps_it() {
    for crd in [Crd::Ours, Crd::Upstreams] {
        let keeps = matches!(crd, Crd::Ours);
        let server = Server::start(crd).await;
        let (driver, node) = (Driver::start(&server), Running::start(&server.client, "n1"));
        let volume = driver.create("pvc-1", "n1", GIB).await.unwrap();
        let offered = driver.controller.controller_get_capabilities(ask());
        let offered = offered.await.unwrap().into_inner().capabilities;
        let condition: i32 = rpc::Type::VolumeCondition.into();
        let has = |offered: &ControllerServiceCapability| matches!(&offered.r#type, Some(Type::Rpc(rpc)) if rpc.r#type == condition);
        assert_eq!(offered.iter().any(has), keeps, "{crd:?}");
        if !keeps {
            assert_eq!(driver.condition(&volume.volume_id).await, None);
            continue;
        }
        for wrong in [None, Some("a PV is missing"), None] {
            node.memory.set_wrong(wrong);
            let said = eventually("the condition follows", async || {
                let said = driver.condition(&volume.volume_id).await.unwrap();
                (said.abnormal == wrong.is_some()).then_some(said)
            })
            .await;
            assert!(wrong.is_none_or(|wrong| said.message == wrong), "{said:?}");
        }
    }
}

/// A request that asks for nothing in particular.
fn ask<T: Default>() -> Request<T> {
    Request::new(T::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_make_is_taken_back_with_its_reason() {
    let server = Server::start(Crd::Ours).await;
    let (driver, node) = (Driver::start(&server), Running::start(&server.client, "n1"));
    let full = driver.create("pvc-1", "n1", 11 * GIB).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    // The answer says that nothing is under way: the scheduler asks for another node, and finds the name free.
    let left = server.volumes().get_opt("pvc-1").await.unwrap();
    assert!(left.is_none(), "{left:?}");
    let _other = Running::start(&server.client, "n2");
    driver.create("pvc-1", "n2", GIB).await.unwrap();
    assert_eq!(node.memory.names(), Vec::<String>::new());
    let bad = driver.create("pvc_1/ä", "n1", GIB).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument, "{bad}");
}

/// csi-provisioner asks for another node after ResourceExhausted alone (external-provisioner, `checkError`).
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_make_a_volume_at_all_lets_another_have_it() {
    let server = Server::start(Crd::Ours).await;
    let driver = Driver::start(&server);
    let (one, two) = (
        Running::start(&server.client, "n1"),
        Running::start(&server.client, "n2"),
    );
    let frozen = EngineError::Frozen {
        vg: "vg".to_owned(),
        reasons: vec![Freeze::Exported],
    };
    let unknown = UnknownClass {
        name: "ssd".to_owned(),
        known: vec![],
    };
    let refusals: [VolumeError; 4] = [
        unknown.into(),
        frozen.into(),
        EngineError::Missing("vg".to_owned()).into(),
        VolumeError::UnknownOptionClass("raid1".to_owned()),
    ];
    for (n, why) in refusals.into_iter().enumerate() {
        let (name, words) = (format!("pvc-{n}"), why.to_string());
        one.memory.refuse(Some(why));
        let said = driver.create(&name, "n1", GIB).await.unwrap_err();
        assert_eq!(said.code(), Code::ResourceExhausted, "{said}");
        assert!(
            said.message().contains(&words) && said.message().contains("n1"),
            "{said}"
        );
        let noted = eventually("an Event tells it", async || event(&server, &name).await).await;
        assert!(noted.contains(&words), "{noted}");
        driver.create(&name, "n2", GIB).await.unwrap();
    }
    assert_eq!((one.memory.names().len(), two.memory.names().len()), (0, 4));
    // A copy can be nowhere else, and waits for its node.
    one.memory.refuse(None);
    let source = driver.create("source", "n1", GIB).await.unwrap();
    one.memory
        .refuse(Some(EngineError::Missing("vg".to_owned()).into()));
    let copy = CreateSnapshotRequest {
        source_volume_id: source.volume_id,
        name: "copy".to_owned(),
        ..CreateSnapshotRequest::default()
    };
    let asked = driver.controller.clone();
    let copied = tokio::spawn(async move { asked.create_snapshot(Request::new(copy)).await });
    eventually("an Event tells of the copy too", async || {
        event(&server, "copy").await
    })
    .await;
    one.memory.refuse(None);
    copied.await.unwrap().unwrap();
}

/// The note of the Event that says why the object of this name is not made.
async fn event(server: &Server, name: &str) -> Option<String> {
    let events: Api<Event> = Api::all(server.client.clone());
    let all = events.list(&ListParams::default()).await.unwrap();
    let about = |event: &&Event| {
        let regarding = event.regarding.as_ref();
        event.reason.as_deref() == Some("CannotMake")
            && regarding.and_then(|object| object.name.as_deref()) == Some(name)
    };
    all.items.iter().find(about)?.note.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_a_node_which_is_gone_never_made_is_made_by_the_next() {
    let server = Server::start(Crd::Ours).await;
    let (driver, node) = (Driver::start(&server), Running::start(&server.client, "n1"));
    let mut waiting = theirs("pvc-1", "gone", "1Gi");
    waiting.metadata.finalizers = Some(vec![names::FINALIZER_LV.to_owned()]);
    let api = server.volumes();
    api.create(&PostParams::default(), &waiting).await.unwrap();
    // The controller has just begun and does not know yet which nodes there are.
    let made = driver.create("pvc-1", "n1", GIB).await.unwrap();
    assert_eq!(made.accessible_topology, [topology::of_node("n1")]);
    assert_eq!(node.memory.names(), [made.volume_id]);
    // One that was made stays where it is, whoever asks.
    let elsewhere = driver.create("pvc-1", "n2", GIB).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::AlreadyExists, "{elsewhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_make_one_volume_of_one_name() {
    let server = Server::start(Crd::Ours).await;
    let node = Running::start(&server.client, "n1");
    let (one, two) = (Driver::start(&server), Driver::start(&server));
    for round in 0..5 {
        let name = format!("pvc-{round}");
        let (a, b) = tokio::join!(one.create(&name, "n1", GIB), two.create(&name, "n1", GIB));
        assert_eq!(a.unwrap(), b.unwrap());
    }
    assert_eq!(node.memory.names().len(), 5);
    // One deletes what the other made and has perhaps not heard of.
    for id in node.memory.names() {
        two.delete(&id).await.unwrap();
    }
    assert_eq!(node.memory.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_a_node_and_an_api_server_that_are_away() {
    let mut server = Server::start(Crd::Ours).await;
    let driver = Arc::new(Driver::start(&server));
    let asked = driver.clone();
    let call = tokio::spawn(async move { asked.create("pvc-1", "n1", GIB).await });
    eventually("the object is there", async || {
        server.volumes().get_opt("pvc-1").await.unwrap()
    })
    .await;
    // Nobody answers for the node yet, and then for the API server.
    let busy = driver.create("pvc-1", "n1", GIB).await.unwrap_err();
    assert_eq!(busy.code(), Code::Aborted, "{busy}");
    server.restart(Duration::from_secs(2)).await;
    let node = Running::start(&server.client, "n1");
    let volume = call.await.unwrap().unwrap();
    assert_eq!(node.memory.names(), [volume.volume_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_is_what_the_nodes_annotations_say() {
    let server = Server::start(Crd::Ours).await;
    let driver = Driver::start(&server);
    let nodes: Api<Node> = Api::all(server.client.clone());
    for (name, ssd, default) in [("n1", "10", "1"), ("n2", "30", "x")] {
        let patch = json!({"metadata": {"annotations": {
            "capacity.topolvm.io/ssd": ssd, "capacity.topolvm.io/00default": default
        }}});
        nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
    let capacity = async |class: &str, node: Option<&str>| {
        let request = GetCapacityRequest {
            parameters: [("topolvm.io/device-class".to_owned(), class.to_owned())].into(),
            accessible_topology: node.map(topology::of_node),
            ..GetCapacityRequest::default()
        };
        let told = driver
            .controller
            .get_capacity(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        (told.available_capacity, told.maximum_volume_size)
    };
    eventually("the annotations are seen", async || {
        (capacity("ssd", None).await == (40, Some(30))).then_some(())
    })
    .await;
    assert_eq!(capacity("ssd", Some("n1")).await, (10, Some(10)));
    assert_eq!(
        capacity("", None).await,
        (1, Some(1)),
        "a number that is none does not count"
    );
    assert_eq!(capacity("hdd", None).await.0, 0);
    // What a node was asked for is not given out twice; what it refused is free again.
    let api = server.volumes();
    let params = PostParams::default();
    api.create(&params, &theirs("pvc-1", "n2", "12"))
        .await
        .unwrap();
    eventually("the volume that waits is counted", async || {
        (capacity("ssd", Some("n2")).await == (18, Some(18))).then_some(())
    })
    .await;
    assert_eq!(capacity("ssd", None).await, (28, Some(18)));
    let refused = json!({"status": {"code": 8, "message": "full"}});
    let params = PatchParams::default();
    api.patch_status("pvc-1", &params, &Patch::Merge(&refused))
        .await
        .unwrap();
    eventually("it is not any more", async || {
        (capacity("ssd", Some("n2")).await == (30, Some(30))).then_some(())
    })
    .await;
    assert_eq!(capacity("ssd", Some("n3")).await.0, 0);
}

/// A copy of a thick volume: its snapshot is told as soon as its source is frozen, and can be used when all data is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_being_copied_has_an_id_and_is_not_ready_until_it_is_whole() {
    for crd in [Crd::Ours, Crd::Upstreams] {
        let server = Server::start(crd).await;
        let (driver, node) = (Driver::start(&server), Running::start(&server.client, "n1"));
        let volume = driver.create("pvc-1", "n1", GIB).await.unwrap();
        let set_copying = |copying| *node.memory.copying.lock().unwrap() = copying;
        set_copying(true);
        let request = CreateSnapshotRequest {
            source_volume_id: volume.volume_id.clone(),
            name: "snapshot-1".to_owned(),
            ..CreateSnapshotRequest::default()
        };
        let take = async || {
            let taken = driver
                .controller
                .create_snapshot(Request::new(request.clone()));
            taken.await.unwrap().into_inner().snapshot.unwrap()
        };
        let begun = take().await;
        assert!(!begun.ready_to_use && !begun.snapshot_id.is_empty());
        assert_eq!(take().await, begun, "asked again");
        let listed = async || {
            let one = ListSnapshotsRequest {
                snapshot_id: begun.snapshot_id.clone(),
                ..ListSnapshotsRequest::default()
            };
            let listed = driver.controller.list_snapshots(Request::new(one)).await;
            let mut entries = listed.unwrap().into_inner().entries;
            entries.remove(0).snapshot.unwrap()
        };
        assert_eq!(listed().await, begun);
        let object = server.volumes().get("snapshot-1").await.unwrap();
        assert_eq!(
            object.volume_id(),
            None,
            "TopoLVM takes one with an id for ready"
        );
        let copy = CreateVolumeRequest {
            name: "pvc-2".to_owned(),
            volume_content_source: Some(csi::proto::VolumeContentSource {
                r#type: Some(csi::proto::volume_content_source::Type::Snapshot(
                    csi::proto::volume_content_source::SnapshotSource {
                        snapshot_id: begun.snapshot_id.clone(),
                    },
                )),
            }),
            volume_capabilities: vec![VolumeCapability {
                access_type: Some(AccessType::Block(BlockVolume {})),
                access_mode: None,
            }],
            parameters: [("topolvm.io/device-class".to_owned(), "ssd".to_owned())].into(),
            ..CreateVolumeRequest::default()
        };
        let early = Request::new(copy.clone());
        let early = driver.controller.create_volume(early).await;
        assert_eq!(early.unwrap_err().code(), Code::Aborted);
        // A clone has no id before it is whole; its caller hears why while it still listens.
        let mut clone = Request::new(CreateVolumeRequest {
            name: "pvc-3".to_owned(),
            volume_content_source: Some(csi::proto::VolumeContentSource {
                r#type: Some(csi::proto::volume_content_source::Type::Volume(
                    csi::proto::volume_content_source::VolumeSource {
                        volume_id: volume.volume_id.clone(),
                    },
                )),
            }),
            ..copy.clone()
        });
        clone.set_timeout(Duration::from_secs(2));
        let asked = Instant::now();
        let pending = driver.controller.create_volume(clone).await.unwrap_err();
        assert_eq!(pending.code(), Code::Aborted, "{pending}");
        assert!(
            pending
                .message()
                .contains("not done with LogicalVolume pvc-3"),
            "{pending}"
        );
        assert!(asked.elapsed() < Duration::from_secs(2));
        server.delete("pvc-3").await;
        eventually("the clone is gone", async || {
            let there = server.volumes().get_opt("pvc-3").await.unwrap();
            there.is_none().then_some(())
        })
        .await;
        set_copying(false);
        let whole = eventually("it is whole", async || {
            Some(listed().await).filter(|snapshot| snapshot.ready_to_use)
        })
        .await;
        assert_eq!(whole.snapshot_id, begun.snapshot_id);
        let delete = DeleteSnapshotRequest {
            snapshot_id: begun.snapshot_id,
            ..DeleteSnapshotRequest::default()
        };
        let deleted = driver.controller.delete_snapshot(Request::new(delete));
        deleted.await.unwrap();
        assert_eq!(node.memory.names(), [volume.volume_id]);
    }
}
