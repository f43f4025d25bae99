use super::*;

/// Claims and classes as upstream's tests have them (internal/hook/suite_test.go and mutate_pod_test.go).
struct Upstreams;

impl Objects for Upstreams {
    async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, Error> {
        assert_eq!(namespace, "ns");
        let (class, size, phase) = match name {
            "local-pvc" => (json!("host-local"), json!({"storage": "10Gi"}), "Pending"),
            "bound-pvc" => (json!("dc1"), json!({"storage": "100Gi"}), "Bound"),
            "lost-pvc" => (json!("dc1"), json!({"storage": "100Gi"}), "Lost"),
            "local-bound-pvc" => (json!("host-local"), json!({"storage": "10Gi"}), "Bound"),
            "pvc1" => (json!("dc1"), json!({"storage": "100Gi"}), "Pending"),
            "pvc2" => (json!("dc1"), json!({"storage": "2147483647"}), "Pending"),
            "pvc3" => (json!("dc2"), json!({"storage": "3Gi"}), "Pending"),
            "pvc4" => (json!("dc3"), json!({"storage": "4Gi"}), "Pending"),
            "pvc5" => (json!("dc1"), json!({"storage": "500Mi"}), "Pending"),
            "default-pvc" => (Value::Null, json!({"storage": "3Gi"}), "Pending"),
            "static-pvc" => (json!(""), json!({"storage": "3Gi"}), "Pending"),
            "classless-pvc" => (json!("missing"), json!({"storage": "3Gi"}), "Pending"),
            "unnamed-pvc" => (json!("unnamed"), json!({"storage": "3Gi"}), "Pending"),
            "of-default-class" => (json!("default"), json!({"storage": "3Gi"}), "Pending"),
            "sizeless" => (json!("dc1"), Value::Null, "Pending"),
            "zero" => (json!("dc1"), json!({"storage": "0"}), "Pending"),
            "slip" => (json!("dc1"), json!({"storage": "1001m"}), "Pending"),
            "huge" => (json!("dc1"), json!({"storage": "7Ei"}), "Pending"),
            "nonsense" => (json!("dc1"), json!({"storage": "much"}), "Pending"),
            _ => return Ok(None),
        };
        let claim = json!({
            "metadata": {"name": name},
            "spec": {"storageClassName": class, "resources": {"requests": size}},
            "status": {"phase": phase},
        });
        Ok(Some(serde_json::from_value(claim).unwrap()))
    }

    async fn class(&self, name: &str) -> Result<Option<StorageClass>, Error> {
        let (provisioner, parameters) = match name {
            "host-local" => (
                "kubernetes.io/no-provisioner",
                json!({"topolvm.io/device-class": "dc1"}),
            ),
            "dc1" | "dc2" | "dc3" => ("topolvm.io", json!({"topolvm.io/device-class": name})),
            "default" => ("topolvm.io", json!({"csi.storage.k8s.io/fstype": "xfs"})),
            "unnamed" => ("topolvm.io", json!({"topolvm.io/device-class": ""})),
            _ => return Ok(None),
        };
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "parameters": parameters});
        Ok(Some(serde_json::from_value(class).unwrap()))
    }
}

/// A pod with volumes of these claims; `~class` is a generic ephemeral volume of 100 GiB.
fn pod(claims: &[&str]) -> Pod {
    let volumes: Vec<Value> = claims
        .iter()
        .enumerate()
        .map(|(at, claim)| match claim.strip_prefix('~') {
            None => {
                json!({"name": format!("v{at}"), "persistentVolumeClaim": {"claimName": claim}})
            }
            Some(class) => {
                let class = Some(class).filter(|class| !class.is_empty());
                json!({"name": format!("v{at}"), "ephemeral": {"volumeClaimTemplate": {"spec": {
                    "storageClassName": class, "resources": {"requests": {"storage": "100Gi"}}
                }}}})
            }
        })
        .chain([json!({"name": "other", "emptyDir": {}})])
        .collect();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], "volumes": volumes}});
    serde_json::from_value(pod).unwrap()
}

#[tokio::test]
async fn upstreams_table_of_pods() {
    const G: u64 = 1 << 30;
    type Row = (&'static [&'static str], &'static [(&'static str, u64)]);
    let rows: [Row; 17] = [
        (&[], &[]),
        (&["non-existent"], &[]),
        (&["pvc1"], &[("dc1", 100 * G)]),
        (
            &["pvc1", "pvc3", "pvc4"],
            &[("dc1", 100 * G), ("dc2", 3 * G), ("dc3", 4 * G)],
        ),
        (&["~dc1"], &[("dc1", 100 * G)]),
        (&["pvc1", "bound-pvc"], &[]),
        (&["local-pvc", "pvc1", "pvc2"], &[("dc1", 102 * G - 1)]),
        (&["default-pvc"], &[]),
        (&["pvc5"], &[("dc1", 500 << 20)]),
        // Not in upstream's table, but in its code.
        (&["lost-pvc", "pvc1"], &[]),
        (&["local-bound-pvc", "pvc1"], &[("dc1", 100 * G)]),
        (&["static-pvc", "classless-pvc", "unnamed-pvc"], &[]),
        (&["of-default-class", "~default"], &[("00default", 103 * G)]),
        (&["~", "~missing", "~host-local"], &[]),
        (&["sizeless", "zero"], &[("dc1", 2 * G)]),
        (&["slip"], &[("dc1", 2)]),
        (&["huge", "huge"], &[("dc1", (1 << 63) - 1)]),
    ];
    for (claims, expected) in rows {
        let expected: Wanted = expected
            .iter()
            .map(|(class, bytes)| ((*class).to_owned(), *bytes))
            .collect();
        assert_eq!(
            wanted(&pod(claims), "ns", &Upstreams).await.unwrap(),
            expected,
            "{claims:?}"
        );
    }
    assert!(wanted(&pod(&["nonsense"]), "ns", &Upstreams).await.is_err());
}

#[tokio::test]
async fn inline_volumes_count_beside_claims() {
    let inline = |driver: &str, attributes: Value| json!({"name": "i", "csi": {"driver": driver, "volumeAttributes": attributes}});
    let wants = async |volumes: Vec<Value>| {
        let mut pod = pod(&["pvc1"]);
        let more = volumes
            .into_iter()
            .map(|volume| serde_json::from_value(volume).unwrap());
        pod.spec
            .as_mut()
            .unwrap()
            .volumes
            .as_mut()
            .unwrap()
            .extend(more);
        wanted(&pod, "ns", &Upstreams).await
    };
    let class = "topolvm.io/device-class";
    let all = vec![
        inline(
            "topolvm.io",
            json!({class: "dc1", "basalt.storage/size": "2Gi"}),
        ),
        inline("topolvm.io", json!({class: "dc2"})),
        inline(
            "other.driver",
            json!({class: "dc1", "basalt.storage/size": "2Gi"}),
        ),
        inline("topolvm.io", json!({"basalt.storage/size": "2Gi"})),
        inline("topolvm.io", Value::Null),
    ];
    let expected =
        [("dc1", 102 * GIB), ("dc2", GIB)].map(|(class, bytes)| (class.to_owned(), bytes));
    assert_eq!(wants(all).await.unwrap(), expected.into());
    let wrong = inline(
        "topolvm.io",
        json!({class: "dc1", "basalt.storage/size": "much"}),
    );
    assert!(wants(vec![wrong]).await.is_err());
}

#[test]
fn the_patch_keeps_what_is_there() {
    let want = Wanted::from([("dc1".to_owned(), 7)]);
    let bare = pod(&[]);
    assert_eq!(
        patch(&bare, &want),
        json!([
            {"op": "add", "path": "/spec/containers/0/resources", "value": {
                "requests": {"topolvm.io/capacity": "1"}, "limits": {"topolvm.io/capacity": "1"}}},
            {"op": "add", "path": "/metadata/annotations", "value": {"capacity.topolvm.io/dc1": "7"}},
        ])
    );
    let full: Pod = serde_json::from_value(json!({
        "metadata": {"annotations": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "100"}}}]},
    }))
    .unwrap();
    assert_eq!(
        patch(&full, &want),
        json!([
            {"op": "add", "path": "/spec/containers/0/resources/requests/topolvm.io~1capacity", "value": "1"},
            {"op": "add", "path": "/spec/containers/0/resources/limits", "value": {"topolvm.io/capacity": "1"}},
            {"op": "add", "path": "/metadata/annotations/capacity.topolvm.io~1dc1", "value": "7"},
        ])
    );
}
