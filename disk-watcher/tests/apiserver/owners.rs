//! Disks that objects of other storage systems claim.

use std::sync::Arc;

use disk_watcher::config::Config;
use disk_watcher::journal::Held;
use disk_watcher::kubernetes::compose::{Told, compose};
use disk_watcher::kubernetes::owners::OWNERS;
use disk_watcher::kubernetes::watch::Objects;
use disk_watcher::kubernetes::written::Kept;
use disk_watcher::metrics::WatchMetrics;
use disk_watcher::native::{ObjectClaims, What};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, eventually};

/// A service account, by its token.
async fn account(server: &Server, token: &str) -> Client {
    let text = std::fs::read_to_string(server.kubeconfig_of(token)).unwrap();
    let options = KubeConfigOptions::default();
    let kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// Lets the account list and watch.
async fn allow(server: &Server, name: &str, rules: Value) {
    let group = "rbac.authorization.k8s.io";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": rules});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "system:serviceaccount:topolvm-system:topolvm-scheduler"}]});
    for (kind, object) in [("ClusterRole", role), ("ClusterRoleBinding", binding)] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        put(server, &resource, None, &object).await.unwrap();
    }
}

/// A kind of another system; what stands in it is kept as it is.
fn crd(group: &str, version: &str, kind: &str, scope: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

async fn put(
    server: &Server,
    resource: &ApiResource,
    namespace: Option<&str>,
    object: &Value,
) -> kube::Result<DynamicObject> {
    let client = server.client.clone();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test"), &Patch::Apply(object))
        .await
}

/// Puts an object of a kind that may just have been made.
async fn claim(
    server: &Server,
    version: &str,
    kind: &str,
    namespaced: bool,
    more: Value,
) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let mut object =
        json!({"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "n1"}});
    object
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    eventually("it is put", async || {
        put(server, &resource, namespaced.then_some("default"), &object)
            .await
            .ok()
    })
    .await;
    resource
}

fn owners(told: &watch::Receiver<Arc<Told>>) -> Option<ObjectClaims> {
    let told = told.borrow().clone();
    let composed = compose(
        &Config::default(),
        &told,
        &Kept::default(),
        Some(&Held::new()),
    );
    told.owners.as_ref()?;
    Some(composed.config.owners)
}

/// Who claims what, as `<kind>: <device>`.
fn who(owners: &ObjectClaims) -> Vec<String> {
    let claims = owners.claims.iter().map(|claim| {
        let kind = claim.object.split(' ').next().unwrap();
        match &claim.what {
            What::Device(device) => format!("{kind}: {device}"),
            what => format!("{kind}: {what:?}"),
        }
    });
    claims.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_of_other_systems_are_heard_of_and_what_may_not_be_read_may_claim_any() {
    let server = Server::with_kinds().await;
    let ours = json!([{"apiGroups": ["basalt.storage"], "resources": ["*"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}]);
    allow(&server, "ours", ours).await;
    let client = account(&server, "scheduler").await;
    let stop = CancellationToken::new();
    let (tell, told) = watch::channel(Arc::default());
    Objects::start(&client, "n1", &WatchMetrics::default(), &stop).tell(tell, &stop);
    // Of all of them there are only PersistentVolumes yet, and those must not be read.
    let refused = eventually("all was asked for", async || owners(&told)).await;
    assert_eq!(refused.claims, []);
    let why: Vec<_> = refused.unread.iter().collect();
    let [(kind, why)] = &why[..] else {
        panic!("{why:?}")
    };
    assert_eq!(*kind, "PersistentVolume");
    assert!(
        why.contains("cannot list resource \"persistentvolumes\""),
        "{why}"
    );

    // The systems are installed, and the right to read of them is given.
    let crds = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ));
    for (group, version, kind, scope) in [
        ("ceph.rook.io", "v1", "CephCluster", "Namespaced"),
        ("openebs.io", "v1alpha1", "BlockDevice", "Namespaced"),
        ("openebs.io", "v1beta3", "DiskPool", "Namespaced"),
        (
            "piraeus.io",
            "v1",
            "LinstorSatelliteConfiguration",
            "Cluster",
        ),
        ("piraeus.io", "v1", "LinstorSatellite", "Cluster"),
        ("longhorn.io", "v1beta2", "Node", "Namespaced"),
    ] {
        put(&server, &crds, None, &crd(group, version, kind, scope))
            .await
            .unwrap();
    }
    let local = json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Block",
        "local": {"path": "/dev/sdb"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}}}});
    claim(&server, "v1", "PersistentVolume", false, local).await;
    let storage = json!({"nodes": [{"name": "n1", "devices": [{"name": "sdc"}]}, {"name": "n2", "devices": [{"name": "sdx"}]}]});
    let rook = claim(
        &server,
        "ceph.rook.io/v1",
        "CephCluster",
        true,
        json!({"spec": {"storage": storage}}),
    )
    .await;
    claim(&server, "openebs.io/v1alpha1", "BlockDevice", true,
        json!({"spec": {"path": "/dev/sdd", "nodeAttributes": {"nodeName": "n1"}}, "status": {"claimState": "Claimed"}})).await;
    claim(
        &server,
        "openebs.io/v1beta3",
        "DiskPool",
        true,
        json!({"spec": {"node": "n1", "disks": ["aio:///dev/sde"]}}),
    )
    .await;
    let pools = |device: &str| json!({"spec": {"storagePools": [{"name": "pool", "source": {"hostDevices": [device]}}]}});
    claim(
        &server,
        "piraeus.io/v1",
        "LinstorSatelliteConfiguration",
        false,
        pools("/dev/sdf"),
    )
    .await;
    claim(
        &server,
        "piraeus.io/v1",
        "LinstorSatellite",
        false,
        pools("/dev/sdg"),
    )
    .await;
    claim(
        &server,
        "longhorn.io/v1beta2",
        "Node",
        true,
        json!({"spec": {"disks": {"a": {"path": "/dev/sdh", "diskType": "block"}}}}),
    )
    .await;
    let mut rights = Vec::new();
    for owner in OWNERS {
        let plural = format!("{}s", owner.kind.to_lowercase());
        rights.push(
            json!({"apiGroups": [owner.group], "resources": [plural], "verbs": ["list", "watch"]}),
        );
    }
    allow(&server, "theirs", json!(rights)).await;
    let all = [
        "PersistentVolume: /dev/sdb",
        "CephCluster: /dev/sdc",
        "BlockDevice: /dev/sdd",
        "DiskPool: /dev/sde",
        "LinstorSatelliteConfiguration: /dev/sdf",
        "LinstorSatellite: /dev/sdg",
        "Node: /dev/sdh",
    ];
    eventually("all claims are heard of", async || {
        let owners = owners(&told)?;
        (owners.unread.is_empty() && who(&owners) == all).then_some(())
    })
    .await;

    // What is given up is heard of at once, and a kind that goes claims nothing more.
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(server.client.clone(), "default", &rook);
    clusters
        .delete("n1", &DeleteParams::default())
        .await
        .unwrap();
    let all: Vec<_> = all
        .into_iter()
        .filter(|claim| !claim.contains("Ceph"))
        .collect();
    eventually("rook claims nothing", async || {
        (who(&owners(&told)?) == all).then_some(())
    })
    .await;
    let kinds: Api<DynamicObject> = Api::all_with(server.client.clone(), &crds);
    kinds
        .delete("nodes.longhorn.io", &DeleteParams::default())
        .await
        .unwrap();
    eventually("Longhorn claims nothing", async || {
        let owners = owners(&told)?;
        (owners.unread.is_empty() && who(&owners) == all[..5]).then_some(())
    })
    .await;
    stop.cancel();
}
