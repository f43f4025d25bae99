use super::*;
use serde_json::json;

/// What an object says to the node `n1`, whose host is `h1` and which is in zone `a`.
fn said(kind: &str, name: &str, data: &Value) -> Vec<What> {
    let labels = [
        ("kubernetes.io/hostname", "h1"),
        ("zone", "a"),
        ("disks", "3"),
    ];
    let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let here = Here {
        name: "n1",
        labels: &labels,
    };
    let owner = OWNERS.iter().find(|owner| owner.kind == kind).unwrap();
    let all = claims(owner, name, data, &here);
    let mut kept = data.clone();
    owner.trim(&mut kept);
    assert_eq!(claims(owner, name, &kept, &here), all, "{data} as {kept}");
    all.into_iter().map(|claim| claim.what).collect()
}

fn devices(names: &[&str]) -> Vec<What> {
    names
        .iter()
        .map(|name| What::Device((*name).to_owned()))
        .collect()
}

#[test]
fn rook_takes_what_the_most_special_of_its_fields_says() {
    let cluster = |storage: Value| {
        said(
            "CephCluster",
            "rook/a",
            &json!({"spec": {"storage": storage}}),
        )
    };
    for (storage, claims) in [
        (json!({}), vec![]),
        (json!({"useAllDevices": true}), vec![]),
        (
            json!({"useAllNodes": true, "useAllDevices": true}),
            vec![What::Any],
        ),
        (
            json!({"useAllNodes": true, "useAllDevices": true, "deviceFilter": "^sd."}),
            vec![What::Names("^sd.".into())],
        ),
        (
            json!({"useAllNodes": true, "devicePathFilter": "^/dev/disk/by-id/x"}),
            vec![What::Paths("^/dev/disk/by-id/x".into())],
        ),
        (
            json!({"useAllDevices": true, "nodes": [{"name": "h1", "devices": [{"name": "sdb"}]}, {"name": "n2"}]}),
            devices(&["/dev/sdb"]),
        ),
        (
            json!({"useAllDevices": true, "nodes": [{"name": "n1"}]}),
            vec![What::Any],
        ),
        (
            json!({"useAllDevices": true, "nodes": [{"name": "n1", "useAllDevices": false}]}),
            vec![],
        ),
        (
            json!({"useAllDevices": true, "nodes": [{"name": "n2"}]}),
            vec![],
        ),
        (
            json!({"config": {"metadataDevice": "nvme0n1"},
                "nodes": [{"name": "n1", "devices": [{"name": "/dev/disk/by-id/a", "config": {"metadataDevice": "sdm"}}]}]}),
            devices(&["/dev/sdm", "/dev/nvme0n1", "/dev/disk/by-id/a"]),
        ),
    ] {
        assert_eq!(cluster(storage.clone()), claims, "{storage}");
    }
}

#[test]
fn rook_takes_nothing_where_its_osds_cannot_run() {
    let placed = |placement: Value| {
        let storage = json!({"useAllNodes": true, "useAllDevices": true});
        !said(
            "CephCluster",
            "rook/a",
            &json!({"spec": {"storage": storage, "placement": placement}}),
        )
        .is_empty()
    };
    let zone = |zone: &str| {
        let terms =
            json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]);
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
    };
    assert!(placed(json!({})));
    assert!(placed(json!({"osd": zone("a")})) && !placed(json!({"osd": zone("b")})));
    assert!(placed(json!({"all": zone("b"), "osd": zone("a")})));
    assert!(!placed(json!({"all": zone("b")})));
}

#[test]
fn a_local_volume_is_where_its_affinity_may_hold() {
    let volume = |wants: Value| {
        let terms = json!([{"matchExpressions": [wants]}]);
        let spec = json!({"local": {"path": "/dev/sdb"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}});
        !said("PersistentVolume", "pv", &json!({"spec": spec})).is_empty()
    };
    let hosts = |op: &str, hosts: &[&str]| json!({"key": "kubernetes.io/hostname", "operator": op, "values": hosts});
    for (wants, is) in [
        (hosts("In", &["h1", "h2"]), true),
        (hosts("In", &["h2"]), false),
        (hosts("NotIn", &["h1"]), false),
        (json!({"key": "zone", "operator": "Exists"}), true),
        (json!({"key": "zone", "operator": "DoesNotExist"}), false),
        (
            json!({"key": "disks", "operator": "Gt", "values": ["2"]}),
            true,
        ),
        (
            json!({"key": "disks", "operator": "Lt", "values": ["2"]}),
            false,
        ),
        (json!({"key": "zone", "operator": "OfTomorrow"}), true),
    ] {
        assert_eq!(volume(wants.clone()), is, "{wants}");
    }
    let csi = json!({"spec": {"csi": {"driver": "topolvm.io"}}});
    assert_eq!(said("PersistentVolume", "pv", &csi), []);
}

#[test]
fn openebs_has_what_is_claimed_on_this_node() {
    let disk = |node: &str, state: &str| {
        said(
            "BlockDevice",
            "openebs/b",
            &json!({"spec": {"path": "/dev/sdb", "nodeAttributes": {"nodeName": node},
                "devlinks": [{"kind": "by-id", "links": ["/dev/disk/by-id/a"]}]}, "status": {"claimState": state}}),
        )
    };
    let both = devices(&["/dev/sdb", "/dev/disk/by-id/a"]);
    assert_eq!(disk("n1", "Claimed"), both);
    assert_eq!(disk("h1", "Released"), both);
    assert_eq!(disk("n1", "Unclaimed"), []);
    assert_eq!(disk("n2", "Claimed"), []);
    let pool = |node: &str, disk: &str| {
        said(
            "DiskPool",
            "openebs/p",
            &json!({"spec": {"node": node, "disks": [disk]}}),
        )
    };
    assert_eq!(
        pool("n1", "uring:///dev/sdc?blk_size=4096"),
        devices(&["/dev/sdc"])
    );
    assert_eq!(pool("n1", "/dev/sdc"), devices(&["/dev/sdc"]));
    assert_eq!(pool("n1", "pcie:///0000:00:1e.0").len(), 1);
    assert_eq!(pool("n2", "/dev/sdc"), []);
}

#[test]
fn linstor_has_the_sources_of_its_pools_here() {
    let pools = json!([{"name": "thin", "lvmThinPool": {}, "source": {"hostDevices": ["/dev/sdb", "/dev/sdc"]}}, {"name": "old"}]);
    let both = devices(&["/dev/sdb", "/dev/sdc"]);
    let configured = |more: Value| {
        let mut spec = json!({"storagePools": pools});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        said("LinstorSatelliteConfiguration", "c", &json!({"spec": spec}))
    };
    assert_eq!(configured(json!({})), both);
    assert_eq!(configured(json!({"nodeSelector": {"zone": "a"}})), both);
    assert_eq!(configured(json!({"nodeSelector": {"zone": "b"}})), []);
    let terms = json!({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]});
    assert_eq!(configured(json!({"nodeAffinity": terms})), []);
    let spec = json!({"spec": {"storagePools": pools}});
    assert_eq!(said("LinstorSatellite", "n1", &spec), both);
    assert_eq!(said("LinstorSatellite", "n2", &spec), []);
}

#[test]
fn longhorn_has_the_devices_among_the_disks_of_its_node() {
    let spec = json!({"spec": {"disks": {"a": {"path": "/var/lib/longhorn", "diskType": "filesystem"},
        "b": {"path": "/dev/sdb", "diskType": "block"}, "c": {"path": "0000:00:1e.0", "diskType": "block"}}}});
    let said_of = |node: &str| said("Node", &format!("longhorn-system/{node}"), &spec);
    let mut wanted = devices(&["/var/lib/longhorn", "/dev/sdb"]);
    wanted.push(What::Paths(r"0000:00:1e\.0".into()));
    assert_eq!(said_of("n1"), wanted);
    assert_eq!(said_of("n2"), []);
}

#[test]
fn of_an_object_is_kept_what_is_read_and_nothing_of_one_that_claims_no_disk() {
    let kept = |kind: &str, mut data: Value| {
        let owner = OWNERS.iter().find(|owner| owner.kind == kind).unwrap();
        owner.trim(&mut data);
        data
    };
    let affinity = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]});
    let volume = |source: &str, of: Value| {
        json!({"spec": {source: of, "nodeAffinity": {"required": affinity}, "capacity": {"storage": "1Gi"}},
            "status": {"phase": "Bound"}})
    };
    let local = volume("local", json!({"path": "/dev/sdb", "fsType": "xfs"}));
    assert_eq!(
        kept("PersistentVolume", local),
        json!({"spec": {"local": {"path": "/dev/sdb"}, "nodeAffinity": {"required": affinity}}})
    );
    let csi = volume("csi", json!({"driver": "topolvm.io"}));
    assert_eq!(kept("PersistentVolume", csi), Value::Null);
    let node = json!({"spec": {"disks": {"a": {"path": "/dev/sdb"}}, "tags": []}, "status": {"diskStatus": {}}});
    assert_eq!(
        kept("Node", node),
        json!({"spec": {"disks": {"a": {"path": "/dev/sdb"}}}})
    );
    assert_eq!(kept("CephCluster", Value::Null), Value::Null);
}
