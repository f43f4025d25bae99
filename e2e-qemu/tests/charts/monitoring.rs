//! Alerts and the dashboard: that they are read, and speak of metrics that our programs have.

use std::collections::BTreeSet;
use std::process::Command;

use e2e_qemu::host;
use extension::{Cache, Recipe};
use serde_json::Value;

use crate::helm::{disk_watcher, topolvm, workspace};

/// Metrics of ours that stand in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| {
            [
                "topolvm_",
                "lvmd_",
                "diskwatcher_",
                "basalt_",
                "csi_plugin_",
            ]
            .iter()
            .any(|p| word.starts_with(p))
        })
        .map(str::to_owned)
        .collect()
}

/// What the programs export, by the names in their sources; the library adds what belongs to a type.
fn exported(name: &str) -> bool {
    let sources = [
        "scheduler/src/metrics.rs",
        "csi/src/calls.rs",
        "csi/src/kubernetes/strays.rs",
        "csi/src/webhook/http.rs",
        "lvmd/src/metrics.rs",
        "lvmd/src/metrics/classes.rs",
        "lvmd/src/metrics/volumes.rs",
        "disk-watcher/src/metrics.rs",
        "disk-watcher/src/metrics/groups.rs",
        "disk-watcher/src/metrics/io.rs",
        "disk-watcher/src/metrics/pools.rs",
        "disk-watcher/src/metrics/secrets.rs",
        "disk-watcher/src/metrics/watch.rs",
    ];
    let base = ["_total", "_count", "_bucket", "_sum"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    sources.iter().any(|path| {
        let source = std::fs::read_to_string(workspace().join(path)).unwrap();
        [Some(name), base]
            .into_iter()
            .flatten()
            .any(|name| source.contains(&format!("\"{name}\"")))
    })
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_exist() {
    let on = "prometheusRule: {enabled: true}";
    let ours = topolvm(&format!("{on}\ndashboard: {{enabled: true}}")).objects();
    let watcher = disk_watcher(on).objects();
    let rules = [
        ours.one("PrometheusRule", "topolvm"),
        watcher.one("PrometheusRule", "disk-watcher"),
    ];
    let mut used = BTreeSet::new();
    for rule in rules {
        for alert in rule["spec"]["groups"][0]["rules"].as_array().unwrap() {
            assert!(
                alert["labels"]["severity"].is_string()
                    && alert["annotations"]["description"].is_string()
            );
            used.extend(metrics_in(alert["expr"].as_str().unwrap()));
        }
    }
    let board = ours.one("ConfigMap", "topolvm-dashboard")["data"]["topolvm.json"]
        .as_str()
        .unwrap();
    let board: Value = serde_json::from_str(board).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    for panel in panels.filter(|panel| panel["type"] != "row") {
        used.extend(metrics_in(panel["targets"][0]["expr"].as_str().unwrap()));
    }
    assert!(used.len() > 10, "{used:?}");
    let unknown: Vec<_> = used.iter().filter(|name| !exported(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(!exported("topolvm_no_such_metric"));
}

/// Prometheus' own tool for rules, from Debian's package, of which nothing else is used and nothing started.
fn promtool() -> Command {
    let recipe = Recipe {
        name: "promtool",
        packages: vec!["prometheus"],
        finish: vec![],
        ..Recipe::node()
    };
    let tree = Cache::of_workspace(workspace()).tree(&recipe).unwrap();
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    // The host's C library may be an older one.
    let mut promtool = host::command(libraries.join("ld-linux-x86-64.so.2"));
    promtool.arg("--library-path").arg(libraries);
    promtool.arg(tree.join("usr/bin/promtool"));
    promtool
}

/// Each alert fires when it should, says what it should, and is silent else: on the cases in the charts' tests.
#[test]
fn alerts_fire_when_they_should() {
    for chart in ["topolvm", "disk-watcher"] {
        let chart = workspace().join("charts").join(chart);
        let (rules, cases) = (
            chart.join("files/alerts.yaml"),
            chart.join("tests/alerts.yaml"),
        );
        host::capture(
            promtool()
                .args(["check", "rules", "--lint-fatal"])
                .arg(&rules),
        )
        .unwrap();
        host::capture(promtool().args(["test", "rules"]).arg(&cases)).unwrap();
        let [there, tried] = [(rules, "- alert: "), (cases, "alertname: ")].map(|(file, mark)| {
            let text = std::fs::read_to_string(file).unwrap();
            let lines = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix(mark));
            lines.map(str::to_owned).collect::<BTreeSet<String>>()
        });
        assert!(there.len() > 10 && tried == there, "{there:?} {tried:?}");
    }
}
