//! Labels that people put on NodeDisk objects.

use disk_watcher::config::Config;
use disk_watcher::facts::DiskId;
use disk_watcher::journal::Held;
use disk_watcher::kubernetes::compose::compose;
use disk_watcher::kubernetes::types::NodeDisk;
use disk_watcher::kubernetes::view::disk_object;
use disk_watcher::kubernetes::written::Kept;
use disk_watcher::status::DiskState;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::server::{Server, eventually};
use crate::status::{Playing, disk, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_label_reaches_the_node_stays_with_the_object_and_goes_with_it() {
    let server = Server::with_kinds().await;
    let disks: Api<NodeDisk> = Api::all(server.client.clone());
    let (one, two) = (Playing::start(&server, "n1"), Playing::start(&server, "n2"));
    for node in [&one, &two] {
        node.status
            .send_replace(status(1, &[disk("a", DiskState::Rejected)]));
    }
    let name = disk_object("n1", &DiskId::from("naa.a".to_owned()));
    let label = async |value: Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"tier": value}}}));
        disks
            .patch(&name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    // What the node knows: a label of its only disk, or none; `None`: no object is known.
    let known = |node: &Playing| {
        let told = node.told.borrow().clone();
        let composed = compose(
            &Config::default(),
            &told,
            &Kept::default(),
            Some(&Held::new()),
        );
        let labels = composed.config.disk_labels.get(&name)?;
        Some(labels.get("tier").cloned())
    };
    let knows = async |what: Option<Option<&str>>| {
        let what = what.map(|label| label.map(str::to_owned));
        eventually(&format!("the node knows {what:?}"), async || {
            (known(&one) == what).then_some(())
        })
        .await;
    };
    knows(Some(None)).await;
    label(json!("fast")).await;
    knows(Some(Some("fast"))).await;
    assert_eq!(known(&two), None, "another node's disk");
    one.status
        .send_replace(status(2, &[disk("a", DiskState::Ready)]));
    eventually("another state is shown", async || {
        let disk = disks.get(&name).await.unwrap();
        (disk.status?.state == "Ready").then_some(())
    })
    .await;
    assert_eq!(disks.get(&name).await.unwrap().labels()["tier"], "fast");
    label(json!("slow")).await;
    knows(Some(Some("slow"))).await;
    label(Value::Null).await;
    knows(Some(None)).await;
    label(json!("fast")).await;
    knows(Some(Some("fast"))).await;
    // A new object for the disk has no labels: nobody put them there.
    disks.delete(&name, &DeleteParams::default()).await.unwrap();
    knows(Some(None)).await;
}
