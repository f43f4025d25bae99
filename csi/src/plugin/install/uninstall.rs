//! Removing the programs, and nothing else: volumes, groups and files stay, and the objects that say whose they are.

use std::path::PathBuf;

use anyhow::Context;
use lvmd::units::Bytes;
use serde_json::Value;

use super::{DRIVER, WATCHER, checks, releases, values};
use crate::plugin::cluster::installing::Left;
use crate::plugin::cluster::{Cluster, size_of};
use crate::plugin::helm::{Helm, Release};
use crate::plugin::table::size;
use crate::plugin::why::{Finding, Verdict};

/// What a person asks for.
#[derive(Debug, clap::Args)]
pub struct Wish {
    /// The program
    #[arg(long, value_name = "FILE", default_value = "helm")]
    pub helm: PathBuf,
    /// Also while pods use volumes: what is mounted stays, and cannot be unmounted until a driver is there again
    #[arg(long)]
    pub in_use: bool,
    /// Do it; without it is only shown
    #[arg(long)]
    pub yes: bool,
}

/// A release that would go, with its objects and its values.
#[derive(Debug)]
pub struct Going {
    /// The release.
    pub release: Release,
    /// Its objects, as Helm keeps them.
    pub manifest: Vec<Value>,
    /// A person's values.
    pub values: Value,
}

/// Shows what goes and what stays, and has it go if it was told to and nothing speaks against it.
///
/// # Errors
/// Helm or the API server cannot be asked, or fails half-way: asked again it goes on.
pub async fn uninstall(
    cluster: &Cluster,
    helm: &Helm,
    wish: &Wish,
) -> anyhow::Result<Vec<Finding>> {
    let mut all = releases(helm).await?;
    // The driver first: while disk-watcher runs, pools are watched.
    all.sort_by_key(|release| release.chart_name() != DRIVER.0);
    let before = cluster.before().await?;
    let driver = all.iter().find(|release| release.chart_name() == DRIVER.0);
    let mut found = checks::releases(&all);
    found.extend(checks::foreign(&before, driver));
    let mut going = Vec::new();
    for release in all {
        going.push(Going {
            manifest: helm.manifest(&release).await?,
            values: helm.values(&release).await?,
            release,
        });
    }
    let left = cluster.left().await?;
    found.extend(against(&going, &left, wish.in_use));
    let sound = !found.iter().any(Finding::is_problem);
    if sound && wish.yes {
        for one in &going {
            let release = &one.release;
            helm.uninstall(release).await.with_context(|| {
                format!(
                    "release {}/{}; ask again when that is mended",
                    release.namespace, release.name
                )
            })?;
        }
    }
    let done = sound && wish.yes;
    found.extend(going.iter().map(|one| {
        let what = format!("release {}/{}", one.release.namespace, one.release.name);
        match done {
            true => Finding::new(what, Verdict::Ok, "is gone"),
            false => Finding::new(
                what,
                Verdict::Waits,
                format!("{} would be removed", one.release.chart),
            ),
        }
    }));
    found.extend(stays(&going, &left));
    Ok(found)
}

/// What speaks against it.
pub fn against(going: &[Going], left: &Left, in_use: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    if going.is_empty() {
        found.push(Finding::new(
            "releases",
            Verdict::Ok,
            "Helm knows none of the two charts",
        ));
    }
    for one in going {
        let release = &one.release;
        let what = format!("release {}/{}", release.namespace, release.name);
        for crd in one
            .manifest
            .iter()
            .filter(|object| goes_with_its_objects(object))
        {
            let key = match release.chart_name() == WATCHER.0 {
                true => "kubernetes.crds.keep",
                false => "crd.keep",
            };
            let text = format!(
                "its CRD {} would go, and every object of it, and with LogicalVolumes the data: first helm upgrade {} CHART -n {} \
                 --reuse-values --set {key}=true",
                crd["metadata"]["name"].as_str().unwrap_or_default(),
                release.name,
                release.namespace
            );
            found.push(Finding::new(what.clone(), Verdict::Problem, text));
        }
    }
    if !left.pods.is_empty() && !going.is_empty() {
        let (verdict, way) = match in_use {
            true => (
                Verdict::Ok,
                "they go on, and cannot end cleanly until a driver is there again",
            ),
            false => (
                Verdict::Problem,
                "end them first, or say --in-use: they go on, and cannot end cleanly until a driver is there again",
            ),
        };
        let some: Vec<&str> = left.pods.iter().take(5).map(String::as_str).collect();
        let more = left.pods.len() - some.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let text = format!("{}{more} use volumes: {way}", some.join(", "));
        found.push(Finding::new("pods", verdict, text));
    }
    found
}

/// A CRD that Helm would delete. It goes by what it keeps of the release, not by the object.
/// <https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource>
fn goes_with_its_objects(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
        && object["metadata"]["annotations"]["helm.sh/resource-policy"] != "keep"
}

/// What is there afterwards, and what can be done with it.
pub fn stays(going: &[Going], left: &Left) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |what: &str, text: String| found.push(Finding::new(what, Verdict::Ok, text));
    let seen = &left.seen;
    if !left.crds.is_empty() {
        say("stay: CRDs", left.crds.join(", "));
    }
    if !seen.volumes.is_empty() {
        let total: u64 = seen.volumes.iter().map(|volume| size_of(volume).0).sum();
        say(
            "stay: volumes",
            format!(
                "{} LogicalVolumes of {}, {} PersistentVolumes, and their LVs: install again, and pods use them as before",
                seen.volumes.len(),
                size(Bytes(total)),
                seen.persistent.len()
            ),
        );
    }
    if !left.groups.is_empty() {
        let groups: Vec<String> = left
            .groups
            .iter()
            .map(|(node, group)| format!("{group} on {node}"))
            .collect();
        say("stay: groups", groups.join(", "));
    } else if !going.is_empty() {
        say(
            "stay: groups",
            "every volume group, pool and LV of the nodes, as lvs shows them there".to_owned(),
        );
    }
    for one in going
        .iter()
        .filter(|one| one.release.chart_name() == WATCHER.0)
    {
        for (class, text) in files(&one.values) {
            say(
                "stay: files",
                format!("{text} of class {class}, on each node it was made on"),
            );
        }
        say(
            "stay: journal",
            "/var/lib/disk-watcher on each node: with it what was taken is known again".to_owned(),
        );
    }
    if !left.backups.is_empty() {
        say(
            "stay: Secrets",
            format!("LVM's descriptions of groups: {}", left.backups.join(", ")),
        );
    }
    if !found.is_empty() {
        found.push(Finding::new(
            "to be rid of it",
            Verdict::Waits,
            "delete the claims while the driver runs, and its LVs go; then uninstall; then on each node vgremove, and what \
             docs/try-it.md says of files; then kubectl delete crd. Nothing brings the data back then",
        ));
    }
    found
}

fn files(values: &Value) -> Vec<(String, String)> {
    let all = values::classes(values);
    let files = all.flat_map(|class| {
        let name = class["name"].as_str().unwrap_or_default();
        let files = class["spec"]["select"]["files"]
            .as_array()
            .into_iter()
            .flatten();
        files.map(move |file| {
            (
                name.to_owned(),
                file["path"].as_str().unwrap_or_default().to_owned(),
            )
        })
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn going(chart: &str, manifest: Value) -> Going {
        Going {
            release: serde_json::from_value(
                json!({"name": "topolvm", "namespace": "ns", "status": "deployed", "chart": chart}),
            )
            .unwrap(),
            manifest: manifest.as_array().unwrap().clone(),
            values: json!({"classes": [{"name": "files", "spec": {"select": {"files": [{"path": "/var/lib/basalt/files.img"}]}}}]}),
        }
    }

    #[test]
    fn a_release_that_would_take_the_volumes_with_it_is_refused() {
        let crd = |annotations: Value| {
            json!([{"kind": "CustomResourceDefinition",
                "metadata": {"name": "logicalvolumes.topolvm.io", "annotations": annotations}}])
        };
        let kept = going(
            "topolvm-0.1.0",
            crd(json!({"helm.sh/resource-policy": "keep"})),
        );
        assert_eq!(against(&[kept], &Left::default(), false), []);
        for annotations in [json!(null), json!({"helm.sh/resource-policy": "delete"})] {
            let found = against(
                &[going("topolvm-0.1.0", crd(annotations))],
                &Left::default(),
                true,
            );
            assert!(
                found[0].is_problem() && found[0].text.contains("crd.keep=true"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn pods_that_use_volumes_are_named() {
        let left = Left {
            pods: (0..7).map(|number| format!("ns/pod-{number}")).collect(),
            ..Left::default()
        };
        let release = [going("topolvm-0.1.0", json!([]))];
        let found = against(&release, &left, false);
        assert!(
            found[0].is_problem() && found[0].text.contains("ns/pod-4 and 2 more"),
            "{found:?}"
        );
        assert!(!against(&release, &left, true)[0].is_problem());
        let nothing = against(&[], &left, false);
        assert!(
            nothing.iter().all(|one| !one.is_problem()),
            "nothing goes: {nothing:?}"
        );
    }

    #[test]
    fn what_stays_is_told() {
        let found = stays(&[going("disk-watcher-0.1.0", json!([]))], &Left::default());
        let text = format!("{found:?}");
        for part in [
            "/var/lib/basalt/files.img of class files",
            "/var/lib/disk-watcher",
            "every volume group",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(stays(&[], &Left::default()), []);
    }
}
