use serde_json::{Value, json};

use super::*;

const GROUP: &str = "vgvgvg-1";

fn stray(lv: &str, tags: &[&str], change: Value) -> Value {
    let mut stray = json!({"vg": "vg", "vgUuid": GROUP, "lv": lv, "classes": ["thin"],
        "sizeBytes": 1u64 << 30, "whole": true, "open": false, "tags": tags});
    let change = change.as_object().cloned().unwrap_or_default();
    stray.as_object_mut().unwrap().extend(change);
    stray
}

fn tagged(lv: &str) -> Value {
    let (name, claim) = (format!("basalt.lv=pvc-{lv}"), format!("basalt.pvc=ns/{lv}"));
    let tags = [
        name.as_str(),
        claim.as_str(),
        "basalt.content=xfs",
        "basalt.device-class=thin",
    ];
    stray(lv, &tags, Value::Null)
}

fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// Node `n1` with strays, and a StorageClass.
fn cluster(strays: &[Value]) -> Seen {
    let text = json!({"strays": strays}).to_string();
    let node = json!({"metadata": {"name": "n1", "annotations": {"basalt.storage/strays": text}}});
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "topolvm.io", "parameters": {
        "topolvm.io/device-class": "thin", "csi.storage.k8s.io/fstype": "xfs",
        "basalt.storage/root-mode": "0770"}});
    Seen {
        nodes: vec![object(node)],
        classes: vec![object(class)],
        ..Seen::default()
    }
}

fn wish(lv: Option<&str>) -> Wish {
    Wish {
        vg_uuid: GROUP.into(),
        lv: lv.map(str::to_owned),
        ..Wish::default()
    }
}

/// The one row.
fn one(seen: &Seen, claims: &[PersistentVolumeClaim], wish: &Wish) -> Adoption {
    let mut rows = judge(seen, claims, wish).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn refused(seen: &Seen, claims: &[PersistentVolumeClaim], wish: &Wish, why: &str) {
    let row = one(seen, claims, wish);
    assert!(row.is_refused() && row.plan.is_none(), "{row:?}");
    assert!(row.result.contains(why), "{why:?} is not in {}", row.result);
}

fn claim(change: Value) -> PersistentVolumeClaim {
    let mut spec = json!({"accessModes": ["ReadWriteOncePod"], "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}}});
    let change = change.as_object().cloned().unwrap_or_default();
    spec.as_object_mut().unwrap().extend(change);
    object(json!({"metadata": {"namespace": "ns", "name": "a", "uid": "its-own"}, "spec": spec}))
}

#[test]
fn a_tagged_volume_gets_the_objects_it_had() {
    let row = one(&cluster(&[tagged("a")]), &[], &wish(None));
    assert_eq!(
        (row.claim.as_str(), row.content.as_str(), row.name.as_str()),
        ("ns/a", "xfs", "pvc-a")
    );
    let plan = row.plan.unwrap();
    assert_eq!(plan.made, ("a".into(), Bytes(1 << 30)));
    assert!(plan.volume.is_given_up(), "no node makes one for it");
    assert_eq!(
        serde_json::to_value(&plan.volume.spec).unwrap(),
        json!({"name": "pvc-a", "nodeName": "n1", "size": "1Gi", "deviceClass": "thin"})
    );
    assert_eq!(
        plan.volume.finalizers(),
        [""; 0],
        "who deletes it is not kept waiting"
    );
    assert_eq!(plan.volume.annotations()["basalt.storage/claim"], "ns/a");
    let pv = serde_json::to_value(plan.persistent.unwrap()).unwrap();
    assert_eq!(pv["metadata"]["name"], "pvc-a");
    assert_eq!(
        pv["spec"],
        json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "ns", "name": "a"},
            "csi": {"driver": "topolvm.io", "volumeHandle": "a", "fsType": "xfs",
                "volumeAttributes": {"basalt.storage/root-mode": "0770"}},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "topology.topolvm.io/node", "operator": "In", "values": ["n1"]}]}]}},
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
            "volumeMode": "Filesystem",
        })
    );
}

#[test]
fn without_tags_a_person_says_it_all() {
    let bare = |change| cluster(&[stray("b", &[], change)]);
    let seen = bare(Value::Null);
    refused(&seen, &[], &wish(None), "name it with --lv");
    refused(&seen, &[], &wish(Some("b")), "--fs-type");
    let mut told = wish(Some("b"));
    told.fs_type = Some("xfs");
    refused(&seen, &[], &told, "--claim NAMESPACE/NAME");
    told.claim = Some(("ns".into(), "mine".into()));
    let row = one(&seen, &[], &told);
    assert_eq!(
        (row.name.as_str(), row.claim.as_str()),
        ("adopted-b", "ns/mine")
    );
    assert!(row.plan.is_some(), "{row:?}");
    refused(&bare(json!({"open": true})), &[], &told, "has it open");
    // As a device.
    told.fs_type = Some("block");
    let pv = one(&seen, &[], &told)
        .plan
        .unwrap()
        .persistent
        .unwrap()
        .spec
        .unwrap();
    assert_eq!(pv.volume_mode.as_deref(), Some("Block"));
    assert_eq!(pv.csi.unwrap().fs_type, None);
}

#[test]
fn of_a_node_that_cannot_tell_nothing_is_adopted_and_the_way_out_is_said() {
    let blind = |strays: &[Value]| {
        let said = json!({"strays": strays, "unknown": "set node.lvmdEmbedded: true"});
        let mut seen = cluster(&[]);
        let annotations = seen.nodes[0].metadata.annotations.as_mut().unwrap();
        annotations.insert("basalt.storage/strays".into(), said.to_string());
        seen
    };
    let error = judge(&blind(&[]), &[], &wish(None)).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("node n1 cannot tell") && words.contains("node.lvmdEmbedded: true"),
        "{words}"
    );
    let mut elsewhere = wish(None);
    elsewhere.node = Some("n2".into());
    let error = judge(&blind(&[]), &[], &elsewhere).unwrap_err();
    assert!(!error.to_string().contains("n1"), "{error}");
    let known = blind(&[tagged("a")]);
    refused(&known, &[], &wish(None), "node.lvmdEmbedded: true");
    refused(&known, &[], &wish(Some("a")), "cannot tell now");
}

#[test]
fn what_is_in_doubt_is_refused() {
    let all = wish(None);
    let odd = |tags: &[&str], change| cluster(&[stray("a", tags, change)]);
    let tag = "basalt.lv=pvc-a";
    refused(&odd(&[tag], json!({"whole": false})), &[], &all, "snapshot");
    refused(
        &odd(&["basalt.kind=snapshot"], json!({})),
        &[],
        &all,
        "no tag says that it is a snapshot",
    );
    refused(&odd(&[tag], json!({"sizeBytes": 0})), &[], &all, "size");
    let mut other = wish(None);
    other.fs_type = Some("ext4");
    refused(&cluster(&[tagged("a")]), &[], &other, "its tag says xfs");
    // Two of one claim: an old one that was kept, and the one that followed it.
    let mut twin = tagged("a");
    twin["lv"] = json!("c");
    let rows = judge(&cluster(&[tagged("a"), twin]), &[], &all).unwrap();
    assert!(
        rows.iter().all(Adoption::is_refused) && rows.len() == 2,
        "{rows:?}"
    );
    let mut seen = cluster(&[tagged("a")]);
    seen.classes.push(object(
        json!({"metadata": {"name": "same"}, "provisioner": "topolvm.io",
        "parameters": {"csi.storage.k8s.io/fstype": "xfs"}}),
    ));
    refused(
        &seen,
        &[],
        &all,
        "StorageClasses fast, same make such volumes",
    );
    let mut named = wish(None);
    named.storage_class = Some("same".into());
    assert!(one(&seen, &[], &named).plan.is_some());
    named.storage_class = Some("none".into());
    refused(&seen, &[], &named, "there is no StorageClass none");
}

#[test]
fn a_claim_that_is_there_already_has_to_fit() {
    let (seen, all) = (cluster(&[tagged("a")]), wish(None));
    let plan = one(&seen, &[claim(Value::Null)], &all).plan.unwrap();
    let spec = plan.persistent.unwrap().spec.unwrap();
    assert_eq!(spec.access_modes, Some(vec!["ReadWriteOncePod".to_owned()]));
    for (change, why) in [
        (
            json!({"volumeName": "pvc-new"}),
            "has PersistentVolume pvc-new",
        ),
        (json!({"volumeMode": "Block"}), "is for Block"),
        (
            json!({"resources": {"requests": {"storage": "2Gi"}}}),
            "which is more",
        ),
        (json!({"storageClassName": "gone"}), "no StorageClass gone"),
    ] {
        refused(&seen, &[claim(change)], &all, why);
    }
}

#[test]
fn a_lost_claim_gets_its_volume_back() {
    let (seen, all) = (cluster(&[tagged("a")]), wish(None));
    let uid = |claim: PersistentVolumeClaim| {
        let plan = one(&seen, &[claim], &all).plan.unwrap();
        plan.persistent
            .unwrap()
            .spec
            .unwrap()
            .claim_ref
            .unwrap()
            .uid
    };
    let lost = claim(json!({"volumeName": "pvc-a"}));
    assert_eq!(uid(lost).as_deref(), Some("its-own"));
    assert_eq!(uid(claim(Value::Null)), None, "it never had one");
}

fn volume(name: &str, change: Value) -> LogicalVolume {
    let mut json = json!({"apiVersion": "topolvm.io/v1", "kind": "LogicalVolume",
        "metadata": {"name": name, "uid": "u"},
        "spec": {"name": name, "nodeName": "n1", "size": "1Gi", "deviceClass": "thin"}});
    let change = change.as_object().cloned().unwrap_or_default();
    json.as_object_mut().unwrap().extend(change);
    object(json)
}

#[test]
fn what_another_object_has_is_never_taken() {
    let mut seen = cluster(&[tagged("a")]);
    seen.volumes = vec![volume("pvc-a", json!({"status": {"volumeID": "other"}}))];
    refused(&seen, &[], &wish(None), "LogicalVolume pvc-a is there");
    // Named since the node looked, on whatever node.
    seen.volumes = vec![volume("x", json!({"status": {"volumeID": "a"}}))];
    assert!(judge(&seen, &[], &wish(None)).is_err());
    let persistent = |name: &str, lv: &str, claim: &str| {
        object(json!({"metadata": {"name": name}, "spec": {
            "claimRef": {"namespace": "ns", "name": claim},
            "csi": {"driver": "topolvm.io", "volumeHandle": lv}}}))
    };
    seen.volumes = vec![];
    seen.persistent = vec![persistent("pvc-a", "other", "other")];
    refused(&seen, &[], &wish(None), "PersistentVolume pvc-a is there");
    seen.persistent = vec![persistent("pvc-new", "other", "a")];
    refused(
        &seen,
        &[],
        &wish(None),
        "PersistentVolume pvc-new is for this claim",
    );
    // One that outlived its LogicalVolume is its own.
    seen.persistent = vec![persistent("pvc-a", "a", "a")];
    let plan = one(&seen, &[], &wish(None)).plan.unwrap();
    assert_eq!(plan.persistent, None);
}

#[test]
fn a_persistent_volume_that_outlived_its_volume_is_taken_only_where_that_deletes_nothing() {
    let mut seen = cluster(&[tagged("a")]);
    let mut with = |change: Value| {
        let mut json = json!({"metadata": {"name": "pvc-a"}, "status": {"phase": "Bound"}, "spec": {
            "claimRef": {"namespace": "ns", "name": "a"},
            "csi": {"driver": "topolvm.io", "volumeHandle": "a"}}});
        for (part, fields) in change.as_object().unwrap() {
            let fields = fields.as_object().unwrap().clone();
            json[part].as_object_mut().unwrap().extend(fields);
        }
        seen.persistent = vec![object(json)];
        judge(&seen, &[], &wish(None)).map(|rows| rows[0].result.clone())
    };
    let is = |node: &str| {
        json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.topolvm.io/node", "operator": "In", "values": [node]}]}]}}})
    };
    let delete = json!({"persistentVolumeReclaimPolicy": "Delete"});
    let mut said = |change: Value| format!("{:?}", with(change));
    assert!(!said(json!({"spec": is("n1")})).contains("PersistentVolume"));
    assert!(
        !said(json!({"spec": delete})).contains("Retain"),
        "a pod may use it"
    );
    let released = json!({"phase": "Released"});
    assert!(said(json!({"spec": delete, "status": released})).contains("Retain"));
    assert!(!said(json!({"status": released})).contains("Retain"));
    assert!(said(json!({"spec": is("n2")})).contains("is for node n2"));
    let leaving = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert!(said(json!({"metadata": leaving})).contains("is being deleted"));
}

#[test]
fn what_was_cut_off_goes_on_and_what_is_done_is_said() {
    let mut seen = cluster(&[tagged("a")]);
    let begun = one(&seen, &[], &wish(None)).plan.unwrap();
    seen.volumes = vec![begun.volume.clone()];
    seen.persistent = vec![begun.persistent.clone().unwrap()];
    let plan = one(&seen, &[], &wish(None)).plan.unwrap();
    assert_eq!((plan.made, plan.persistent), (begun.made, None));
    // All is done but the last step.
    seen.volumes[0].status = object(json!({"volumeID": "a", "currentSize": "1Gi"}));
    assert!(one(&seen, &[], &wish(None)).plan.is_some());
    let annotations = seen.volumes[0].metadata.annotations.as_mut().unwrap();
    annotations.remove(names::ANNOTATION_PENDING_DELETION);
    let row = one(&seen, &[], &wish(None));
    assert_eq!(
        (row.result.as_str(), row.is_refused()),
        ("was adopted before", false)
    );
}

#[test]
fn the_group_has_to_be_the_one_and_the_node_too() {
    let mut seen = cluster(&[tagged("a")]);
    let says = |seen: &Seen, wish: &Wish, why: &str| {
        let error = judge(seen, &[], wish).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let mut other = wish(None);
    other.vg_uuid = "other".into();
    says(&seen, &other, "there are some in vgvgvg-1 (vg on n1)");
    let mut yes = wish(None);
    yes.yes = true;
    says(&seen, &yes, "--lv NAME, or --all");
    let mut elsewhere = wish(None);
    elsewhere.node = Some("n2".into());
    says(&seen, &elsewhere, "not node n2 reports");
    let mut copy = seen.nodes[0].clone();
    copy.metadata.name = Some("n2".into());
    seen.nodes.push(copy);
    says(&seen, &wish(None), "one is a copy");
    assert_eq!(one(&seen, &[], &elsewhere).node, "n2");
}

#[test]
fn of_lvs_with_one_name_one_is_adopted_only_when_a_person_says_which() {
    let mut seen = cluster(&[tagged("a"), tagged("b")]);
    let mut copy = cluster(&[stray("a", &[], json!({"vgUuid": "other-1"}))]).nodes;
    copy[0].metadata.name = Some("n2".into());
    seen.nodes.extend(copy);
    let both = [
        "vg (vgvgvg-1) of node n1",
        "vg (other-1) of node n2",
        "--node and --lv",
    ];
    let rows = judge(&seen, &[], &wish(None)).unwrap();
    for part in both {
        assert!(
            rows[0].is_refused() && rows[0].result.contains(part),
            "{rows:?}"
        );
        refused(&seen, &[], &wish(Some("a")), part);
    }
    assert!(rows[1].plan.is_some(), "{rows:?}");
    let mut told = wish(Some("a"));
    told.node = Some("n1".into());
    assert!(one(&seen, &[], &told).plan.is_some());
    // What has its object is told of by name.
    seen.volumes = vec![volume("pvc-a", json!({"status": {"volumeID": "a"}}))];
    let error = judge(&seen, &[], &told).unwrap_err().to_string();
    assert!(error.contains("LogicalVolume pvc-a names"), "{error}");

    // Where both are on one node nothing tells them apart later.
    let twins = cluster(&[tagged("a"), stray("a", &[], json!({"vgUuid": "other-1"}))]);
    refused(&twins, &[], &told, "lvrename");
}

/// A snapshot as our node makes it.
fn taken(lv: &str, more: &[&str]) -> Value {
    let name = format!("basalt.lv=snapshot-{lv}");
    let tags = [&[name.as_str(), "basalt.kind=snapshot"], more].concat();
    stray(lv, &tags, json!({"whole": false}))
}

#[test]
fn a_snapshot_gets_its_content_back() {
    let seen = cluster(&[taken(
        "s",
        &["basalt.snapshot=ns/before", "basalt.source=volume/id-0"],
    )]);
    let row = one(&seen, &[], &wish(None));
    assert_eq!(
        (row.claim.as_str(), row.content.as_str(), row.name.as_str()),
        ("ns/before", "snapshot", "snapshot-s")
    );
    let plan = row.plan.unwrap();
    assert!(plan.volume.is_given_up() && plan.volume.is_snapshot() && plan.persistent.is_none());
    assert_eq!(plan.volume.spec.source, "id-0", "its source is gone");
    assert_eq!(
        plan.volume.annotations()["basalt.storage/source"],
        "volume/id-0"
    );
    let content = serde_json::to_value(plan.content.unwrap()).unwrap();
    assert_eq!(content["metadata"]["name"], "snapcontent-s");
    assert_eq!(
        content["spec"],
        json!({"deletionPolicy": "Retain", "driver": "topolvm.io", "source": {"snapshotHandle": "s"},
            "volumeSnapshotRef": {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "namespace": "ns", "name": "before"}})
    );
    // One that was made before snapshots had such a tag.
    let seen = cluster(&[taken("s", &[])]);
    refused(&seen, &[], &wish(None), "--lv with --snapshot");
    let mut told = wish(Some("s"));
    told.snapshot = Some(("ns".into(), "mine".into()));
    let row = one(&seen, &[], &told);
    assert_eq!(row.claim, "ns/mine");
    assert_eq!(row.plan.unwrap().volume.spec.source, "");
}

#[test]
fn a_snapshot_in_doubt_is_refused() {
    let tag = "basalt.snapshot=ns/before";
    let mut seen = cluster(&[taken("s", &[tag])]);
    let mut claimed = wish(Some("s"));
    claimed.claim = Some(("ns".into(), "a".into()));
    refused(&seen, &[], &claimed, "--snapshot NAMESPACE/NAME");
    let mut volume = wish(Some("a"));
    volume.snapshot = Some(("ns".into(), "before".into()));
    refused(&cluster(&[tagged("a")]), &[], &volume, "it is a volume");
    let content = |handle: &str, of: &str| {
        object(
            json!({"metadata": {"name": "c"}, "spec": {"source": {"snapshotHandle": handle},
            "volumeSnapshotRef": {"namespace": "ns", "name": of}}}),
        )
    };
    seen.snapshots = vec![content("other", "before")];
    refused(&seen, &[], &wish(None), "VolumeSnapshotContent c is for");
    // Its own content outlived the LogicalVolume.
    seen.snapshots = vec![content("s", "before")];
    let plan = one(&seen, &[], &wish(None)).plan.unwrap();
    assert_eq!((plan.persistent, plan.content), (None, None));
    let two = cluster(&[taken("s", &[tag]), taken("t", &[tag])]);
    let rows = judge(&two, &[], &wish(None)).unwrap();
    assert!(rows.iter().all(Adoption::is_refused), "{rows:?}");
    // A claim and a VolumeSnapshot of one name are two things.
    let both = cluster(&[taken("s", &["basalt.snapshot=ns/a"]), tagged("a")]);
    let rows = judge(&both, &[], &wish(None)).unwrap();
    assert!(!rows.iter().any(Adoption::is_refused), "{rows:?}");
}
