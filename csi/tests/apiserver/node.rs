//! The node's side: objects become volumes of a node whose LVM is a list in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csi::error::Error;
use csi::kubernetes::local::{FileSystems, Local};
use csi::kubernetes::logical_volume::LogicalVolume;
use csi::kubernetes::node_object::{NodeObject, Room};
use csi::kubernetes::reconciler::Reconciler;
use csi::kubernetes::strays::Told;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lvmd::config::UnknownClass;
use lvmd::engine::EngineError;
use lvmd::units::{Bytes, GIB};
use lvmd::volumes::{Create, Inventory, Listed, SnapshotOf, VolumeError};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::{Server, eventually};
use crate::volumes::Crd;

/// The uuid of a node's VG.
pub const VG_UUID: &str = "vgvgvg-1111-2222-3333-4444-5555-666666";

/// A node's volumes: a class `ssd` of 10 GiB, in steps of 4 MiB.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    volumes: Arc<Mutex<BTreeMap<String, u64>>>,
    tags: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    pub busy: Arc<Mutex<bool>>,
    /// Copies are not whole yet.
    pub copying: Arc<Mutex<bool>>,
    /// They are mounted for pods.
    pub mounted: Arc<Mutex<bool>>,
    /// What is wrong with all of them.
    wrong: Arc<Mutex<Option<String>>>,
    /// Why it is not told which volumes there are.
    untold: Arc<Mutex<Option<String>>>,
    /// Why nothing is made or removed.
    refuses: Arc<Mutex<Option<VolumeError>>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Memory {
    pub fn names(&self) -> Vec<String> {
        self.volumes.lock().unwrap().keys().cloned().collect()
    }

    pub fn set_wrong(&self, why: Option<&str>) {
        *self.wrong.lock().unwrap() = why.map(str::to_owned);
        self.changed.send_modify(|n| *n += 1);
    }

    pub fn set_untold(&self, why: Option<&str>) {
        *self.untold.lock().unwrap() = why.map(str::to_owned);
        self.changed.send_modify(|n| *n += 1);
    }

    pub fn refuse(&self, why: Option<VolumeError>) {
        *self.refuses.lock().unwrap() = why;
    }

    fn refused(&self) -> Result<(), VolumeError> {
        self.refuses.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn class(name: &str) -> Result<(), VolumeError> {
        if name == "ssd" {
            return Ok(());
        }
        Err(VolumeError::UnknownClass(UnknownClass {
            name: name.to_owned(),
            known: vec!["ssd".to_owned()],
        }))
    }

    fn set(&self, name: &str, class: &str, size: Bytes) -> Result<Bytes, VolumeError> {
        Self::class(class)?;
        let size = size.round_up(4 << 20).unwrap();
        let mut volumes = self.volumes.lock().unwrap();
        let others: u64 = volumes
            .iter()
            .filter(|(n, _)| *n != name)
            .map(|(_, s)| s)
            .sum();
        if others + size.0 > 10 * GIB {
            return Err(VolumeError::NoSpace {
                wanted: size,
                class: class.to_owned(),
                why: "it is full".to_owned(),
            });
        }
        volumes.insert(name.to_owned(), size.0);
        Ok(size)
    }
}

impl Local for Memory {
    async fn find(&self, name: &str) -> Result<Option<(String, Bytes)>, Error> {
        if let Err(away @ VolumeError::Engine(EngineError::Missing(_))) = self.refused() {
            return Err(away.into());
        }
        let volumes = self.volumes.lock().unwrap();
        Ok(volumes
            .get(name)
            .map(|size| ("ssd".to_owned(), Bytes(*size))))
    }

    async fn wrong(&self, _: &str) -> Result<Option<String>, Error> {
        Ok(self.wrong.lock().unwrap().clone())
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        if let Some(why) = self.untold.lock().unwrap().clone() {
            return Err(Error::Precondition(why));
        }
        let made = self.volumes.lock().unwrap();
        let tags = |name: &str| {
            let tags = self.tags.lock().unwrap().get(name).cloned();
            tags.unwrap_or_default()
        };
        let listed = |(name, size): (&String, &u64)| Listed {
            vg: "vg".to_owned(),
            vg_uuid: VG_UUID.to_owned(),
            name: name.clone(),
            classes: vec!["ssd".to_owned()],
            size: Bytes(*size),
            is_whole: !tags(name).iter().any(|tag| tag == "basalt.kind=snapshot"),
            tags: tags(name),
            is_open: false,
        };
        Ok(Inventory {
            classes: vec!["ssd".to_owned()],
            volumes: made.iter().map(listed).collect(),
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn create(&self, request: &Create) -> Result<Bytes, Error> {
        self.refused()?;
        let tags = (request.name.clone(), request.tags.clone());
        self.tags.lock().unwrap().extend([tags]);
        Ok(self.set(&request.name, &request.class, request.size)?)
    }

    async fn copy(&self, request: &SnapshotOf) -> Result<Bytes, Error> {
        self.refused()?;
        assert!(self.names().contains(&request.source));
        if *self.copying.lock().unwrap() {
            return Err(VolumeError::Copying {
                name: request.name.clone(),
                done: Bytes(0),
                of: request.size,
                why: None,
            }
            .into());
        }
        let tags = (request.name.clone(), request.tags.clone());
        self.tags.lock().unwrap().extend([tags]);
        Ok(self.set(&request.name, &request.class, request.size)?)
    }

    async fn grow(&self, name: &str, class: &str, size: Bytes) -> Result<Bytes, Error> {
        assert!(self.names().contains(&name.to_owned()));
        Ok(self.set(name, class, size)?)
    }

    async fn remove(&self, name: &str, class: &str) -> Result<(), Error> {
        if *self.busy.lock().unwrap() {
            let (name, why) = (name.to_owned(), "it is mounted".to_owned());
            return Err(VolumeError::InUse { name, why }.into());
        }
        match self.refused() {
            // A class that is not configured is told of in other words, below.
            Ok(()) | Err(VolumeError::UnknownClass(_)) => {}
            refused => refused?,
        }
        if let Err(VolumeError::UnknownClass(class)) = Self::class(class) {
            let name = name.to_owned();
            return Err(VolumeError::RemovalWithoutClass { name, class }.into());
        }
        let removed = self.volumes.lock().unwrap().remove(name);
        let (name, class) = (name.to_owned(), class.to_owned());
        let missing = || VolumeError::VolumeMissing { name, class }.into();
        removed.map(drop).ok_or_else(missing)
    }
}

impl FileSystems for Memory {
    async fn grow_mounted(&self, name: &str, size: Bytes) -> Result<bool, Error> {
        assert_eq!(self.volumes.lock().unwrap()[name], size.0);
        Ok(*self.mounted.lock().unwrap())
    }
}

/// A node that works until it is dropped.
pub struct Running {
    pub memory: Memory,
    stop: CancellationToken,
}

impl Running {
    pub fn start(client: &Client, name: &str) -> Self {
        Self::with(client, name, Memory::default())
    }

    pub fn with(client: &Client, name: &str, memory: Memory) -> Self {
        let stop = CancellationToken::new();
        let (tasks, strays) = (TaskTracker::new(), Told::default());
        let object = NodeObject::start(client, name.to_owned(), &tasks, &stop);
        let rooms = stream::once(async { Room::default() }).chain(stream::pending());
        tokio::spawn(object.run(rooms, strays.said()));
        let reconciler = Reconciler::new(
            client,
            name.to_owned(),
            memory.clone(),
            memory.clone(),
            strays,
        );
        tokio::spawn(reconciler.run(stop.clone()));
        Self { memory, stop }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An object as upstream's controller writes it.
pub fn theirs(name: &str, node: &str, size: &str) -> LogicalVolume {
    serde_json::from_value(json!({
        "apiVersion": "topolvm.io/v1", "kind": "LogicalVolume",
        "metadata": {"name": name},
        "spec": {"name": name, "nodeName": node, "size": size, "deviceClass": "ssd"}
    }))
    .unwrap()
}

pub async fn made(api: &Api<LogicalVolume>, name: &str) -> LogicalVolume {
    eventually("it is made", async || {
        let object = api.get(name).await.unwrap();
        object.volume_id().is_some().then_some(object)
    })
    .await
}

/// A volume of upstream's controller through its life, with either CRD.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_upstreams_controller_becomes_a_volume_grows_and_goes() {
    for crd in [Crd::Ours, Crd::Upstreams] {
        let server = Server::start(crd).await;
        let api = server.volumes();
        let (one, two) = (
            Running::start(&server.client, "n1"),
            Running::start(&server.client, "n2"),
        );
        api.create(&PostParams::default(), &theirs("pvc-1", "n1", "1023Mi"))
            .await
            .unwrap();
        let object = made(&api, "pvc-1").await;
        let uid = object.metadata.uid.clone().unwrap();
        assert_eq!(object.volume_id(), Some(uid.as_str()));
        assert_eq!(object.current_size(), Some(Bytes(GIB)));
        assert!(object.has_finalizer());
        assert_eq!(
            (one.memory.names(), two.memory.names()),
            (vec![uid.clone()], vec![])
        );
        let ready = object.status.as_ref().unwrap().conditions.first();
        assert_eq!(
            ready.is_some(),
            crd == Crd::Ours,
            "upstream's CRD has no conditions"
        );
        // As upstream's end-to-end test has it: a size that was lost is found again.
        let lost = json!({"status": {"currentSize": null}});
        let params = PatchParams::default();
        api.patch_status("pvc-1", &params, &Patch::Merge(&lost))
            .await
            .unwrap();
        eventually("the size is known again", async || {
            api.get("pvc-1")
                .await
                .unwrap()
                .current_size()
                .filter(|size| size.0 == GIB)
        })
        .await;
        let bigger = json!({"spec": {"size": "2Gi"}});
        api.patch("pvc-1", &params, &Patch::Merge(&bigger))
            .await
            .unwrap();
        eventually("it has grown", async || {
            api.get("pvc-1")
                .await
                .unwrap()
                .current_size()
                .filter(|size| size.0 == 2 * GIB)
        })
        .await;
        server.delete("pvc-1").await;
        eventually("it is gone", async || {
            api.get_opt("pvc-1").await.unwrap().is_none().then_some(())
        })
        .await;
        assert_eq!(one.memory.names(), Vec::<String>::new());
        println!("with {crd:?} CRD: made, size found again, grown, gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_says_so_in_status_and_event() {
    let server = Server::start(Crd::Ours).await;
    let api = server.volumes();
    let node = Running::start(&server.client, "n1");
    let mut copy = theirs("copy", "n1", "1Gi");
    copy.spec.source = "nowhere".to_owned();
    copy.spec.access_type = "rw".to_owned();
    let mut odd = theirs("odd", "n1", "1Gi");
    odd.spec.device_class = "hdd".to_owned();
    for (object, code) in [(theirs("large", "n1", "11Gi"), 8), (copy, 5), (odd, 5)] {
        let name = object.spec.name.clone();
        api.create(&PostParams::default(), &object).await.unwrap();
        let failed = eventually("it says why not", async || {
            api.get(&name).await.unwrap().failure()
        })
        .await;
        assert_eq!(i32::from(failed.0), code, "{name}: {failed:?}");
        let events: Api<Event> = Api::all(server.client.clone());
        let event = eventually("there is an Event", async || {
            let all = events.list(&Default::default()).await.unwrap();
            let about = |event: &Event| event.regarding.as_ref()?.name.clone();
            all.items
                .into_iter()
                .find(|event| about(event).as_ref() == Some(&name))
        })
        .await;
        assert_eq!(event.reason.as_deref(), Some("CannotMake"));
        // As upstream's controller does then: nothing was made, and it goes at once.
        server.delete(&name).await;
        eventually("it is gone", async || {
            api.get_opt(&name).await.unwrap().is_none().then_some(())
        })
        .await;
    }
    assert_eq!(node.memory.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_volume_stands_on_its_object_and_is_told_once() {
    let server = Server::start(Crd::Ours).await;
    let api = server.volumes();
    let node = Running::start(&server.client, "n1");
    let volume = theirs("pvc-1", "n1", "1Gi");
    api.create(&PostParams::default(), &volume).await.unwrap();
    made(&api, "pvc-1").await;
    let condition = async || {
        let status = api.get("pvc-1").await.unwrap().status.unwrap();
        let mut all = status.conditions.into_iter();
        all.find(|condition| condition.type_ == "Healthy")
    };
    assert_eq!(condition().await, None, "nothing was ever wrong");
    for (why, status) in [(Some("a PV is missing"), "False"), (None, "True")] {
        node.memory.set_wrong(why);
        let said = eventually("the condition follows", async || {
            condition().await.filter(|said| said.status == status)
        })
        .await;
        assert!(why.is_none_or(|why| said.message == why), "{said:?}");
    }
    let status = api.get("pvc-1").await.unwrap().status.unwrap();
    assert!(
        status
            .conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
        "what else is said stays"
    );
    let events: Api<Event> = Api::all(server.client.clone());
    let reasons = eventually("both are told", async || {
        let all = events.list(&Default::default()).await.unwrap();
        // The API server tells of itself too.
        let about = |event: &Event| event.regarding.as_ref()?.kind.clone();
        let all = all.items.into_iter();
        let all = all.filter(|event| about(event).as_deref() == Some("LogicalVolume"));
        let all = all.filter_map(|event| event.reason);
        let mut reasons: Vec<String> = all.collect();
        reasons.sort();
        (reasons.len() >= 2).then_some(reasons)
    })
    .await;
    assert_eq!(reasons, ["VolumeSick", "VolumeWell"]);
}

/// The finalizer stays until the volume is shown to be gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_stays_while_its_volume_does() {
    let server = Server::start(Crd::Ours).await;
    let api = server.volumes();
    let node = Running::start(&server.client, "n1");
    for name in ["used", "renamed", "given-up", "adopted"] {
        api.create(&PostParams::default(), &theirs(name, "n1", "1Gi"))
            .await
            .unwrap();
        made(&api, name).await;
    }
    let volumes = node.memory.names();
    *node.memory.busy.lock().unwrap() = true;
    server.delete("used").await;
    eventually("it says why", async || {
        let status = api.get("used").await.unwrap().status?;
        status
            .conditions
            .iter()
            .any(|c| c.message.contains("mounted"))
            .then_some(())
    })
    .await;
    *node.memory.busy.lock().unwrap() = false;
    // A class that has no name any more does not make volumes disappear.
    let renamed = json!({"spec": {"deviceClass": "old"}});
    api.patch("renamed", &PatchParams::default(), &Patch::Merge(&renamed))
        .await
        .unwrap();
    server.delete("renamed").await;
    // One that was adopted may have a namesake in a class that is there.
    let adopted = json!({"metadata": {"annotations": {"basalt.storage/adopted": "vg/lv"}},
        "spec": {"deviceClass": "old"}});
    api.patch("adopted", &PatchParams::default(), &Patch::Merge(&adopted))
        .await
        .unwrap();
    server.delete("adopted").await;
    // Upstream's controller, when the node is deleted.
    let given_up = json!({"metadata": {"annotations": {"topolvm.io/pendingdeletion": "true"}, "finalizers": null}});
    api.patch(
        "given-up",
        &PatchParams::default(),
        &Patch::Merge(&given_up),
    )
    .await
    .unwrap();
    server.delete("given-up").await;
    for name in ["used", "renamed", "given-up"] {
        eventually("it is gone", async || {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let adopted = api.get("adopted").await.unwrap();
    let conditions = adopted.status.unwrap().conditions;
    assert!(
        conditions.iter().any(|c| c.message.contains("old")),
        "{conditions:?}"
    );
    assert_eq!(
        node.memory.names().len(),
        2,
        "{volumes:?}: the one that was given up and the adopted one are kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_when_the_api_server_comes_back_and_when_the_crd_becomes_upstreams() {
    let mut server = Server::start(Crd::Ours).await;
    let node = Running::start(&server.client, "n1");
    let post = PostParams::default();
    server
        .volumes()
        .create(&post, &theirs("before", "n1", "1Gi"))
        .await
        .unwrap();
    made(&server.volumes(), "before").await;
    server.restart(Duration::from_secs(2)).await;
    server
        .volumes()
        .create(&post, &theirs("after", "n1", "1Gi"))
        .await
        .unwrap();
    made(&server.volumes(), "after").await;
    server.install(Crd::Upstreams).await;
    server
        .volumes()
        .create(&post, &theirs("upstream", "n1", "1Gi"))
        .await
        .unwrap();
    made(&server.volumes(), "upstream").await;
    assert_eq!(node.memory.names().len(), 3);
}
