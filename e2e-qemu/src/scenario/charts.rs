//! The charts on a real API server, without nodes: whether it takes each manifest, what a node's token may do, and the
//! way from TopoLVM's chart to ours and out of it.

mod manifests;
mod schemas;
mod token;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Context;
use crate::cluster::upstream::{self, Release};
use crate::cluster::{self, Control};
use crate::host;

const NAMESPACE: &str = "topolvm-system";
/// A release of TopoLVM's chart before the one that the cluster's images are of: 15.5.2.
const OLDER: &str = "github.com/topolvm/topolvm@v0.36.3";
/// The values of TrueCharts' guide, in the workspace.
pub(super) const GUIDE: &str = "charts/topolvm/examples/truecharts.yaml";

/// See the module.
pub(super) fn taken(context: &Context) -> Result<()> {
    let dir = context.empty_artifacts()?;
    let binaries = cluster::prepare(&context.workspace, cluster::Minor::Newest)?;
    let older = upstream::module(&context.workspace, OLDER)?;
    let judges = manifests::Judges::prepare(&context.workspace)?;
    cluster::within(|| {
        let bench = Bench {
            context,
            older,
            helm: binaries.path("helm"),
            control: Control::start(&dir, &binaries)?,
            dir: dir.clone(),
        };
        for namespace in [NAMESPACE, "lvm-disk-watcher"] {
            bench.kubectl(&["create", "namespace", namespace])?;
            let privileged = "pod-security.kubernetes.io/enforce=privileged";
            bench.kubectl(&["label", "namespace", namespace, privileged])?;
        }
        bench.every_manifest_is_taken(&judges)?;
        bench.topolvm_is_replaced()?;
        bench.tokens_are_for_their_own_node()?;
        bench.a_watchers_token_is_for_its_own_node()?;
        let done = bench.volumes_outlive_the_release();
        for folder in ["etcd", "upstream", "older", "schemas"] {
            std::fs::remove_dir_all(dir.join(folder))?;
        }
        done
    })
}

/// An API server, and the programs to talk to it with.
struct Bench<'a> {
    context: &'a Context,
    older: PathBuf,
    helm: PathBuf,
    control: Control,
    dir: PathBuf,
}

impl Bench<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.control.kubectl(args)
    }

    fn helm(&self, args: &[&str]) -> Result<String> {
        let mut helm = host::command(&self.helm);
        helm.args(args)
            .current_dir(&self.context.workspace)
            .env("KUBECONFIG", self.dir.join("admin.conf"))
            .env("HELM_DATA_HOME", &self.dir)
            .env("HELM_CACHE_HOME", &self.dir)
            .env("HELM_CONFIG_HOME", &self.dir);
        Ok(String::from_utf8(host::capture(&mut helm)?)?)
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.dir.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("the folder is no text")?.to_owned())
    }

    /// TopoLVM's own chart is installed, a volume made, and ours takes its place; then a newer one of theirs, and ours
    /// again. The volume is there.
    fn topolvm_is_replaced(&self) -> Result<()> {
        let older = upstream::chart_of(&self.older, &self.dir.join("older"))?;
        let newer = Release::newest(&self.context.workspace)?.chart(&self.dir)?;
        // Without it the older chart wants cert-manager; the others know nothing of it.
        let no_hook = "webhook.pvcMutatingWebhook.enabled=false";
        let release = |verb, chart: &Path| {
            let chart = chart.to_str().context("the folder is no text")?;
            let of = ["topolvm", chart, "-n", NAMESPACE, "-f", GUIDE];
            self.helm(&[&[verb], &of[..], &["--set", no_hook]].concat())
        };
        release("install", &older)?;
        self.make_volume("theirs", "n1")?;
        let ours = Path::new("charts/topolvm");
        for chart in [ours, &newer, ours] {
            release("upgrade", chart)?;
            self.kubectl(&["get", "logicalvolume", "theirs"])?;
        }
        self.make_volume("ours", "n2")?;
        let pods = "jsonpath={.spec.template.spec.containers[*].name}";
        let node = self.kubectl(&["get", "-n", NAMESPACE, "daemonset/topolvm-node", "-o", pods])?;
        ensure!(node == "topolvm-node", "the node's pod has {node}");
        Ok(())
    }

    /// `helm uninstall` leaves CRD and volumes, and the next release takes them over.
    fn volumes_outlive_the_release(&self) -> Result<()> {
        self.helm(&["uninstall", "topolvm", "-n", NAMESPACE])?;
        self.kubectl(&["get", "logicalvolume", "theirs", "ours"])?;
        self.helm(&[
            "install",
            "topolvm",
            "charts/topolvm",
            "-n",
            NAMESPACE,
            "-f",
            GUIDE,
        ])?;
        self.kubectl(&["get", "logicalvolume", "theirs", "ours"])?;
        self.context
            .result("helm uninstall and install: both LogicalVolumes are there");
        Ok(())
    }

    fn make_volume(&self, name: &str, node: &str) -> Result<()> {
        let volume = json!({"apiVersion": "topolvm.io/v1", "kind": "LogicalVolume", "metadata": {"name": name},
            "spec": {"name": name, "nodeName": node, "size": "1Gi", "deviceClass": "main-thin"}});
        let file = self.write("volume.json", &volume.to_string())?;
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd/logicalvolumes.topolvm.io",
        ];
        self.kubectl(&wait)?;
        self.kubectl(&["create", "-f", &file]).map(drop)
    }
}
