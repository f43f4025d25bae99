//! The pieces for TalHelper, in a talconfig.yaml that TalHelper itself makes configurations of.

use std::path::Path;

use e2e_qemu::host;
use e2e_qemu::peer::{Module, TALHELPER, TALOS_1_13, TALOS_1_14};
use extension::talos::patches::{Dialect, Topic};
use extension::talos::talconfig;
use extension::talos::values::Values;

use crate::{cache, judge};

/// A control plane and a worker, without anything of ours.
pub(crate) const TALCONFIG: &str = "clusterName: judged
talosVersion: @VERSION@
kubernetesVersion: v1.36.4
endpoint: https://192.0.2.1:6443
nodes:
  - {hostname: control, ipAddress: 192.0.2.1, controlPlane: true, installDisk: /dev/sda}
  - {hostname: worker, ipAddress: 192.0.2.2, controlPlane: false, installDisk: /dev/sda}
";

/// What TalHelper makes of `talconfig`: the control plane's configuration and the worker's.
fn generated(dir: &Path, talconfig: &str) -> [String; 2] {
    let program = TALHELPER.build(&cache()).unwrap().join("talhelper");
    std::fs::write(dir.join("talconfig.yaml"), talconfig).unwrap();
    let secrets = host::capture(host::command(&program).current_dir(dir).arg("gensecret")).unwrap();
    std::fs::write(dir.join("talsecret.yaml"), secrets).unwrap();
    let mut genconfig = host::command(&program);
    genconfig
        .current_dir(dir)
        .args(["genconfig", "--offline-mode"]);
    host::capture(&mut genconfig).unwrap();
    ["control", "worker"].map(|node| {
        let path = dir.join(format!("clusterconfig/judged-{node}.yaml"));
        std::fs::read_to_string(path).unwrap()
    })
}

/// Both configurations are taken by Talos, and what is ours is in them.
fn made_and_taken(module: &Module, version: &str, dialect: Dialect, topics: &[Topic]) {
    let dir = tempfile::tempdir().unwrap();
    let pieces = talconfig::render(&Values::default(), dialect, topics);
    let talconfig = TALCONFIG.replace("@VERSION@", version) + &pieces;
    let [control, worker] = generated(dir.path(), &talconfig);
    let paths = ["control", "worker"]
        .map(|node| dir.path().join(format!("clusterconfig/judged-{node}.yaml")));
    for verdict in judge::configs(module, &paths) {
        assert_eq!(verdict.step, None, "{version}: {}", verdict.why);
    }
    for (text, role) in [(&control, "control plane"), (&worker, "worker")] {
        for mark in ["dm_thin_pool", "name: lvm-disk-watcher", "kind: DiskClass"] {
            assert!(
                text.contains(mark),
                "{version}, {role}: no {mark} in\n{text}"
            );
        }
    }
    for (mark, topic) in [
        ("- lvm-disk-watcher", Topic::PodSecurity),
        ("http://127.0.0.1:9251", Topic::Scheduler),
    ] {
        let wanted = topics.contains(&topic);
        assert_eq!(
            control.contains(mark),
            wanted,
            "{version}: {mark} in\n{control}"
        );
        assert!(!worker.contains(mark), "{version}: {mark} in\n{worker}");
    }
}

#[test]
#[ignore = "TalHelper takes minutes to build; in `make test-all`"]
fn talhelper_makes_configurations_that_talos_1_13_takes() {
    let topics: Vec<Topic> = Topic::ALL.into_iter().filter(|t| !t.is_extra()).collect();
    made_and_taken(&TALOS_1_13, "v1.13.9", Dialect::V1Alpha1, &topics);
    made_and_taken(&TALOS_1_13, "v1.13.9", Dialect::V1Alpha1, &Topic::ALL);
}

#[test]
#[ignore = "TalHelper takes minutes to build; in `make test-all`"]
fn talhelper_makes_configurations_that_talos_1_14_takes() {
    made_and_taken(&TALOS_1_14, "v1.14.1", Dialect::Documents, &Topic::ALL);
}
