//! `kubectl topolvm install` with a file for a disk, and `uninstall`: what a pod wrote is there when the driver is there again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::workloads::{NAMESPACE, claim, exec, list, pod, ready};
use super::{Context, TOPOLVM, adopted, in_cluster, runs_again_after_power_cut};
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::spec::Backend;

/// Where the plugin has disk-watcher go.
const WATCHER: &str = "disk-watcher";
/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
const SUM: &str = "sha256sum </data/file";

/// See the module.
pub(in super::super) fn and_uninstalled(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1").module("loop"))?;
        let before = "mkdir -p /var/lib/basalt && stat -f -c %T /var/lib/basalt";
        let on = node.guest().check(Command::shell(before))?;
        context.result(format!("the file is on {}", on.trim()));
        let install = Install::new(context, cluster)?;
        let shown = install.run(&[])?;
        ensure!(shown.contains("files.img (2Gi) is made"), "{shown}");
        let sets = cluster
            .control
            .kubectl(&["get", "daemonsets", "-A", "-o", "name"])?;
        ensure!(sets.is_empty(), "it was shown, and {sets} was made");
        install.run(&["--yes"])?;
        runs(cluster)?;
        let user = pod("writer", ":", &["data"], &[]);
        let wanted = claim("data", "topolvm-provisioner", "400Mi");
        cluster.apply(&list(&[wanted, user.clone()]))?;
        ready(cluster, "writer")?;
        exec(
            cluster,
            "writer",
            "dd if=/dev/urandom of=/data/file bs=1M count=16; sync",
        )?;
        let sum = exec(cluster, "writer", SUM)?;
        let made = lvs(&node)?;

        let uninstall = || {
            let helm = install.helm.clone();
            adopted::topolvm(context, cluster, &["uninstall", "--helm", &helm, "--yes"])
        };
        let refused = uninstall().unwrap_or_else(|error| format!("{error:#}"));
        ensure!(
            cluster
                .control
                .kubectl(&["get", "-n", NAMESPACE, TOPOLVM[0]])
                .is_ok(),
            "a pod uses a volume, and the driver is gone: {refused}"
        );
        cluster
            .control
            .kubectl(&["delete", "pod/writer", "--timeout=120s"])?;
        uninstall()?;
        cluster::until("the programs are gone", SOON, || {
            let pods = |namespace| {
                cluster
                    .control
                    .kubectl(&["get", "pods", "-n", namespace, "-o", "name"])
            };
            Ok(pods(NAMESPACE)?.is_empty() && pods(WATCHER)?.is_empty())
        })?;
        ensure!(lvs(&node)? == made, "LVs were made or removed");
        // What is left there keeps another driver of the name, TopoLVM's, from registering.
        let registry = Command::shell("ls -A /var/lib/kubelet/plugins_registry");
        let left = node.guest().check(registry)?;
        ensure!(left.is_empty(), "the kubelet still knows {left}");
        install.run(&["--yes"])?;
        runs(cluster)?;
        cluster.apply(&user.to_string())?;
        ready(cluster, "writer")?;
        ensure!(exec(cluster, "writer", SUM)? == sum, "the data is another");
        context.result("installed, written to, removed, installed again: the same sha256");

        let (node, took) = runs_again_after_power_cut(cluster, node, "writer")?;
        let asked = || exec(cluster, "writer", SUM);
        cluster::until("the pod can be asked", SOON, || Ok(asked().is_ok()))?;
        ensure!(asked()? == sum, "the data is another after a power cut");
        ensure!(lvs(&node)? == made, "LVs were made or removed");
        context.result(format!(
            "power cut: the file was a disk again, and the pod ran after {:.1} s with the same sha256",
            took.as_secs_f32()
        ));
        Ok(())
    })
}

/// The command line, but for `--yes`.
struct Install<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    helm: String,
    args: Vec<String>,
}

impl<'a> Install<'a> {
    fn new(context: &'a Context, cluster: &'a Cluster) -> Result<Self> {
        let file = |name: &str, values: serde_json::Value| -> Result<String> {
            let path = cluster.dir().join(name);
            std::fs::write(&path, values.to_string())?;
            Ok(path.display().to_string())
        };
        let watcher = file("watcher.yaml", json!({"image": images::chart_value(false)}))?;
        let driver = file("driver.yaml", json!({"image": images::chart_value(true)}))?;
        let helm = cluster.binaries().path("helm").display().to_string();
        let charts = context.workspace.join("charts").display().to_string();
        let args = [
            ("--charts", charts),
            ("--helm", helm.clone()),
            ("--files", "2Gi".to_owned()),
            ("--label", "superedge.io/local.pv=topolvm".to_owned()),
            ("--node", "n1".to_owned()),
            ("--watcher-values", watcher),
            ("--topolvm-values", driver),
        ];
        let args = args
            .into_iter()
            .flat_map(|(key, value)| [key.to_owned(), value]);
        Ok(Self {
            context,
            cluster,
            helm,
            args: args.collect(),
        })
    }

    fn run(&self, more: &[&str]) -> Result<String> {
        let args = self.args.iter().map(String::as_str);
        let args: Vec<&str> = std::iter::once("install")
            .chain(args)
            .chain(more.iter().copied())
            .collect();
        adopted::topolvm(self.context, self.cluster, &args)
    }
}

/// Waits until both run, and the file has become a pool.
fn runs(cluster: &Cluster) -> Result<()> {
    cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
    cluster.rolled_out(NAMESPACE, &TOPOLVM)?;
    let free = "jsonpath={.metadata.annotations.capacity\\.topolvm\\.io/files}";
    let asked = || cluster.control.kubectl(&["get", "node", "n1", "-o", free]);
    let has_room = || Ok(asked()?.parse::<u64>().is_ok_and(|bytes| bytes > 0));
    cluster::until("the file is a pool with room", SOON, has_room)
        .map(drop)
        .with_context(|| {
            let status = [
                "exec",
                "-n",
                WATCHER,
                "ds/disk-watcher",
                "--",
                "/disk-watcher",
                "status",
            ];
            cluster
                .control
                .kubectl(&status)
                .unwrap_or_else(|error| format!("{error:#}"))
        })
}

/// The names of all LVs of the group of the file, and their UUIDs.
fn lvs(node: &Node) -> Result<String> {
    let ask = "lvm lvs --noheadings -o lv_name,lv_uuid --sort lv_name topolvm_files";
    Ok(node.guest().check(Command::shell(ask))?)
}
