//! What the node's kernel tells: how many processes of lvm there were, and how much memory pods take.

use std::path::PathBuf;

use anyhow::Context;
use e2e_qemu::Command;
use e2e_qemu::cluster::{Cluster, Node};

/// One record of process accounting (acct(5)): its length, and where flags and name are in it. Of version 2, which kernels
/// write that are built without version 3, as the user-mode one.
const RECORD: usize = 64;
const FLAGS: usize = 0;
const NAME: usize = 36;
/// It forked and called no program: not a process of its own to anybody who counts programs.
const FORKED: u8 = 1;

/// The kernel's accounting of the node's processes, in containers too.
pub(super) struct Processes<'a> {
    node: &'a Node,
    copy: PathBuf,
}

impl<'a> Processes<'a> {
    /// Has the kernel write down every process that ends from now on.
    pub(super) fn count_on(node: &'a Node, cluster: &Cluster) -> anyhow::Result<Self> {
        let command = Command::new("/.basalt/agent").args(["account", "/run/acct"]);
        node.guest().check(command)?;
        let copy = cluster.dir().join("acct");
        Ok(Self { node, copy })
    }

    /// How many times lvm has run.
    pub(super) fn count(&self) -> anyhow::Result<u32> {
        let copy = format!("cp /run/acct {}", self.copy.display());
        self.node.guest().check(Command::shell(copy))?;
        Ok(of_lvm(&std::fs::read(&self.copy)?))
    }
}

fn of_lvm(records: &[u8]) -> u32 {
    let is = |record: &&[u8]| record[NAME..].starts_with(b"lvm\0") && record[FLAGS] & FORKED == 0;
    let count = records.chunks_exact(RECORD).filter(is).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A program of a pod, and the memory of it that is resident, in MiB.
pub(super) type Memory = Vec<(String, f64)>;

/// The programs of the one pod on the node of a component of the driver, but for the one that holds its namespaces.
pub(super) fn memory(cluster: &Cluster, node: &Node, component: &str) -> anyhow::Result<Memory> {
    let selector = format!("--selector=app.kubernetes.io/component={component}");
    let here = format!("--field-selector=spec.nodeName={}", node.name());
    let uid = "jsonpath={.items[0].metadata.uid}";
    let get = [
        "get",
        "pods",
        "--namespace=topolvm-system",
        &selector,
        &here,
        "-o",
        uid,
    ];
    let uid = cluster.control.kubectl(&get)?;
    let script = format!(
        "for pid in $(find /sys/fs/cgroup -path '*pod{uid}*' -name cgroup.procs -exec cat {{}} +); do \
           case $(readlink /proc/$pid/exe) in */busybox) ;; *) \
             echo $(cat /proc/$pid/comm) $(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status) ;; esac; \
         done"
    );
    let said = node.guest().check(Command::shell(script))?;
    said.lines()
        .map(|line| {
            let (name, kib) = line.split_once(' ').context("no memory in it")?;
            Ok((name.to_owned(), kib.trim().parse::<f64>()? / 1024.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lvm_is_counted_by_its_name_and_without_forks() {
        let record = |name: &[u8], flags| {
            let mut record = [0; RECORD];
            record[FLAGS] = flags;
            record[NAME..NAME + name.len()].copy_from_slice(name);
            record
        };
        let records = [
            record(b"lvm", 0),
            record(b"lvm", FORKED),
            record(b"lvmpolld", 0),
            record(b"nsenter", 0),
            record(b"lvm", 2),
        ];
        assert_eq!(of_lvm(&records.concat()), 2);
    }
}
