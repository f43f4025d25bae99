//! The programs themselves, and what the node writes beside its volumes.

use std::path::Path;

use csi::kubernetes::node_object::{NodeObject, Room};
use csi::kubernetes::strays::Told;
use csi::proto::controller_client::ControllerClient;
use csi::proto::identity_client::IdentityClient;
use csi::proto::volume_capability::{AccessType, BlockVolume};
use csi::proto::{CreateVolumeRequest, DeleteVolumeRequest, ProbeRequest, VolumeCapability};
use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lvmd::units::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;

use crate::node::Running;
use crate::server::{Server, eventually, free_port, metrics, start_with};
use crate::volumes::Crd;

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_serves_a_cluster_with_upstreams_flags() {
    let server = Server::start(Crd::Ours).await;
    let node = Running::start(&server.client, "n1");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("csi.sock");
    let port = free_port();
    let args = [
        "topolvm-controller",
        &format!("--metrics-bind-address=127.0.0.1:{port}"),
        "--health-probe-bind-address=0",
        "--leader-election=false",
        "--enable-webhooks=false",
        "--zap-log-level=info",
        &format!("--csi-socket={}", socket.display()),
    ];
    let mut child = start_with(
        Path::new(env!("CARGO_BIN_EXE_hypertopolvm")),
        &args.map(str::to_owned),
        &[("KUBECONFIG", &server.kubeconfig())],
        &dir.path().join("log"),
    );
    let endpoint = Endpoint::try_from(format!("unix:{}", socket.display())).unwrap();
    let channel = eventually("it serves", async || {
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "{}",
            std::fs::read_to_string(dir.path().join("log")).unwrap()
        );
        endpoint.connect().await.ok()
    })
    .await;
    let mut identity = IdentityClient::new(channel.clone());
    eventually("it is ready", async || {
        let told = identity.probe(ProbeRequest {}).await.unwrap().into_inner();
        told.ready.filter(|ready| *ready)
    })
    .await;
    let mut controller = ControllerClient::new(channel);
    let request = CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        volume_capabilities: vec![VolumeCapability {
            access_type: Some(AccessType::Block(BlockVolume {})),
            access_mode: None,
        }],
        parameters: [("topolvm.io/device-class".to_owned(), "ssd".to_owned())].into(),
        accessibility_requirements: Some(csi::proto::TopologyRequirement {
            requisite: vec![csi::topology::of_node("n1")],
            preferred: vec![],
        }),
        ..CreateVolumeRequest::default()
    };
    let made = controller
        .create_volume(request)
        .await
        .unwrap()
        .into_inner();
    let id = made.volume.unwrap().volume_id;
    assert_eq!(node.memory.names(), std::slice::from_ref(&id));
    let request = DeleteVolumeRequest {
        volume_id: id,
        ..DeleteVolumeRequest::default()
    };
    controller.delete_volume(request).await.unwrap();
    let nothing = DeleteVolumeRequest::default();
    controller.delete_volume(nothing).await.unwrap_err();
    let page = metrics(port).await;
    for (method, code) in [
        ("Controller/CreateVolume", "OK"),
        ("Controller/DeleteVolume", "OK"),
        ("Controller/DeleteVolume", "InvalidArgument"),
        ("Identity/Probe", "OK"),
    ] {
        let counted = format!(
            "csi_plugin_operations_seconds_count{{driver_name=\"topolvm.io\",method_name=\"/csi.v1.{method}\",\
             grpc_status_code=\"{code}\"}}"
        );
        assert!(page.contains(&counted), "{counted} not in:\n{page}");
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_its_classes_give_and_takes_back_what_is_gone() {
    let server = Server::start(Crd::Ours).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let room = |free: u64, class: &str| Room {
        default: Bytes(free),
        classes: [(class.to_owned(), Bytes(free))].into(),
    };
    let nodes: Api<Node> = Api::all(server.client.clone());
    let has = async |wanted: &[(&str, &str)]| {
        eventually("the Node says so", async || {
            let node = nodes.get("n1").await.unwrap();
            let there: Vec<(&str, &str)> = node
                .annotations()
                .iter()
                .filter_map(|(key, value)| {
                    Some((key.strip_prefix("capacity.topolvm.io/")?, value.as_str()))
                })
                .collect();
            (there == wanted).then_some(())
        })
        .await;
    };
    let object = NodeObject::start(&server.client, "n1".to_owned(), &tasks, &stop);
    let (tell, told) = mpsc::unbounded_channel();
    let told = UnboundedReceiverStream::new(told).chain(stream::pending());
    let strays = Told::default();
    tasks.spawn(object.run(told, strays.said()));
    tell.send(room(10, "ssd")).unwrap();
    has(&[("00default", "10"), ("ssd", "10")]).await;
    tell.send(room(7, "nvme")).unwrap();
    has(&[("00default", "7"), ("nvme", "7")]).await;
    // Somebody's mistake is made good.
    let wrong = json!({"metadata": {"annotations": {"capacity.topolvm.io/nvme": null}}});
    nodes
        .patch("n1", &PatchParams::default(), &Patch::Merge(&wrong))
        .await
        .unwrap();
    has(&[("00default", "7"), ("nvme", "7")]).await;
    // A Node that is deleted waits for the controller, and gets no finalizer back.
    let node = nodes.get("n1").await.unwrap();
    assert_eq!(node.finalizers(), ["topolvm.io/node"]);
    nodes.delete("n1", &DeleteParams::default()).await.unwrap();
    tell.send(room(3, "nvme")).unwrap();
    let free = json!({"metadata": {"finalizers": null}});
    nodes
        .patch("n1", &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    assert_eq!(
        nodes
            .get_opt("n1")
            .await
            .unwrap()
            .map(|node| node.name_any()),
        None
    );
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
