//! `support-bundle` from a real API server, without kubelets.

use std::collections::BTreeMap;
use std::io::Read;

use super::*;

/// The files of a bundle, by their names in it.
fn unpacked(file: &Path) -> BTreeMap<String, String> {
    let packed = std::fs::read(file).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
    let mut files = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let name = path.strip_prefix("bundle").unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_what_is_ours_says_what_it_lacks_and_keeps_secrets() {
    let server = cluster().await;
    bound(&server, "lv-1", "id-1").await;
    claim(&server, "ours", json!("fast"), "1Gi").await;
    claim(&server, "theirs", json!("other"), "1Gi").await;
    let ours = json!({"app.kubernetes.io/name": "topolvm"});
    apply(
        &server.client,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "topolvm-system"}}),
    )
    .await;
    for (name, namespace, labels, variable) in [
        ("node-x", "topolvm-system", &ours, "API_TOKEN"),
        ("web", "default", &json!({}), "ANY"),
    ] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "x", "env": [{"name": variable, "value": "hunter2"}],
                "ports": [{"name": "metrics", "containerPort": 8080}]}]}});
        apply(&server.client, &pod).await;
    }
    for (name, kind) in [
        ("certificate", "Opaque"),
        ("group", "basalt.storage/volume-group"),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": "topolvm-system"}, "data": {"key": "aHVudGVyMg=="}});
        apply(&server.client, &secret).await;
    }

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.tar.gz");
    let at = file.display().to_string();
    let (text, well) = run(&server, &["support-bundle", "--file", &at]);
    assert!(well, "{text}");
    let files = unpacked(&file);
    let has = |file: &str, part: &str| {
        let text = files
            .get(file)
            .unwrap_or_else(|| panic!("no {file} in {:?}", files.keys()));
        assert!(text.contains(part), "{part} is not in {file}:\n{text}");
    };
    has("volumes.txt", "claim-of-lv-1");
    has("doctor.txt", "no DaemonSet");
    has("objects/LogicalVolume.topolvm.io.yaml", "volumeID: id-1");
    has("objects/PersistentVolumeClaim.yaml", "name: ours");
    has("objects/StorageClass.storage.k8s.io.yaml", "name: fast");
    has("objects/Pod.yaml", "name: node-x");
    has("secrets/topolvm-system.yaml", "key: 7");
    has("versions.txt", "Kubernetes v1.");
    has(
        "index.txt",
        "missing  disks.txt  this cluster has no nodedisks",
    );
    has(
        "index.txt",
        "missing  logs/topolvm-system_node-x_c.log  cannot read its log",
    );
    has("index.txt", "missing  metrics/topolvm-system_node-x_c.txt");
    has(
        "index.txt",
        "missing  backups/topolvm-system_group.yaml  only with --with-backups",
    );
    has(
        "index.txt",
        "missing  objects/LogicalVolume.topolvm.cybozu.com.yaml  there is no such kind here",
    );
    for (file, text) in &files {
        for foreign in ["hunter2", "aHVudGVyMg", "name: theirs", "name: web"] {
            assert!(!text.contains(foreign), "{foreign} is in {file}:\n{text}");
        }
    }

    let (text, well) = run(&server, &["support-bundle", "--file", &at]);
    assert!(!well && text.contains("cannot make"), "{text}");
    assert_eq!(unpacked(&file), files, "what is there is left alone");
    std::fs::remove_file(&file).unwrap();
    let (text, well) = run(
        &server,
        &["support-bundle", "--with-backups", "--file", &at],
    );
    assert!(well, "{text}");
    let files = unpacked(&file);
    assert!(files["backups/topolvm-system_group.yaml"].contains("aHVudGVyMg"));
    assert!(!files.contains_key("backups/topolvm-system_certificate.yaml"));
}
