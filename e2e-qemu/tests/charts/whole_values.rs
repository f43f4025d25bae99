//! The whole values of each release of TopoLVM's chart that is to be had: our chart takes them, and each key does in the
//! objects what it does in theirs, or stands in the table of docs/charts-values.md.

mod documented;
mod marks;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use e2e_qemu::cluster::upstream;
use serde_json::{Value, json};

use self::documented::Table;
use self::marks::{Path, leaves, put, read};
use self::places::{Places, places};
use crate::helm::{Objects, theirs, topolvm, workspace};

/// The modules of the releases: 15.5.2 and 16.0.1. Those of 15.4 and 17.1 are not to be had.
const RELEASES: [&str; 2] = ["v0.36.3", "v0.41.0"];
/// Containers that ours has none of.
const NONE_OF_OURS: [&str; 2] = ["csi-registrar", "liveness-probe"];
/// What such a container mounts, and in ours who does its work.
const OF_THE_REGISTRAR: &str = "volumeMounts registration-dir";

/// A release of TopoLVM's chart.
struct Release {
    chart: PathBuf,
    values: Value,
    _copy: tempfile::TempDir,
}

impl Release {
    fn of(version: &str) -> Self {
        let module = format!("github.com/topolvm/topolvm@{version}");
        let module = upstream::module(workspace(), &module).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let chart = upstream::chart_of(&module, &copy.path().join("chart")).unwrap();
        let text = std::fs::read_to_string(chart.join("values.yaml")).unwrap();
        Self {
            chart,
            values: serde_saphyr::from_str(&text).unwrap(),
            _copy: copy,
        }
    }

    /// Its values, with each optional piece on, as far as they go together.
    fn everything_on(&self) -> Value {
        let mut values = self.values.clone();
        for key in [
            "scheduler.enabled",
            "webhook.podMutatingWebhook.enabled",
            "controller.prometheus.podMonitor.enabled",
            "lvmd.prometheus.podMonitor.enabled",
            "node.prometheus.podMonitor.enabled",
        ] {
            put(&mut values, &Path::of(key), json!(true));
        }
        put(
            &mut values,
            &Path::of("scheduler.type"),
            json!("deployment"),
        );
        values
    }

    fn theirs(&self, values: &Value) -> Objects {
        let mut objects = theirs(&self.chart, &values.to_string()).objects();
        for object in &mut objects.0 {
            let containers = &mut object["spec"]["template"]["spec"]["containers"];
            if let Some(containers) = containers.as_array_mut() {
                containers.retain(|c| !NONE_OF_OURS.contains(&c["name"].as_str().unwrap()));
            }
        }
        objects
    }
}

/// What ours refuses of TopoLVM's defaults, since the programs are others. The table says so.
fn with_our_images(values: &Value) -> Value {
    let mut values = values.clone();
    let images = [
        ("image.repository", "basalt"),
        ("image.csi.csiProvisioner", "provisioner"),
        ("image.csi.csiResizer", "resizer"),
        ("image.csi.csiSnapshotter", "snapshotter"),
    ];
    for (key, image) in images {
        put(&mut values, &Path::of(key), json!(image));
    }
    values
}

#[test]
fn the_whole_values_of_topolvms_chart_are_taken_but_for_its_images() {
    for version in RELEASES {
        let release = Release::of(version);
        let refused = topolvm(&release.values.to_string()).refusal();
        assert!(refused.contains("image.repository="), "{refused}");
        let mut values = with_our_images(&release.values);
        let objects = topolvm(&values.to_string()).objects();
        // As theirs does: lvmd in a DaemonSet of its own.
        objects.one("DaemonSet", "topolvm-lvmd-0");
        put(&mut values, &Path::of("lvmd.deviceClases"), json!([]));
        let refused = topolvm(&values.to_string()).refusal();
        assert!(refused.contains("deviceClases"), "{refused}");
    }
}

/// What a chart makes of each key that takes a value of one's own: where the value is found again.
fn found(release: &Release, values: &Value, marks: &BTreeMap<Path, String>) -> [Places; 2] {
    let objects = [
        release.theirs(values),
        topolvm(&values.to_string()).objects(),
    ];
    objects.map(|objects| places(&objects.0, marks))
}

/// Fails with what differs and does not stand in the table.
fn all_is_said(unsaid: BTreeSet<String>) {
    let lines: Vec<_> = unsaid.into_iter().collect();
    assert!(lines.is_empty(), "not in the table:\n{}", lines.join("\n"));
}

#[test]
fn each_value_is_found_again_where_topolvms_chart_puts_it_or_the_docs_say_otherwise() {
    let table = Table::read();
    let mut unsaid = BTreeSet::new();
    for version in RELEASES {
        let release = Release::of(version);
        let mut values = with_our_images(&release.everything_on());
        // With it theirs writes `env` twice as soon as somebody adds a variable.
        let tracking = Path::of("controller.storageCapacityTracking.enabled");
        put(&mut values, &tracking, json!(false));
        let (mut values, marks) = marks::mark(&values, |key| !table.names(key));
        // The table says that this one is without effect here.
        if let Some(hook) = values["webhook"].get_mut("pvcMutatingWebhook") {
            hook["enabled"] = json!(false);
        }
        let mut sets = vec![values.clone()];
        // cert-manager's authority; another certificate, where that release takes one; lvmd in the node's pod.
        let with = |key: &str, value: Value| {
            let mut values = values.clone();
            put(&mut values, &Path::of(key), value);
            values
        };
        sets.push(with("webhook.caBundle", Value::Null));
        if values["webhook"].get("certManager").is_some() {
            sets.push(with("webhook.certManager", json!(false)));
        }
        let mut embedded = with("node.lvmdEmbedded", json!(true));
        // Theirs would make both, and watch lvmd's pods where there are none.
        for key in ["lvmd.managed", "lvmd.prometheus.podMonitor.enabled"] {
            put(&mut embedded, &Path::of(key), json!(false));
        }
        sets.push(embedded);
        let [mut theirs, mut ours] = [Places::new(), Places::new()];
        for (set, values) in sets.iter().enumerate() {
            let [their, our] = found(&release, values, &marks);
            for (all, more) in [(&mut theirs, their), (&mut ours, our)] {
                for (key, places) in more {
                    let places = places.into_iter();
                    let places = places.filter(|place| !place.contains(OF_THE_REGISTRAR));
                    let places = places.map(|place| format!("{set}: {place}"));
                    all.entry(key).or_default().extend(places);
                }
            }
        }
        for key in marks.keys() {
            let [their, our] = [&theirs, &ours].map(|p| p.get(key).cloned().unwrap_or_default());
            if their.is_empty() || their != our {
                let (gone, new) = (&their - &our, &our - &their);
                unsaid.insert(format!(
                    "{version} {key}: {gone:#?} only there, {new:#?} only here"
                ));
            }
        }
    }
    all_is_said(unsaid);
}

/// Which objects another value changes, of the kinds that have a name in both charts.
fn changed(before: &Objects, after: &Objects) -> BTreeSet<String> {
    let named = |objects: &Objects| -> BTreeMap<String, Value> {
        let all = objects.0.iter();
        all.map(|o| (places::object(o), o.clone())).collect()
    };
    let (before, after) = (named(before), named(after));
    let all = before.keys().chain(after.keys());
    all.filter(|key| before.get(*key) != after.get(*key))
        .cloned()
        .collect()
}

#[test]
fn each_switch_and_choice_changes_what_it_changes_in_topolvms_chart_or_the_docs_say_otherwise() {
    let table = Table::read();
    let mut unsaid = BTreeSet::new();
    for version in RELEASES {
        let release = Release::of(version);
        let values = with_our_images(&release.everything_on());
        let ours = |values: &Value| topolvm(&values.to_string());
        let before = [release.theirs(&values), ours(&values).objects()];
        for (key, now) in leaves(&values) {
            let Some(other) = marks::other(&key, &now) else {
                continue;
            };
            if table.names(&key) {
                continue;
            }
            let mut values = values.clone();
            put(&mut values, &key, other);
            let theirs = changed(&before[0], &release.theirs(&values));
            let ours = changed(&before[1], &ours(&values).objects());
            if theirs.is_empty() || !theirs.is_subset(&ours) {
                unsaid.insert(format!("{key}: {version} {theirs:?}, ours {ours:?}"));
            }
        }
    }
    all_is_said(unsaid);
}

#[test]
fn the_table_names_keys_that_exist() {
    let own = std::fs::read_to_string(workspace().join("charts/topolvm/values.yaml")).unwrap();
    let mut keys: BTreeSet<Path> = leaves(&read(&own)).into_keys().collect();
    for version in RELEASES {
        keys.extend(leaves(&Release::of(version).values).into_keys());
    }
    let table = Table::read();
    let stale = table.without(&keys);
    assert!(stale.is_empty(), "no chart has {stale:?}");
}
