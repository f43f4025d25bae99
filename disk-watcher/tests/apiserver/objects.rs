//! What a node makes of objects, of slips in them, and of an API server that goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use disk_watcher::config::Config;
use disk_watcher::journal::Held;
use disk_watcher::kubernetes::compose::{Composed, Told, compose};
use disk_watcher::kubernetes::connect;
use disk_watcher::kubernetes::types::{
    DiskClass, DiskClassSpec, DiskRemovalRequest, DiskRemovalRequestSpec, DiskWipeRequest,
    DiskWipeRequestSpec,
};
use disk_watcher::kubernetes::watch::Objects;
use disk_watcher::kubernetes::written::Kept;
use disk_watcher::metrics::WatchMetrics;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::{Api, Client};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, eventually};

/// A node that hears of objects, and what it does by them.
struct OneNode {
    told: watch::Receiver<Arc<Told>>,
    kept: Kept,
    stop: CancellationToken,
}

impl OneNode {
    fn start(server: &Server, name: &str) -> Self {
        Self::with(&server.client, name, &WatchMetrics::default())
    }

    fn with(client: &Client, name: &str, metrics: &WatchMetrics) -> Self {
        let stop = CancellationToken::new();
        let (tell, told) = watch::channel(Arc::default());
        Objects::start(client, name, metrics, &stop).tell(tell, &stop);
        Self {
            told,
            kept: Kept::default(),
            stop,
        }
    }

    fn compose(&mut self) -> Composed {
        let told = self.told.borrow_and_update().clone();
        let composed = compose(&Config::default(), &told, &self.kept, Some(&Held::new()));
        self.kept = composed.kept.clone();
        composed
    }

    /// Waits until its classes have these names, and it was told of other systems.
    async fn has(&mut self, names: &[&str]) -> Composed {
        eventually(&format!("the classes are {names:?}"), async || {
            let composed = self.compose();
            let classes = composed.config.classes.iter();
            let there: Vec<_> = classes.map(|class| class.name.clone()).collect();
            let heard = composed.config.owners.unread.is_empty();
            (there == names && heard).then_some(composed)
        })
        .await
    }
}

impl Drop for OneNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn spec(group: &str, label: &str) -> Value {
    json!({"mode": "Enforce", "nodeSelector": {"matchLabels": {"disks": label}},
        "select": {"model": ["x"]}, "volumeGroup": {"name": group}})
}

async fn label(server: &Server, node: &str, label: &str) {
    let nodes: Api<Node> = Api::all(server.client.clone());
    let patch = json!({"metadata": {"labels": {"disks": label}}});
    nodes
        .patch(node, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

async fn merge(classes: &Api<DiskClass>, name: &str, spec: Value) -> Result<(), String> {
    let patch = Patch::Merge(json!({"spec": spec}));
    let merged = classes.patch(name, &PatchParams::default(), &patch).await;
    merged.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn slips_in_a_class_leave_what_is_in_force_as_it_is() {
    let server = Server::with_kinds().await;
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    let create = async |name: &str, spec: Value| {
        let class = DiskClass::new(name, DiskClassSpec(spec));
        classes
            .create(&PostParams::default(), &class)
            .await
            .unwrap();
    };
    let mut node = OneNode::start(&server, "n1");
    create("fast", spec("fast", "fast")).await;
    create("bulk", spec("bulk", "bulk")).await;
    node.has(&[]).await;
    label(&server, "n1", "fast").await;
    let before = node.has(&["fast"]).await;

    merge(&classes, "fast", json!({"select": {"model": ["*"]}}))
        .await
        .unwrap();
    let refused = eventually("the broadened glob is refused", async || {
        let composed = node.compose();
        composed.verdicts.iter().find_map(|v| v.refusal.clone())
    })
    .await;
    assert!(refused.message.contains("spec.select.model"), "{refused:?}");
    assert_eq!(
        node.compose().config,
        before.config,
        "the version before is in use"
    );
    let renamed = merge(&classes, "fast", json!({"volumeGroup": {"name": "other"}})).await;
    assert!(renamed.unwrap_err().contains("cannot be changed"));
    merge(&classes, "fast", json!({"select": {"model": ["x"]}}))
        .await
        .unwrap();
    create("again", spec("fast", "fast")).await;
    let refused = eventually("a second class for the group is refused", async || {
        let composed = node.compose();
        let refusal = |v: &disk_watcher::kubernetes::compose::Verdict| {
            (v.name == "again").then(|| v.refusal.clone()).flatten()
        };
        composed.verdicts.iter().find_map(refusal)
    })
    .await;
    assert_eq!(refused.reason, "Conflict");
    node.has(&["fast"]).await;

    merge(&classes, "bulk", json!({"nodeSelector": null}))
        .await
        .unwrap();
    node.has(&["fast", "bulk"]).await;
    classes
        .delete("fast", &DeleteParams::default())
        .await
        .unwrap();
    node.has(&["bulk", "again"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_classes_stay_and_no_wipe_is_confirmed() {
    let mut server = Server::with_kinds().await;
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    label(&server, "n1", "fast").await;
    let class = DiskClass::new("fast", DiskClassSpec(spec("fast", "fast")));
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
    let removals: Api<DiskRemovalRequest> = Api::default_namespaced(server.client.clone());
    for (name, on) in [("mine", "n1"), ("theirs", "n2")] {
        let removal = DiskRemovalRequestSpec(json!({"node": on, "diskId": "naa.1"}));
        let removal = DiskRemovalRequest::new(name, removal);
        removals
            .create(&PostParams::default(), &removal)
            .await
            .unwrap();
    }
    let wipes: Api<DiskWipeRequest> = Api::default_namespaced(server.client.clone());
    let wipe = DiskWipeRequest::new(
        "w",
        DiskWipeRequestSpec(json!({"node": "n1", "diskId": "naa.2", "method": "Full",
            "expect": {"fingerprint": format!("sha256:{}", "a".repeat(64)), "signatures": ["ext4"]},
            "notAfter": "2036-11-20T12:00Z", "confirm": "destroy naa.2 on n1"})),
    );
    wipes.create(&PostParams::default(), &wipe).await.unwrap();
    let mut node = OneNode::start(&server, "n1");
    let confirmed = |composed: &Composed| {
        let wipe = composed.config.wipes.first();
        wipe.is_some_and(|wipe| wipe.stands(Instant::now()).is_ok())
    };
    let before = eventually("all is told", async || {
        let composed = node.compose();
        (confirmed(&composed) && composed.config.classes.len() == 1).then_some(composed)
    })
    .await;
    let removals: Vec<_> = before.config.removals.iter().map(|r| &r.name).collect();
    assert_eq!(removals, ["mine"], "of this node alone");

    let away = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = eventually("no wipe is confirmed", async || {
            let composed = node.compose();
            (!confirmed(&composed)).then_some(composed)
        })
        .await;
        assert!(
            after.config.wipes[0].is_still(&before.config.wipes[0]),
            "one that is under way goes on"
        );
        assert_eq!(after.config.classes, before.config.classes);
        assert_eq!(after.config.removals, before.config.removals);
        node
    };
    let (mut node, ()) = tokio::join!(away, server.restart(Duration::from_secs(20)));
    eventually("it is confirmed again", async || {
        confirmed(&node.compose()).then_some(())
    })
    .await;
    // The word is taken back: no word of before counts, and a wipe that has begun is to stop.
    let unconfirmed = Patch::Merge(json!({"spec": {"confirm": null}}));
    let params = PatchParams::default();
    wipes.patch("w", &params, &unconfirmed).await.unwrap();
    eventually("that is heard", async || {
        let composed = node.compose();
        let wipe = &composed.config.wipes[0];
        (!confirmed(&composed) && !wipe.is_still(&before.config.wipes[0])).then_some(())
    })
    .await;
    // A start without the API server looks after what was in force, and has no wipe.
    let again = compose(
        &Config::default(),
        &Told::default(),
        &node.kept,
        Some(&Held::new()),
    );
    let [class] = &again.config.classes[..] else {
        panic!("{again:?}")
    };
    assert!(before.config.classes[0].may_change_disks() && !class.may_change_disks());
    assert!(!again.config.removals[0].certain);
    assert_eq!(again.config.wipes.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_use_is_refused_alone_and_by_its_name() {
    let server = Server::with_kinds().await;
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    let mut registry = Registry::default();
    let metrics = WatchMetrics::register(&mut registry);
    let mut node = OneNode::with(&server.client, "n1", &metrics);
    node.has(&[]).await;
    // As a client writes that does not validate: a key one level too high, and a spec that
    // is nested deeper than parsers go.
    let raw = async |name: &str, more: &str, spec: &str| {
        let body = format!(
            "{{\"apiVersion\":\"basalt.storage/v1alpha1\",\"kind\":\"DiskClass\",\"metadata\":{{\"name\":{name:?}}},{more}\"spec\":{{{spec}\"select\":{{\"model\":[\"x\"]}},\"volumeGroup\":{{\"name\":{name:?}}}}}}}"
        );
        let request = Request::new("/apis/basalt.storage/v1alpha1/diskclasses")
            .create(&PostParams::default(), body.into_bytes())
            .unwrap();
        server.client.request_text(request).await.unwrap();
    };
    let deep = format!("\"more\":{}1{},", "{\"a\":".repeat(200), "}".repeat(200));
    raw("deep", "", &deep).await;
    raw("high", "\"exclude\":{\"serial\":[\"precious\"]},", "").await;
    raw("good", "", "").await;
    let composed = node.has(&["good"]).await;
    let why = |name: &str| {
        let mut all = composed.verdicts.iter().filter(|v| v.name == name);
        let found = all.next().and_then(|verdict| verdict.refusal.clone());
        found.unwrap_or_else(|| panic!("{name} is not refused: {composed:?}"))
    };
    assert!(why("high").message.contains("exclude"), "{:?}", why("high"));
    assert!(why("deep").message.contains("cannot be read"));
    assert_eq!(
        (why("high").reason, why("deep").reason),
        ("Invalid", "Invalid")
    );
    // One that comes to the list anew is told too.
    let mut later = OneNode::with(&server.client, "n2", &metrics);
    later.has(&["good"]).await;
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    let unreadable = "diskwatcher_unreadable_objects{kind=\"DiskClass\"} 1";
    assert!(page.contains(unreadable), "{page}");
    let never = "diskwatcher_watch_listed_timestamp_seconds{kind=\"DiskClass\"} 0\n";
    assert!(!page.contains(never), "{page}");
    assert!(page.contains("diskwatcher_watch_failures_total{kind=\"DiskClass\"} 0"));
    merge(&classes, "good", json!({"mode": "Paused"}))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_read_yet_is_waited_for() {
    let server = Server::with_kinds().await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let stop = CancellationToken::new();
    let tries = AtomicU32::new(0);
    let make = async || {
        tries.fetch_add(1, Ordering::Relaxed);
        let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
        let mut kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
        let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
        (user.token, user.token_file) = (None, Some(token.display().to_string()));
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.unwrap())
    };
    let put = async {
        eventually("it was tried", async || {
            (tries.load(Ordering::Relaxed) > 0).then_some(())
        })
        .await;
        std::fs::write(&token, "admin").unwrap();
    };
    let (client, ()) = tokio::join!(connect::client(make, &stop), put);
    assert!(tries.load(Ordering::Relaxed) > 1, "the first try failed");
    client.unwrap().apiserver_version().await.unwrap();
    stop.cancel();
    let never = async || Err::<Client, _>("no");
    assert!(connect::client(never, &stop).await.is_none());
}
