//! A release: nodes pull its image from a registry, and Helm installs its charts as they are.

use anyhow::{Context as _, Result, ensure};
use extension::progress::Step;
use extension::release::{Options, Release};

use super::path::{self, Chosen};
use super::source::Source;
use super::{Context, in_cluster_with};
use crate::cluster::{Cluster, Minor, REGISTRY};
use crate::host;
use crate::registry::Registry;
use crate::release_tools::make;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The path of [`path::guide`] with what `make release REGISTRY=...` makes of the programs that ship, and pushes. The nodes
/// have nothing of ours before, so each of our pods shows that the image came from there.
pub(in super::super) fn pulled(context: &Context) -> Result<()> {
    let cache = context.workspace.join(".cache");
    Registry::prepare(&cache)?;
    let step = Step::start("building the programs that ship");
    host::capture(make(&context.workspace).arg("programs"))?;
    step.done();
    let name = format!("{REGISTRY}/released");
    let options = Options {
        version: VERSION.to_owned(),
        registry: Some(name.clone()),
        assets: None,
        sign: None,
        workspace: context.workspace.clone(),
        programs: context.workspace.join("target/release"),
        programs_arm64: None,
        out: context.artifacts(),
        cache: cache.join("tree"),
    };
    let release = Release::gather(&options)?;
    in_cluster_with(context, Minor::Newest, None, |cluster| {
        // On the addresses that nodes reach too.
        let _registry = Registry::start(&cache, &format!("0.0.0.0:{}", port()?))?;
        release.push(&name, VERSION, None)?;
        let charts = cluster.dir().join("release");
        release.write(&charts)?;
        let source = Source::released(charts, VERSION);
        path::from_disk_to_data(context, cluster, &source, Chosen::Path)?;
        let digests = &release.files["digests.txt"];
        let digests = String::from_utf8_lossy(digests);
        came_from(context, cluster, &digests)
    })
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
