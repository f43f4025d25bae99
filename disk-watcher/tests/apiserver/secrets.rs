//! Descriptions of groups in Secrets.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use disk_watcher::kubernetes::types::NodeVolumeGroup as Shown;
use disk_watcher::status::{NodeStatus, NodeVolumeGroup};
use flate2::read::GzDecoder;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lvmd::units::Bytes;
use serde_json::json;

use crate::server::{Server, eventually};
use crate::status::Playing;

const UUID: &str = "kElRyR-yYhZ-ZH3a-5oHN-vWQu-qCsC-wcGjTa";

/// A group of ours of which so many changes are to be kept.
fn group(uuid: &str, changes: usize) -> NodeVolumeGroup {
    NodeVolumeGroup {
        name: "fast".to_owned(),
        uuid: uuid.to_owned(),
        size: Bytes(1 << 30),
        free: Bytes(0),
        reserved: Bytes(0),
        seqno: 2,
        class: Some("fast".to_owned()),
        pvs: Vec::new(),
        pools: Vec::new(),
        frozen: Vec::new(),
        class_in_force: None,
        secret_changes: changes,
        adopt: None,
    }
}

fn status(looks: u64, groups: &[NodeVolumeGroup]) -> Arc<NodeStatus> {
    Arc::new(NodeStatus {
        looks,
        groups: groups.to_vec(),
        ..NodeStatus::default()
    })
}

/// What the journal has of a group.
fn keep(journal: &Path, uuid: &str, seqno: u64) {
    let dir = journal.join("groups").join(uuid);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("{seqno:020}.vg")), text(seqno)).unwrap();
}

fn text(seqno: u64) -> String {
    format!("fast {{ seqno = {seqno} }}")
}

/// The changes in the only Secret of ours, unpacked, by their keys.
async fn changes(server: &Server) -> Option<Vec<(String, String)>> {
    let secrets: Api<Secret> = Api::default_namespaced(server.client.clone());
    let ours = ListParams::default().fields("type=basalt.storage/volume-group");
    let mut all = secrets.list(&ours).await.unwrap().items;
    let secret = all.pop()?;
    assert!(all.is_empty(), "one for a group");
    assert_eq!(secret.owner_references(), [], "it outlives its Node");
    let unpack = |data: &[u8]| {
        let mut text = String::new();
        GzDecoder::new(data).read_to_string(&mut text).unwrap();
        text
    };
    let data = secret.data.unwrap_or_default().into_iter();
    Some(data.map(|(key, data)| (key, unpack(&data.0))).collect())
}

/// The condition BackedUp of a group: its status, its reason.
async fn backed_up(server: &Server, uuid: &str) -> Option<String> {
    let groups: Api<Shown> = Api::all(server.client.clone());
    let groups = groups.list(&ListParams::default()).await.unwrap();
    let mut all = groups.into_iter().filter_map(|group| group.status);
    let conditions = all.find(|status| status.uuid == uuid)?.conditions;
    let kept = conditions.iter().find(|c| c.type_ == "BackedUp")?;
    Some(format!("{} {}", kept.status, kept.reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_changes_of_a_group_are_in_a_secret_and_say_so() {
    let server = Server::with_kinds().await;
    let journal = tempfile::tempdir().unwrap();
    fs::write(journal.path().join("owner"), "me").unwrap();
    for seqno in 1..=3 {
        keep(journal.path(), UUID, seqno);
    }
    let node = Playing::with_journal(&server, "n1", journal.path());
    node.status.send_replace(status(1, &[group(UUID, 2)]));
    let kept = |seqnos: [u64; 2]| seqnos.map(|n| (format!("{n}.vg.gz"), text(n))).to_vec();
    eventually("the last two changes are kept", async || {
        (changes(&server).await? == kept([2, 3])).then_some(())
    })
    .await;
    eventually("the group says so", async || {
        (backed_up(&server, UUID).await? == "True Stored").then_some(())
    })
    .await;
    keep(journal.path(), UUID, 4);
    node.status.send_replace(status(2, &[group(UUID, 2)]));
    eventually("the next change is there, the oldest is not", async || {
        (changes(&server).await? == kept([3, 4])).then_some(())
    })
    .await;
    drop(node);
    // Another start writes the same bytes; of what is to be nowhere else nothing is written.
    let version = async || {
        let secrets: Api<Secret> = Api::default_namespaced(server.client.clone());
        let all = secrets.list(&ListParams::default()).await.unwrap();
        all.iter().map(|s| s.resource_version()).collect::<Vec<_>>()
    };
    let before = version().await;
    keep(journal.path(), "other", 1);
    let node = Playing::with_journal(&server, "n1", journal.path());
    let two = [group(UUID, 2), group("other", 0)];
    node.status.send_replace(status(1, &two));
    eventually("both groups are shown", async || {
        let groups: Api<Shown> = Api::all(server.client.clone());
        let all = groups.list(&ListParams::default()).await.unwrap();
        (all.items.len() == 2).then_some(())
    })
    .await;
    assert_eq!(backed_up(&server, "other").await, None);
    assert_eq!(version().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_in_a_secret_is_said_and_stops_nothing() {
    let server = Server::with_kinds().await;
    let journal = tempfile::tempdir().unwrap();
    fs::write(journal.path().join("owner"), "me").unwrap();
    keep(journal.path(), UUID, 1);
    let node = Playing::with_journal(&server, "n1", journal.path());
    node.status.send_replace(status(1, &[group(UUID, 10)]));
    eventually("it is kept", async || changes(&server).await).await;
    drop(node);
    // Somebody else's Secret has the name now.
    let secrets: Api<Secret> = Api::default_namespaced(server.client.clone());
    let there = secrets.list(&ListParams::default()).await.unwrap();
    let name = there.items[0].name_any();
    secrets.delete(&name, &Default::default()).await.unwrap();
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "type": "Opaque", "stringData": {"password": "theirs"}});
    secrets
        .patch(&name, &PatchParams::apply("them"), &Patch::Apply(theirs))
        .await
        .unwrap();
    let node = Playing::with_journal(&server, "n1", journal.path());
    let two = [group(UUID, 10), group("unread", 10)];
    node.status.send_replace(status(1, &two));
    for (uuid, said) in [(UUID, "False Failed"), ("unread", "False NotKept")] {
        eventually("the groups say why not", async || {
            (backed_up(&server, uuid).await? == said).then_some(())
        })
        .await;
    }
    let events: Api<Event> = Api::all(server.client.clone());
    eventually("an Event tells of it", async || {
        let told = events.list(&ListParams::default()).await.unwrap();
        let mut reasons = told.iter().filter_map(|e| e.reason.as_deref());
        reasons.any(|reason| reason == "BackupFailed").then_some(())
    })
    .await;
    let data = secrets.get(&name).await.unwrap().data.unwrap();
    assert_eq!(data["password"].0, b"theirs");
}
