//! The drop-in for ClusterTool, as kustomize builds it on the way to Flux.

use e2e_qemu::host;
use e2e_qemu::peer::KUSTOMIZE;
use serde_json::Value;

use crate::{cache, workspace};

/// What kustomize makes of the app of this name.
fn built(app: &str) -> Vec<Value> {
    let folder = workspace().join("talos/clustertool/clusters/main/kubernetes/system");
    let mut kustomize = host::command(KUSTOMIZE.build(&cache()).unwrap().join("kustomize"));
    kustomize.arg("build").arg(folder.join(app).join("app"));
    let text = String::from_utf8(host::capture(&mut kustomize).unwrap()).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

#[test]
#[ignore = "kustomize takes a minute to build; in `make test-all`"]
fn kustomize_builds_a_namespace_and_a_release_of_each_app() {
    for (app, namespace) in [
        ("topolvm", "topolvm-system"),
        ("lvm-disk-watcher", "lvm-disk-watcher"),
    ] {
        let objects = built(app);
        let kinds: Vec<_> = objects.iter().map(|o| o["kind"].as_str()).collect();
        assert_eq!(kinds, [Some("Namespace"), Some("HelmRelease")], "{app}");
        assert_eq!(objects[0]["metadata"]["name"], namespace);
        assert_eq!(objects[1]["metadata"]["namespace"], namespace);
        assert!(objects[1]["spec"]["values"].is_object(), "{app}");
    }
}
