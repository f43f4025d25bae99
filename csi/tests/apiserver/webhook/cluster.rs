//! A cluster whose API server asks the webhook.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::CONFIGURATION;
use crate::chart::{apply, controller_args, one, render};
use crate::server::{Server, eventually, free_port, start_with};
use crate::volumes::Crd;

pub struct Cluster {
    pub server: Server,
    objects: Vec<Value>,
    pub port: u16,
}

impl Cluster {
    /// A cluster with the chart's objects that matter to the webhook, and claims to use.
    pub async fn start(values: &[&str]) -> Self {
        let server = Server::start(Crd::Ours).await;
        let port = free_port();
        let mut all = vec!["webhook.podMutatingWebhook.enabled=true"];
        all.extend(values);
        let objects = render(&all);
        let client = &server.client;
        for (name, labels) in [
            ("topolvm-system", json!({})),
            ("apart", json!({"topolvm.io/webhook": "ignore"})),
        ] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": labels}});
            apply(client, &namespace).await;
        }
        let kinds = [
            "Secret",
            "Role",
            "ClusterRole",
            "RoleBinding",
            "ClusterRoleBinding",
            "ServiceAccount",
        ];
        for object in &objects {
            if kinds.contains(&object["kind"].as_str().unwrap()) {
                apply(client, object).await;
            }
        }
        let mut service = one(&objects, "Service", "topolvm-controller").clone();
        service["spec"] = json!({"type": "ExternalName", "externalName": "localhost"});
        apply(client, &service).await;
        let mut configuration =
            one(&objects, "MutatingWebhookConfiguration", CONFIGURATION).clone();
        for hook in configuration["webhooks"].as_array_mut().unwrap() {
            hook["clientConfig"]["service"]["port"] = json!(port);
        }
        apply(client, &configuration).await;
        let this = Self {
            server,
            objects,
            port,
        };
        this.claims().await;
        this
    }

    async fn claims(&self) {
        let client = &self.server.client;
        for class in ["dc1", "dc2"] {
            let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": class}, "provisioner": "topolvm.io",
                "volumeBindingMode": "WaitForFirstConsumer",
                "parameters": {"topolvm.io/device-class": class}});
            apply(client, &class).await;
        }
        for (namespace, name, class, size) in [
            ("default", "pvc1", "dc1", "100Gi"),
            ("default", "pvc2", "dc1", "2147483647"),
            ("default", "pvc3", "dc2", "500Mi"),
            ("default", "bound", "dc1", "1Gi"),
            ("apart", "pvc1", "dc1", "1Gi"),
            ("kube-system", "pvc1", "dc1", "1Gi"),
        ] {
            let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                    "resources": {"requests": {"storage": size}}}});
            apply(client, &claim).await;
        }
        let api: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
        let bound = json!({"status": {"phase": "Bound"}});
        let params = PatchParams::default();
        api.patch_status("bound", &params, &Patch::Merge(&bound))
            .await
            .unwrap();
    }

    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.server.client.clone(), namespace)
    }

    /// Makes a pod with these claims; what the webhook made of it.
    pub async fn make(&self, namespace: &str, claims: &[&str]) -> kube::Result<Pod> {
        let volumes = claims.iter().enumerate().map(|(at, claim)| match *claim {
            "ephemeral" => {
                json!({"name": format!("v{at}"), "ephemeral": {"volumeClaimTemplate": {"spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "dc1",
                "resources": {"requests": {"storage": "100Gi"}}}}}})
            }
            claim => {
                json!({"name": format!("v{at}"), "persistentVolumeClaim": {"claimName": claim}})
            }
        });
        let pod = json!({
            "metadata": {"generateName": "pod-", "annotations": {"a": "b"}},
            "spec": {"volumes": volumes.collect::<Vec<_>>(), "containers": [
                {"name": "first", "image": "x", "resources": {"requests": {"memory": "1Mi"}}},
                {"name": "second", "image": "x"},
            ]},
        });
        let pod = serde_json::from_value(pod).unwrap();
        self.pods(namespace)
            .create(&PostParams::default(), &pod)
            .await
    }

    /// Waits until the API server asks the webhook and trusts it.
    pub async fn asked(&self) {
        eventually("a pod is patched", async || {
            let pod = self.make("default", &["pvc3"]).await.ok()?;
            (!capacities(&pod).is_empty()).then_some(())
        })
        .await;
    }

    pub async fn trust(&self, bundle: &str) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.server.client.clone());
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let patch =
            json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        api.patch(CONFIGURATION, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// topolvm-controller with the chart's flags and service account, and these.
    pub fn controller(&self, dir: &Path, more: &[String]) -> Program {
        let mut args = vec!["topolvm-controller".to_owned()];
        let chart = controller_args(&self.objects).into_iter();
        args.extend(chart.filter(|arg| !arg.starts_with("--cert-dir")));
        args.extend([
            format!("--webhook-addr=127.0.0.1:{}", self.port),
            format!("--csi-socket={}", dir.join("csi.sock").display()),
            "--metrics-bind-address=0".to_owned(),
            "--health-probe-bind-address=0".to_owned(),
        ]);
        args.extend_from_slice(more);
        Program(start_with(
            Path::new(env!("CARGO_BIN_EXE_hypertopolvm")),
            &args,
            &[("KUBECONFIG", &self.server.kubeconfig_of("controller"))],
            &dir.join("log"),
        ))
    }
}

pub struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a pod says it wants.
pub fn capacities(pod: &Pod) -> BTreeMap<String, String> {
    let annotations = pod.metadata.annotations.clone().unwrap_or_default();
    let ours = annotations
        .into_iter()
        .filter(|(key, _)| key.starts_with("capacity."));
    ours.collect()
}
