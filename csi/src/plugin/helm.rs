//! The person's own `helm`: the only program that the plugin starts, and the only place where it does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::args::ClusterArgs;

/// How long one call may take: pulling a chart, and writing some forty objects.
const PATIENCE: Duration = Duration::from_mins(5);

/// Helm, and the cluster it is to work on.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    cluster: Vec<OsString>,
}

/// An installed chart, as `helm list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub namespace: String,
    /// `deployed`, or why not.
    pub status: String,
    /// The chart and its version: `topolvm-0.1.0`.
    pub chart: String,
}

impl Release {
    /// The chart's name without the version.
    pub fn chart_name(&self) -> &str {
        let version = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
        let mut parts = self.chart.match_indices('-');
        let at = parts.find(|(at, _)| version(&self.chart[at + 1..]));
        at.map_or(&self.chart, |(at, _)| &self.chart[..at])
    }
}

/// A chart, where it is to go, and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The release.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// A folder, or an address of a registry.
    pub chart: String,
    /// The chart's version, from a registry.
    pub version: Option<String>,
    /// All values that are not the chart's own.
    pub values: Value,
}

impl Helm {
    /// Helm for the cluster that the command line names.
    pub fn new(program: &Path, cluster: &ClusterArgs) -> Self {
        let mut args: Vec<OsString> = Vec::new();
        if let Some(file) = &cluster.kubeconfig {
            args.extend(["--kubeconfig".into(), file.into()]);
        }
        if let Some(context) = &cluster.context {
            args.extend(["--kube-context".into(), context.into()]);
        }
        Self {
            program: program.to_owned(),
            cluster: args,
        }
    }

    async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.run_with(args, "").await
    }

    /// Runs it with this on its stdin; what it writes to stdout.
    async fn run_with(&self, args: &[&str], stdin: &str) -> anyhow::Result<String> {
        let program = self.program.display();
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the plugin's door for programs"
        )]
        let mut helm = tokio::process::Command::new(&self.program);
        helm.args(args)
            .args(&self.cluster)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = helm.spawn().with_context(|| {
            format!("cannot start {program}: install Helm (3.14 or later), or name it with --helm")
        })?;
        if let Some(mut pipe) = child.stdin.take() {
            // One that reads none of it says why itself.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        }
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let done = done.with_context(|| format!("{program} {} takes too long", args[0]))?;
        let done = done.with_context(|| format!("{program} {} was cut off", args[0]))?;
        if !done.status.success() {
            let words = String::from_utf8_lossy(&done.stderr);
            bail!("{program} {}: {}", args[0], words.trim());
        }
        String::from_utf8(done.stdout).with_context(|| format!("{program} wrote no text"))
    }

    /// All releases, also of failed and unfinished installations.
    ///
    /// # Errors
    /// There is no Helm, or it fails.
    pub async fn releases(&self) -> anyhow::Result<Vec<Release>> {
        let args = [
            "list",
            "--all",
            "--all-namespaces",
            "--max=0",
            "--output=json",
        ];
        let text = self.run(&args).await?;
        serde_json::from_str(&text).context("helm list wrote something else than releases")
    }

    /// What a person set when a release was installed.
    ///
    /// # Errors
    /// Helm fails.
    pub async fn values(&self, of: &Release) -> anyhow::Result<Value> {
        let of = ["--namespace", &of.namespace, &of.name];
        let text = self
            .run(&[&["get", "values", "--output=json"], &of[..]].concat())
            .await?;
        serde_json::from_str(&text).context("helm get values wrote something else than values")
    }

    /// The objects of a release.
    ///
    /// # Errors
    /// Helm fails.
    pub async fn manifest(&self, of: &Release) -> anyhow::Result<Vec<Value>> {
        let of = ["--namespace", &of.namespace, &of.name];
        let text = self.run(&[&["get", "manifest"], &of[..]].concat()).await?;
        let all: Vec<Option<Value>> = serde_saphyr::from_multiple(&text)
            .context("helm get manifest wrote something else than objects")?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Installs or upgrades a release; with `trial` Helm asks the API server and changes nothing.
    ///
    /// # Errors
    /// Helm, the chart or the API server refuses it.
    pub async fn apply(&self, order: &Order, trial: bool) -> anyhow::Result<()> {
        let mut args = vec!["upgrade", "--install", &order.name, &order.chart];
        args.extend(["--namespace", &order.namespace, "--values=-"]);
        args.extend(["--history-max=5", "--hide-notes"]);
        if let Some(version) = &order.version {
            args.extend(["--version", version]);
        }
        if trial {
            args.push("--dry-run=server");
        }
        let values = order.values.to_string();
        self.run_with(&args, &values).await.map(drop)
    }

    /// Removes a release.
    ///
    /// # Errors
    /// Helm fails.
    pub async fn uninstall(&self, release: &Release) -> anyhow::Result<()> {
        let of = ["--namespace", &release.namespace, &release.name];
        self.run(&[&["uninstall"], &of[..]].concat())
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charts_name_ends_where_its_version_begins() {
        for (chart, name) in [
            ("topolvm-0.1.0", "topolvm"),
            ("disk-watcher-15.5.2-rc.1", "disk-watcher"),
            ("lvm-disk-watcher-1", "lvm-disk-watcher"),
            ("odd", "odd"),
        ] {
            let release = Release {
                name: String::new(),
                namespace: String::new(),
                status: String::new(),
                chart: chart.to_owned(),
            };
            assert_eq!(release.chart_name(), name);
        }
    }
}
