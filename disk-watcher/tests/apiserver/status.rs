//! What a node shows in objects, and says of classes and requests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk_watcher::facts::DiskId;
use disk_watcher::kubernetes::compose::{Refusal, Told, Verdict};
use disk_watcher::kubernetes::show::{Shown, Writing};
use disk_watcher::kubernetes::types::{
    DiskClass, DiskClassSpec, DiskRemovalRequest, DiskRemovalRequestSpec, NodeDisk,
};
use disk_watcher::kubernetes::watch::Objects;
use disk_watcher::kubernetes::written::Kind;
use disk_watcher::metrics::{SecretMetrics, WatchMetrics};
use disk_watcher::status::{DiskState, NodeRequest, NodeStatus, RequestState};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, eventually};

pub fn disk(name: &str, state: DiskState) -> disk_watcher::status::NodeDisk {
    disk_watcher::status::NodeDisk {
        name: Some(name.to_owned()),
        id: Some(DiskId::from(format!("naa.{name}"))),
        links: Vec::new(),
        size: Some(lvmd::units::Bytes(1 << 30)),
        model: None,
        serial: None,
        transport: None,
        class: Some("fast".to_owned()),
        state,
        reasons: Vec::new(),
        reading: None,
        selection: Vec::new(),
        pv_uuid: None,
        volume_group: None,
        plan: Vec::new(),
        wipe: None,
        approve: None,
    }
}

pub fn status(looks: u64, disks: &[disk_watcher::status::NodeDisk]) -> Arc<NodeStatus> {
    Arc::new(NodeStatus {
        looks,
        disks: disks.to_vec(),
        ..NodeStatus::default()
    })
}

/// A node that shows what it is told to.
pub struct Playing {
    pub status: watch::Sender<Arc<NodeStatus>>,
    pub verdicts: watch::Sender<Arc<Vec<Verdict>>>,
    pub told: watch::Receiver<Arc<Told>>,
    stop: CancellationToken,
}

impl Playing {
    pub fn start(server: &Server, node: &str) -> Self {
        Self::with_journal(server, node, Path::new("/nonexistent"))
    }

    pub fn with_journal(server: &Server, node: &str, journal: &Path) -> Self {
        let stop = CancellationToken::new();
        let (status, shown) = watch::channel(Arc::default());
        let (verdicts, judged) = watch::channel(Arc::default());
        let objects = Objects::start(&server.client, node, &WatchMetrics::default(), &stop);
        let (tell, told) = watch::channel(Arc::default());
        objects.tell(tell, &stop);
        let shown = Shown {
            status: shown,
            verdicts: judged,
            told: told.clone(),
            objects,
            journal: journal.to_owned(),
            secrets: SecretMetrics::default(),
        };
        tokio::spawn(Writing::start(&server.client, node, shown, &stop).run());
        Self {
            status,
            verdicts,
            told,
            stop,
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The disks that are shown, as `<node> <device> <state>`.
async fn shown(server: &Server) -> Vec<String> {
    let api: Api<NodeDisk> = Api::all(server.client.clone());
    let mut all: Vec<String> = api
        .list(&Default::default())
        .await
        .unwrap()
        .iter()
        .map(|disk| {
            let status = disk.status.clone().unwrap_or_default();
            let device = status.device.unwrap_or_default();
            format!("{} {device} {}", disk.spec.node_name, status.state)
        })
        .collect();
    all.sort();
    all
}

async fn shows(server: &Server, wanted: &[&str]) {
    eventually(&format!("{wanted:?} is shown"), async || {
        (shown(server).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_shows_its_disks_once_and_they_belong_to_it() {
    let mut server = Server::with_kinds().await;
    let (one, two) = (Playing::start(&server, "n1"), Playing::start(&server, "n2"));
    one.status.send_replace(status(
        1,
        &[
            disk("a", DiskState::Claimed),
            disk("b", DiskState::Rejected),
        ],
    ));
    two.status
        .send_replace(status(1, &[disk("a", DiskState::Ready)]));
    shows(&server, &["n1 a Claimed", "n1 b Rejected", "n2 a Ready"]).await;
    one.status.send_replace(status(
        2,
        &[disk("a", DiskState::Ready), disk("b", DiskState::Rejected)],
    ));
    shows(&server, &["n1 a Ready", "n1 b Rejected", "n2 a Ready"]).await;

    let api: Api<NodeDisk> = Api::all(server.client.clone());
    let versions = async || {
        let all = api.list(&Default::default()).await.unwrap();
        all.iter().map(|d| d.resource_version()).collect::<Vec<_>>()
    };
    let before = versions().await;
    for looks in 3..6 {
        one.status.send_replace(status(
            looks,
            &[disk("a", DiskState::Ready), disk("b", DiskState::Rejected)],
        ));
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(
        versions().await,
        before,
        "nothing changed, so nothing was written"
    );

    let events: Api<Event> = Api::all(server.client.clone());
    eventually("what happened is told", async || {
        let told = events.list(&Default::default()).await.unwrap();
        let reasons: Vec<_> = told.iter().filter_map(|e| e.reason.clone()).collect();
        let all = ["DiskClaimed", "DiskRejected", "DiskReady"];
        all.iter()
            .all(|wanted| reasons.iter().any(|r| r == wanted))
            .then_some(())
    })
    .await;

    // The API server is away while a disk goes missing; it is told of that when it is back.
    server.restart(Duration::from_secs(2)).await;
    let mut gone = disk("a", DiskState::Missing);
    gone.name = None;
    one.status
        .send_replace(status(7, &[gone, disk("b", DiskState::Rejected)]));
    shows(&server, &["n1  Missing", "n1 b Rejected", "n2 a Ready"]).await;

    // Another node with the same name: the objects are its own then.
    let nodes: Api<Node> = Api::all(server.client.clone());
    nodes.delete("n1", &DeleteParams::default()).await.unwrap();
    let node = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
    let uid = nodes
        .create(&PostParams::default(), &node)
        .await
        .unwrap()
        .uid();
    eventually("they belong to the new node alone", async || {
        let all = api.list(&Default::default()).await.unwrap();
        let of_n1: Vec<_> = all.iter().filter(|d| d.spec.node_name == "n1").collect();
        let owned = of_n1.iter().all(|disk| {
            let owners = disk.owner_references();
            owners.len() == 1 && Some(&owners[0].uid) == uid.as_ref()
        });
        (owned && of_n1.len() == 2).then_some(())
    })
    .await;
    // Somebody deletes one: it is there again.
    let all = api.list(&Default::default()).await.unwrap();
    api.delete(&all.items[0].name_any(), &DeleteParams::default())
        .await
        .unwrap();
    shows(&server, &["n1  Missing", "n1 b Rejected", "n2 a Ready"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_and_requests_say_how_they_stand_on_each_node() {
    let server = Server::with_kinds().await;
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    let spec = json!({"select": {"model": ["x"]}, "volumeGroup": {"name": "g"}});
    let class = DiskClass::new("fast", DiskClassSpec(spec));
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
    let removals: Api<DiskRemovalRequest> = Api::default_namespaced(server.client.clone());
    let spec = DiskRemovalRequestSpec(json!({"node": "n1", "diskId": "naa.a"}));
    let removal = DiskRemovalRequest::new("out", spec);
    removals
        .create(&PostParams::default(), &removal)
        .await
        .unwrap();

    let (one, two) = (Playing::start(&server, "n1"), Playing::start(&server, "n2"));
    let verdict = |kind, name: &str, refusal| Verdict {
        kind,
        name: name.to_owned(),
        generation: 1,
        refusal,
    };
    let mut now = (*status(1, &[disk("a", DiskState::Ready)])).clone();
    now.requests = vec![NodeRequest {
        kind: "DiskRemovalRequest",
        name: "out".to_owned(),
        disk: Some(DiskId::from("naa.a".to_owned())),
        state: RequestState::Moving,
        message: "12 extents to go".to_owned(),
    }];
    one.status.send_replace(Arc::new(now.clone()));
    one.verdicts.send_replace(Arc::new(vec![
        verdict(Kind::Class, "fast", None),
        verdict(Kind::Removal, "out", None),
    ]));
    two.status.send_replace(status(1, &[]));
    let refusal = Refusal {
        reason: "Conflict",
        message: "spec.volumeGroup.name: taken".to_owned(),
    };
    two.verdicts
        .send_replace(Arc::new(vec![verdict(Kind::Class, "fast", Some(refusal))]));
    eventually("both nodes say what they make of the class", async || {
        let nodes = classes.get("fast").await.unwrap().status?.nodes;
        let said: Vec<String> = nodes
            .iter()
            .flat_map(|node| {
                node.conditions
                    .iter()
                    .map(|c| format!("{} {} {} {}", node.name, c.type_, c.status, c.reason))
            })
            .collect();
        let mut said = said;
        said.sort();
        (said
            == [
                "n1 Conflict False None",
                "n1 Progressing False AtRest",
                "n1 Ready True AllReady",
                "n1 Valid True InUse",
                "n2 Conflict True ClassConflict",
                "n2 Progressing False AtRest",
                "n2 Ready False NoDisks",
                "n2 Valid False Conflict",
            ])
        .then_some(())
    })
    .await;
    let state = async || removals.get("out").await.unwrap().status?.state;
    eventually("the request says how far it is", async || {
        (state().await? == "Moving").then_some(())
    })
    .await;
    now.requests[0].state = RequestState::Done;
    one.status.send_replace(Arc::new(now));
    eventually("it is done", async || {
        let status = removals.get("out").await.unwrap().status?;
        let complete = status.conditions.first()?;
        (status.state? == "Done" && complete.status == "True").then_some(())
    })
    .await;
}
