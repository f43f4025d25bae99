//! A real API server on this machine: etcd and kube-apiserver, on loopback, for one test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where `e2e-qemu cluster --build-only` left the programs, or where `BASALT_CLUSTER` says.
pub fn program(module: &str, name: &str) -> PathBuf {
    let told = std::env::vars().find(|(key, _)| key == "BASALT_CLUSTER");
    let there = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache");
    let cache = told.map_or_else(there, |(_, dir)| PathBuf::from(dir));
    let path = cache.join(module).join("current").join(name);
    assert!(
        path.is_file(),
        "{} is not there: `e2e-qemu cluster --build-only` builds it",
        path.display()
    );
    path
}

pub fn start(program: &Path, args: &[String], log: &Path) -> Child {
    start_with(program, args, &[], log)
}

pub fn start_with(program: &Path, args: &[String], env: &[(&str, &Path)], log: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the door of these tests")]
    Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A port of which nobody else knows: below those that the kernel gives to connections
/// (ip(7), ip_local_port_range), and each but once in this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + u16::try_from(number % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The page of metrics that a program serves at this port.
pub async fn metrics(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(asked).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Waits until `done`, at most a minute.
pub async fn eventually<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = done().await {
            return value;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "not yet: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn client(port: u16, token: &str, namespace: &str) -> Client {
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
    config.accept_invalid_certs = true;
    namespace.clone_into(&mut config.default_namespace);
    config.auth_info.token = Some(token.to_owned().into());
    Client::try_from(config).unwrap()
}

pub struct Server {
    etcd: Child,
    api: Child,
    port: u16,
    args: Vec<String>,
    dir: tempfile::TempDir,
    pub client: Client,
}

impl Server {
    /// An API server with the nodes `n1` and `n2`.
    pub async fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (client_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let etcd: Vec<String> = [
            ("--data-dir", at("etcd")),
            ("--listen-client-urls", etcd_url.clone()),
            ("--advertise-client-urls", etcd_url.clone()),
            ("--listen-peer-urls", peer_url.clone()),
            ("--initial-advertise-peer-urls", peer_url.clone()),
            ("--initial-cluster", format!("default={peer_url}")),
            ("--unsafe-no-fsync", "true".to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
        let etcd = start(
            &program("etcd", "server"),
            &etcd,
            &dir.path().join("etcd.log"),
        );
        #[expect(clippy::disallowed_methods, reason = "the door of these tests")]
        let made = Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])
            .args(["-out", &at("sa.key")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let tokens = [
            "admin,admin,admin,system:masters",
            "controller,system:serviceaccount:topolvm-system:topolvm-controller,controller,system:serviceaccounts",
            "scheduler,system:serviceaccount:topolvm-system:topolvm-scheduler,scheduler,system:serviceaccounts",
        ];
        std::fs::write(at("tokens"), tokens.join("\n") + "\n").unwrap();
        let args: Vec<String> = [
            ("--etcd-servers", etcd_url),
            ("--bind-address", "127.0.0.1".to_owned()),
            ("--secure-port", port.to_string()),
            ("--cert-dir", at("certs")),
            (
                "--service-account-issuer",
                "https://kubernetes.default.svc".to_owned(),
            ),
            ("--service-account-key-file", at("sa.key")),
            ("--service-account-signing-key-file", at("sa.key")),
            ("--service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            ("--endpoint-reconciler-type", "none".to_owned()),
            ("--token-auth-file", at("tokens")),
            ("--authorization-mode", "RBAC".to_owned()),
            ("--allow-privileged", "true".to_owned()),
            ("--disable-admission-plugins", "ServiceAccount".to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
        let api = start(
            &program("control", "kube-apiserver"),
            &args,
            &dir.path().join("api.log"),
        );
        let mut this = Self {
            client: client(port, "admin", "default"),
            etcd,
            api,
            port,
            args,
            dir,
        };
        this.ready().await;
        let nodes: Api<Node> = Api::all(this.client.clone());
        for name in ["n1", "n2"] {
            let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            nodes.create(&PostParams::default(), &node).await.unwrap();
        }
        this
    }

    /// Waits until it answers and has made the namespace `default`, which it does in its own time.
    async fn ready(&mut self) {
        let (api, etcd, client) = (&mut self.api, &mut self.etcd, &self.client);
        eventually("the API server is ready", async || {
            assert_eq!(etcd.try_wait().unwrap(), None, "etcd has ended");
            assert_eq!(api.try_wait().unwrap(), None, "it has ended");
            let namespaces: Api<Namespace> = Api::all(client.clone());
            namespaces.get("default").await.ok()
        })
        .await;
    }

    /// Puts a CRD in the place of another; the objects are kept.
    pub async fn install_crd(&self, mut wanted: CustomResourceDefinition) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let name = wanted.name_any();
        if let Some(there) = api.get_opt(&name).await.unwrap() {
            wanted.metadata.resource_version = there.resource_version();
            api.replace(&name, &PostParams::default(), &wanted)
                .await
                .unwrap();
        } else {
            // Strict: what the server does not know is an error.
            let strict = PatchParams::apply("test").validation_strict();
            api.patch(&name, &strict, &Patch::Apply(&wanted))
                .await
                .unwrap();
        }
    }

    /// A client with this token, at home in that namespace.
    pub fn client_of(&self, token: &str, namespace: &str) -> Client {
        client(self.port, token, namespace)
    }

    /// A kubeconfig for programs that may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin")
    }

    /// A kubeconfig with the token `admin`, `controller` or `scheduler`; the latter are service
    /// accounts of charts/topolvm and may do what RBAC gives them.
    pub fn kubeconfig_of(&self, token: &str) -> PathBuf {
        let file = self.dir.path().join(format!("kubeconfig-{token}"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// Kills the API server and starts it again on the same etcd.
    pub async fn restart(&mut self, away: Duration) {
        self.api.kill().unwrap();
        self.api.wait().unwrap();
        tokio::time::sleep(away).await;
        let log = self.dir.path().join("api.log");
        self.api = start(&program("control", "kube-apiserver"), &self.args, &log);
        self.ready().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("api.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(20);
            eprintln!(
                "--- log of the API server at {}\n{}",
                self.port,
                lines[last..].join("\n")
            );
        }
        for child in [&mut self.api, &mut self.etcd] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
