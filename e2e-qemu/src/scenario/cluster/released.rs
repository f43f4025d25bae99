//! A release: nodes pull its image from a registry, and Helm installs its charts as they are.

use anyhow::{Context as _, Result, ensure};
use extension::progress::Step;

use super::path::{self, Chosen};
use super::source::Source;
use super::{Context, in_cluster_with};
use crate::cluster::{Cluster, Minor, REGISTRY};
use crate::host;
use crate::registry::Registry;
use crate::release_tools::make;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The path of [`path::guide`] with what `make release REGISTRY=...` makes and pushes. The nodes have nothing of ours before,
/// so each of our pods shows that the image came from there.
pub(in super::super) fn pulled(context: &Context) -> Result<()> {
    let cache = context.workspace.join(".cache");
    Registry::prepare(&cache)?;
    let step = Step::start("making a release");
    // What it needs from outside is here then; the cluster's network leads nowhere.
    release(context, None)?;
    step.done();
    in_cluster_with(context, Minor::Newest, None, |cluster| {
        // On the addresses that nodes reach too.
        let _registry = Registry::start(&cache, &format!("0.0.0.0:{}", port()?))?;
        release(context, Some(&format!("{REGISTRY}/released")))?;
        let dir = context.workspace.join("target/releases").join(VERSION);
        let digests = std::fs::read_to_string(dir.join("digests.txt"))?;
        let source = Source::released(dir, VERSION);
        path::from_disk_to_data(context, cluster, &source, Chosen::Path)?;
        came_from(context, cluster, &digests)
    })
}

/// Calls `make release`.
fn release(context: &Context, registry: Option<&str>) -> Result<()> {
    let mut make = make(&context.workspace);
    make.arg("release").arg(format!("VERSION={VERSION}"));
    make.args(registry.map(|registry| format!("REGISTRY={registry}")));
    host::capture(&mut make).map(drop)?;
    Ok(())
}

fn port() -> Result<&'static str> {
    let (_, port) = REGISTRY.rsplit_once(':').context("no port")?;
    Ok(port)
}

/// Every container of ours runs the image that `digests`, the release's digests.txt, has.
fn came_from(context: &Context, cluster: &Cluster, digests: &str) -> Result<()> {
    let line = digests.lines().find(|line| line.contains("/basalt:"));
    let (name, digest) = line
        .and_then(|line| line.split_once('@'))
        .context("the release has no image")?;
    let shown =
        "jsonpath={range .items[*].status.containerStatuses[*]}{.image} {.imageID}{\"\\n\"}{end}";
    let shown = cluster
        .control
        .kubectl(&["get", "pods", "-A", "-o", shown])?;
    let ours = shown
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(image, _)| *image == name);
    let ids: Vec<&str> = ours.map(|(_, id)| id).collect();
    // disk-watcher, the driver's node and its controller.
    ensure!(
        ids.len() == 3 && ids.iter().all(|id| id.ends_with(digest)),
        "not three containers of {name}@{digest}:\n{shown}"
    );
    context.result(format!("{} containers run {name}@{digest}", ids.len()));
    Ok(())
}
