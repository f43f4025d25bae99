//! Disks and pools, by the kinds of disk-watcher's chart.

use std::path::Path;

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use super::{lines, run};
use crate::chart::apply;
use crate::server::{Server, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn disks_and_pools_are_told_as_the_watcher_shows_them() {
    let server = Server::bare().await;
    let (text, well) = run(&server, &["disks"]);
    assert!(
        text.contains("has no nodedisks: is disk-watcher installed?") && !well,
        "{text}"
    );
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/disk-watcher/files/crds");
    for kind in ["nodedisks", "nodethinpools"] {
        let file = crds.join(format!("{kind}.basalt.storage.yaml"));
        let crd = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        server.install_crd(crd).await;
    }
    let show = async |kind: &str, name: &str, status: Value| {
        let group = GroupVersionKind::gvk("basalt.storage", "v1alpha1", kind);
        let resource = ApiResource::from_gvk(&group);
        let object = json!({"apiVersion": "basalt.storage/v1alpha1", "kind": kind,
            "metadata": {"name": name}, "spec": {"nodeName": "n1"}});
        let api: Api<DynamicObject> = Api::all_with(server.client.clone(), &resource);
        eventually("the kind is served", async || {
            api.list(&Default::default()).await.ok()
        })
        .await;
        apply(&server.client, &object).await;
        let patch = json!({"status": status});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    };
    show("NodeDisk", "n1-b", json!({"device": "sdb", "sizeBytes": 3u64 << 40, "model": "M", "serial": "S1",
        "class": "bulk", "state": "Refused", "summary": "it has a file system", "approve": "S1@abc", "conditions": [],
        "reasons": [{"code": "SignatureFound", "detail": "ext4 at 1080"}, {"code": "Mounted", "detail": "at /old"}]})).await;
    show(
        "NodeDisk",
        "n1-a",
        json!({"device": "sda", "sizeBytes": 1u64 << 40, "class": "bulk", "state": "Active",
        "summary": "in use", "conditions": []}),
    )
    .await;
    show("NodeThinPool", "n1-p", json!({"class": "bulk", "volumeGroup": "vg", "name": "pool0", "state": "Active",
        "size": "1 TiB", "used": "50%", "sizeBytes": 1u64 << 40, "usedBytes": 1u64 << 39,
        "metadataSizeBytes": 100, "metadataUsedBytes": 7, "timeToFullSeconds": 7200, "conditions": []})).await;
    let (text, well) = run(&server, &["disks"]);
    assert_eq!(
        lines(&text)[1..],
        [
            vec!["n1", "sda", "1Ti", "-", "bulk", "Active", "in use"],
            vec![
                "n1",
                "sdb",
                "3Ti",
                "M",
                "bulk",
                "Refused",
                "it has a file system"
            ],
        ]
    );
    assert!(well);
    for name in ["sdb", "/dev/sdb", "S1", "n1-b"] {
        let (text, well) = run(&server, &["disks", name]);
        for part in [
            "Refused: it has a file system",
            "SignatureFound: ext4 at 1080",
            "Mounted: at /old",
            "S1@abc",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!well);
    }
    let (text, well) = run(&server, &["disks", "sda"]);
    assert!(text.contains("Active: in use") && well, "{text}");
    let (text, well) = run(&server, &["disks", "sdz"]);
    assert!(text.contains("no node has a disk sdz") && !well);
    let (text, _) = run(&server, &["pools"]);
    assert_eq!(
        lines(&text)[1],
        [
            "n1", "vg", "pool0", "bulk", "1Ti", "50%", "7%", "Active", "2 h"
        ]
    );
}
