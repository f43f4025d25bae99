//! Objects that are lost, and made again from what the LVs say of themselves.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::api::PostParams;

use super::*;
use crate::node::{Memory, Running, VG_UUID, made, theirs};
use crate::server::eventually;

/// A volume as our controller asks for it.
pub(super) async fn make(server: &Server, name: &str) -> String {
    let mut object = theirs(name, "n1", "1Gi");
    object.metadata.annotations = Some(
        [
            ("basalt.storage/claim", format!("default/data-of-{name}")),
            ("basalt.storage/content", "xfs".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
    );
    let api = server.volumes();
    api.create(&PostParams::default(), &object).await.unwrap();
    made(&api, name).await.volume_id().unwrap().to_owned()
}

/// As after a lost etcd: the objects are gone, and nobody removed a volume for it.
pub(super) async fn lose(server: &Server, name: &str) {
    let free = json!({"metadata": {"finalizers": null}});
    let api = server.volumes();
    api.patch(name, &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    server.delete(name).await;
}

pub(super) async fn strays(server: &Server, count: usize) {
    let nodes: Api<Node> = Api::all(server.client.clone());
    eventually("the node reports what no object names", async || {
        let node = nodes.get("n1").await.unwrap();
        let text = node.annotations().get("basalt.storage/strays");
        let said: Value = text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        let said = said["strays"].as_array().map_or(0, Vec::len);
        (said == count).then_some(())
    })
    .await;
}

/// What the node says of why it cannot tell.
pub(super) async fn unknown(server: &Server, wanted: Option<&str>) {
    let nodes: Api<Node> = Api::all(server.client.clone());
    eventually("the node says whether it can tell", async || {
        let node = nodes.get("n1").await.unwrap();
        let text = node.annotations().get("basalt.storage/strays");
        let said: Value = text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        (said["unknown"].as_str() == wanted).then_some(())
    })
    .await;
}

pub(super) async fn gone(server: &Server, name: &str) {
    eventually("it is gone", async || {
        let object = server.volumes().get_opt(name).await.unwrap();
        object.is_none().then_some(())
    })
    .await;
}

/// The LogicalVolume that `adopt` or `orphans --remove` makes first.
fn half(id: &str, purpose: &str) -> Value {
    let annotations = json!({"topolvm.io/pendingdeletion": "true",
        format!("basalt.storage/{purpose}"): format!("{VG_UUID}/{id}")});
    json!({"apiVersion": "topolvm.io/v1", "kind": "LogicalVolume",
        "metadata": {"name": "pvc-1", "annotations": annotations},
        "spec": {"name": "pvc-1", "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"}})
}

/// Two volumes whose objects were lost, and a StorageClass as there was one.
pub(super) async fn bereft(crd: Crd) -> (Server, Memory, [String; 2]) {
    let server = Server::start(crd).await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"},
        "provisioner": "topolvm.io", "parameters": {
            "topolvm.io/device-class": "ssd", "csi.storage.k8s.io/fstype": "xfs"}});
    apply(&server.client, &class).await;
    let node = Running::start(&server.client, "n1");
    let memory = node.memory.clone();
    let ids = [make(&server, "pvc-1").await, make(&server, "pvc-2").await];
    drop(node);
    lose(&server, "pvc-1").await;
    lose(&server, "pvc-2").await;
    (server, memory, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_whose_objects_were_lost_get_them_back() {
    for crd in [Crd::Ours, Crd::Upstreams] {
        let (server, memory, ids) = bereft(crd).await;
        let (all, group) = (memory.names(), format!("--vg-uuid={VG_UUID}"));
        let node = Running::with(&server.client, "n1", memory.clone());
        strays(&server, 2).await;
        let (text, well) = run(&server, &["orphans"]);
        for id in &ids {
            assert!(well && text.contains(id), "{text}");
        }
        assert!(text.contains("made for default/data-of-pvc-1"), "{text}");
        let events: Api<Event> = Api::all(server.client.clone());
        let told = eventually("there is an Event", async || {
            let all = events.list(&Default::default()).await.unwrap().items;
            let is = |event: &Event| event.reason.as_deref() == Some("OrphanedVolumes");
            all.into_iter().find(is)
        })
        .await;
        assert_eq!(told.regarding.unwrap().name.as_deref(), Some("n1"));

        // Shown, and nothing made.
        let (text, well) = run(&server, &["adopt", &group]);
        assert!(
            well && text.matches("would be adopted").count() == 2,
            "{text}"
        );
        let volumes = server.volumes();
        assert_eq!(volumes.list(&Default::default()).await.unwrap().items, []);

        // The first was begun before and cut off after its first step.
        let half = half(&ids[0], "adopted");
        apply(&server.client, &half).await;
        // Somebody thinks better of it, and then not.
        server.delete("pvc-1").await;
        gone(&server, "pvc-1").await;
        // As an earlier version began it.
        let mut held = half.clone();
        held["metadata"]["finalizers"] = json!(["topolvm.io/logicalvolume"]);
        apply(&server.client, &held).await;
        server.delete("pvc-1").await;
        gone(&server, "pvc-1").await;
        assert_eq!(memory.names(), all, "its LV stays");
        apply(&server.client, &half).await;
        let (text, well) = run(&server, &["adopt", &group, "--all", "--yes"]);
        assert!(well, "{text}");
        for (name, id) in ["pvc-1", "pvc-2"].iter().zip(&ids) {
            let volume = volumes.get(name).await.unwrap();
            assert_eq!(volume.volume_id(), Some(id.as_str()), "{volume:?}");
            assert!(!volume.is_given_up() && volume.has_finalizer());
            let api: Api<PersistentVolume> = Api::all(server.client.clone());
            let spec = api.get(name).await.unwrap().spec.unwrap();
            assert_eq!(spec.csi.unwrap().volume_handle, *id);
            let claim = spec.claim_ref.unwrap();
            assert_eq!(claim.name, Some(format!("data-of-{name}")));
            assert_eq!(
                (claim.uid, spec.storage_class_name),
                (None, Some("fast".into()))
            );
        }
        let (text, well) = run(&server, &["adopt", &group, "--all", "--yes"]);
        assert!(
            well && text.matches("was adopted before").count() == 2,
            "{text}"
        );
        let (text, _) = run(&server, &["orphans"]);
        assert!(!text.contains("no LogicalVolume names it"), "{text}");
        node.memory.set_wrong(None);
        strays(&server, 0).await;
        assert_eq!(memory.names(), all, "no LV was made or removed");

        // From here on it is a volume like any other.
        let bigger = json!({"spec": {"size": "2Gi"}});
        let params = PatchParams::default();
        volumes
            .patch("pvc-1", &params, &Patch::Merge(&bigger))
            .await
            .unwrap();
        eventually("it has grown", async || {
            let size = volumes.get("pvc-1").await.unwrap().current_size();
            size.filter(|size| size.0 == 2 << 30)
        })
        .await;
        assert_eq!(memory.names(), all);
        server.delete("pvc-1").await;
        gone(&server, "pvc-1").await;
        assert_eq!(memory.names(), [ids[1].clone()]);
        println!(
            "with {crd:?} CRD: two volumes lost, reported, adopted, grown, removed on request"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_removed_on_request_and_only_then() {
    let (server, memory, ids) = bereft(Crd::Ours).await;
    let _node = Running::with(&server.client, "n1", memory.clone());
    strays(&server, 2).await;
    let remove = ["orphans", "--remove", &ids[0]];
    let (text, well) = run(&server, &remove);
    assert!(well && text.contains("would be removed"), "{text}");
    let (text, well) = run(&server, &["orphans", "--remove", "other", "--yes"]);
    assert!(!well && text.contains("other is no LV"), "{text}");
    persistent(&server, "kept", &ids[1], "Available").await;
    let (text, well) = run(&server, &["orphans", "--remove", &ids[1], "--yes"]);
    assert!(
        !well && text.contains("PersistentVolume kept refers"),
        "{text}"
    );
    let really = [&remove[..], &["--yes"]].concat();
    // Somebody adopts it.
    apply(&server.client, &half(&ids[0], "adopted")).await;
    let (text, well) = run(&server, &really);
    assert!(!well && text.contains("an adoption of LV"), "{text}");
    server.delete("pvc-1").await;
    gone(&server, "pvc-1").await;
    assert_eq!(memory.names().len(), 2);
    // What was cut off after its first step goes on.
    apply(&server.client, &half(&ids[0], "removal")).await;
    let (text, well) = run(&server, &really);
    assert!(well, "{text}");
    gone(&server, "pvc-1").await;
    assert_eq!(memory.names(), [ids[1].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_tell_any_more_says_so_and_takes_nothing_back() {
    let why = "this lvmd does not tell it: set node.lvmdEmbedded: true";
    let (server, memory, ids) = bereft(Crd::Ours).await;
    let (all, group) = (memory.names(), format!("--vg-uuid={VG_UUID}"));
    memory.set_untold(Some(why));
    // Nothing was told before.
    let node = Running::with(&server.client, "n1", memory.clone());
    unknown(&server, Some(why)).await;
    let (text, well) = run(&server, &["orphans"]);
    assert!(well && text.contains("its node cannot tell"), "{text}");
    assert!(text.contains(why), "{text}");
    let adopt = ["adopt", &group, "--all", "--yes"];
    let (text, well) = run(&server, &adopt);
    assert!(
        !well
            && text.contains(&format!(
                "node n1 cannot tell which LVs no LogicalVolume names: {why}"
            )),
        "{text}"
    );
    memory.set_untold(None);
    strays(&server, 2).await;
    unknown(&server, None).await;
    // Another lvmd, once while the node runs, and once before it starts.
    memory.set_untold(Some(why));
    unknown(&server, Some(why)).await;
    drop(node);
    let _node = Running::with(&server.client, "n1", memory.clone());
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        strays(&server, 2).await;
        unknown(&server, Some(why)).await;
    }
    let (text, _) = run(&server, &["orphans"]);
    for id in &ids {
        assert!(text.contains(id), "{text}");
    }
    assert!(text.contains("as its node told before"), "{text}");
    let (text, well) = run(&server, &adopt);
    assert!(!well && text.matches(why).count() == 2, "{text}");
    let (text, well) = run(&server, &["orphans", "--remove", &ids[0], "--yes"]);
    assert!(!well && text.contains(why), "{text}");
    let volumes = server.volumes().list(&Default::default()).await.unwrap();
    assert_eq!(volumes.items, [], "nothing was made");
    assert_eq!(memory.names(), all);
    // The way out was taken.
    memory.set_untold(None);
    unknown(&server, None).await;
    let (text, well) = run(&server, &adopt);
    assert!(well, "{text}");
    // It looks when something changed.
    memory.set_untold(None);
    strays(&server, 0).await;
    assert_eq!(memory.names(), all);
}
