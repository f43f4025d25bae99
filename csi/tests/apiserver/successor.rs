//! Whether a node that ends has the kubelet forget the driver.

use csi::kubernetes::successor::takes_over;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::server::{Server, eventually};

const NAMESPACE: &str = "topolvm-system";
const NAME: &str = "topolvm-node";

fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn daemonset(containers: &[&str]) -> DaemonSet {
    let containers: Vec<_> = containers
        .iter()
        .map(|name| json!({"name": name, "image": "none"}))
        .collect();
    let labels = json!({"app": NAME});
    of(
        json!({"metadata": {"name": NAME}, "spec": {"selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}}),
    )
}

/// A token of a service account that may read DaemonSets, as the chart's.
async fn token(server: &Server) -> String {
    let post = PostParams::default();
    let client = server.client.clone();
    let namespace = of(json!({"metadata": {"name": NAMESPACE}}));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&post, &namespace).await.unwrap();
    let rules = json!([{"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get"]}]);
    let roles: Api<Role> = Api::namespaced(client.clone(), NAMESPACE);
    let role = of(json!({"metadata": {"name": NAME}, "rules": rules}));
    roles.create(&post, &role).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), NAMESPACE);
    let binding = of(json!({"metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]}));
    bindings.create(&post, &binding).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, NAMESPACE);
    let account = of(json!({"metadata": {"name": NAME}}));
    accounts.create(&post, &account).await.unwrap();
    let request: TokenRequest = of(json!({"spec": {"audiences": []}}));
    let given = accounts.create_token_request(NAME, &post, &request);
    given.await.unwrap().status.unwrap().token
}

#[tokio::test]
async fn the_kubelet_forgets_a_driver_whose_chart_is_uninstalled() {
    let server = Server::bare().await;
    let client = server.client_of(&token(&server).await, NAMESPACE);
    let sets: Api<DaemonSet> = Api::namespaced(server.client.clone(), NAMESPACE);
    let (post, delete) = (PostParams::default(), DeleteParams::default());
    let ours = daemonset(&["topolvm-node"]);
    sets.create(&post, &ours).await.unwrap();
    eventually("it may ask, and its next pod is ours", async || {
        takes_over(&client, NAME).await.then_some(())
    })
    .await;
    let upstreams = daemonset(&["topolvm-node", "csi-registrar"]);
    sets.delete(NAME, &delete).await.unwrap();
    assert!(!takes_over(&client, NAME).await, "there is no next pod");
    sets.create(&post, &upstreams).await.unwrap();
    assert!(!takes_over(&client, NAME).await, "the next is upstream's");

    // What `helm uninstall` removes beside the DaemonSet while the pods of that still end; with one of ours there, no answer
    // but these says that it is over.
    sets.delete(NAME, &delete).await.unwrap();
    sets.create(&post, &ours).await.unwrap();
    assert!(takes_over(&client, NAME).await);
    let bindings: Api<RoleBinding> = Api::namespaced(server.client.clone(), NAMESPACE);
    let binding = bindings.get(NAME).await.unwrap();
    bindings.delete(NAME, &delete).await.unwrap();
    eventually("it may not ask any more (403)", async || {
        (!takes_over(&client, NAME).await).then_some(())
    })
    .await;
    let binding = of(
        json!({"metadata": {"name": NAME}, "roleRef": binding.role_ref, "subjects": binding.subjects}),
    );
    bindings.create(&post, &binding).await.unwrap();
    eventually("it may ask again", async || {
        takes_over(&client, NAME).await.then_some(())
    })
    .await;
    let accounts: Api<ServiceAccount> = Api::namespaced(server.client.clone(), NAMESPACE);
    accounts.delete(NAME, &delete).await.unwrap();
    eventually("nobody knows it any more (401)", async || {
        (!takes_over(&client, NAME).await).then_some(())
    })
    .await;
}
