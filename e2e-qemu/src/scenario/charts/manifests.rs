//! Each manifest that the charts can make, held to what would be asked to take it: the API server in a strict dry run, and
//! kubeconform. Kinds of others are held to the CRDs that their own projects ship.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, GUIDE, NAMESPACE, schemas};
use crate::cluster::{self, snapshots, upstream};
use crate::host;
use crate::peer::KUBECONFORM;

const WATCHER: &str = "lvm-disk-watcher";
/// Where the CRDs of other projects are: a Go module, a folder of it, and its files.
const FOREIGN: [(&str, &str, &[&str]); 2] = [
    (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd",
        &[
            "monitoring.coreos.com_podmonitors.yaml",
            "monitoring.coreos.com_prometheusrules.yaml",
            "monitoring.coreos.com_servicemonitors.yaml",
        ],
    ),
    (
        "github.com/cert-manager/cert-manager@v1.21.2",
        "deploy/crds",
        &[
            "cert-manager.io_certificates.yaml",
            "cert-manager.io_issuers.yaml",
        ],
    ),
];
/// Values that between them make each object of a chart in each of its shapes.
const VALUES: [(&str, &str, &str); 7] = [
    (
        "topolvm",
        "everything, lvmd in the node's pod, the webhook by cert-manager",
        include_str!("values/everything.yaml"),
    ),
    (
        "topolvm",
        "lvmd in pods of its own, the scheduler on each control plane, an issuer that is there",
        include_str!("values/apart.yaml"),
    ),
    (
        "topolvm",
        "the host's lvmd, the webhook's certificate from a Secret",
        include_str!("values/host.yaml"),
    ),
    (
        "topolvm",
        "the webhook's certificate made by the controller",
        "webhook: {certManager: false, podMutatingWebhook: {enabled: true}}",
    ),
    (
        "disk-watcher",
        "groups of nodes, with the cluster's objects",
        include_str!("../../../tests/charts/values/disk-watcher.yaml"),
    ),
    (
        "disk-watcher",
        "watched, and closed to others",
        include_str!("values/watched.yaml"),
    ),
    ("disk-watcher", "as it comes", "{}"),
];

/// What has to be there before a cluster's network is entered.
pub(super) struct Judges {
    kubeconform: PathBuf,
    crds: Vec<PathBuf>,
}

impl Judges {
    /// Builds kubeconform, and gets the CRDs.
    ///
    /// # Errors
    /// A module is not to be had.
    pub(super) fn prepare(workspace: &Path) -> Result<Self> {
        let cache = workspace.join(".cache");
        let kubeconform = KUBECONFORM.build(&cache)?.join("kubeconform");
        let mut crds = snapshots::crds(workspace)?;
        for (module, folder, files) in FOREIGN {
            let folder = upstream::module(workspace, module)?.join(folder);
            crds.extend(files.iter().map(|file| folder.join(file)));
        }
        Ok(Self { kubeconform, crds })
    }

    /// Holds manifests to the schemas; gives kubeconform's summary.
    fn conforms(&self, schemas: &Path, manifests: &str) -> Result<String> {
        let location = format!("{}/{}", schemas.display(), schemas::NAMES);
        let mut command = host::command(&self.kubeconform);
        let strict = ["-strict", "-summary", "-schema-location"];
        command.args(strict).args([&location, manifests]);
        let said = String::from_utf8(host::capture(&mut command)?)?;
        Ok(said.trim().to_owned())
    }
}

impl Bench<'_> {
    /// Each manifest, with the API server and kubeconform knowing the kinds of others too.
    pub(super) fn every_manifest_is_taken(&self, judges: &Judges) -> Result<()> {
        for crd in &judges.crds {
            let crd = crd.to_str().context("no text")?;
            self.kubectl(&["apply", "--server-side", "-f", crd])?;
        }
        let schemas = self.dir.join("schemas");
        let kinds = schemas::write(&self.described()?, &schemas)?;
        let mut sets = vec![("topolvm", "TrueCharts' guide", self.read(GUIDE)?)];
        sets.extend(VALUES.map(|(chart, what, values)| (chart, what, values.to_owned())));
        for (chart, app) in [("topolvm", "topolvm"), ("disk-watcher", WATCHER)] {
            sets.push((chart, "the drop-in for ClusterTool", self.drop_in(app)?));
        }
        let (mut taken, mut rendered) = (0, BTreeSet::new());
        for (chart, what, values) in &sets {
            let manifests = self.render(chart, values)?;
            rendered.extend(sources(&manifests).chain(made(chart, &manifests)));
            let file = self.write("manifests.yaml", &manifests)?;
            let lines = self
                .dry_run(&file)
                .with_context(|| format!("{chart}, {what}"))?;
            let said = judges.conforms(&schemas, &file);
            let said = said.with_context(|| format!("{chart}, {what}"))?;
            taken += lines;
            self.context.result(format!(
                "{chart}, {what}: {lines} taken; kubeconform: {said}"
            ));
        }
        let promised = &self.promised("topolvm")? | &self.promised("disk-watcher")?;
        let idle = &promised - &rendered;
        ensure!(idle.is_empty(), "no values here make any of {idle:?}");
        self.context.result(format!(
            "{taken} manifests, of all {} templates and kinds, taken in a strict dry run, and by kubeconform with {kinds} schemas",
            promised.len()
        ));
        self.slips_are_refused(judges, &schemas)
    }

    /// Both would have said so, of kinds of others too.
    fn slips_are_refused(&self, judges: &Judges, schemas: &Path) -> Result<()> {
        let monitor = "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: a, namespace: default}\n\
            spec: {selector: {}, podMetricsEndpoints: [{port: metrics, pathe: /metrics}]}\n";
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndat: {a: b}\n";
        for slip in [map, monitor] {
            let file = self.write("slip.yaml", slip)?;
            ensure!(
                judges.conforms(schemas, &file).is_err(),
                "kubeconform takes {slip}"
            );
            ensure!(self.dry_run(&file).is_err(), "the API server takes {slip}");
        }
        Ok(())
    }

    /// What the API server says that it knows, once it speaks of all CRDs that were applied.
    fn described(&self) -> Result<String> {
        let wanted = [
            "Certificate",
            "Issuer",
            "PodMonitor",
            "PrometheusRule",
            "ServiceMonitor",
            "VolumeSnapshotClass",
        ];
        let mut described = String::new();
        let within = Duration::from_secs(60);
        cluster::until(
            "the API server describes the kinds of others",
            within,
            || {
                described = self.kubectl(&["get", "--raw", "/openapi/v2"])?;
                let is_there = |kind: &&str| described.contains(&format!("\"kind\":\"{kind}\""));
                Ok(wanted.iter().all(is_there))
            },
        )?;
        Ok(described)
    }

    /// How many manifests the API server would take.
    fn dry_run(&self, file: &str) -> Result<usize> {
        let strict = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            file,
        ];
        Ok(self.kubectl(&strict)?.lines().count())
    }

    fn render(&self, chart: &str, values: &str) -> Result<String> {
        let namespace = if chart == "topolvm" {
            NAMESPACE
        } else {
            WATCHER
        };
        let values = self.write("values.yaml", values)?;
        let path = format!("charts/{chart}");
        let of = ["template", chart, &path, "-n", namespace, "-f", &values];
        self.helm(&[&of[..], &["--kube-version=1.35.0"]].concat())
    }

    fn read(&self, path: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.context.workspace.join(path))?)
    }

    /// The values of a release of the drop-in for ClusterTool.
    fn drop_in(&self, app: &str) -> Result<String> {
        let apps = "talos/clustertool/clusters/main/kubernetes/system";
        let release = self.read(&format!("{apps}/{app}/app/helm-release.yaml"))?;
        let release: serde_json::Value = serde_saphyr::from_str(&release)?;
        Ok(release["spec"]["values"].to_string())
    }

    /// What a chart says that it can make: its templates as helm names them, and the kinds that stand in them.
    fn promised(&self, chart: &str) -> Result<BTreeSet<String>> {
        let charts = self.context.workspace.join("charts");
        let mut promised = BTreeSet::new();
        let mut folders = vec![charts.join(chart).join("templates")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                promised.extend(made(chart, &std::fs::read_to_string(&path)?));
                // checks.yaml makes nothing, and other names are for parts and notes.
                let makes = path.extension().is_some_and(|end| end == "yaml");
                if makes && !path.ends_with("checks.yaml") {
                    let name = path.strip_prefix(&charts)?.to_str().context("no text")?;
                    promised.insert(name.to_owned());
                }
            }
        }
        Ok(promised)
    }
}

/// The templates that rendered text is of.
fn sources(manifests: &str) -> impl Iterator<Item = String> {
    let said = manifests.lines();
    said.filter_map(|line| Some(line.strip_prefix("# Source: ")?.to_owned()))
}

/// The kinds of objects that stand in a text, but for those that the values decide.
fn made(chart: &str, text: &str) -> impl Iterator<Item = String> {
    let said = text.lines().filter_map(|line| line.strip_prefix("kind: "));
    said.filter(|kind| !kind.contains("{{"))
        .map(move |kind| format!("{chart}: {kind}"))
}
