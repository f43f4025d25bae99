//! The charts on a real API server, without nodes: whether it takes each manifest, what a node's token may do, and the
//! way from TopoLVM's chart to ours and out of it.

mod schemas;
mod token;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Context;
use crate::cluster::{self, Control, snapshots, upstream};
use crate::host;
use crate::peer::KUBECONFORM;

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
        bench.every_manifest_is_taken()?;
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

    /// Each manifest, with everything on that the API server knows the kinds of, in a strict dry run and by kubeconform.
    fn every_manifest_is_taken(&self) -> Result<()> {
        for crd in snapshots::crds(&self.context.workspace)? {
            let crd = crd.to_str().context("no text")?;
            self.kubectl(&["apply", "--server-side", "-f", crd])?;
        }
        let all = "scheduler: {enabled: true, type: deployment}\nnetworkPolicy: {enabled: true}\n\
            dashboard: {enabled: true}\nsnapshot: {volumeSnapshotClasses: [{name: thin, isDefaultClass: true}]}\n\
            lvmd:\n  nodeSelector: {disks: ssd}\n  additionalConfigs:\n  \
            - {nodeSelector: {disks: hdd}, deviceClasses: [{name: hdd, volume-group: hdd}]}\n";
        let all = self.write("all.yaml", all)?;
        let watcher = "e2e-qemu/tests/charts/values/disk-watcher.yaml";
        let schemas = self.dir.join("schemas");
        let described = self.kubectl(&["get", "--raw", "/openapi/v2"])?;
        let kinds = schemas::write(&described, &schemas)?;
        let cache = self.context.workspace.join(".cache");
        KUBECONFORM.build(&cache, |name| host::command(name))?;
        let kubeconform = KUBECONFORM.current(&cache).join("kubeconform");
        let (mut taken, mut said) = (0, Vec::new());
        for (chart, namespace, values) in [
            ("topolvm", NAMESPACE, GUIDE),
            ("topolvm", NAMESPACE, &all),
            ("disk-watcher", "lvm-disk-watcher", watcher),
            ("topolvm", NAMESPACE, &self.drop_in("topolvm")?),
            (
                "disk-watcher",
                "lvm-disk-watcher",
                &self.drop_in("lvm-disk-watcher")?,
            ),
        ] {
            let path = format!("charts/{chart}");
            let manifests = self.helm(&[
                "template",
                chart,
                &path,
                "-n",
                namespace,
                "-f",
                values,
                "--set",
                "networkPolicy.enabled=true",
                "--kube-version=1.35.0",
            ])?;
            let file = self.write("manifests.yaml", &manifests)?;
            let strict = [
                "apply",
                "--server-side",
                "--dry-run=server",
                "--validate=strict",
            ];
            let lines = self.kubectl(&[&strict[..], &["-f", &file]].concat())?;
            taken += lines.lines().count();
            said.push(self.conforms(&kubeconform, &schemas, &file)?);
        }
        self.context.result(format!(
            "{taken} manifests taken in a strict dry run; kubeconform with the schemas of {kinds} kinds: {}",
            said.join("; ")
        ));
        // It would have said so.
        let typo = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndat: {a: b}\n";
        let typo = self.write("typo.yaml", typo)?;
        let taken = self.conforms(&kubeconform, &schemas, &typo);
        ensure!(
            taken.is_err(),
            "kubeconform takes a field that no ConfigMap has"
        );
        Ok(())
    }

    /// The values of a release of the drop-in for ClusterTool, as a file.
    fn drop_in(&self, app: &str) -> Result<String> {
        let apps = "talos/clustertool/clusters/main/kubernetes/system";
        let release = format!("{apps}/{app}/app/helm-release.yaml");
        let release = std::fs::read_to_string(self.context.workspace.join(release))?;
        let release: serde_json::Value = serde_saphyr::from_str(&release)?;
        self.write(
            &format!("{app}.yaml"),
            &release["spec"]["values"].to_string(),
        )
    }

    /// Holds manifests to the schemas; gives kubeconform's summary.
    fn conforms(&self, kubeconform: &Path, schemas: &Path, manifests: &str) -> Result<String> {
        let location = format!("{}/{}", schemas.display(), schemas::NAMES);
        let mut command = host::command(kubeconform);
        command.args([
            "-strict",
            "-summary",
            "-schema-location",
            &location,
            manifests,
        ]);
        let said = String::from_utf8(host::capture(&mut command)?)?;
        Ok(said.trim().to_owned())
    }

    /// TopoLVM's own chart is installed, a volume made, and ours takes its place; then a newer one of theirs, and ours
    /// again. The volume is there.
    fn topolvm_is_replaced(&self) -> Result<()> {
        let older = upstream::chart_of(&self.older, &self.dir.join("older"))?;
        let newer = upstream::chart(&self.context.workspace, &self.dir)?;
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
