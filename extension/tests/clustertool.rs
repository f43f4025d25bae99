//! The drop-in for ClusterTool: its patches are those that Talos' code judged, its values those of TrueCharts' guide.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};

use extension::talos::patches::{self, Dialect, Topic};
use extension::talos::values::Values;
use serde_json::Value;

const APPS: [(&str, &str); 2] = [
    ("topolvm", "topolvm-system"),
    ("lvm-disk-watcher", "lvm-disk-watcher"),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn drop_in(path: &str) -> PathBuf {
    workspace().join("talos/clustertool").join(path)
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap()
}

fn app(name: &str, file: &str) -> PathBuf {
    drop_in(&format!(
        "clusters/main/kubernetes/system/{name}/app/{file}"
    ))
}

#[test]
fn the_patches_are_what_is_rendered() {
    for (file, topic) in [
        ("topolvm.yaml", Topic::Modules),
        ("topolvm-controlplane.yaml", Topic::PodSecurity),
    ] {
        let path = drop_in("clusters/main/talos/patches").join(file);
        let rendered = patches::render(&Values::default(), topic, Dialect::V1Alpha1);
        assert_eq!(std::fs::read_to_string(path).unwrap(), rendered.unwrap());
    }
}

#[test]
fn the_driver_has_the_values_of_the_guide_and_the_name_of_the_image() {
    let mut values = read(&app("topolvm", "helm-release.yaml"))["spec"]["values"].clone();
    let image = values.as_object_mut().unwrap().remove("image").unwrap();
    assert_eq!(image.as_object().unwrap().len(), 1, "{image}");
    let guide = read(&workspace().join("charts/topolvm/examples/truecharts.yaml"));
    assert_eq!(values, guide);
}

#[test]
fn the_watcher_changes_nothing_until_a_person_says_so() {
    let release = read(&app("lvm-disk-watcher", "helm-release.yaml"));
    assert_eq!(release["spec"]["values"]["compat"]["mode"], "Plan");
}

/// Every name leads to what it names: files, namespaces, the repository, and charts of this version.
#[test]
fn names_lead_to_what_they_name() {
    let repository = read(&drop_in("repositories/helm/basalt.yaml"));
    assert_eq!(repository["kind"], "HelmRepository");
    for (name, namespace) in APPS {
        let files = read(&app(name, "kustomization.yaml"))["resources"].clone();
        assert_eq!(
            files,
            serde_json::json!(["namespace.yaml", "helm-release.yaml"])
        );
        let made = read(&app(name, "namespace.yaml"));
        assert_eq!(made["metadata"]["name"], namespace);
        let labels = &made["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
        assert_eq!(labels["topolvm.io/webhook"], "ignore");
        let release = read(&app(name, "helm-release.yaml"));
        assert_eq!(release["metadata"]["namespace"], namespace);
        let chart = &release["spec"]["chart"]["spec"];
        assert_eq!(chart["sourceRef"]["name"], repository["metadata"]["name"]);
        let source = workspace().join("charts");
        let source = source.join(chart["chart"].as_str().unwrap());
        assert_eq!(
            read(&source.join("Chart.yaml"))["version"],
            chart["version"]
        );
    }
}
