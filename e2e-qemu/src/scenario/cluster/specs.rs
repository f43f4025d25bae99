//! What TopoLVM's own end-to-end tests ask of a cluster and no other scenario does (docs/upstream-tests.md): several groups
//! on two nodes, Immediate, least and rounded sizes, mount options, what does not fit, metrics.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::volumes::claim;
use super::workloads::{
    self, NAMESPACE, exec, list, preferring, ready, room_is_known, runs_on, said, thick_values,
};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::{self, Cluster, Node};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);

/// The kinds with the least size of each in MiB, in extents of LVM's.
const LEAST: [(&str, u64); 4] = [("ext4", 32), ("xfs", 300), ("btrfs", 200), ("block", 8)];

/// See the module.
pub(in super::super) fn asked(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let boot = |number: u8| {
            let spec = context.spec(Backend::Uml, &format!("n{number}"));
            cluster.node(number, spec.module("dm_raid").module("loop"))
        };
        let group = |node: &Node, name: &str, gib: &[u64]| -> Result<()> {
            let disks = gib
                .iter()
                .map(|gib| Ok(node.guest().plug(Disk::new(gib << 30))?.path()));
            let disks: Vec<String> = disks.collect::<Result<_>>()?;
            let make = format!("lvm vgcreate {name} {}", disks.join(" "));
            node.guest().check(Command::shell(make))?;
            Ok(())
        };
        let nodes = [boot(1)?, boot(2)?];
        group(&nodes[0], "vg", &[8])?;
        group(&nodes[1], "vg", &[4])?;
        group(&nodes[0], "mirrored", &[1, 1])?;
        for node in &nodes {
            node.guest().shell("lvm lvcreate -y -L 1G -T vg/pool")?;
        }
        cluster.helm_install("topolvm", NAMESPACE, &[], &values())?;
        cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
        let specs = Specs {
            context,
            cluster,
            nodes: &nodes,
        };
        specs.classes()?;
        specs.immediate()?;
        specs.sizes()?;
        specs.limits()?;
        specs.metrics()
    })
}

struct Specs<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    nodes: &'a [Node; 2],
}

impl Specs<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.control.kubectl(args)
    }

    /// A claim of that class and a pod of it that would rather be on the second node.
    fn uses(&self, name: &str, class: &str, size: &str) -> Result<()> {
        let block = name == "block";
        let (mounts, devices): (&[&str], &[&str]) = if block {
            (&[], &[name])
        } else {
            (&[name], &[])
        };
        let pod = preferring(workloads::pod(name, ":", mounts, devices), "n2");
        let claim = claim(name, class, size, block, Value::Null);
        self.cluster.apply(&list(&[claim, pod]))
    }

    /// The LogicalVolume of a claim.
    fn volume(&self, claim: &str) -> Result<Value> {
        let name = ["get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"];
        let volume =
            self.kubectl(&["get", "logicalvolume", &self.kubectl(&name)?, "-o", "json"])?;
        Ok(serde_json::from_str(&volume)?)
    }

    /// What lvm says of a claim's volume on that node.
    fn lvm(&self, node: usize, claim: &str, columns: &str) -> Result<String> {
        let volume = self.volume(claim)?;
        let name = volume["status"]["volumeID"].as_str().context("no volume")?;
        let ask =
            format!("lvm lvs --noheadings --nosuffix --units b -o {columns} -S lv_name={name}");
        let said = self.nodes[node].guest().shell(ask)?;
        Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The class that is named, that is on one node only and mirrors by its options; the default one; one that is nowhere.
    fn classes(&self) -> Result<()> {
        room_is_known(self.cluster, "main")?;
        self.uses("mirrored", "mirrored", "100Mi")?;
        self.uses("main", "main", "100Mi")?;
        self.uses("nowhere", "nowhere", "100Mi")?;
        ensure!(runs_on(self.cluster, "mirrored")? == "n1");
        let lv = self.lvm(0, "mirrored", "vg_name,segtype")?;
        ensure!(lv == "mirrored raid1", "the class `mirrored` gave {lv}");
        ensure!(runs_on(self.cluster, "main")? == "n2");
        let lv = self.lvm(1, "main", "vg_name,segtype")?;
        ensure!(lv == "vg linear", "the default class gave {lv}");
        let why = self.pending("nowhere")?;
        self.context.result(format!(
            "a class of one node's group has its pod there, mirrored; without one it is the default's; one that no node has \
             waits: {why}"
        ));
        Ok(())
    }

    /// Why a pod waits, once the scheduler says so.
    fn pending(&self, pod: &str) -> Result<String> {
        let mut why = String::new();
        cluster::until("the scheduler says why a pod waits", SOON, || {
            why = said(self.cluster, "Pod", pod, "FailedScheduling")?;
            Ok(why.contains("did not have enough free storage"))
        })
        .with_context(|| why.clone())?;
        let phase = self.kubectl(&["get", "pvc", pod, "-o", "jsonpath={.status.phase}"])?;
        ensure!(phase == "Pending", "the claim is {phase}");
        Ok(why.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// A claim that does not wait for a pod is on the node with most room, and its pod follows.
    fn immediate(&self) -> Result<()> {
        self.uses("immediate", "immediate", "1Gi")?;
        ensure!(runs_on(self.cluster, "immediate")? == "n1");
        let node = self.volume("immediate")?["spec"]["nodeName"].clone();
        ensure!(node == "n1", "the volume is on {node}");
        Ok(())
    }

    /// The least size of each kind, and one that LVM rounds up: object, lvm and claim say the same.
    fn sizes(&self) -> Result<()> {
        for (kind, _) in LEAST {
            let class = if kind == "block" { "main" } else { kind };
            self.uses(kind, class, "1")?;
        }
        self.uses("rounded", "main", &((33 << 20) + 1).to_string())?;
        let rounded = [("rounded", 36)];
        for (name, mib) in LEAST.into_iter().chain(rounded) {
            let node = usize::from(runs_on(self.cluster, name)? == "n2");
            let wanted = (mib << 20).to_string();
            let lv = self.lvm(node, name, "lv_size")?;
            ensure!(
                lv == wanted,
                "{name} has {lv} bytes, and {wanted} are wanted"
            );
            let shown = self.volume(name)?["status"]["currentSize"].clone();
            let shown: Value = serde_json::from_value(shown)?;
            ensure!(
                shown == format!("{mib}Mi") || shown == wanted,
                "the object of {name} says {shown}, lvm {wanted}"
            );
        }
        let mounts = exec(self.cluster, "ext4", "grep ' /ext4 ' /proc/mounts")?;
        let options = mounts.split(' ').nth(3).unwrap_or_default();
        ensure!(
            options.split(',').any(|option| option == "debug"),
            "the mount option is not there: {mounts}"
        );
        self.context.result(format!(
            "least sizes in MiB: {LEAST:?}; ext4 mounted {options}"
        ));
        Ok(())
    }

    /// A thin volume beyond what its pool may promise, and growth beyond what there is, are refused; nothing else suffers.
    fn limits(&self) -> Result<()> {
        self.uses("thin", "thin", "1500Mi")?;
        ready(self.cluster, "thin")?;
        self.uses("beyond", "thin", "3Gi")?;
        let why = self.pending("beyond")?;

        let size = json!({"spec": {"resources": {"requests": {"storage": "100Gi"}}}});
        let grown = ["main", "xfs", "btrfs", "block"];
        for name in grown {
            self.kubectl(&["patch", "pvc", name, "--patch", &size.to_string()])?;
        }
        let mut refused = String::new();
        for name in grown {
            cluster::until("the growth is refused", SOON, || {
                let (claim, why) = ("PersistentVolumeClaim", "VolumeResizeFailed");
                refused = said(self.cluster, claim, name, why)?;
                Ok(refused.contains("ResourceExhausted"))
            })?;
            let place = if name == "block" { "dev/" } else { "" };
            let file = if name == "block" { "" } else { "/x" };
            let path = format!("/{place}{name}{file}");
            let goes_on =
                format!("echo still | dd of={path} conv=fsync && head -c 6 {path} | grep still");
            exec(self.cluster, name, &goes_on)?;
        }
        self.context.result(format!(
            "a thin volume beyond its pool's limit waits: {why}; growth to 100 GiB: {}",
            refused.lines().next().unwrap_or_default().trim()
        ));
        Ok(())
    }

    /// The kubelet shows the volumes' fill, and the node's pod what lvm says of its groups.
    fn metrics(&self) -> Result<()> {
        let volumes = "kubelet_volume_stats_capacity_bytes{namespace=\"default\",persistentvolumeclaim=\"immediate\"} ";
        cluster::until("the kubelet shows a volume", SOON, || {
            let page = self.kubectl(&["get", "--raw", "/api/v1/nodes/n1/proxy/metrics"])?;
            Ok(page.lines().any(|line| line.starts_with(volumes)))
        })?;
        let pod = [
            "get",
            "pods",
            "-n",
            NAMESPACE,
            "--field-selector=spec.nodeName=n1",
            "-l",
            "app.kubernetes.io/component=node",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ];
        let page = format!(
            "/api/v1/namespaces/{NAMESPACE}/pods/{}:8080/proxy/metrics",
            self.kubectl(&pod)?
        );
        let page = self.kubectl(&["get", "--raw", &page])?;
        // What the node has done, though its lvmd serves no page of its own.
        for counted in [
            "lvmd_operation_seconds_count{operation=\"CreateLV\",result=\"OK\"}",
            "csi_plugin_operations_seconds_count{driver_name=\"topolvm.io\",method_name=\"/csi.v1.Node/NodePublishVolume\",grpc_status_code=\"OK\"}",
        ] {
            let mut lines = page.lines();
            let line = lines.find(|line| line.starts_with(counted));
            let line = line.with_context(|| format!("no {counted}"))?;
            let count: u64 = line.split(' ').next_back().unwrap_or_default().parse()?;
            ensure!(count > 0, "{line}");
        }
        let own = "claim_namespace=\"default\",claim=\"immediate\"";
        let of_volume = |metric: &str| -> Result<u64> {
            let mut lines = page.lines();
            let line = lines.find(|line| line.starts_with(metric) && line.contains(own));
            let line = line.with_context(|| format!("no {metric} of the claim"))?;
            Ok(line.split(' ').next_back().unwrap_or_default().parse()?)
        };
        let size = of_volume("basalt_volume_size_bytes{")?;
        ensure!(size == 1 << 30, "1 GiB was asked for: {size}");
        ensure!(of_volume("basalt_volume_healthy{")? == 1);
        let written = of_volume("basalt_volume_written_bytes_total{")?;
        ensure!(written > 0, "a file system is there");
        // Of what is free two legs have half each, and an extent of it for what raid1 notes.
        let all: fn(u64) -> u64 = |free| free;
        let mirrored: fn(u64) -> u64 = |free| free / 2 - (4 << 20);
        for (class, group, gives) in [("main", "vg", all), ("mirrored", "mirrored", mirrored)] {
            let ask =
                format!("lvm vgs --noheadings --nosuffix --units b -o vg_size,vg_free {group}");
            let lvm = self.nodes[0].guest().shell(ask)?;
            let lvm: Vec<u64> = lvm
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            let class = format!("device_class=\"{class}\"");
            let shown = |metric: &str| -> Result<u64> {
                let mut lines = page.lines();
                let line = lines.find(|line| line.starts_with(metric) && line.contains(&class));
                let line = line.with_context(|| format!("no {metric} of {class}"))?;
                Ok(line.split(' ').next_back().unwrap_or_default().parse()?)
            };
            let size = shown("topolvm_volumegroup_size_bytes")?;
            let free = shown("topolvm_volumegroup_available_bytes")?;
            ensure!(
                lvm.len() == 2 && size == lvm[0] && free == gives(lvm[1]),
                "of {class} {free} of {size} are shown, lvm says {lvm:?}"
            );
        }
        Ok(())
    }
}

fn values() -> Value {
    let storage = |name: &str, device: &str, more: Value| {
        let mut class = json!({"fsType": "ext4", "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true});
        if !device.is_empty() {
            class["additionalParameters"] = json!({"topolvm.io/device-class": device});
        }
        if let (Some(class), Value::Object(more)) = (class.as_object_mut(), more) {
            class.extend(more);
        }
        json!({"name": name, "storageClass": class})
    };
    let mut values = thick_values();
    values["controller"] = json!({"replicaCount": 1});
    values["lvmd"]["deviceClasses"] = json!([
        {"name": "main", "volume-group": "vg", "default": true, "spare-gb": 0},
        {"name": "mirrored", "volume-group": "mirrored", "spare-gb": 0, "lvcreate-options": ["--type=raid1"]},
        {"name": "thin", "volume-group": "vg", "spare-gb": 0, "type": "thin",
            "thin-pool": {"name": "pool", "overprovision-ratio": 2.0}},
    ]);
    values["storageClasses"] = json!([
        storage("main", "", json!({})),
        storage("mirrored", "mirrored", json!({})),
        storage("thin", "thin", json!({})),
        storage("nowhere", "nowhere", json!({})),
        storage(
            "immediate",
            "main",
            json!({"volumeBindingMode": "Immediate"})
        ),
        storage("ext4", "main", json!({"mountOptions": ["debug"]})),
        storage("xfs", "main", json!({"fsType": "xfs"})),
        storage("btrfs", "main", json!({"fsType": "btrfs"})),
    ]);
    values
}
