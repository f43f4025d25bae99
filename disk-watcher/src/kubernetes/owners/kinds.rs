//! The fields of each kind by which disks are given to it.

use serde_json::Value;

use super::{Here, Owner, address, affinity, device, each, texts, wanted};
use crate::native::What;

pub(super) fn read(owner: &Owner, name: &str, data: &Value, here: &Here<'_>) -> Vec<What> {
    let spec = &data["spec"];
    match owner.kind {
        "PersistentVolume" => local_volume(spec, here),
        "CephCluster" => ceph_cluster(spec, here),
        "BlockDevice" => block_device(spec, &data["status"], here),
        "DiskPool" if spec["node"].as_str().is_none_or(|node| here.is(node)) => {
            texts(&spec["disks"])
                .iter()
                .map(|disk| address(disk))
                .collect()
        }
        "LinstorSatelliteConfiguration" if satellites(spec, here) => storage_pools(spec),
        "LinstorSatellite" if here.is(name) => storage_pools(spec),
        // Longhorn's Node.
        "Node" if here.is(name) => longhorn(spec),
        _ => Vec::new(),
    }
}

/// A local volume is where its path is; a folder of a disk that is mounted is another rule's.
fn local_volume(spec: &Value, here: &Here<'_>) -> Vec<What> {
    let path = spec["local"]["path"].as_str();
    let is_here = affinity::may_hold(&spec["nodeAffinity"]["required"], here);
    path.filter(|_| is_here)
        .map(|path| What::Device(path.to_owned()))
        .into_iter()
        .collect()
}

/// Rook: what stands at a node goes before what stands at the cluster, and devices before filters before all.
fn ceph_cluster(spec: &Value, here: &Here<'_>) -> Vec<What> {
    let storage = &spec["storage"];
    let mut claims = Vec::new();
    if storage["useAllNodes"] == true && may_be_placed(&spec["placement"], here) {
        claims.extend(selection(storage, &Value::Null));
    }
    for node in each(&storage["nodes"]) {
        if node["name"].as_str().is_some_and(|name| here.is(name)) {
            claims.extend(selection(node, storage));
        }
    }
    claims
}

/// Whether OSDs may run here. How its placements are put together has changed, so one that may hold is enough.
fn may_be_placed(placement: &Value, here: &Here<'_>) -> bool {
    let required = |of: &str| {
        let affinity = &placement[of]["nodeAffinity"];
        &affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    };
    let given: Vec<_> = ["all", "osd"]
        .map(required)
        .into_iter()
        .filter(|a| a.is_object())
        .collect();
    given.is_empty()
        || given
            .iter()
            .any(|affinity| affinity::may_hold(affinity, here))
}

fn selection(own: &Value, above: &Value) -> Vec<What> {
    let text = |key: &str| {
        let given = |of: &Value| {
            of[key]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        given(own).or_else(|| given(above))
    };
    let mut claims = Vec::new();
    let devices = match each(&own["devices"]) {
        devices if devices.is_empty() => each(&above["devices"]),
        devices => devices,
    };
    let configs = devices.iter().map(|device| &device["config"]);
    for config in configs.chain([&own["config"], &above["config"]]) {
        claims.extend(config["metadataDevice"].as_str().map(device));
    }
    let all = match &own["useAllDevices"] {
        Value::Null => &above["useAllDevices"],
        given => given,
    };
    if !devices.is_empty() {
        for one in devices {
            let names = ["fullpath", "name"].map(|key| one[key].as_str());
            claims.extend(
                names
                    .into_iter()
                    .flatten()
                    .filter(|name| !name.is_empty())
                    .map(device),
            );
        }
    } else if let Some(pattern) = text("deviceFilter") {
        claims.push(What::Names(pattern));
    } else if let Some(pattern) = text("devicePathFilter") {
        claims.push(What::Paths(pattern));
    } else if all == true {
        claims.push(What::Any);
    }
    claims
}

/// OpenEBS shows every disk in such an object; those that somebody claimed are taken.
fn block_device(spec: &Value, status: &Value, here: &Here<'_>) -> Vec<What> {
    let claimed = !matches!(status["claimState"].as_str(), None | Some("" | "Unclaimed"));
    let node = spec["nodeAttributes"]["nodeName"].as_str();
    if !claimed || node.is_some_and(|node| !here.is(node)) {
        return Vec::new();
    }
    let links = each(&spec["devlinks"]);
    let links = links.into_iter().flat_map(|kind| texts(&kind["links"]));
    let path = spec["path"].as_str().map(str::to_owned);
    let all: Vec<String> = path.into_iter().chain(links).collect();
    // Some versions write two links into one text.
    let all = all.iter().flat_map(|paths| paths.split_whitespace());
    all.map(device).collect()
}

/// Whether a configuration is for the satellite here.
fn satellites(spec: &Value, here: &Here<'_>) -> bool {
    let labels = |(key, value): (&str, &str)| here.labels.get(key).is_some_and(|is| is == value);
    wanted(&spec["nodeSelector"]).into_iter().all(labels)
        && affinity::may_hold(&spec["nodeAffinity"], here)
}

fn storage_pools(spec: &Value) -> Vec<What> {
    let pools = each(&spec["storagePools"]);
    let devices = pools
        .into_iter()
        .flat_map(|pool| texts(&pool["source"]["hostDevices"]));
    devices.map(|path| device(&path)).collect()
}

fn longhorn(spec: &Value) -> Vec<What> {
    let disks = each(&spec["disks"]).into_iter();
    let path = |disk: &Value| {
        Some(address(
            disk["path"].as_str().filter(|path| !path.is_empty())?,
        ))
    };
    disks.filter_map(path).collect()
}
