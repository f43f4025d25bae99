//! Two nodes with a watcher each, a class, and what it took.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::objects;
use super::super::path::{WATCHER, status};
use super::{Answer, SOON, Slip, spec};
use crate::cluster::{self, Cluster, Node};
use crate::command::Command;

/// What no slip may change.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    /// Groups of both nodes.
    groups: Vec<String>,
    /// Commands that both watchers ran.
    commands: Vec<usize>,
    /// The volume's sha256.
    data: String,
}

pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) nodes: Vec<Node>,
}

impl Stage<'_> {
    pub(super) fn apply(&self, spec: &Value) -> Result<()> {
        let class = json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskClass",
            "metadata": {"name": "main"}, "spec": spec});
        self.cluster.apply(&class.to_string())
    }

    pub(super) fn lvm(&self, script: &str) -> Result<String> {
        Ok(self.nodes[0].guest().check(Command::shell(script))?)
    }

    fn watcher(&self, node: &Node, args: &[&str]) -> Result<String> {
        let of = format!("--field-selector=spec.nodeName={}", node.name());
        let name = "jsonpath={.items[0].metadata.name}";
        let control = &self.cluster.control;
        let label = "app.kubernetes.io/name=disk-watcher";
        let pod = control.kubectl(&["get", "pods", "-n", WATCHER, "-l", label, &of, "-o", name])?;
        match args {
            [] => control.kubectl(&["logs", "-n", WATCHER, &pod]),
            _ => control.kubectl(&[&["exec", "-n", WATCHER, &pod, "--"], args].concat()),
        }
    }

    pub(super) fn seen(&self) -> Result<Seen> {
        let groups = Command::shell("lvm vgs --noheadings -o vg_name,vg_uuid,seqno");
        let commands = |node: &Node| -> Result<usize> {
            let log = self.watcher(node, &[])?;
            let ran = log.lines().filter(|line| line.contains("running command="));
            // The kernel's table of the pool is loaded again where a class comes back: LVM's metadata stay.
            Ok(ran.filter(|line| !line.contains("--refresh")).count())
        };
        Ok(Seen {
            groups: (self.nodes.iter())
                .map(|node| Ok(node.guest().check(groups.clone())?))
                .collect::<Result<_>>()?,
            commands: self.nodes.iter().map(commands).collect::<Result<_>>()?,
            data: self.lvm("sha256sum </dev/fast/data")?,
        })
    }

    /// Both watchers have looked at their disks twice since.
    pub(super) fn look_twice(&self) -> Result<()> {
        let looks = |node: &Node| -> Result<u64> {
            let status = self.watcher(node, &["/disk-watcher", "status", "-o", "json"])?;
            let status: Value = serde_json::from_str(&status)?;
            status["looks"].as_u64().context("no count of looks")
        };
        let before = (self.nodes.iter()).map(looks);
        let before = before.collect::<Result<Vec<_>>>()?;
        for (node, before) in self.nodes.iter().zip(before) {
            cluster::until("it has looked twice", SOON, || {
                Ok(looks(node)? >= before + 2)
            })?;
        }
        Ok(())
    }

    /// Writes the class with a slip in it and waits for what is said and shown of it; what was said.
    pub(super) fn make(&self, slip: &Slip) -> Result<String> {
        let mut spec = spec();
        (slip.change)(&mut spec);
        let applied = self.apply(&spec);
        let (valid, words) = match slip.answer {
            Answer::Denied(words) => {
                let Err(error) = applied else {
                    anyhow::bail!("the API server took it");
                };
                ensure!(format!("{error:#}").contains(words), "{error:#}");
                return Ok(format!("denied ({words})"));
            }
            Answer::Refused(words) => ("False", words),
            Answer::InForce => ("True", ""),
        };
        applied?;
        cluster::until("the first node has heard of it", SOON, || {
            let class =
                self.cluster
                    .control
                    .kubectl(&["get", "diskclass", "main", "-o", "json"])?;
            let class: Value = serde_json::from_str(&class)?;
            let nodes = class["status"]["nodes"].as_array().into_iter().flatten();
            let conditions = nodes
                .filter(|node| node["name"] == "n1")
                .filter_map(|node| node["conditions"].as_array())
                .flatten();
            Ok(conditions.into_iter().any(|said| {
                said["type"] == "Valid"
                    && said["observedGeneration"] == class["metadata"]["generation"]
                    && said["status"] == valid
                    && said["message"].to_string().contains(words)
            }))
        })?;
        cluster::until("it is shown at the disks", SOON, || {
            Ok(self.disks()?.contains(slip.shown))
        })
        .with_context(|| status(self.cluster))?;
        if slip.shown.contains("Planned") {
            let plan = ["get", "nodedisks", "-o", "jsonpath={.items[*].status.plan}"];
            let plan = self.cluster.control.kubectl(&plan)?;
            ensure!(plan.contains("pvcreate"), "the plan is {plan:?}");
        }
        Ok(match words {
            "" => "in force".to_owned(),
            words => format!("refused ({words})"),
        })
    }

    /// Its disk is Ready, and the class in force.
    pub(super) fn is_ready(&self) -> Result<()> {
        cluster::until("the disk is Ready", SOON, || {
            Ok(self.disks()?.contains("n1 1024Mi main Ready") && self.in_force()? == "True")
        })
        .with_context(|| status(self.cluster))
        .map(drop)
    }

    fn in_force(&self) -> Result<String> {
        let is = "jsonpath={.items[*].status.conditions[?(@.type==\"ClassInForce\")].status}";
        let ask = ["get", "nodevolumegroups", "-o", is];
        self.cluster.control.kubectl(&ask)
    }

    pub(super) fn out_of_force(&self) -> Result<()> {
        cluster::until(
            "its group says that the class is out of force",
            SOON,
            || Ok(self.in_force()? == "False"),
        )
        .with_context(|| status(self.cluster))
        .map(drop)
    }

    /// Node, size, class and state of every disk that is not the system's.
    pub(super) fn disks(&self) -> Result<String> {
        let mut all = Vec::new();
        for disk in objects::disks(self.cluster)? {
            let shown = &disk["status"];
            let size = shown["sizeBytes"].as_u64().unwrap_or_default() >> 20;
            if (1..=1024).contains(&size) {
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                let (node, class) = (text(&disk["spec"]["nodeName"]), text(&shown["class"]));
                all.push(format!("{node} {size}Mi {class} {}", text(&shown["state"])));
            }
        }
        all.sort_unstable();
        Ok(all.join(", "))
    }
}
