//! What a node makes of objects, of slips in them, and of an API server that goes away.

use std::sync::Arc;
use std::time::Duration;

use disk_watcher::config::Config;
use disk_watcher::kubernetes::compose::{Composed, Told, compose};
use disk_watcher::kubernetes::types::{
    DiskClass, DiskClassSpec, DiskRemovalRequest, DiskRemovalRequestSpec, DiskWipeRequest,
    DiskWipeRequestSpec,
};
use disk_watcher::kubernetes::watch::Objects;
use disk_watcher::kubernetes::written::Kept;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
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
        let stop = CancellationToken::new();
        Self {
            told: Objects::start(&server.client, name, &stop).tell(&stop),
            kept: Kept::default(),
            stop,
        }
    }

    fn compose(&mut self) -> Composed {
        let told = self.told.borrow_and_update().clone();
        let composed = compose(&Config::default(), &told, &self.kept);
        self.kept = composed.kept.clone();
        composed
    }

    /// Waits until its classes have these names.
    async fn has(&mut self, names: &[&str]) -> Composed {
        eventually(&format!("the classes are {names:?}"), async || {
            let composed = self.compose();
            let classes = composed.config.classes.iter();
            let there: Vec<_> = classes.map(|class| class.name.clone()).collect();
            (there == names).then_some(composed)
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
        wipe.is_some_and(|wipe| wipe.confirm.is_some())
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
        assert_eq!(after.config.wipes.len(), 1, "one that is under way goes on");
        assert_eq!(after.config.classes, before.config.classes);
        assert_eq!(after.config.removals, before.config.removals);
        node
    };
    let (mut node, ()) = tokio::join!(away, server.restart(Duration::from_secs(20)));
    eventually("it is confirmed again", async || {
        confirmed(&node.compose()).then_some(())
    })
    .await;
    // A start without the API server has what was in force, and no wipe.
    let again = compose(&Config::default(), &Told::default(), &node.kept);
    assert_eq!(again.config.classes, before.config.classes);
    assert_eq!(again.config.wipes.len(), 0);
}
