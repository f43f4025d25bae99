//! charts/topolvm, rendered by helm and given to the API server.

use std::path::Path;
use std::process::Command;

use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::server::program;

/// The objects of a release `topolvm` in the namespace `topolvm-system`.
pub fn render(values: &[&str]) -> Vec<Value> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/topolvm");
    #[expect(clippy::disallowed_methods, reason = "the door of these tests")]
    let mut helm = Command::new(program("helm", "helm"));
    // Helm's own idea of a cluster is older than what the chart asks for.
    helm.args([
        "template",
        "topolvm",
        "--namespace=topolvm-system",
        "--kube-version=1.35.0",
    ]);
    for value in values {
        helm.arg(format!("--set={value}"));
    }
    let done = helm.arg(chart).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let all: Vec<Option<Value>> =
        serde_saphyr::from_multiple(&String::from_utf8(done.stdout).unwrap()).unwrap();
    all.into_iter().flatten().collect()
}

/// The one of this kind and name.
pub fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects
        .iter()
        .find(is)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The words the controller is started with, without its program.
pub fn controller_args(objects: &[Value]) -> Vec<String> {
    let pod = &one(objects, "Deployment", "topolvm-controller")["spec"]["template"]["spec"];
    let containers = pod["containers"].as_array().unwrap();
    let ours = containers
        .iter()
        .find(|c| c["name"] == "topolvm-controller")
        .unwrap();
    let words = ours["command"].as_array().unwrap().iter().skip(1);
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// Writes an object; what the server does not know of it is an error.
pub async fn apply(client: &Client, object: &Value) {
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some(parts) => parts,
        None => ("", object["apiVersion"].as_str().unwrap()),
    };
    let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap());
    let resource = ApiResource::from_gvk(&kind);
    let typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let api: Api<DynamicObject> = match typed.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply("test").validation_strict().force();
    api.patch(&typed.name_any(), &params, &Patch::Apply(&typed))
        .await
        .unwrap();
}
