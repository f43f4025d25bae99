//! `import-legacy`: volumes of TopoLVM's older group and driver, `topolvm.cybozu.com`, get objects of this driver.
//!
//! Neither a PersistentVolume's driver nor a claim's PersistentVolume can be changed, so nothing old is: as for lost objects
//! ([`super::adopt`]), an LV that our node reports gets a LogicalVolume and a PersistentVolume beside the old ones. What
//! these say takes the place of what a person says there. The old objects stay; only their PersistentVolume becomes Retain.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use lvmd::names::{DRIVER, PARAM_CLASS};
use lvmd::units::Bytes;

use super::adopt::{self, Plan};
use super::cluster::Seen;
use super::cluster::legacy::{LEGACY, Legacy};
use super::strays::{self, Reported};
use super::table::size;
use super::why::{Finding, Verdict};
use crate::capability::BLOCK;
use crate::kubernetes::logical_volume::LogicalVolume;

/// What a person asks for.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wish {
    /// Only this LogicalVolume of the old group
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// The StorageClass of the PersistentVolumes, where it cannot be told
    #[arg(long, value_name = "NAME")]
    pub storage_class: Option<String>,
    /// Make the objects; without it they are only shown
    #[arg(long)]
    pub yes: bool,
}

/// A volume, and what is to become of it.
#[derive(Debug)]
pub struct Import {
    /// In words.
    pub finding: Finding,
    /// Its old PersistentVolume, which is to be kept, and the new objects, where nothing is against it.
    pub plan: Option<(PersistentVolume, Plan)>,
}

impl Import {
    /// How it went.
    pub fn told(&self, done: anyhow::Result<()>) -> Finding {
        let (verdict, text) = match done {
            Ok(()) => (Verdict::Ok, format!("imported: {}", self.finding.text)),
            Err(error) => (Verdict::Problem, format!("not done, ask again: {error:#}")),
        };
        Finding::new(&self.finding.what, verdict, text)
    }
}

/// What becomes of the volumes of the old group.
///
/// # Errors
/// What a node reports cannot be read; there is no such volume.
pub fn judge(
    seen: &Seen,
    claims: &[PersistentVolumeClaim],
    legacy: &Legacy,
    wish: &Wish,
) -> anyhow::Result<Vec<Import>> {
    let reported = strays::of(seen)?;
    let mut wanted: Vec<&LogicalVolume> = legacy.volumes.iter().collect();
    if let Some(name) = &wish.volume {
        wanted.retain(|volume| volume.name_any() == *name);
        anyhow::ensure!(
            !wanted.is_empty(),
            "there is no LogicalVolume {name} of {LEGACY}"
        );
    }
    let one = |volume: &LogicalVolume| {
        let what = format!("volume {} on {}", volume.name_any(), volume.spec.node_name);
        let imported = volume.volume_id().and_then(|id| strays::namer(seen, id));
        if let Some(there) = imported {
            let text = format!("was imported before: LogicalVolume {}", there.name_any());
            return Import {
                finding: Finding::new(what, Verdict::Ok, text),
                plan: None,
            };
        }
        match plan(seen, claims, legacy, &reported, volume, wish) {
            Ok((old, plan)) => Import {
                finding: Finding::new(what, Verdict::Waits, words(&plan)),
                plan: Some((old, plan)),
            },
            Err(why) => Import {
                finding: Finding::new(what, Verdict::Problem, format!("refused: {why}")),
                plan: None,
            },
        }
    };
    Ok(wanted.into_iter().map(one).collect())
}

/// What would be made.
fn words(plan: &Plan) -> String {
    let (lv, bytes) = &plan.made;
    let spec = plan.persistent.as_ref().and_then(|pv| pv.spec.as_ref());
    let claim = spec.and_then(|spec| spec.claim_ref.as_ref());
    let claim = claim.map(|claim| {
        let (namespace, name) = (claim.namespace.as_deref(), claim.name.as_deref());
        format!(
            ", for {}/{}",
            namespace.unwrap_or_default(),
            name.unwrap_or_default()
        )
    });
    format!(
        "LV {lv} of {} gets LogicalVolume and PersistentVolume {}{}",
        size(Bytes(bytes.0)),
        plan.volume.name_any(),
        claim.unwrap_or_default()
    )
}

fn plan(
    seen: &Seen,
    claims: &[PersistentVolumeClaim],
    legacy: &Legacy,
    reported: &Reported,
    volume: &LogicalVolume,
    wish: &Wish,
) -> Result<(PersistentVolume, Plan), String> {
    let node = &volume.spec.node_name;
    let id = volume.volume_id().ok_or("its LV was never made")?;
    if volume.is_leaving() {
        return Err("it is being deleted".to_owned());
    }
    let mut drivers = seen.csi_nodes.iter().filter(|csi| csi.name_any() == *node);
    if drivers.any(|csi| csi.spec.drivers.iter().any(|driver| driver.name == LEGACY)) {
        return Err(format!(
            "the driver {LEGACY} runs on its node, and would remove the LV with its object: end its pods first, and not by helm \
             uninstall, which deletes the CRD"
        ));
    }
    let here = |found: &&strays::Found| found.node == *node && found.stray.lv == id;
    let found = reported.found.iter().find(here).ok_or_else(|| {
        reported.blind(Some(node)).unwrap_or_else(|| {
            format!(
                "node {node} reports no LV {id}: does this driver run there, with a device class over its group? It looks once a minute"
            )
        })
    })?;
    found.is_told()?;
    let old = legacy.persistent_of(id).ok_or_else(|| {
        format!(
            "no PersistentVolume refers to it: kubectl topolvm adopt --vg-uuid {} --lv {id}",
            found.stray.vg_uuid
        )
    })?;
    let spec = old.spec.clone().unwrap_or_default();
    let claim = spec.claim_ref.as_ref();
    let claim = claim.and_then(|claim| claim.namespace.clone().zip(claim.name.clone()));
    let fs_type = match spec.volume_mode.as_deref() {
        Some("Block") => BLOCK,
        _ => {
            let kind = spec.csi.and_then(|csi| csi.fs_type).unwrap_or_default();
            adopt::content(&kind).map_err(|_| {
                format!(
                    "its PersistentVolume does not say what is on it: kubectl topolvm adopt --vg-uuid {} --lv {id} --fs-type",
                    found.stray.vg_uuid
                )
            })?
        }
    };
    let ours = |name: &String| {
        let mut all = seen.classes.iter();
        all.any(|class| class.name_any() == *name && class.provisioner == DRIVER)
    };
    let wish = adopt::Wish {
        vg_uuid: found.stray.vg_uuid.clone(),
        node: Some(node.clone()),
        lv: Some(id.to_owned()),
        claim: Some(claim.ok_or("its PersistentVolume is for no claim: adopt it")?),
        fs_type: Some(fs_type),
        storage_class: wish
            .storage_class
            .clone()
            .or(spec.storage_class_name.filter(ours)),
        ..adopt::Wish::default()
    };
    adopt::one_of_its_name(reported, found, &wish)?;
    // The claim that has the old one is made anew, with the same name.
    let others: Vec<PersistentVolumeClaim> = claims
        .iter()
        .filter(|claim| {
            claim
                .spec
                .as_ref()
                .and_then(|spec| spec.volume_name.clone())
                != Some(old.name_any())
        })
        .cloned()
        .collect();
    let mut plan = adopt::plan(seen, &others, found, &wish)?;
    if let Some(new) = plan.persistent.as_mut().and_then(|pv| pv.spec.as_mut()) {
        new.access_modes = spec.access_modes;
        new.mount_options = spec.mount_options;
    }
    Ok((old.clone(), plan))
}

/// What of the old driver is left for a person to change.
pub fn rest(seen: &Seen) -> Vec<Finding> {
    let classes = seen
        .classes
        .iter()
        .filter(|class| class.provisioner == LEGACY);
    let classes = classes.map(|class| {
        let key = format!("{LEGACY}/device-class");
        let wanted = class.parameters.as_ref().and_then(|all| all.get(&key));
        let wanted = wanted.map_or("no device class named".to_owned(), |wanted| format!("{PARAM_CLASS}: {wanted}"));
        Finding::new(
            format!("storage class {}", class.name_any()),
            Verdict::Waits,
            format!("its provisioner cannot be changed: delete it, which touches no volume, and have the chart make one of its name ({wanted})"),
        )
    });
    let finalizer = format!("{LEGACY}/node");
    let nodes = seen
        .nodes
        .iter()
        .filter(|node| node.finalizers().contains(&finalizer));
    let nodes = nodes.map(|node| {
        Finding::new(
            format!("node {}", node.name_any()),
            Verdict::Waits,
            format!("has the finalizer {finalizer}: nobody takes it away when the Node is deleted; kubectl edit node"),
        )
    });
    classes.chain(nodes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    /// A cluster whose node reports the LV `id-1`, open or not, and the old objects of it.
    fn cluster(open: bool) -> (Seen, Legacy) {
        let stray = json!({"vg": "vg", "vgUuid": "group", "lv": "id-1", "classes": ["ssd"],
            "sizeBytes": 1u64 << 30, "whole": true, "open": open, "tags": []});
        let strays = json!({"strays": [stray]}).to_string();
        let seen = Seen {
            nodes: vec![object(
                json!({"metadata": {"name": "n1", "annotations": {"basalt.storage/strays": strays},
                "finalizers": ["topolvm.cybozu.com/node"]}}),
            )],
            classes: vec![
                object(
                    json!({"metadata": {"name": "fast"}, "provisioner": "topolvm.io",
                    "parameters": {"topolvm.io/device-class": "ssd", "csi.storage.k8s.io/fstype": "xfs"}}),
                ),
                object(
                    json!({"metadata": {"name": "old"}, "provisioner": "topolvm.cybozu.com",
                    "parameters": {"topolvm.cybozu.com/device-class": "ssd"}}),
                ),
            ],
            ..Seen::default()
        };
        let legacy = Legacy {
            volumes: vec![object(
                json!({"apiVersion": "topolvm.cybozu.com/v1", "kind": "LogicalVolume", "metadata": {"name": "pvc-1"},
                "spec": {"name": "pvc-1", "nodeName": "n1", "size": "1Gi", "deviceClass": "ssd"},
                "status": {"volumeID": "id-1"}}),
            )],
            persistent: vec![object(json!({"metadata": {"name": "pvc-1"}, "spec": {
                "accessModes": ["ReadWriteOncePod"], "mountOptions": ["noatime"], "storageClassName": "old",
                "claimRef": {"namespace": "ns", "name": "data", "uid": "u"},
                "csi": {"driver": "topolvm.cybozu.com", "volumeHandle": "id-1", "fsType": "xfs"}}}))],
        };
        (seen, legacy)
    }

    fn claims() -> Vec<PersistentVolumeClaim> {
        vec![object(
            json!({"metadata": {"name": "data", "namespace": "ns"},
            "spec": {"volumeName": "pvc-1", "storageClassName": "old"}}),
        )]
    }

    fn judged(seen: &Seen, legacy: &Legacy) -> Import {
        let mut all = judge(seen, &claims(), legacy, &Wish::default()).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_volume_gets_objects_beside_the_old_ones() {
        let (seen, legacy) = cluster(false);
        let (old, plan) = judged(&seen, &legacy).plan.unwrap();
        assert_eq!(old.name_any(), "pvc-1");
        assert_eq!(plan.made.0, "id-1");
        assert_eq!(plan.volume.name_any(), "adopted-id-1");
        assert!(plan.volume.is_given_up(), "no node makes an LV for it");
        let spec = plan.persistent.unwrap().spec.unwrap();
        assert_eq!(
            spec.persistent_volume_reclaim_policy.as_deref(),
            Some("Retain")
        );
        assert_eq!(spec.access_modes.unwrap(), ["ReadWriteOncePod"]);
        assert_eq!(spec.mount_options.unwrap(), ["noatime"]);
        assert_eq!(
            spec.storage_class_name.as_deref(),
            Some("fast"),
            "the only one that makes such volumes"
        );
        let claim = spec.claim_ref.unwrap();
        assert_eq!(
            (claim.name.as_deref(), claim.uid),
            (Some("data"), None),
            "the claim is made anew"
        );
        let csi = spec.csi.unwrap();
        assert_eq!(
            (csi.driver.as_str(), csi.fs_type.as_deref()),
            ("topolvm.io", Some("xfs"))
        );
    }

    #[test]
    fn whatever_is_in_doubt_is_refused() {
        let refused = |seen: &Seen, legacy: &Legacy, words: &str| {
            let import = judged(seen, legacy);
            assert!(
                import.plan.is_none() && import.finding.is_problem(),
                "{import:?}"
            );
            assert!(import.finding.text.contains(words), "{import:?}");
        };
        let (seen, legacy) = cluster(true);
        refused(&seen, &legacy, "has it open");
        let (mut seen, legacy) = cluster(false);
        seen.csi_nodes = vec![object(
            json!({"metadata": {"name": "n1"}, "spec": {"drivers": [
            {"name": "topolvm.cybozu.com", "nodeID": "n1"}]}}),
        )];
        refused(&seen, &legacy, "not by helm uninstall");
        let (mut seen, legacy) = cluster(false);
        seen.nodes[0].metadata.annotations = None;
        refused(&seen, &legacy, "does this driver run there");
        let blind = |strays: &Value| {
            let (mut seen, legacy) = cluster(false);
            let said = json!({"strays": strays, "unknown": "set node.lvmdEmbedded: true"});
            let annotations = seen.nodes[0].metadata.annotations.as_mut().unwrap();
            annotations.insert("basalt.storage/strays".into(), said.to_string());
            refused(&seen, &legacy, "node.lvmdEmbedded: true");
        };
        blind(&json!([]));
        let (seen, _) = cluster(false);
        let text = &seen.nodes[0].metadata.annotations.as_ref().unwrap()["basalt.storage/strays"];
        let said: Value = serde_json::from_str(text).unwrap();
        blind(&said["strays"]);
        let (seen, mut legacy) = cluster(false);
        legacy.persistent.clear();
        refused(&seen, &legacy, "adopt --vg-uuid group --lv id-1");
        let (seen, mut legacy) = cluster(false);
        legacy.persistent[0]
            .spec
            .as_mut()
            .unwrap()
            .csi
            .as_mut()
            .unwrap()
            .fs_type = None;
        refused(&seen, &legacy, "--fs-type");
        let (seen, mut legacy) = cluster(false);
        legacy.volumes[0].status = None;
        refused(&seen, &legacy, "never made");
    }

    #[test]
    fn what_was_imported_is_left_alone() {
        let (mut seen, legacy) = cluster(false);
        seen.volumes = vec![object(json!({"metadata": {"name": "new"},
            "spec": {"name": "new", "nodeName": "n1", "size": "1Gi"}, "status": {"volumeID": "id-1"}}))];
        let import = judged(&seen, &legacy);
        assert!(
            import.plan.is_none() && import.finding.text.contains("before"),
            "{import:?}"
        );
    }

    #[test]
    fn classes_and_finalizers_of_the_old_driver_are_told() {
        let told = rest(&cluster(false).0);
        let whats: Vec<&str> = told.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(whats, ["storage class old", "node n1"]);
        assert!(
            told[0].text.contains("topolvm.io/device-class: ssd"),
            "{told:?}"
        );
    }
}
