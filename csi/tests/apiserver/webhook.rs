//! The pod webhook: the chart's own configuration, service account and flags, asked by a real
//! API server. Only the way there differs: a Service that leads to this machine, and the port.

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::time::{Duration, Instant, SystemTime};

use csi::webhook::http::{Counts, Live, router};
use csi::webhook::own::{Life, Pair};
use csi::webhook::tls::{Certificate, Connections};
use csi::webhook::upkeep::Upkeep;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use kube::api::DeleteParams;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::eventually;
use cluster::{Cluster, capacities};

const CONFIGURATION: &str = "topolvm-hook";
const SECRET: &str = "topolvm-mutatingwebhook";
const NAME: &str = "topolvm-controller.topolvm-system.svc";

#[tokio::test(flavor = "multi_thread")]
async fn pods_say_what_they_want_by_a_certificate_that_the_controller_makes() {
    let cluster = Cluster::start(&["webhook.certManager=false"]).await;
    // Nobody is there to answer yet: pods with claims wait, others do not.
    let refused = cluster.make("default", &["pvc1"]).await.unwrap_err();
    assert!(
        refused.to_string().contains("pod-hook.topolvm.io"),
        "{refused}"
    );
    cluster.make("default", &[]).await.unwrap();
    for ignored in ["apart", "kube-system"] {
        cluster.make(ignored, &["pvc1"]).await.unwrap();
    }

    let dir = tempfile::tempdir().unwrap();
    let controller = cluster.controller(dir.path(), &[]);
    cluster.asked().await;
    let gib = |gib: u64| (gib << 30).to_string();
    for (claims, wanted) in [
        (&["pvc1"][..], &[("dc1", gib(100))][..]),
        (
            &["pvc1", "pvc2", "pvc3"],
            &[
                ("dc1", ((102u64 << 30) - 1).to_string()),
                ("dc2", (500 << 20).to_string()),
            ],
        ),
        (&["ephemeral"], &[("dc1", gib(100))]),
        (&["pvc1", "bound"], &[]),
        (&["none"], &[]),
    ] {
        let pod = cluster.make("default", claims).await.unwrap();
        let expected = wanted
            .iter()
            .map(|(class, bytes)| (format!("capacity.topolvm.io/{class}"), bytes.clone()));
        assert_eq!(capacities(&pod), expected.collect(), "{claims:?}");
        assert_eq!(pod.metadata.annotations.unwrap()["a"], "b");
        let containers = pod.spec.unwrap().containers;
        let [first, second] = [0, 1].map(|at| containers[at].resources.clone().unwrap_or_default());
        let one = |map: Option<BTreeMap<String, Quantity>>| {
            let capacity = map.unwrap_or_default().remove("topolvm.io/capacity");
            capacity.map(|quantity| quantity.0)
        };
        let there = (!wanted.is_empty()).then(|| "1".to_owned());
        assert_eq!(first.requests.clone().unwrap()["memory"].0, "1Mi");
        assert_eq!(
            (one(first.requests), one(first.limits)),
            (there.clone(), there)
        );
        assert_eq!((one(second.requests), one(second.limits)), (None, None));
    }
    for ignored in ["apart", "kube-system"] {
        let pod = cluster.make(ignored, &["pvc1"]).await.unwrap();
        assert_eq!(capacities(&pod), BTreeMap::new());
    }
    drop(controller);
    // Another controller finds all it needs.
    let dir = tempfile::tempdir().unwrap();
    let _controller = cluster.controller(dir.path(), &[]);
    cluster.asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_files_is_taken_up_again_when_it_changes() {
    let cluster = Cluster::start(&["webhook.certManager=false", "webhook.secretName=mine"]).await;
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    // As the kubelet changes a mounted Secret: a new folder, and a link that is swapped.
    let write = |version: &str, pair: &Pair| {
        let there = certs.join(version);
        std::fs::create_dir(&there).unwrap();
        std::fs::write(there.join("tls.crt"), &pair.chain).unwrap();
        std::fs::write(there.join("tls.key"), &pair.key).unwrap();
        std::os::unix::fs::symlink(version, certs.join("..tmp")).unwrap();
        std::fs::rename(certs.join("..tmp"), certs.join("..data")).unwrap();
    };
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), certs.join(file)).unwrap();
    }
    let day = Duration::from_secs(24 * 3600);
    let [one, two] = [0, 1].map(|_| Pair::make(NAME, SystemTime::now(), day).unwrap());
    let _controller = cluster.controller(dir.path(), &[format!("--cert-dir={}", certs.display())]);
    cluster.trust(&one.authority).await;
    write("1", &one);
    cluster.asked().await;
    cluster.trust(&two.authority).await;
    eventually("the old certificate is not trusted", async || {
        cluster.make("default", &["pvc1"]).await.err()
    })
    .await;
    write("2", &two);
    cluster.asked().await;
}

/// Connections as the API server makes them; it keeps them, so each certificate is asked for.
async fn served(port: u16, seen: &mut BTreeSet<String>) {
    #[expect(clippy::disallowed_methods, reason = "the door of these tests")]
    let told = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-servername",
            NAME,
            "-connect",
            &format!("127.0.0.1:{port}"),
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    if let (Some(from), Some(to)) = (text.find("-----BEGIN"), text.find("-----END")) {
        seen.insert(text[from..to].to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_is_refused_while_certificates_change() {
    let cluster = Cluster::start(&["webhook.certManager=false"]).await;
    let client: Client = cluster.server.client.clone();
    // Each lasts long, and is replaced as soon as it may be.
    let life = Life {
        lasts: Duration::from_secs(3600),
        renew: Duration::from_secs(3599),
        settle: Duration::from_secs(3),
    };
    let stop = CancellationToken::new();
    let upkeep = Upkeep::new(&client, "topolvm-system", SECRET, CONFIGURATION, life);
    let certificate = Certificate::default();
    tokio::spawn(upkeep.clone().follow(certificate.clone(), stop.clone()));
    tokio::spawn(upkeep.run(stop.clone()));
    let listener = TcpListener::bind(("127.0.0.1", cluster.port))
        .await
        .unwrap();
    let connections = Connections::of(listener, &certificate, stop.clone()).unwrap();
    let app = router(Live(client), Counts::default());
    tokio::spawn(axum::serve(connections, app).into_future());
    cluster.asked().await;
    let (mut seen, mut made) = (BTreeSet::new(), 0);
    let started = Instant::now();
    while seen.len() < 3 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{} certificates",
            seen.len()
        );
        let pod = cluster.make("default", &["pvc1"]).await.unwrap();
        assert_eq!(
            capacities(&pod)["capacity.topolvm.io/dc1"],
            (100u64 << 30).to_string()
        );
        let name = pod.metadata.name.unwrap();
        cluster
            .pods("default")
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
        made += 1;
        served(cluster.port, &mut seen).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{made} pods while three certificates were served");
    stop.cancel();
}
