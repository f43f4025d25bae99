//! `install` and `uninstall`: the two charts, by the person's own Helm.
//!
//! Everything is looked at before anything is changed: [`checks`] judges what is in the cluster,
//! [`values`] says what the charts get, and Helm tries it against the API server. What is there
//! already is upgraded with the values it has.

pub mod checks;
pub mod uninstall;
pub mod values;

use std::path::{Path, PathBuf};

use anyhow::Context;
use lvmd::units::Bytes;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::cluster::installing::Before;
use super::helm::{Helm, Order, Release};
use super::why::{Finding, Verdict};
use values::Asked;

/// The charts, as folders and releases are called, and where they go when they are new.
pub const WATCHER: (&str, &str) = ("disk-watcher", "disk-watcher");
/// The driver's.
pub const DRIVER: (&str, &str) = ("topolvm", "topolvm-system");

/// What a person asks for.
#[derive(Debug, clap::Args)]
pub struct Wish {
    /// Where the charts disk-watcher and topolvm are: a folder, or oci://HOST/PATH
    #[arg(long, value_name = "PLACE")]
    pub charts: String,
    /// The charts' version, where a registry has several
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Only nodes with this label get pods
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Option<(String, String)>,
    /// Give this node the label
    #[arg(long = "node", value_name = "NAME", requires = "label")]
    pub nodes: Vec<String>,
    /// To try it where there is no disk: a file of this size on each node stands in for one
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub files: Option<Bytes>,
    /// More values of charts/disk-watcher, as YAML
    #[arg(long, value_name = "FILE")]
    pub watcher_values: Vec<PathBuf>,
    /// More values of charts/topolvm, as YAML
    #[arg(long, value_name = "FILE")]
    pub topolvm_values: Vec<PathBuf>,
    /// The program
    #[arg(long, value_name = "FILE", default_value = "helm")]
    pub helm: PathBuf,
    /// Do it; without it is only shown
    #[arg(long)]
    pub yes: bool,
    /// Only show it
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// The smallest file: the pool and its metadata have to fit, and a volume.
const SMALLEST: Bytes = Bytes(1 << 30);

fn size(text: &str) -> Result<Bytes, String> {
    let size: Bytes = text.parse().map_err(|error| format!("{error}"))?;
    if size < SMALLEST || !size.0.is_multiple_of(1 << 20) {
        return Err("write 1Gi or more, in whole Mi".to_owned());
    }
    Ok(size)
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// What is to be done, and what speaks against it.
#[derive(Debug)]
pub struct Plan {
    /// In words.
    pub findings: Vec<Finding>,
    /// Namespaces that get the label for privileged pods, made where they are missing.
    pub namespaces: Vec<String>,
    /// Nodes that get the label.
    pub nodes: Vec<String>,
    /// The releases, in the order in which they are made.
    pub orders: Vec<Order>,
}

impl Plan {
    /// Whether nothing speaks against it.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(Finding::is_problem)
    }
}

/// What there is of the two charts.
#[derive(Debug, Default)]
pub struct Installed {
    /// charts/disk-watcher, with a person's values.
    pub watcher: Option<(Release, Value)>,
    /// charts/topolvm.
    pub driver: Option<(Release, Value)>,
}

/// Plans it, from what was read.
pub fn plan(before: &Before, there: &Installed, given: [Value; 2], wish: &Wish) -> Plan {
    let asked = Asked {
        label: wish.label.as_ref(),
        files: wish.files,
        nodes: before.nodes.len(),
        snapshots: before.snapshots,
    };
    let [for_watcher, for_driver] = given;
    let set = |there: &Option<(Release, Value)>| there.as_ref().map(|(_, values)| values.clone());
    let watcher = values::watcher(set(&there.watcher), for_watcher, &asked);
    let driver = values::topolvm(set(&there.driver), for_driver, &asked);
    let order = |(chart, namespace): (&str, &str), there: &Option<(Release, Value)>, values| {
        let there = there.as_ref().map(|(release, _)| release);
        Order {
            name: there.map_or(chart, |release| &release.name).to_owned(),
            namespace: there
                .map_or(namespace, |release| &release.namespace)
                .to_owned(),
            chart: place(&wish.charts, chart),
            version: wish.version.clone(),
            values,
        }
    };
    let orders = vec![
        order(WATCHER, &there.watcher, watcher),
        order(DRIVER, &there.driver, driver),
    ];
    let mut findings = checks::cluster(before);
    findings.extend(checks::nodes(before, wish.label.as_ref(), &wish.nodes));
    let mut namespaces = Vec::new();
    for order in &orders {
        let (finding, labelled) = checks::namespace(before, &order.namespace);
        namespaces.extend(labelled.then(|| order.namespace.clone()));
        findings.push(finding);
    }
    let nodes = checks::unlabelled(before, wish.label.as_ref(), &wish.nodes);
    findings.extend(nodes.iter().map(|node| {
        let (key, value) = wish.label.clone().unwrap_or_default();
        Finding::new(
            format!("node {node}"),
            Verdict::Waits,
            format!("gets the label {key}={value}"),
        )
    }));
    for (order, there) in orders.iter().zip([&there.watcher, &there.driver]) {
        let verb = match there {
            Some((release, _)) => format!("{} is upgraded, with", release.chart),
            None => "is installed, with".to_owned(),
        };
        findings.push(Finding::new(
            format!("release {}/{}", order.namespace, order.name),
            Verdict::Waits,
            format!("{verb} {} and the values {}", order.chart, order.values),
        ));
    }
    let told = values::told(&orders[0].values);
    if told.is_empty() {
        findings.push(Finding::new(
            "disks",
            Verdict::Waits,
            "there is no class: none is touched",
        ));
    }
    findings.extend(
        told.into_iter().map(|(class, text)| {
            Finding::new(format!("disks, class {class}"), Verdict::Waits, text)
        }),
    );
    Plan {
        findings,
        namespaces,
        nodes,
        orders,
    }
}

fn place(charts: &str, chart: &str) -> String {
    format!("{}/{chart}", charts.trim_end_matches('/'))
}

/// A person's values, of several files on top of each other.
fn read(files: &[PathBuf]) -> anyhow::Result<Value> {
    let mut all = json!({});
    for file in files {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let one: Option<Value> = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} has no values", file.display()))?;
        values::merge(&mut all, one.unwrap_or_else(|| json!({})));
    }
    Ok(all)
}

/// Releases of the two charts, ours or not.
pub async fn releases(helm: &Helm) -> anyhow::Result<Vec<Release>> {
    let mut all = helm.releases().await?;
    let charts = [WATCHER.0, DRIVER.0];
    all.retain(|release| charts.contains(&release.chart_name()));
    Ok(all)
}

/// Shows what is to be done, and does it if it was told to and nothing speaks against it.
///
/// # Errors
/// Helm or the API server cannot be asked, or fails half-way: asked again it goes on.
pub async fn install(cluster: &Cluster, helm: &Helm, wish: &Wish) -> anyhow::Result<Vec<Finding>> {
    let given = [read(&wish.watcher_values)?, read(&wish.topolvm_values)?];
    let before = cluster.before().await?;
    let releases = releases(helm).await?;
    let mut against = checks::releases(&releases);
    let mut there = Installed::default();
    for (chart, slot) in [
        (WATCHER.0, &mut there.watcher),
        (DRIVER.0, &mut there.driver),
    ] {
        let of = releases
            .iter()
            .find(|release| release.chart_name() == chart);
        if let Some(release) = of {
            *slot = Some((release.clone(), helm.values(release).await?));
        }
    }
    against.extend(checks::foreign(
        &before,
        there.driver.as_ref().map(|(release, _)| release),
    ));
    let mut plan = plan(&before, &there, given, wish);
    plan.findings.splice(0..0, against);
    if plan.is_sound() {
        for order in &plan.orders {
            if let Err(error) = helm.apply(order, true).await {
                let what = format!("release {}/{}", order.namespace, order.name);
                plan.findings.push(Finding::new(
                    what,
                    Verdict::Problem,
                    format!("Helm's trial: {error:#}"),
                ));
            }
        }
    }
    if !plan.is_sound() || !wish.yes {
        return Ok(plan.findings);
    }
    apply(cluster, helm, &plan, wish.label.as_ref()).await?;
    Ok(done(&plan, &wish.charts))
}

async fn apply(
    cluster: &Cluster,
    helm: &Helm,
    plan: &Plan,
    label: Option<&(String, String)>,
) -> anyhow::Result<()> {
    for namespace in &plan.namespaces {
        cluster.make_privileged(namespace).await?;
    }
    if let Some(label) = label {
        for node in &plan.nodes {
            cluster.label(node, label).await?;
        }
    }
    for order in &plan.orders {
        helm.apply(order, false).await.with_context(|| {
            format!(
                "release {}/{}; ask again when that is mended",
                order.namespace, order.name
            )
        })?;
    }
    Ok(())
}

fn done(plan: &Plan, charts: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = plan
        .orders
        .iter()
        .map(|order| {
            Finding::new(
                format!("release {}/{}", order.namespace, order.name),
                Verdict::Ok,
                "is installed",
            )
        })
        .collect();
    let watcher = &plan.orders[0];
    let again = format!("kubectl topolvm install --charts {charts} --watcher-values FILE --yes");
    for (class, text) in values::told(&watcher.values) {
        findings.push(Finding::new(
            format!("disks, class {class}"),
            Verdict::Ok,
            text,
        ));
    }
    findings.push(Finding::new(
        "next",
        Verdict::Waits,
        format!(
            "kubectl topolvm doctor, when the pods run (kernel modules and lock directories are looked at by them); each disk: \
             kubectl -n {} exec ds/disk-watcher -- /disk-watcher status; to have disks taken: classes with mode Enforce in FILE, then {again}",
            watcher.namespace
        ),
    ));
    findings
}

/// Whether a folder has the charts; a registry is asked by Helm.
///
/// # Errors
/// It has not.
pub fn has_charts(charts: &str) -> anyhow::Result<()> {
    if charts.starts_with("oci://") {
        return Ok(());
    }
    for chart in [WATCHER.0, DRIVER.0] {
        let file = Path::new(charts).join(chart).join("Chart.yaml");
        anyhow::ensure!(
            file.is_file(),
            "there is no {}: --charts names the folder that has disk-watcher and topolvm in it",
            file.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_sizes_are_read() {
        let key = "superedge.io/local.pv".to_owned();
        assert_eq!(
            label("superedge.io/local.pv=topolvm"),
            Ok((key, "topolvm".to_owned()))
        );
        assert!(label("topolvm").is_err() && label("=x").is_err());
        assert_eq!(size("2Gi"), Ok(Bytes(2 << 30)));
        assert!(size("512Mi").is_err() && size("1073741825").is_err() && size("x").is_err());
    }
}
